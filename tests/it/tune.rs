//! A setting that moves while it is measured, on a real PostgreSQL: bad days of the engine, and whole
//! runs of `tune` from the command line.

use std::{fs, path::Path, time::Duration};

use batchpilot::{
    clock::Time,
    controller::Grid,
    controller::{Controller, Decision, Setting, Wish},
    engine::{self, BlockOutcome, BlockSpec, Ended},
    measure::WindowSummary,
    plan::{CellPlan, Role},
    record::{self, JournalRow, Record},
    target::{Target as _, postgres::PgTarget},
    verdict::{Judgement, Verdict},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio_util::sync::CancellationToken;

use crate::{
    cluster::wait_until,
    proxy::Proxy,
    support::{Desk, Ended as Finished, batchpilot, brief, cell, database, ended, target},
};

/// Settings, each until its time in seconds from the block's start.
struct Timetable(Vec<(f64, Setting)>);

impl Timetable {
    fn of(entries: &[(f64, u64, u32)]) -> Timetable {
        let entry = |&(until_s, batch_rows, workers): &(f64, u64, u32)| {
            (until_s, Setting { batch_rows, workers })
        };
        Timetable(entries.iter().map(entry).collect())
    }

    fn at(&self, now_s: f64) -> Decision {
        let due = self.0.iter().find(|it| now_s < it.0).or(self.0.last());
        let setting = due.expect("a timetable has entries").1;
        Decision::settle(setting, "timetable", "due").wishing(Wish::of_ms(100))
    }
}

impl Controller for Timetable {
    fn start(&self) -> Decision {
        self.at(0.0)
    }

    fn decide(&mut self, window: &WindowSummary) -> Decision {
        self.at((window.start + window.length).as_secs_f64())
    }
}

/// Runs one block that a timetable steers; returns its windows too.
async fn steered(
    target: &PgTarget,
    cell: &CellPlan,
    mut timetable: Timetable,
) -> (BlockOutcome, Vec<WindowSummary>) {
    let generator = target.generator(1);
    let spec = BlockSpec {
        cell,
        seed: 1,
        window: Duration::from_millis(100),
        client_threads: 1,
        generator: &generator,
        time: Time::Real,
    };
    let mut windows = Vec::new();
    let mut on_window = |window: &WindowSummary, _: &Decision| windows.push(*window);
    let stop = CancellationToken::new();
    let outcome = engine::run_block(target, spec, &mut timetable, &stop, &mut on_window).await;
    (outcome.unwrap_or_else(|error| panic!("{error}")), windows)
}

async fn check_exact(target: &PgTarget, outcome: &BlockOutcome) {
    let verification = crate::support::verify(target, outcome).await;
    assert!(verification.is_exact(), "{:?} {}", verification.complaint(), brief(outcome));
}

fn controlled(strategy: &str, seconds: f64, workers: u32) -> CellPlan {
    cell(&format!(
        "strategy = \"{strategy}\"\nstop = {{ seconds = {seconds} }}\n\
         controller = {{ workers = [1, {workers}] }}\n"
    ))
}

/// Twenty batch sizes and two numbers of workers: every row arrives, and a window that made sessions
/// or statements says so.
#[tokio::test]
async fn a_setting_that_moves_costs_no_row_and_windows_say_what_they_mix() {
    let place = database().await;
    for strategy in ["multi_row", "unnest", "copy_binary"] {
        let target = target(place.options()).await;
        let entries: Vec<(f64, u64, u32)> = (1..=20_u32)
            .map(|step| (0.1 * f64::from(step), 7 + 50 * u64::from(step), 1 + 4 * (step % 2)))
            .collect();
        let cell = controlled(strategy, 2.2, 8);
        let (outcome, windows) = steered(&target, &cell, Timetable::of(&entries)).await;
        assert_eq!(outcome.ended, Ended::Done, "{}", brief(&outcome));
        assert_eq!((outcome.rows_failed, outcome.error.is_none()), (0, true));
        let clean: Vec<&WindowSummary> =
            windows.iter().filter(|it| !it.mixed && 0 < it.operations).collect();
        assert!(!clean.is_empty() && clean.len() < windows.len(), "{strategy} {windows:?}");
        for window in clean {
            assert_eq!(window.rows, window.operations * window.batch_rows, "{window:?}");
        }
        check_exact(&target, &outcome).await;
        target.close().await.unwrap();
    }
}

/// The role may have four sessions; one is the target's own. Eight workers are asked for, then two.
#[tokio::test]
async fn a_server_that_refuses_more_sessions_is_told_to_the_controller_and_costs_no_row() {
    let place = database().await.with_plain_role().await;
    let limit = format!("ALTER ROLE {} CONNECTION LIMIT 4", place.user);
    let admin = database().await;
    admin.client().await.batch_execute(&limit).await.unwrap();
    let target = target(place.options()).await;
    let info = target.info().await.unwrap();
    assert_eq!(info.sessions_free, Some(3), "the target itself has one");

    let cell = controlled("copy_binary", 3.0, 8);
    let timetable = Timetable::of(&[(0.5, 100, 2), (1.5, 100, 8), (9.0, 100, 2)]);
    let (outcome, windows) = steered(&target, &cell, timetable).await;
    assert_eq!(outcome.ended, Ended::Done, "{}", brief(&outcome));
    assert_eq!(outcome.rows_failed, 0, "{}", brief(&outcome));
    assert!(outcome.measurement.errors.contains_key("53300"), "{}", brief(&outcome));
    let pushed_back = windows.iter().filter(|it| 0 < it.pushed_back);
    assert!(pushed_back.clone().all(|it| 0.4 < it.start.as_secs_f64()), "{windows:?}");
    assert!(pushed_back.clone().any(|it| it.workers == 8), "{windows:?}");
    let last = windows.iter().rev().nth(1).unwrap();
    assert!(last.pushed_back == 0 && 0 < last.operations, "{last:?}");
    check_exact(&target, &outcome).await;
    target.close().await.unwrap();
}

/// All connections are cut, and the next twelve refused: the block goes on, and what was not
/// reachable is no push-back.
#[tokio::test]
async fn a_server_that_is_gone_for_a_while_is_waited_for() {
    let place = database().await;
    let proxy = Proxy::start(&place).await;
    let target = target(proxy.options()).await;
    let cell = controlled("multi_row", 3.0, 4);
    let cut = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        proxy.refuse(12);
        proxy.cut();
    };
    let timetable = Timetable::of(&[(9.0, 50, 3)]);
    let ((outcome, windows), ()) = tokio::join!(steered(&target, &cell, timetable), cut);
    assert_eq!(outcome.ended, Ended::Done, "{}", brief(&outcome));
    assert_eq!(outcome.rows_failed, 0, "{}", brief(&outcome));
    assert!(outcome.measurement.errors.contains_key("connect"), "{}", brief(&outcome));
    assert!(windows.iter().all(|it| it.pushed_back == 0), "{windows:?}");
    assert!(windows.iter().any(|it| 0 < it.errors), "{windows:?}");
    let last = windows.iter().rev().nth(1).unwrap();
    assert!(last.errors == 0 && 0 < last.operations, "{last:?}");
    // The session that reads the counters is opened anew, too.
    assert!(last.activity.is_some(), "{last:?}");
    check_exact(&target, &outcome).await;
    target.close().await.unwrap();
}

/// Runs `tune` on a database of its own.
async fn tune(arguments: &[&str]) -> (Desk, Finished) {
    let (place, desk) = (database().await, Desk::new());
    let mut command = batchpilot();
    command.arg("tune").args(arguments).arg("--out").arg(desk.out());
    command.args(["--url", &place.url()]);
    let ended = ended(command).await;
    assert_eq!(place.schemas().await, Vec::<String>::new(), "{ended:?}");
    (desk, ended)
}

fn judged(desk: &Desk) -> (Record, Verdict) {
    let run = desk.only_run();
    let record = record::read(&run).unwrap();
    let windows = record::read_windows(&run).unwrap();
    let journal = record::read_journal(&run).unwrap();
    let verdict = Verdict::of_run(&record, &journal, &windows);
    (record, verdict)
}

#[tokio::test]
async fn what_was_found_is_measured_again_and_recommended() {
    let arguments = ["--strategy", "multi_row,copy_binary", "--search", "6s", "--workers", "1-4"];
    let arguments = [&arguments[..], &["--batch-rows", "500-2000", "--repetitions", "2"]].concat();
    let (desk, finished) = tune(&arguments).await;
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""), "{finished:?}");
    assert!(finished.stdout.starts_with("VALID: "), "{finished:?}");
    let (record, verdict) = judged(&desk);
    assert!(record.complete && verdict.validity.judgement == Judgement::Valid);
    let (plan, tuning) = (record.plan.tuning.clone().unwrap(), verdict.tuning.clone().unwrap());
    assert_eq!(plan.searches, [0, 1]);
    assert_eq!(plan.contenders[0].roles[0], Role::Found);
    let roles: Vec<Role> = plan.contenders.iter().flat_map(|it| it.roles.clone()).collect();
    assert!(roles.contains(&Role::Article) && roles.contains(&Role::RunnerUp), "{roles:?}");
    for contender in &tuning.contenders {
        // Three in each of up to four looks around the best, two in which it met the rest, two more if it
        // was not told apart from it; and of those that do not count as many again, twice at most.
        let blocks = record.blocks_of(contender.cell).count();
        assert!((2..=3 * (4 * 3 + 2 + 2)).contains(&blocks), "{contender:?}");
        let is_own = |it: &&usize| record.blocks[**it].cell == contender.cell;
        let disturbed = plan.disturbed.iter().filter(is_own).count();
        let counted = contender.rows_per_s.map_or(0, |it| it.n);
        assert_eq!(counted + disturbed, blocks, "{contender:?}");
        if plan.finalists.contains(&contender.cell) {
            assert!(0 < counted, "{contender:?}");
        }
        assert!((1..=4).contains(&contender.setting.workers), "{contender:?}");
        let cell = &record.plan.cells[contender.cell];
        assert_eq!((cell.setting(), cell.controller), (contender.setting, None));
    }
    let recommended = tuning.recommended.unwrap();
    let words = record.plan.cells[recommended].strategy.name();
    assert!(finished.stdout.contains(&format!("Use {words} with ")), "{finished:?}");

    // The journal goes from window to window without a gap, and from where the plan starts.
    let journal = record::read_journal(&desk.only_run()).unwrap();
    for block in [0, 1] {
        let own: Vec<_> = journal.iter().filter(|it| it.block == block).collect();
        assert_eq!(own[0].window, None);
        assert_eq!(own[0].after, record.plan.cells[record.plan.blocks[block].cell].setting());
        for (number, pair) in own.windows(2).enumerate() {
            assert_eq!(pair[1].window, Some(number as u64));
            assert_eq!(pair[0].after, pair[1].before, "{pair:?}");
        }
    }

    // The same controller decides the same again on what is on disk, and another does not.
    let mut replay = batchpilot();
    replay.arg("replay").arg(desk.only_run()).args(["--controller", "pilot,fixed"]);
    let replayed = ended(replay).await;
    assert_eq!(replayed.code, Some(0), "{replayed:?}");
    for name in ["search multi_row", "search copy_binary"] {
        let decisions =
            journal.iter().filter(|it| it.cell == name && it.reason != "the block ends");
        let count = decisions.count();
        let said = format!("{name}: pilot agrees in {count} of {count} decisions\n");
        assert!(replayed.stdout.contains(&said), "{said} {replayed:?}");
        assert!(replayed.stdout.contains(&format!("{name}: fixed agrees in ")), "{replayed:?}");
    }
    assert!(replayed.stdout.contains("first difference at 0.0 s: 1,000 x 4"), "{replayed:?}");

    // The same answer again, from what is on disk.
    let mut again = batchpilot();
    again.arg("report").arg(desk.only_run());
    let again = ended(again).await;
    assert_eq!((again.code, &again.stdout), (Some(0), &finished.stdout));
}

#[tokio::test]
async fn a_limit_out_of_reach_is_said_with_the_lowest_that_was_found() {
    let arguments = ["--slo", "p99=1us", "--search", "2s", "--repetitions", "1", "--strict"];
    let (desk, finished) = tune(&arguments).await;
    assert_eq!(finished.code, Some(10), "{finished:?}");
    let said = "No setting keeps p99 within 1 µs here: the lowest found is ";
    assert!(finished.stdout.replace("\n    ", " ").contains(said), "{finished:?}");
    let (_, verdict) = judged(&desk);
    assert_eq!(
        (verdict.tuning.unwrap().recommended, verdict.validity.judgement),
        (None, Judgement::Valid)
    );
}

#[tokio::test]
async fn following_goes_on_until_it_is_told_to_stop_and_leaves_a_complete_record() {
    let (place, desk) = (database().await, Desk::new());
    let mut command = batchpilot();
    command.args(["tune", "--search", "2s", "--repetitions", "1", "--follow", "10m"]);
    command
        .args(["--workers", "2-4", "--batch-rows", "500-2000"])
        .arg("--out")
        .arg(desk.out())
        .args(["--url", &place.url()]);
    let process = command.spawn().unwrap();
    let follows = || {
        let run = desk.runs().pop();
        let journal = run.and_then(|run| fs::read_to_string(run.join("journal.jsonl")).ok());
        journal.is_some_and(|it| 4 < it.matches("\"cell\":\"follow\"").count())
    };
    wait_until(Duration::from_secs(240), follows).await;
    kill(Pid::from_raw(i32::try_from(process.id().unwrap()).unwrap()), Signal::SIGINT).unwrap();
    let finished: Finished = process.wait_with_output().await.unwrap().into();
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""), "{finished:?}");
    let (answer, rest) = finished.stdout.split_once("Following; Ctrl-C ends it.\n").unwrap();
    assert!(answer.contains("Use multi_row with "), "{finished:?}");
    assert!(rest.contains(" rows/s  ") && rest.contains("VALID: "), "{finished:?}");
    assert!(rest.contains("\nFollowed for "), "{finished:?}");
    let (record, _) = judged(&desk);
    let last = record.blocks.last().unwrap();
    assert!(record.complete && last.is_valid(), "{record:?}");
    assert_eq!(Some(last.cell), record.plan.tuning.unwrap().follow);
    assert_eq!(place.schemas().await, Vec::<String>::new());
}

/// It once went on from what the search had found, and inserted half of what the answer gives.
#[tokio::test]
async fn following_starts_from_the_answer() {
    let scenario = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/sim/noisy.toml");
    let desk = Desk::new();
    let mut command = batchpilot();
    command.arg("tune").arg(&scenario).args(["--search", "2s", "--repetitions", "2"]);
    command.args(["--follow", "5s", "--out"]).arg(desk.out());
    let finished = ended(command).await;
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""), "{finished:?}");
    let (record, verdict) = judged(&desk);
    let answer = record.plan.cells[verdict.tuning.unwrap().recommended.unwrap()].setting();
    let follow = &record.plan.cells[record.plan.tuning.as_ref().unwrap().follow.unwrap()];
    let grid = Grid::new(&follow.controller.unwrap().bounds);
    let journal = record::read_journal(&desk.only_run()).unwrap();
    let found = journal.iter().rfind(|it| it.cell != "follow").unwrap().incumbent;
    assert_ne!(found, answer, "the search found it itself: this test shows nothing");
    let first = journal.iter().find(|it| it.cell == "follow").unwrap();
    let start = grid.setting(grid.nearest(answer));
    assert_eq!((first.after, first.incumbent), (start, start), "{first:?}");

    // The same controller decides the same again, from the same answer.
    let mut replay = batchpilot();
    replay.arg("replay").arg(desk.only_run()).args(["--controller", "pilot"]);
    let replayed = ended(replay).await;
    let decisions =
        journal.iter().filter(|it| it.cell == "follow" && it.reason != "the block ends");
    let count = decisions.count();
    let said = format!("follow: pilot agrees in {count} of {count} decisions");
    assert!(replayed.stdout.contains(&said), "{said} {replayed:?}");

    // A directory above it is no record, and the one to name is said.
    let mut replay = batchpilot();
    replay.arg("replay").arg(desk.out());
    let refused = ended(replay).await;
    let said = "no record.json in it; expected the directory of a run, such as ";
    let named = desk.only_run().display().to_string();
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains(said) && refused.stderr.contains(&named), "{refused:?}");
}

/// The clock of its server once started anew after 25 million rows: the change never came.
#[tokio::test]
async fn following_a_simulated_server_comes_to_its_change() {
    let scenario = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/sim/cores.toml");
    let desk = Desk::new();
    let mut command = batchpilot();
    command.arg("tune").arg(&scenario).args(["--search", "8s", "--repetitions", "1"]);
    command.args(["--follow", "180s", "--out"]).arg(desk.out());
    let finished = ended(command).await;
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""), "{finished:?}");
    let (record, _) = judged(&desk);
    let block = record.blocks.last().unwrap();
    assert!(25_000_000 < block.rows_confirmed, "this test shows nothing: {block:?}");
    let journal = record::read_journal(&desk.only_run()).unwrap();
    let follow: Vec<_> = journal.iter().filter(|it| it.cell == "follow").collect();
    let is_retune = |it: &&JournalRow| it.state == "retune" && 150.0 <= it.at_s;
    assert!(follow.iter().any(is_retune), "{:?}", follow.last());
    assert!(finished.stdout.contains("\nFollowed for 1"), "{finished:?}");
}

/// In virtual time: the whole of it takes seconds, and chance comes from seeds alone.
#[tokio::test]
async fn on_a_simulated_server_the_same_seed_gives_the_same_answer() {
    let scenario = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/sim/quiet.toml");
    let mut answers = Vec::new();
    for _ in 0..2 {
        let desk = Desk::new();
        let mut command = batchpilot();
        command.arg("tune").arg(&scenario).args(["--search", "15s", "--repetitions", "2"]);
        command.arg("--out").arg(desk.out());
        let finished = ended(command).await;
        assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""), "{finished:?}");
        let (_, verdict) = judged(&desk);
        answers.push(verdict.tuning.unwrap());
    }
    assert!(answers[0].recommended.is_some());
    assert_eq!(answers[0], answers[1]);
}

#[tokio::test]
async fn what_cannot_be_tuned_is_said_in_terms_of_the_command_line() {
    let desk = Desk::new();
    for (arguments, said) in [
        (&["--workers", "5-2"][..], "expected least-most"),
        (&["--batch-rows", "20000-30000"], "--batch-rows: nothing is within the bounds: multi_row"),
        (&["--slo", "p95=5ms"], "expected a limit such as `p99=50ms`"),
        (&["--slo", "p99=5ms", "--policy", "variance"], "--slo: `variance` knows no limit"),
        (&["--slo", "p99=100"], "expected a unit, such as `p99=100ms`"),
        (&["scenarios/sim/quiet.toml", "--slo", "p99=0ms"], "--slo: 0 ms is out of range"),
        (&["scenarios/sim/quiet.toml", "--workers", "0-4"], "--workers: "),
        (&["--search", "0.5"], "--search: no controller can say anything"),
        (&["--search=-5s"], "expected a time"),
        (&["--strategy", "insert"], "possible values: all, single_row"),
        (&["--workers", "1-20000"], "--workers: 20000 is out of range"),
    ] {
        let mut command = batchpilot();
        command.arg("tune").args(arguments).arg("--out").arg(desk.out());
        let ended = ended(command).await;
        assert_eq!(ended.code, Some(2), "{arguments:?} {ended:?}");
        assert!(ended.stderr.contains(said), "{arguments:?} {ended:?}");
        assert!(!desk.out().exists());
    }
}
