//! Whole blocks on the simulated database in virtual time: every hazard of the engine.

use std::time::Duration;

use batchpilot::{
    clock::{self, Time},
    controller::{Controller, Decision, Fixed, Setting, Wish},
    engine::{self, BlockOutcome, BlockSpec, Ended},
    measure::{Kind, WindowSummary},
    plan::{Arrival, CellPlan, OnError, Pace, Stop, Transaction},
    rows::Generator,
    strategy::Strategy,
    target::{
        PoolSettings, Target,
        sim::{Climate, Course, Errors, Misfit, Mishap, SimSettings, SimTarget, Span, Surface},
    },
};
use tokio_util::sync::CancellationToken;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A server without chance, on which an operation takes 10 ms and each row 10 µs, whoever else is
/// there.
fn steady() -> SimSettings {
    let surface = Surface {
        cores: f64::INFINITY,
        round_trip_s: 10e-3,
        fsync_s: 0.0,
        operation_cpu_s: 0.0,
        row_cpu_s: 10e-6,
        row_knee: f64::INFINITY,
        contention: 0.0,
        coherence: 0.0,
        row_log_s: 0.0,
        batch_cliff: None,
        worker_cliff: None,
        tail: 0.0,
        misfit: Misfit::none(),
    };
    SimSettings {
        seed: 1,
        before: surface.clone(),
        after: surface,
        course: Course::Steady,
        changed_blocks: None,
        horizon_s: 300.0,
        p99_limit_s: None,
        climate: Climate::CALM,
        errors: Errors::NONE,
    }
}

/// The same, but for what goes wrong.
fn troubled(errors: Errors) -> SimSettings {
    SimSettings { errors, ..steady() }
}

fn silent(at_s: f64, length_s: f64) -> Errors {
    Errors { silence: Some(Span { at_s, length_s }), ..Errors::NONE }
}

fn cell(batch_rows: u64, workers: u32) -> CellPlan {
    CellPlan {
        name: "cell".to_owned(),
        strategy: Strategy::MultiRow,
        batch_rows,
        workers,
        transaction: Transaction::Autocommit,
        returning: false,
        prepared: true,
        on_error: OnError::FailFast,
        pace: Pace::Closed,
        stop: Stop { rows: Some(10_000), seconds: None },
        warm_up_s: 0.0,
        pool: PoolSettings {
            size_max: workers,
            idle_min: workers,
            acquire_timeout_ms: 1_000,
            idle_timeout_ms: 1_000,
        },
        controller: None,
    }
}

async fn run_with(
    target: &SimTarget,
    cell: &CellPlan,
    controller: &mut dyn Controller,
    stop: &CancellationToken,
) -> (BlockOutcome, Vec<WindowSummary>) {
    let generator = Generator::article_user(7);
    let spec = BlockSpec {
        cell,
        seed: 7,
        window: ms(250),
        client_threads: 1,
        generator: &generator,
        time: Time::Virtual,
    };
    let mut windows = Vec::new();
    let mut on_window = |window: &WindowSummary, _: &Decision| windows.push(*window);
    let outcome = engine::run_block(target, spec, controller, stop, &mut on_window).await.unwrap();
    (outcome, windows)
}

async fn run(
    server: SimSettings,
    cell: &CellPlan,
) -> (SimTarget, BlockOutcome, Vec<WindowSummary>) {
    let target = SimTarget::new(server);
    let setting = Setting { batch_rows: cell.batch_rows, workers: cell.workers };
    let stop = CancellationToken::new();
    let (outcome, windows) = run_with(&target, cell, &mut Fixed(setting), &stop).await;
    (target, outcome, windows)
}

/// The table holds what was confirmed, and what was in doubt is settled.
async fn assert_exact(target: &SimTarget, outcome: &BlockOutcome) -> (u64, u64) {
    let generator = Generator::article_user(7);
    let (confirmed, in_doubt) = (outcome.confirmed.clone(), outcome.in_doubt.clone());
    let found = target.verify(generator, confirmed, in_doubt).await.unwrap();
    assert!(found.is_exact(), "{found:?}");
    (found.in_doubt_present, found.in_doubt_absent)
}

#[tokio::test(start_paused = true)]
async fn every_row_is_confirmed_whatever_the_remainder_and_the_transaction() {
    let transactions =
        [Transaction::Autocommit, Transaction::Every(1), Transaction::Every(3), Transaction::Whole];
    for transaction in transactions {
        for (batch_rows, workers) in
            [(1, 1), (1_000, 1), (999, 3), (7, 5), (10_000, 2), (20_000, 2)]
        {
            let cell = CellPlan { transaction, ..cell(batch_rows, workers) };
            let (target, outcome, windows) = run(steady(), &cell).await;
            assert_eq!(outcome.ended, Ended::Done);
            assert_eq!(outcome.confirmed.row_count(), 10_000, "{transaction:?} {batch_rows}");
            assert_eq!(outcome.measurement.operations, 10_000_u64.div_ceil(batch_rows));
            assert_eq!(windows.iter().map(|window| window.rows).sum::<u64>(), 10_000);
            assert_exact(&target, &outcome).await;
        }
    }
}

/// 10 ms and 10 µs a row: 1,000 rows take 20 ms, so that one worker makes 50,000 rows/s.
#[tokio::test(start_paused = true)]
async fn the_rate_is_rows_over_the_time_to_the_last_confirmation() {
    let (_, outcome, _) = run(steady(), &cell(1_000, 1)).await;
    assert_eq!(outcome.elapsed.as_millis(), 10 * 20 + 10 - 10);
    let service = outcome.measurement.histograms.of(Kind::Service);
    assert!((19_900_000..=21_000_000).contains(&service.value_at_quantile(0.5)), "{service:?}");
}

#[tokio::test(start_paused = true)]
async fn a_block_bounded_by_time_ends_with_its_last_operation() {
    let stop = Stop { rows: None, seconds: Some(1.005) };
    let (target, outcome, _) = run(steady(), &CellPlan { stop, ..cell(1_000, 2) }).await;
    assert_eq!(outcome.ended, Ended::Done);
    assert!(ms(1_005) <= outcome.elapsed && outcome.elapsed < ms(1_030), "{:?}", outcome.elapsed);
    assert_exact(&target, &outcome).await;
}

#[tokio::test(start_paused = true)]
async fn the_same_plan_gives_the_same_run() {
    let pace = Pace::Open { rate: 90.0, arrival: Arrival::Poisson, queue_max: 100 };
    let mut server = steady();
    (server.before.contention, server.before.tail) = (0.4, 0.3);
    server.climate = Climate { noise: 0.2, ..Climate::CALM };
    let cell = CellPlan { pace, ..cell(10, 4) };
    let (_, a, first) = run(server.clone(), &cell).await;
    let (_, b, second) = run(server, &cell).await;
    let figures = |windows: &[WindowSummary]| -> Vec<_> {
        windows
            .iter()
            .map(|it| (it.start, it.rows, it.service_ns_p99, it.response_ns_max))
            .collect()
    };
    assert_eq!(figures(&first), figures(&second));
    assert_eq!((a.elapsed, a.confirmed), (b.elapsed, b.confirmed));
}

/// 100 operations/s for 10 s, and nothing ends between 4 s and 6 s. A start that is due `t` into the
/// stall waits for its end, then for the `100 t` before it, worked off at 400/s: `2 - 0.75 t` in all,
/// above 1 s for the first 133. Service latency shows the stall for the operations in flight alone.
#[tokio::test(start_paused = true)]
async fn a_stall_shows_in_response_latency_as_arithmetic_demands() {
    let pace = Pace::Open { rate: 100.0, arrival: Arrival::Fixed, queue_max: 10_000 };
    let stop = Stop { rows: None, seconds: Some(10.0) };
    let (target, outcome, _) =
        run(troubled(silent(4.0, 2.0)), &CellPlan { pace, stop, ..cell(1, 4) }).await;
    let histograms = &outcome.measurement.histograms;
    let (service, response) = (histograms.of(Kind::Service), histograms.of(Kind::Response));
    assert_eq!(response.len(), 1_000, "no start is skipped");
    assert!(1_980_000_000 <= response.max(), "{}", response.max());
    assert!(1_700_000_000 <= response.value_at_quantile(0.99), "{response:?}");
    let slow = response.count_between(1_000_000_000, u64::MAX);
    assert!((130..=140).contains(&slow), "{slow}");
    assert_eq!(service.count_between(1_000_000_000, u64::MAX), 4, "one for each worker");
    assert_exact(&target, &outcome).await;
}

/// Two workers at 10 ms each make 200 operations/s; 400 are asked for.
#[tokio::test(start_paused = true)]
async fn overload_is_reported_and_not_fatal() {
    let pace = Pace::Open { rate: 400.0, arrival: Arrival::Fixed, queue_max: 50 };
    let stop = Stop { rows: None, seconds: Some(2.0) };
    let mut server = steady();
    server.before.row_cpu_s = 0.0;
    let (target, outcome, windows) = run(server, &CellPlan { pace, stop, ..cell(1, 2) }).await;
    assert!(outcome.overloaded && outcome.ended == Ended::Done);
    let started = outcome.measurement.operations;
    assert_eq!(started + outcome.never_started, 800, "every start is accounted for");
    assert!(windows.iter().any(|window| 0 < window.backlog));
    assert_exact(&target, &outcome).await;
}

#[tokio::test(start_paused = true)]
async fn an_operation_pushed_back_is_tried_again_with_the_same_rows() {
    let server = troubled(Errors { deadlocks: 0.05, ..Errors::NONE });
    let (target, outcome, _) = run(server, &cell(100, 4)).await;
    assert_eq!(outcome.ended, Ended::Done);
    assert!(0 < outcome.measurement.pushed_back);
    assert_eq!(outcome.measurement.errors["40P01"], outcome.measurement.pushed_back);
    assert_eq!(outcome.confirmed.row_count(), 10_000);
    assert_exact(&target, &outcome).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_always_pushes_back_ends_the_block_with_its_words() {
    let server = troubled(Errors { deadlocks: 1.0, ..Errors::NONE });
    let (_, outcome, _) = run(server, &cell(100, 4)).await;
    assert_eq!(outcome.ended, Ended::Failed);
    let error = outcome.error.unwrap().to_string();
    assert!(error.contains("40P01") && error.contains("deadlock"), "{error}");
    assert!(7 <= outcome.measurement.pushed_back, "tried again 6 times");
    assert!(100 <= outcome.rows_failed);
}

/// A lost connection leaves rows in doubt where the server may have committed, and nowhere else.
#[tokio::test(start_paused = true)]
async fn rows_of_a_lost_connection_are_settled_by_their_keys() {
    let after = Mishap::LostAfterCommit(5);
    let before = Mishap::LostBeforeCommit(5);
    let explicit = Transaction::Every(1);
    // Each row: mishap, transaction; rows in doubt that are there, that are not, and rows failed.
    let cases = [
        (after, Transaction::Autocommit, (100, 0), 0),
        (before, Transaction::Autocommit, (0, 100), 0),
        (after, explicit, (0, 0), 100),
        (before, explicit, (0, 0), 100),
    ];
    for (mishap, transaction, in_doubt, failed) in cases {
        let cell = CellPlan { transaction, on_error: OnError::Collect, ..cell(100, 2) };
        let server = troubled(Errors { mishap: Some(mishap), ..Errors::NONE });
        let (target, outcome, _) = run(server, &cell).await;
        assert_eq!(outcome.ended, Ended::Done, "{transaction:?}");
        assert_eq!(assert_exact(&target, &outcome).await, in_doubt, "{transaction:?}");
        assert_eq!(outcome.rows_failed, failed);
        assert_eq!(outcome.confirmed.row_count(), 9_900);
        assert_eq!(outcome.measurement.errors["connection_lost"], 1);
    }
}

/// Operations that share a transaction share its fate.
#[tokio::test(start_paused = true)]
async fn a_failed_operation_takes_its_transaction_down() {
    let server = troubled(Errors { mishap: Some(Mishap::Rejected(5)), ..Errors::NONE });
    let transaction = Transaction::Every(4);
    let cell = CellPlan { transaction, on_error: OnError::Collect, ..cell(100, 1) };
    let (target, outcome, _) = run(server, &cell).await;
    assert_eq!(outcome.rows_failed, 200, "operations 4 and 5");
    assert_eq!(outcome.measurement.operations_rolled_back, 1, "operation 4 had ended well");
    assert_eq!(outcome.confirmed.row_count(), 9_800);
    assert_exact(&target, &outcome).await;
}

#[tokio::test(start_paused = true)]
async fn the_first_error_ends_the_block_or_is_collected() {
    let server = troubled(Errors { mishap: Some(Mishap::Rejected(5)), ..Errors::NONE });
    let (target, outcome, _) = run(server.clone(), &cell(100, 4)).await;
    assert_eq!(outcome.ended, Ended::Failed);
    assert!(outcome.confirmed.row_count() < 1_000, "{}", outcome.confirmed.row_count());
    assert_exact(&target, &outcome).await;

    let collect = CellPlan { on_error: OnError::Collect, ..cell(100, 4) };
    let (target, outcome, _) = run(server, &collect).await;
    assert_eq!(outcome.ended, Ended::Done);
    assert_eq!((outcome.confirmed.row_count(), outcome.rejections.len()), (9_900, 1));
    assert_eq!(outcome.rejections[0].code, "22000");
    assert_exact(&target, &outcome).await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_operations_in_flight_first() {
    for transaction in [Transaction::Autocommit, Transaction::Whole] {
        let target = SimTarget::new(steady());
        let stop = CancellationToken::new();
        let cell = CellPlan { transaction, ..cell(10, 2) };
        let mut fixed = Fixed(Setting { batch_rows: 10, workers: 2 });
        let cancel = async {
            tokio::time::sleep(ms(105)).await;
            stop.cancel();
        };
        let ((outcome, _), ()) = tokio::join!(run_with(&target, &cell, &mut fixed, &stop), cancel);
        assert_eq!(outcome.ended, Ended::Stopped);
        assert!(outcome.elapsed < ms(130), "{:?}", outcome.elapsed);
        assert!(0 < outcome.confirmed.row_count() && outcome.confirmed.row_count() < 10_000);
        assert_exact(&target, &outcome).await;
    }
}

/// A server that never answers again: the run ends all the same, and says what it left.
#[tokio::test(start_paused = true)]
async fn operations_that_never_end_are_abandoned_after_a_stop() {
    let target = SimTarget::new(troubled(silent(0.05, 1e6)));
    let stop = CancellationToken::new();
    let mut fixed = Fixed(Setting { batch_rows: 10, workers: 2 });
    let cancel = async {
        tokio::time::sleep(ms(100)).await;
        stop.cancel();
    };
    let cell = cell(10, 2);
    let started = clock::now();
    let ((outcome, _), ()) = tokio::join!(run_with(&target, &cell, &mut fixed, &stop), cancel);
    assert_eq!(outcome.ended, Ended::Abandoned);
    assert!(clock::since(started) < Duration::from_secs(12), "{:?}", clock::since(started));
}

#[tokio::test(start_paused = true)]
async fn operations_that_never_end_are_abandoned_after_an_error() {
    // One worker's operation never ends; the other gets no session, and that ends the block.
    let mut small = cell(10, 2);
    small.pool.size_max = 1;
    let started = clock::now();
    let (_, outcome, _) = run(troubled(silent(0.05, 1e6)), &small).await;
    assert_eq!(outcome.ended, Ended::Abandoned);
    assert!(clock::since(started) < Duration::from_secs(12), "{:?}", clock::since(started));
    assert!(outcome.error.unwrap().to_string().contains("pool.size_max"));
}

#[tokio::test(start_paused = true)]
async fn workers_beyond_the_pool_wait_for_a_session() {
    let mut small = cell(100, 4);
    small.pool.size_max = 2;
    let (_, outcome, _) = run(steady(), &small).await;
    let wait = outcome.measurement.histograms.of(Kind::PoolWait);
    assert!(10_000_000 < wait.value_at_quantile(0.5), "{}", wait.value_at_quantile(0.5));

    small.pool.acquire_timeout_ms = 5;
    let (_, outcome, _) = run(steady(), &small).await;
    assert_eq!(outcome.ended, Ended::Failed);
    assert!(outcome.error.unwrap().to_string().contains("pool.size_max"));
}

/// Walks through settings, one a window.
struct Walk(Vec<Setting>);

impl Controller for Walk {
    fn start(&self) -> Decision {
        Decision::settle(self.0[0], "walk", "start")
    }

    fn decide(&mut self, window: &WindowSummary) -> Decision {
        let index = usize::try_from(window.index).unwrap().min(self.0.len() - 1);
        Decision::settle(self.0[index], "walk", "next")
    }
}

/// Batch size and workers change while the block runs: no row is lost, windows that mix settings
/// say so, and the others hold operations of one setting alone.
#[tokio::test(start_paused = true)]
async fn a_setting_can_change_while_the_block_runs() {
    let settings = [(10, 8), (100, 1), (100, 1), (7, 16), (7, 16), (1_000, 2)];
    let walk = settings.map(|(batch_rows, workers)| Setting { batch_rows, workers });
    let target = SimTarget::new(steady());
    let stop = CancellationToken::new();
    let mut cell = CellPlan { stop: Stop { rows: Some(100_000), seconds: None }, ..cell(1, 1) };
    cell.pool.size_max = 16;
    let mut walk = Walk(walk.to_vec());
    let (outcome, windows) = run_with(&target, &cell, &mut walk, &stop).await;
    assert_eq!(outcome.confirmed.row_count(), 100_000);
    assert_exact(&target, &outcome).await;
    let clean: Vec<_> = windows.iter().filter(|window| !window.mixed).collect();
    assert!(4 <= clean.len() && clean.len() < windows.len());
    for window in &clean[..clean.len() - 1] {
        assert_eq!(window.rows, window.operations * window.batch_rows, "{window:?}");
    }
    let busiest = windows.iter().map(|window| window.operations).max().unwrap();
    assert!(300 < busiest, "16 workers at 10 ms make 400 operations a window: {busiest}");
}

/// Wants windows of 400 ms, and goes to another setting after each clean one.
struct Wisher(Vec<Setting>);

impl Controller for Wisher {
    fn start(&self) -> Decision {
        Decision::settle(self.0[0], "wish", "start").wishing(Wish::of_ms(400))
    }

    fn decide(&mut self, window: &WindowSummary) -> Decision {
        if !window.mixed && 1 < self.0.len() {
            self.0.remove(0);
        }
        self.start()
    }
}

/// A window lasts as long as was asked for, and one that mixes settings as long as operations of the
/// earlier one: 110 ms at 10,000 rows, 10 ms at 10.
#[tokio::test(start_paused = true)]
async fn windows_end_when_they_have_what_was_wished_for() {
    let setting = |batch_rows| Setting { batch_rows, workers: 4 };
    let mut wisher = Wisher([10_000, 10, 10_000, 20_000].map(setting).to_vec());
    let target = SimTarget::new(steady());
    let stop = CancellationToken::new();
    let stop_rule = Stop { rows: None, seconds: Some(3.0) };
    let cell = CellPlan { stop: stop_rule, ..cell(10, 4) };
    let (outcome, windows) = run_with(&target, &cell, &mut wisher, &stop).await;
    let lengths: Vec<_> =
        windows.iter().map(|it| (it.mixed, it.length.as_millis())).take(7).collect();
    let expected = [
        (false, 400),
        // Of its 4 operations, in flight since 330 ms.
        (true, 40),
        (false, 400),
        // 11 ms each here, where timers count milliseconds: the 37th of a worker ends at 407.
        (true, 7),
        // 8 operations ended by 330 ms: more than 6.
        (false, 400),
        (true, 40),
        // 210 ms each: 4 by 210, 8 by 420.
        (false, 420),
    ];
    assert_eq!(lengths, expected);
    assert_exact(&target, &outcome).await;
}
