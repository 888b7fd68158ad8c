//! The first seconds of a block, which are in no rate and no latency.

use batchpilot::{
    measure::Kind,
    record::{self, Record},
};

use crate::support::{Desk, database, ended};

const CELL: &str = "[[cells]]\nname = \"one\"\nstrategy = \"copy_binary\"\nworkers = 2\n\
                    on_error = \"collect\"\n";

fn scenario(server: &str, stop: &str) -> String {
    format!("name = \"warm-up\"\nrepetitions = 2\nstop = {stop}\n{server}{CELL}")
}

async fn run(server: &str, stop: &str, arguments: &[String]) -> (Record, String) {
    let desk = Desk::new();
    let mut command = desk.run(&scenario(server, stop));
    command.args(arguments);
    let finished = ended(command).await;
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""), "{finished:?}");
    (record::read(&desk.only_run()).unwrap(), finished.stdout.replace("\n    ", " "))
}

/// A row costs three times as much from the middle of each block on.
#[tokio::test]
async fn what_comes_after_the_warm_up_counts() {
    let change = "[sim]\nseed = 5\n[sim.server]\ntail = 0.0\n\
                  [sim.change]\nat_s = 2.0\nrow_cost = 3.0\n";
    let of = |stop: &'static str| run(change, stop, &[]);
    let (whole, said) = of("{ seconds = 4.0 }").await;
    assert!(!said.contains("Warm-up: "), "{said}");
    let (second, said) = of("{ seconds = 4.0, warm_up_seconds = 2.0 }").await;
    let words = "Warm-up: the first 2 s of each block of one were inserted and read back, ";
    assert!(said.contains(words), "{said}");
    for (whole, second) in whole.blocks.iter().zip(&second.blocks) {
        assert_eq!(whole.rows_confirmed, second.rows_confirmed, "the same rows all the same");
        // Of both halves together: the first gives so many more, which are left out.
        let steady = second.steady.unwrap();
        assert_eq!(steady.elapsed_ns, 2_000_000_000, "{second:?}");
        let first = second.rows_confirmed as f64 - steady.rows;
        assert!(2.0 * steady.rows < first && first < 4.0 * steady.rows, "{first}, {steady:?}");
        assert!(second.rows_per_s() < 0.6 * whole.rows_per_s(), "{steady:?}");
        let p50 = |block: &record::BlockRecord| {
            block.latency_of(Kind::Service).value_at_quantile(0.5) as f64
        };
        assert!(1.5 * p50(whole) < p50(second), "{} and {}", p50(whole), p50(second));
    }
}

#[tokio::test]
async fn the_plan_says_what_does_not_count() {
    let desk = Desk::new();
    let stop = "{ seconds = 4.0, warm_up_seconds = 2.0 }";
    let mut command = desk.run(&scenario("[sim]\nseed = 5\n", stop));
    command.arg("--check");
    let finished = ended(command).await;
    assert!(finished.stdout.contains("4 s (2 s warm-up)"), "{finished:?}");
}

/// By its rows, and as the server goes before the warm-up's end and does not come back: no rate is 0, and
/// while the server is away the block's time goes on.
#[tokio::test]
async fn a_block_without_rows_after_its_warm_up_counts_from_its_start() {
    let gone = "[sim]\nseed = 5\n[sim.errors]\nrestart = { at_s = 1.0, lasting_s = 60.0 }\n";
    let by_rows = "{ rows = 3_000, seconds = 4.0, warm_up_seconds = 2.0 }";
    let by_time = "{ seconds = 4.0, warm_up_seconds = 2.0 }";
    for (server, stop, is_gone) in [("[sim]\nseed = 5\n", by_rows, false), (gone, by_time, true)] {
        let (record, said) = run(server, stop, &[]).await;
        for block in &record.blocks {
            assert!(block.steady.is_none() && 0.0 < block.rows_per_s(), "{block:?}");
            assert_eq!(block.latency_of(Kind::Service).len(), block.operations);
            assert_eq!(block.elapsed_ns == 4_000_000_000, is_gone, "{block:?}");
        }
        assert!(said.contains("count from their start: one."), "{said}");
    }
}

#[tokio::test]
async fn rows_of_the_warm_up_are_read_back_too() {
    let place = database().await;
    let arguments = ["--url".to_owned(), place.url()];
    let stop = "{ seconds = 0.6, warm_up_seconds = 0.3 }";
    let (record, _) = run("", stop, &arguments).await;
    for block in &record.blocks {
        let steady = block.steady.unwrap();
        assert_eq!(steady.elapsed_ns, 300_000_000);
        assert!(steady.rows < block.rows_confirmed as f64, "{block:?}");
        assert_eq!(block.verification.as_ref().unwrap().rows_found, block.rows_confirmed);
        let counted = block.latency_of(Kind::Service).len();
        assert!(0 < counted && counted < block.operations, "{counted} {block:?}");
    }
}
