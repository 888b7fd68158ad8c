//! Runs one block: the only place where pacer, limiter, rows, target and measure meet in time.

mod cadence;
mod limiter;
mod pacer;
mod supply;
mod worker;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, task::JoinSet};
use tokio_util::sync::CancellationToken;

use self::{
    cadence::{Cadence, SoFar},
    limiter::Limiter,
    pacer::Pacer,
    supply::Supply,
    worker::Shared,
};
use crate::{
    clock::{self, Instant, Time},
    controller::{Controller, Decision, Fixed, Setting},
    measure::{Activity, Measurement, Recorder, Roll, Span, WindowSummary},
    plan::{CellPlan, Pace},
    rows::{Generator, RowRange, RowSet},
    target::{Operation, Pool, ServerSample, Target, TargetError},
};

/// What one block is to do.
#[derive(Clone, Copy, Debug)]
pub struct BlockSpec<'a> {
    /// The setting to measure.
    pub cell: &'a CellPlan,
    /// Seed of arrivals and of pauses between attempts.
    pub seed: u64,
    /// Length of a window.
    pub window: Duration,
    /// Threads that run the workers; those of the current runtime.
    pub client_threads: u32,
    /// Makes the rows.
    pub generator: &'a Generator,
    /// Which time the target lives in: a simulated one in virtual time, and without real rows.
    pub time: Time,
}

/// What came of a block.
#[derive(Debug)]
pub struct BlockOutcome {
    /// What was measured.
    pub measurement: Measurement,
    /// When the clock started.
    pub started: Instant,
    /// From the first start to the last confirmation, or to the end of the block's time where that ended
    /// it: a server that went before is silent for the rest of it.
    pub elapsed: Duration,
    /// Rows that the server confirmed.
    pub confirmed: RowSet,
    /// Rows of operations whose connection was lost at the commit, or that ended in an error where
    /// each row was a transaction of its own.
    pub in_doubt: RowSet,
    /// Rows that ended otherwise, and were not inserted.
    pub rows_failed: u64,
    /// Operations that the server rejected: rows and reason. At most [`REJECTIONS_MAX`] are kept.
    pub rejections: Vec<Rejection>,
    /// The first error, if any operation ended in one.
    pub error: Option<TargetError>,
    /// Why the block ended.
    pub ended: Ended,
    /// Operations that were due in an open loop and never started.
    pub never_started: u64,
    /// Whether the queue of an open loop was ever full.
    pub overloaded: bool,
    /// CPU time of this process while the clock ran.
    pub client_cpu: Duration,
    /// The server's counters before the first and after the last operation.
    pub samples: Option<(ServerSample, ServerSample)>,
    /// How often a session that was not idle was seen to wait for each event, a sample a window.
    pub wait_events: BTreeMap<String, u64>,
}

/// Rejections kept of one block.
pub const REJECTIONS_MAX: usize = 10_000;

/// An operation that the server rejected.
#[derive(Clone, Debug)]
pub struct Rejection {
    /// Indexes of its rows.
    pub rows: Vec<RowRange>,
    /// SQLSTATE.
    pub code: String,
    /// The server's words.
    pub message: String,
    /// Whether some of the rows were inserted all the same: each was a transaction of its own, and
    /// the table says which.
    pub in_doubt: bool,
}

/// Why a block ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ended {
    /// Its stop rule was met.
    Done,
    /// It was told to stop.
    Stopped,
    /// An error ended it, as `on_error = "fail_fast"` asks.
    Failed,
    /// Operations did not end in time and were abandoned; their rows are not accounted for.
    Abandoned,
}

/// How long operations in flight may take to end after a stop, or an error that ends the block.
const STOP_GRACE: Duration = Duration::from_secs(10);
/// How long operations in flight may take to end after the block's time is up.
const DEADLINE_GRACE: Duration = Duration::from_secs(600);
/// The same for a block that a controller steers: it looks for the best of a server that answers.
const STEERED_GRACE: Duration = Duration::from_secs(60);
/// How long counters before and after a block are waited for.
const SAMPLE_TIMEOUT: Duration = Duration::from_secs(5);
/// How much longer an open loop may work off its backlog, as a share of the block's time.
const DRAIN_SHARE: f64 = 1.0;

/// One of many blocks on the same sessions and the same table.
#[derive(Debug)]
pub struct Stint<'a, P> {
    /// The sessions; they stay open.
    pub pool: &'a Arc<P>,
    /// The index of its first row: those before are in the table.
    pub first_row: u64,
    /// The part that counts.
    pub span: Span,
}

/// Runs one block on a table that is ready.
///
/// # Errors
///
/// Those of opening the pool. What goes wrong later is in the outcome.
pub async fn run_block<T: Target>(
    target: &T,
    spec: BlockSpec<'_>,
    controller: &mut dyn Controller,
    stop: &CancellationToken,
    on_window: &mut (dyn FnMut(&WindowSummary, &Decision) + Send),
) -> Result<BlockOutcome, TargetError> {
    let pool = open_pool(target, spec.cell).await?;
    let outcome = run_on(target, spec, (pool, 0, recorder(spec.cell)), controller, stop, on_window);
    Ok(outcome.await)
}

/// Runs one of many blocks, at the cell's own setting.
pub async fn run_stint<T: Target>(
    target: &T,
    spec: BlockSpec<'_>,
    stint: Stint<'_, T::Pool>,
    stop: &CancellationToken,
) -> BlockOutcome {
    let with = (Arc::clone(stint.pool), stint.first_row, Recorder::keeping(stint.span));
    run_on(target, spec, with, &mut Fixed(spec.cell.setting()), stop, &mut |_, _| ()).await
}

/// Measures what counts of a block: all of it, or what comes after the warm-up.
fn recorder(cell: &CellPlan) -> Recorder {
    let [from, to] = [cell.warm_up_s, cell.stop.seconds.unwrap_or_default()];
    match 0.0 < from && from < to {
        true => Recorder::keeping(Span {
            from: Duration::from_secs_f64(from),
            to: Duration::from_secs_f64(to),
        }),
        false => Recorder::default(),
    }
}

/// Opens the sessions of a cell, as many as its workers need at once, and makes them ready.
///
/// # Errors
///
/// Those of connecting.
pub async fn open_pool<T: Target>(target: &T, cell: &CellPlan) -> Result<T::Pool, TargetError> {
    let warm = match cell.controller {
        None => cell.sessions(),
        // That there is a server. The rest come as workers do: how many it grants may change.
        Some(_) => 1,
    };
    target.open_pool(cell.pool, warm, operation(cell), &warm_batch_rows(cell)).await
}

fn operation(cell: &CellPlan) -> Operation {
    let CellPlan { strategy, returning, prepared, .. } = *cell;
    Operation { strategy, returning, prepared }
}

/// Runs a block on sessions that are open, from a row on, into a recorder.
async fn run_on<T: Target, P: Pool>(
    target: &T,
    spec: BlockSpec<'_>,
    with: (P, u64, Recorder),
    controller: &mut dyn Controller,
    stop: &CancellationToken,
    on_window: &mut (dyn FnMut(&WindowSummary, &Decision) + Send),
) -> BlockOutcome {
    let before = sample(target).await;
    let first = controller.start();
    let shared = Arc::new(start(spec, first.setting, with, stop.child_token()));
    let cpu_before = clock::process_cpu_time();
    let mut block = Block {
        target,
        spec,
        shared: Arc::clone(&shared),
        cadence: Cadence::new(spec.window, first.wish),
        cpu: cpu_before,
        worker_cpu: clock::worker_cpu_time(spec.client_threads),
        last: before.clone(),
        wait_events: BTreeMap::new(),
    };
    let abandoned = block.drive(controller, on_window).await;
    let client_cpu = clock::process_cpu_time().saturating_sub(cpu_before);
    let wait_events = std::mem::take(&mut block.wait_events);
    drop(block);

    let stopped = stop.is_cancelled();
    let mut outcome = finish(shared, client_cpu, abandoned, stopped).await;
    outcome.wait_events = wait_events;
    // A server that left operations unanswered is not asked for counters.
    if !abandoned && let (Some(before), Some(after)) = (before, sample(target).await) {
        outcome.samples = Some((before, after));
    }
    outcome
}

fn start<P: Pool>(
    spec: BlockSpec<'_>,
    setting: Setting,
    (pool, first_row, recorder): (P, u64, Recorder),
    halt: CancellationToken,
) -> Shared<P> {
    let cell = spec.cell;
    let rows = (first_row, cell.stop.rows);
    Shared {
        pool,
        limiter: Limiter::new(setting),
        supply: Supply::start(spec.generator, spec.time, rows, cell.batch_rows),
        pacer: Pacer::new(cell.pace, spec.seed),
        recorder: Mutex::new(recorder),
        enough: Notify::new(),
        ledger: Mutex::default(),
        operation: operation(cell),
        transaction: cell.transaction,
        on_error: cell.on_error,
        seed: spec.seed,
        time: spec.time,
        started: clock::now(),
        deadline: cell.stop.seconds.map(Duration::from_secs_f64),
        drain_until: drain_until(cell),
        halt,
    }
}

/// Batches of the sizes that are known to come: full ones, and the last if it is smaller.
fn warm_batch_rows(cell: &CellPlan) -> Vec<u64> {
    let mut sizes = Vec::new();
    if cell.stop.rows.is_none_or(|rows| cell.batch_rows <= rows) {
        sizes.push(cell.batch_rows);
    }
    let rest = cell.stop.rows.map_or(0, |rows| rows % cell.batch_rows);
    if 0 < rest {
        sizes.push(rest);
    }
    sizes
}

fn drain_until(cell: &CellPlan) -> Option<Duration> {
    let seconds = cell.stop.seconds?;
    match cell.pace {
        Pace::Closed => None,
        Pace::Open { .. } => Some(Duration::from_secs_f64(seconds * (1.0 + DRAIN_SHARE))),
    }
}

/// A block under way.
struct Block<'a, T: Target, P> {
    target: &'a T,
    spec: BlockSpec<'a>,
    shared: Arc<Shared<P>>,
    cadence: Cadence,
    cpu: Duration,
    worker_cpu: Duration,
    last: Option<ServerSample>,
    wait_events: BTreeMap<String, u64>,
}

impl<T: Target, P: Pool> Block<'_, T, P> {
    /// Runs workers and windows until all workers have ended. Returns whether some were abandoned.
    async fn drive(
        &mut self,
        controller: &mut dyn Controller,
        on_window: &mut (dyn FnMut(&WindowSummary, &Decision) + Send),
    ) -> bool {
        let mut workers = JoinSet::new();
        let shared = Arc::clone(&self.shared);
        shared.recorder().wait_for(self.cadence.operations_wanted());
        // One future for all turns of the loop: a new one in each would begin to wait anew.
        let end = self.shared.drain_until.or(self.shared.deadline);
        let halt = self.shared.halt.clone();
        let grace =
            if self.spec.cell.controller.is_some() { STEERED_GRACE } else { DEADLINE_GRACE };
        let patience = patience(end.map(|end| self.shared.started + end + grace), halt);
        tokio::pin!(patience);
        let mut abandoned = false;
        let mut is_ending = false;
        loop {
            if !is_ending {
                self.spawn_up_to(&mut workers, self.shared.limiter.current().0.workers);
            }
            let look = self.cadence.next_look(clock::since(shared.started));
            let may_be_over = async {
                tokio::select! {
                    () = clock::sleep_until(shared.started + look) => (),
                    () = shared.enough.notified() => (),
                    () = shared.limiter.drained() => (),
                }
            };
            tokio::select! {
                () = may_be_over => {
                    if self.is_over() {
                        let (summary, decision) = self.roll(controller).await;
                        on_window(&summary, &decision);
                        self.begin_window(&decision);
                    }
                }
                Some(ended) = workers.join_next() => {
                    if let Err(error) = ended {
                        std::panic::resume_unwind(error.into_panic());
                    }
                    // A worker ends only when the block does.
                    is_ending = true;
                    if workers.is_empty() {
                        break;
                    }
                }
                () = &mut patience => {
                    workers.shutdown().await;
                    shared.recorder().forget_all();
                    abandoned = true;
                    break;
                }
            }
        }
        let (summary, decision) = self.roll(controller).await;
        if 0 < summary.operations + summary.errors || !summary.length.is_zero() {
            on_window(&summary, &decision);
        }
        abandoned
    }

    /// Workers beyond the limit wait for a permit, so that only growing needs new ones.
    fn spawn_up_to(&self, workers: &mut JoinSet<()>, count: u32) {
        while workers.len() < count as usize {
            workers.spawn(worker::work(Arc::clone(&self.shared)));
        }
    }

    fn is_over(&self) -> bool {
        let shared = &self.shared;
        let (operations, is_mixed) = shared.recorder().so_far();
        let has_earlier = shared.limiter.has_earlier();
        let now = clock::since(shared.started);
        self.cadence.is_over(now, SoFar { operations, is_mixed, has_earlier })
    }

    /// Puts a decision into force. A new setting begins with a window that drains, unless no operation
    /// of an earlier one is in flight.
    fn begin_window(&mut self, decision: &Decision) {
        let shared = &self.shared;
        shared.limiter.set(decision.setting);
        let is_draining = shared.limiter.has_earlier();
        let mut recorder = shared.recorder();
        if !is_draining {
            recorder.begin_epoch(shared.limiter.current().1);
        }
        self.cadence.begin(recorder.window_start(), decision.wish, is_draining);
        recorder.wait_for(self.cadence.operations_wanted());
    }

    async fn roll(&mut self, controller: &mut dyn Controller) -> (WindowSummary, Decision) {
        // A window that drains is soon over, and the next one tells what the server did in both.
        let activity = if self.cadence.is_draining() { None } else { self.activity().await };
        let shared = &self.shared;
        let cpu = clock::process_cpu_time();
        let worker_cpu = clock::worker_cpu_time(self.spec.client_threads);
        let at = clock::since(shared.started);
        let (setting, epoch) = shared.limiter.current();
        let summary = shared.recorder().roll(&Roll {
            at,
            epoch,
            batch_rows: setting.batch_rows,
            workers: setting.workers,
            backlog: shared.pacer.backlog(at, shared.deadline),
            client_cpu: cpu.saturating_sub(self.cpu),
            worker_cpu: worker_cpu.saturating_sub(self.worker_cpu),
            client_threads: self.spec.client_threads,
            activity,
        });
        (self.cpu, self.worker_cpu) = (cpu, worker_cpu);
        let decision = controller.decide(&summary);
        (summary, decision)
    }

    /// Asks the server what it did since the last window, and does not wait long for an answer.
    async fn activity(&mut self) -> Option<Activity> {
        let sample = clock::timeout(self.spec.window / 2, self.target.sample());
        let sample = sample.await.ok()?.ok()?;
        for event in &sample.wait_events {
            *self.wait_events.entry(event.clone()).or_default() += 1;
        }
        let last = self.last.replace(sample.clone())?;
        Some(Activity {
            wal_bytes: sample.wal_bytes.saturating_sub(last.wal_bytes),
            checkpoints: sample.checkpoints.saturating_sub(last.checkpoints),
            autovacuum_workers: sample.autovacuum_workers,
        })
    }
}

/// Asks for the server's counters, and does without them if it does not answer.
async fn sample<T: Target>(target: &T) -> Option<ServerSample> {
    clock::timeout(SAMPLE_TIMEOUT, target.sample()).await.ok()?.ok()
}

/// Waits for as long as operations in flight may take to end.
async fn patience(end: Option<Instant>, halt: CancellationToken) {
    let stopped = async {
        halt.cancelled().await;
        clock::sleep(STOP_GRACE).await;
    };
    let Some(end) = end else { return stopped.await };
    tokio::select! {
        () = stopped => (),
        () = clock::sleep_until(end) => (),
    }
}

async fn finish<P: Pool>(
    shared: Arc<Shared<P>>,
    client_cpu: Duration,
    abandoned: bool,
    stopped: bool,
) -> BlockOutcome {
    let shared = Arc::into_inner(shared).expect("all workers have ended");
    let now = clock::since(shared.started);
    let end = shared.deadline.map_or(now, |deadline| deadline.min(now));
    let has_rows_left = !shared.supply.is_exhausted();
    let never_started = if has_rows_left { shared.pacer.never_started(end) } else { 0 };
    shared.pool.close().await;
    let ledger = shared.ledger.into_inner().unwrap_or_else(PoisonError::into_inner);
    let recorder = shared.recorder.into_inner().unwrap_or_else(PoisonError::into_inner);
    let booked = ledger.confirmed.row_count() + ledger.in_doubt.row_count() + ledger.rows_failed;
    let reserved = shared.supply.rows_reserved();
    assert!(abandoned || booked == reserved, "{reserved} rows were handed out, {booked} booked");
    let ended = match &ledger.error {
        _ if abandoned => Ended::Abandoned,
        Some(_) if ledger.failed_fast => Ended::Failed,
        _ if stopped => Ended::Stopped,
        _ => Ended::Done,
    };
    let elapsed = match shared.deadline {
        Some(_) if ended == Ended::Done && has_rows_left => ledger.last_end.max(end),
        _ => ledger.last_end,
    };
    BlockOutcome {
        measurement: recorder.finish(),
        started: shared.started,
        elapsed,
        confirmed: ledger.confirmed,
        in_doubt: ledger.in_doubt,
        rows_failed: ledger.rows_failed,
        rejections: ledger.rejections,
        error: ledger.error,
        ended,
        never_started,
        overloaded: shared.pacer.is_overloaded() || 0 < never_started,
        client_cpu,
        samples: None,
        wait_events: BTreeMap::new(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
