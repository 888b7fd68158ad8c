//! The verdict in words: what it may say of two cells, and what it may not.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "numbers made up here are small and positive"
)]

use batchpilot::{
    measure::Kind,
    plan::TuningPlan,
    record::{EncodedHistogram, Record},
    verdict::Verdict,
};
use hdrhistogram::Histogram as HdrHistogram;

use crate::report_fixture as fixture;

const GORM: (&str, &str) =
    ("gorm", "strategy = 'single_row'\ntransaction = 'explicit'\nreturning = true");
const PLAIN: (&str, &str) = ("plain", "strategy = 'single_row'");
const ONE: (&str, &str) = ("one", "strategy = 'unnest'");
const FIVE: (&str, &str) = ("five", "strategy = 'unnest'\nworkers = 5");

/// A speed-up of the second cell over the first.
const CLAIM: &str = "[[claims]]
value = 2
unit = 'speedup'
source = 'somebody'
";

/// Three blocks of a cell, in rows a second: far from each other, or close together.
const UNSTEADY: [f64; 3] = [500.0, 1_000.0, 2_000.0];

fn steady(rate: f64) -> [f64; 3] {
    [rate * 0.99, rate, rate * 1.01]
}

/// Returns a record of cells (name, keys) that ran at these rates, one a repetition.
fn record(cells: &[((&str, &str), [f64; 3])], claims: &str) -> Record {
    let plain: Vec<_> = cells.iter().map(|((name, keys), _)| (*name, *keys, 0.0)).collect();
    let (mut record, _) =
        fixture::measured(fixture::plan("name = 'x'\nrepetitions = 3\n", &plain, claims));
    for block in &mut record.blocks {
        let rate = cells[block.cell].1[block.repetition as usize];
        block.elapsed_ns = (block.rows_confirmed as f64 * 1e9 / rate) as u64;
    }
    record
}

/// Returns all sentences about two cells, a line each.
fn sentences(record: &Record) -> String {
    let verdict = Verdict::of(record);
    [verdict.answer, verdict.reasons].concat().join("\n")
}

fn claim_of(cell: &str, baseline: &str) -> String {
    format!("{CLAIM}cell = '{cell}'\nbaseline = '{baseline}'\n")
}

#[track_caller]
fn assert_has(text: &str, part: &str) {
    assert!(text.contains(part), "no `{part}` in:\n{text}");
}

#[track_caller]
fn assert_has_not(text: &str, part: &str) {
    assert!(!text.contains(part), "`{part}` in:\n{text}");
}

#[test]
fn cells_are_told_apart_only_if_the_interval_leaves_out_one() {
    let claim = claim_of("plain", "gorm");
    let unclear = sentences(&record(&[(GORM, UNSTEADY), (PLAIN, steady(1_100.0))], &claim));
    assert_has(&unclear, "without RETURNING cannot be told apart from gorm (1.10 [");
    assert_has(&unclear, "which cannot be told apart from the baseline (1.10 [");
    assert_has_not(&unclear, "as fast as");

    let clear = sentences(&record(&[(GORM, steady(1_000.0)), (PLAIN, steady(2_000.0))], &claim));
    assert_has(&clear, "]x as fast as gorm; this part of any speed-up");
    let slower = sentences(&record(&[(GORM, steady(1_000.0)), (PLAIN, steady(500.0))], &claim));
    assert_has(&slower, "]x as fast as gorm.");
}

#[test]
fn workers_that_change_nothing_are_said_to() {
    let unclear = sentences(&record(&[(ONE, UNSTEADY), (FIVE, steady(1_100.0))], ""));
    assert_has(&unclear, "five: 5 workers cannot be told apart from one (1.10 [");
    let clear = sentences(&record(&[(ONE, steady(1_000.0)), (FIVE, steady(3_000.0))], ""));
    assert_has(&clear, "]x what one gives, an efficiency of ");
}

/// What the plain insert gains is put down to BEGIN, COMMIT and RETURNING: nothing else may differ.
#[test]
fn a_plain_insert_is_compared_with_its_like_alone() {
    let said = |keys: &str| {
        let claim = claim_of("plain", "gorm");
        let plain = ("plain", keys);
        sentences(&record(&[(GORM, steady(1_000.0)), (plain, steady(2_000.0))], &claim))
    };
    let like = said(PLAIN.1);
    assert_has(&like, "1 round trip a row instead of 3 and without RETURNING are 2 [");
    let returning = said("strategy = 'single_row'\nreturning = true");
    assert_has(&returning, "1 round trip a row instead of 3 are 2 [");
    for other in
        ["prepared = false", "pool = { size_max = 9 }", "workers = 2", "transaction = 'whole'"]
    {
        let said = said(&format!("strategy = 'single_row'\n{other}"));
        assert_has_not(&said, "the same rows one at a time");
    }
}

/// GORM's serial batches share one transaction, and its concurrent ones do not.
#[test]
fn an_efficiency_says_if_transactions_differ_too() {
    let said = |one: &str, five: &str| {
        let (one, five) = (format!("{}\n{one}", ONE.1), format!("{}\n{five}", FIVE.1));
        let cells = [(("one", &one[..]), steady(1_000.0)), (("five", &five[..]), steady(3_000.0))];
        sentences(&record(&cells, ""))
    };
    let article = said("transaction = 'whole'", "transaction = 'explicit'");
    assert_has(
        &article,
        "%; not of workers alone: its transactions are `explicit`, those of one `whole`.",
    );
    let alike = said("", "");
    assert_has(&alike, "an efficiency of ");
    assert_has_not(&alike, "not of workers alone");
    for other in ["prepared = false", "stop = { rows = 5_000 }", "pool = { size_max = 2 }"] {
        assert_has_not(&said("", other), "an efficiency of ");
    }
}

#[test]
fn the_best_is_named_with_all_that_may_be_as_fast() {
    let cells = [
        (ONE, steady(1_000.0)),
        (("close", "strategy = 'copy_text'"), [950.0, 1_010.0, 980.0]),
        (("unsteady", "strategy = 'multi_row'"), [400.0, 1_100.0, 700.0]),
        (FIVE, steady(500.0)),
    ];
    let said = sentences(&record(&cells, ""));
    assert_has(&said, "Best here: one with 1,000 [");
    assert_has(&said, "; cannot be told apart from it: close (1.0");
    assert_has(&said, "]x); unsteady (1.4");
    assert_has_not(&said, "five (");
    assert_has(&said, "not measured again: its numbers lean high.");

    let said = sentences(&record(&[cells[0], cells[3]], ""));
    assert_has(&said, "]x five. It was chosen by the blocks that measured it");
    let alone = sentences(&record(&cells[..1], ""));
    assert_has(&alone, "Best here: one");
    assert_has_not(&alone, "chosen");
}

#[test]
fn an_invalid_run_has_no_best_cell() {
    let mut record = record(&[(ONE, steady(1_000.0)), (FIVE, steady(500.0))], "");
    assert_has(&sentences(&record), "Best here");
    record.blocks[0].verification.as_mut().unwrap().rows_found -= 1;
    assert_has_not(&sentences(&record), "Best here");
}

#[test]
fn the_baseline_is_not_compared_with_itself() {
    let claim = claim_of("plain", "gorm");
    let said = sentences(&record(&[(GORM, steady(2_000.0)), (PLAIN, steady(1_000.0))], &claim));
    assert_has(&said, "Best here: gorm");
    assert_has_not(&said, "the baseline");
}

/// The load average holds the build of a minute ago; CPU time that is taken now is another matter.
#[test]
fn a_machine_is_busy_by_its_cpu_time_and_not_by_its_load_average() {
    let mut record = record(&[(ONE, steady(1_000.0))], "");
    let caveats = |record: &Record| Verdict::of(record).caveats.join("\n");
    record.environment.load_before = 8.0;
    assert_has_not(&caveats(&record), "busy");
    record.environment.cpu_busy_before = None;
    assert_has_not(&caveats(&record), "busy");
    record.environment.cpu_busy_before = Some(0.34);
    assert_has(&caveats(&record), "The machine was busy before the run: 34 % of its CPU time.");
}

/// The highest rate is over all blocks; a cell that lost its blocks of a slow phase may have been
/// faster wherever both ran.
#[test]
fn a_cell_that_was_faster_wherever_both_ran_is_not_called_alike() {
    let mut record =
        record(&[(ONE, [1_000.0, 1_010.0, 9_000.0]), (FIVE, [1_200.0, 1_210.0, 1.0])], "");
    let is_slow =
        |block: &batchpilot::record::BlockRecord| block.cell == 1 && block.repetition == 2;
    record.blocks.retain(|block| !is_slow(block));
    let said = sentences(&record);
    assert_has(&said, "Best here: one");
    assert_has(&said, "; slower, in the repetitions that both have, than five (0.83");
    assert_has_not(&said, "cannot be told apart");
}

#[test]
fn a_private_server_shares_the_processors_of_its_client() {
    let mut record = record(&[(FIVE, steady(1_000.0))], "");
    let caveats = |record: &Record| Verdict::of(record).caveats.join("\n");
    record.environment.private_server = true;
    record.environment.client.cpus = 5;
    assert_has(&caveats(&record), "Server and client share 5 processors: 5 workers");
    record.environment.client.cpus = 6;
    assert_has_not(&caveats(&record), "share");
    record.environment.client.cpus = 5;
    record.environment.private_server = false;
    assert_has_not(&caveats(&record), "share");
}

#[test]
fn one_block_each_tells_no_cell_from_another() {
    let mut record = record(&[(ONE, steady(1_000.0)), (FIVE, steady(500.0))], "");
    record.blocks.retain(|block| block.repetition == 0);
    let said = sentences(&record);
    assert_has(&said, "Fastest in one block each: one with 990 rows/s; one block tells no cell");
    assert_has_not(&said, "Best here");
}

/// One COMMIT of a whole block is no part of an operation's time: it has no share, and not 0 %.
#[test]
fn a_commit_of_many_operations_has_no_share_of_their_time() {
    let whole = ("whole", "strategy = 'unnest'\ntransaction = 'whole'");
    let mut record =
        record(&[(whole, steady(1_000.0)), (FIVE, steady(2_000.0))], &claim_of("five", "whole"));
    let mut commits = HdrHistogram::<u64>::new(3).unwrap();
    commits.record(3_420_000).unwrap();
    let commits = EncodedHistogram::encode(&commits);
    for block in record.blocks.iter_mut().filter(|it| it.cell == 0) {
        block.latency.insert(Kind::Commit.name().to_owned(), commits.clone());
    }
    let said = sentences(&record);
    assert_has(&said, "; COMMIT, its own round trip included, takes 3.42 ms in the median.");
    assert_has_not(&said, "of all service time");
}

#[test]
fn much_of_a_processor_is_said_and_little_is_not() {
    let mut record = record(&[(ONE, steady(1_000.0)), (FIVE, steady(500.0))], "");
    for block in &mut record.blocks {
        block.client_cpu_ns = block.elapsed_ns / if block.cell == 0 { 5 } else { 2 };
    }
    let said = Verdict::of(&record).caveats.join("\n");
    assert_has(&said, "much of one processor's time, for rows, statements and answers: five 50 %.");
}

#[test]
fn a_cell_under_a_controller_is_said_to_be_left_out_of_the_best() {
    let steered = ("steered", "strategy = 'unnest'\ncontroller = { policy = 'pilot' }");
    let cells = [(ONE, steady(1_000.0)), (FIVE, steady(500.0)), (steered, steady(9_000.0))];
    let said = sentences(&record(&cells, ""));
    assert_has(&said, "Best here, of closed loops that hold one setting: one with 1,000");
    assert_has_not(&sentences(&record(&cells[..2], "")), "of closed loops");
}

#[test]
fn short_blocks_are_called_a_burst_and_what_their_time_ended_is_listed() {
    let mut record = record(&[(ONE, steady(1_000.0)), (FIVE, steady(500.0))], "");
    let caveats = |record: &Record| Verdict::of(record).caveats.join("\n");
    for block in &mut record.blocks {
        block.elapsed_ns = if block.cell == 0 { 200_000_000 } else { 2_000_000_000 };
    }
    assert_has(&caveats(&record), "Blocks of 1 of 2 cells took less than 1 s, the shortest 0.20 s");
    record.plan.cells[0].stop.rows = Some(1_000_000);
    // Fewer rows for another reason, such as rejections, are not the time's doing.
    for seconds in [None, Some(60.0)] {
        record.plan.cells[0].stop.seconds = seconds;
        assert_has_not(&caveats(&record), "their time ended");
    }
    record.plan.cells[0].stop.seconds = Some(0.2);
    let rows = record.blocks[0].rows_confirmed;
    assert!(rows < 1_000_000);
    let said = caveats(&record);
    assert_has(&said, "Blocks that their time ended (medians): one: ");
    assert_has_not(&said, "--full");
    // Following goes on in the next block.
    record.plan.tuning = Some(TuningPlan { follow: Some(0), ..TuningPlan::default() });
    assert_has_not(&caveats(&record), "their time ended");
    record.plan.tuning = None;
    record.plan.name = "reproduce".to_owned();
    assert_has(&caveats(&record), "; `--full` inserts all.");
    record.blocks.retain(|block| block.cell == 1);
    assert_has_not(&caveats(&record), "took less than");
}
