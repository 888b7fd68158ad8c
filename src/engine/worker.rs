//! A worker: takes batches and runs operations on sessions out of the pool, until the block ends.

use std::{
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{
    REJECTIONS_MAX, Rejection,
    limiter::Limiter,
    lock,
    pacer::Pacer,
    supply::{Reserved, Supply},
};
use crate::{
    clock::{self, Alarm, Instant, Time, since},
    measure::{OperationSample, Recorder},
    plan::{OnError, Transaction},
    rows::{RowRange, RowSet},
    target::{Batch, Inserted, Operation, Pool, Session, TargetError},
};

/// Attempts after the first that a pushed-back operation gets.
const RETRIES_MAX: usize = 6;
/// Key, among error counts, of operations of which the server confirmed too many or too few rows.
const MISCOUNTED: &str = "row_count";
const RETRY_DELAY_MIN: Duration = Duration::from_millis(5);
/// Attempts after the first to get a session where errors do not end the block: about a minute. A
/// server that restarts, or has given all its sessions away, costs no rows.
const SESSION_RETRIES_MAX: usize = 66;
const SESSION_DELAY_MAX: Duration = Duration::from_secs(1);

/// What all workers of a block share.
#[derive(Debug)]
pub(crate) struct Shared<P> {
    pub(super) pool: P,
    pub(super) limiter: Limiter,
    pub(super) supply: Supply,
    pub(super) pacer: Pacer,
    pub(super) recorder: Mutex<Recorder>,
    /// Told when a window has the operations that it waits for.
    pub(super) enough: Notify,
    pub(super) ledger: Mutex<Ledger>,
    pub(super) operation: Operation,
    pub(super) transaction: Transaction,
    pub(super) on_error: OnError,
    pub(super) seed: u64,
    pub(super) time: Time,
    pub(super) started: Instant,
    /// Operations due at or past it do not start, as an offset from `started`.
    pub(super) deadline: Option<Duration>,
    /// Open loop only: operations due before the deadline start no later than this.
    pub(super) drain_until: Option<Duration>,
    /// Cancelled by a stop from outside, and by the first error of a block that fails fast.
    pub(super) halt: CancellationToken,
}

/// Where every row ended.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(super) confirmed: RowSet,
    pub(super) in_doubt: RowSet,
    pub(super) rows_failed: u64,
    pub(super) rejections: Vec<Rejection>,
    pub(super) error: Option<TargetError>,
    pub(super) failed_fast: bool,
    /// Offset of the last confirmation from the block's start.
    pub(super) last_end: Duration,
}

/// A session that a worker keeps for as long as a transaction is open on it.
struct Held<L> {
    lease: L,
    /// Operations of the open transaction.
    operations: u32,
    /// Their rows.
    ranges: Vec<RowRange>,
}

/// What one attempt measured.
struct Attempt {
    pool_wait: Duration,
    was_made_ready: bool,
    inserted: Inserted,
    commit: Option<Duration>,
    service: Duration,
    ended: Instant,
    /// Rows of earlier operations that this attempt's COMMIT confirmed.
    earlier: Vec<RowRange>,
}

/// Why an attempt failed, and what that means for rows.
struct Failure {
    error: TargetError,
    /// Whether the server may have committed.
    in_doubt: bool,
    /// Rows of earlier operations of the same transaction, which share its fate.
    earlier: Vec<RowRange>,
    /// How many operations those were.
    operations_earlier: u32,
    /// Whether there was no session to run it on.
    without_session: bool,
}

/// Runs operations until the block ends.
pub(super) async fn work<P: Pool>(shared: std::sync::Arc<Shared<P>>) {
    let mut held = None;
    let mut alarm = Alarm::new(shared.time);
    while shared.run_next(&mut held, &mut alarm).await {}
    if let Some(held) = held {
        shared.commit_rest(held).await;
    }
}

impl<P> Shared<P> {
    pub(super) fn recorder(&self) -> MutexGuard<'_, Recorder> {
        lock(&self.recorder)
    }

    /// Returns whether no further operation may start.
    fn is_over(&self, now: Instant) -> bool {
        self.is_out_of_time(now) || self.supply.is_exhausted()
    }

    /// Returns whether the block is to end, whatever rows are left.
    fn is_out_of_time(&self, now: Instant) -> bool {
        let end = self.drain_until.or(self.deadline);
        self.halt.is_cancelled() || end.is_some_and(|end| self.started + end <= now)
    }

    /// Waits for the next intended start and returns it, or `None` when the block is over.
    async fn next_start(&self, alarm: &mut Alarm) -> Option<Instant> {
        let now = clock::now();
        if self.is_over(now) {
            return None;
        }
        let due = self.started + self.pacer.next(now - self.started, self.deadline)?;
        if now < due {
            tokio::select! {
                () = alarm.wait_until(due) => (),
                () = self.halt.cancelled() => return None,
            }
        }
        Some(due)
    }

    /// Takes in an operation that ended well.
    fn record(&self, number: usize, sample: &OperationSample, ended: Instant) {
        let ended = ended.saturating_duration_since(self.started);
        let mut recorder = self.recorder();
        recorder.keep(sample, ended);
        if recorder.record(number, sample, ended) {
            self.enough.notify_one();
        }
    }

    fn confirm(&self, ranges: impl IntoIterator<Item = RowRange>, ended: Instant) {
        let mut ledger = lock(&self.ledger);
        ranges.into_iter().for_each(|range| ledger.confirmed.insert(range));
        ledger.last_end = ledger.last_end.max(ended - self.started);
    }

    /// Books an operation that ended in an error, and ends the block if that is what was asked.
    fn fail(&self, failure: Failure, rows: Vec<RowRange>) {
        self.recorder().record_error(failure.error.code());
        let mut ledger = lock(&self.ledger);
        let all = failure.earlier.iter().chain(&rows);
        if failure.in_doubt {
            all.for_each(|&range| ledger.in_doubt.insert(range));
        } else {
            ledger.rows_failed += all.map(|range| range.row_count()).sum::<u64>();
            self.recorder().record_rolled_back(failure.operations_earlier);
        }
        if let TargetError::Rejected { sqlstate, message } = &failure.error
            && ledger.rejections.len() < REJECTIONS_MAX
        {
            let (code, message) = (sqlstate.clone(), message.clone());
            let in_doubt = failure.in_doubt;
            ledger.rejections.push(Rejection { rows, code, message, in_doubt });
        }
        self.end_with(&mut ledger, failure.error);
    }

    /// Notes that the server confirmed an operation, but not all of its rows. They are all expected
    /// in the table: the check names those that are not there, and makes the block invalid.
    fn miscounted(&self, sent: u64, confirmed: u64) {
        let message = format!("{sent} rows were sent and the server confirmed {confirmed}");
        self.recorder().record_error(MISCOUNTED);
        self.end_with(&mut lock(&self.ledger), TargetError::Failed { message, sqlstate: None });
    }

    fn end_with(&self, ledger: &mut Ledger, error: TargetError) {
        if self.on_error == OnError::FailFast && !ledger.failed_fast {
            ledger.failed_fast = true;
            ledger.error = Some(error);
            self.halt.cancel();
        } else {
            ledger.error.get_or_insert(error);
        }
    }
}

impl<P: Pool> Shared<P> {
    /// Runs the next operation; returns `false` when there is none.
    async fn run_next(&self, held: &mut Option<Held<P::Lease>>, alarm: &mut Alarm) -> bool {
        let mut permit = self.limiter.acquire().await;
        let Some(due) = self.next_start(alarm).await else { return false };
        let (setting, epoch) = permit.start();
        let rows = self.supply.reserve(setting.batch_rows);
        if rows == 0 {
            return false;
        }
        let (batch, taken_up) = Reserved::new(&self.supply, rows).await;
        // A closed loop intends to start when its rows are there; rows are not in the measured path.
        let intended = if self.pacer.is_open() { due } else { taken_up };
        self.run(held, batch, intended, taken_up, epoch).await;
        true
    }

    async fn run(
        &self,
        held: &mut Option<Held<P::Lease>>,
        mut batch: Reserved<'_>,
        intended: Instant,
        taken_up: Instant,
        epoch: u64,
    ) {
        let number = self.recorder().begin(taken_up.saturating_duration_since(self.started));
        let mut asked = taken_up;
        let builder = ExponentialBuilder::default()
            .with_min_delay(RETRY_DELAY_MIN)
            .with_jitter()
            .with_jitter_seed(self.seed ^ batch.first_row());
        let mut delays = builder.with_max_times(RETRIES_MAX).build();
        let mut waits =
            builder.with_max_delay(SESSION_DELAY_MAX).with_max_times(SESSION_RETRIES_MAX).build();
        loop {
            match self.attempt(held, &mut batch, asked).await {
                Ok(attempt) => {
                    let sample = OperationSample {
                        rows: attempt.inserted.rows,
                        epoch,
                        pool_wait: attempt.pool_wait,
                        queue_wait: taken_up.saturating_duration_since(intended),
                        encode: attempt.inserted.encode,
                        commit: attempt.commit,
                        service: attempt.service,
                        response: attempt.ended - intended,
                        rows_wait: batch.rows_wait(),
                        was_made_ready: attempt.was_made_ready,
                    };
                    self.record(number, &sample, attempt.ended);
                    self.settle(held, attempt, batch).await;
                    return;
                }
                Err(failure) => {
                    let waits_on = failure.without_session && self.on_error == OnError::Collect;
                    let delay = match is_worth_another(&failure) {
                        true if waits_on => {
                            waits.next().filter(|_| !self.is_out_of_time(clock::now()))
                        }
                        true => delays.next(),
                        false => None,
                    };
                    let Some(delay) = delay else {
                        self.recorder().forget(number);
                        return self.give_up(failure, batch).await;
                    };
                    match failure.error.is_unreachable() {
                        true => self.recorder().record_unreachable(failure.error.code()),
                        false => self.recorder().record_pushed_back(failure.error.code()),
                    }
                    batch.rewind();
                    clock::sleep(delay).await;
                    asked = clock::now();
                }
            }
        }
    }

    /// Books the rows of an operation that ended well: confirmed, or waiting for their COMMIT.
    async fn settle(
        &self,
        held: &mut Option<Held<P::Lease>>,
        attempt: Attempt,
        batch: Reserved<'_>,
    ) {
        let ranges = batch.into_ranges().await;
        match held {
            Some(held) => held.ranges.extend(ranges),
            None => self.confirm(attempt.earlier.into_iter().chain(ranges), attempt.ended),
        }
    }

    /// Books the rows of an operation that ended in an error. Of rows that each were a transaction,
    /// those that the server had answered for are confirmed, and the others in doubt.
    async fn give_up(&self, failure: Failure, batch: Reserved<'_>) {
        let is_implicit = self.transaction == Transaction::Autocommit;
        let acknowledged = if is_implicit { batch.rows_acknowledged() } else { 0 };
        let (confirmed, rest) = split(batch.into_ranges().await, acknowledged);
        if !confirmed.is_empty() {
            self.confirm(confirmed, clock::now());
        }
        self.fail(failure, rest);
    }

    /// Tries the operation once. A transaction that goes on is left in `held`.
    async fn attempt(
        &self,
        held: &mut Option<Held<P::Lease>>,
        batch: &mut Reserved<'_>,
        asked: Instant,
    ) -> Result<Attempt, Failure> {
        let mut session = match held.take() {
            Some(held) => held,
            None => match self.pool.acquire().await {
                Ok(lease) => Held { lease, operations: 0, ranges: Vec::new() },
                Err(error) => {
                    let earlier = Vec::new();
                    return Err(Failure {
                        error,
                        in_doubt: false,
                        earlier,
                        operations_earlier: 0,
                        without_session: true,
                    });
                }
            },
        };
        let acquired = clock::now();
        let operations_earlier = session.operations;
        let outcome = self.insert_on(&mut session, batch, acquired).await;
        match outcome {
            Err((error, in_doubt)) => {
                if self.transaction != Transaction::Autocommit && !in_doubt {
                    session.lease.rollback().await;
                }
                let (earlier, without_session) = (session.ranges, false);
                Err(Failure { error, in_doubt, earlier, operations_earlier, without_session })
            }
            Ok((was_made_ready, inserted, commit, [started, ended])) => {
                let is_open = self.transaction != Transaction::Autocommit && commit.is_none();
                let earlier =
                    if is_open { Vec::new() } else { std::mem::take(&mut session.ranges) };
                if is_open {
                    *held = Some(session);
                }
                let (pool_wait, service) = (acquired - asked, ended - started);
                Ok(Attempt { pool_wait, was_made_ready, inserted, commit, service, ended, earlier })
            }
        }
    }

    /// Runs the operation's round trips: the measured part, of which it returns start and end. An
    /// error says whether the server may have committed.
    async fn insert_on(
        &self,
        session: &mut Held<P::Lease>,
        batch: &mut Reserved<'_>,
        acquired: Instant,
    ) -> Result<(bool, Inserted, Option<Duration>, [Instant; 2]), (TargetError, bool)> {
        let sure = |error| (error, false);
        let is_implicit = self.transaction == Transaction::Autocommit;
        let lost = |error: TargetError, was_committing: bool| {
            let is_lost = matches!(error, TargetError::ConnectionLost { .. });
            (error, is_lost && was_committing)
        };
        let prepared = session.lease.prepare(self.operation, batch.row_count()).await;
        let was_made_ready = prepared.map_err(sure)?;
        let started = if was_made_ready { clock::now() } else { acquired };
        if !is_implicit && session.operations == 0 {
            session.lease.begin().await.map_err(sure)?;
        }
        let inserted = session.lease.insert(self.operation, batch).await;
        // Of statements that each are a transaction, some may have been committed.
        let is_partial =
            is_implicit && self.operation.strategy.is_a_statement_a_row() && 1 < batch.row_count();
        let inserted = inserted.map_err(|error| match is_partial {
            true => (error, true),
            false => lost(error, is_implicit),
        })?;
        if inserted.rows != batch.row_count() {
            self.miscounted(batch.row_count(), inserted.rows);
        }
        session.operations += 1;
        let commit = match self.transaction {
            Transaction::Every(operations) if operations <= session.operations => {
                let before_commit = clock::now();
                session.lease.commit().await.map_err(|error| lost(error, true))?;
                Some(since(before_commit))
            }
            _ => None,
        };
        Ok((was_made_ready, inserted, commit, [started, clock::now()]))
    }

    /// Commits what a worker's last transaction holds.
    async fn commit_rest(&self, mut held: Held<P::Lease>) {
        let started = clock::now();
        match held.lease.commit().await {
            Ok(()) => {
                self.recorder().record_commit(since(started));
                self.confirm(held.ranges, clock::now());
            }
            Err(error) => {
                let in_doubt = matches!(error, TargetError::ConnectionLost { .. });
                let (earlier, operations_earlier) = (held.ranges, held.operations);
                let without_session = false;
                let failure =
                    Failure { error, in_doubt, earlier, operations_earlier, without_session };
                self.fail(failure, Vec::new());
            }
        }
    }
}

/// Splits ranges after their first `rows` rows.
fn split(ranges: Vec<RowRange>, rows: u64) -> (Vec<RowRange>, Vec<RowRange>) {
    let (mut first, mut rest, mut left) = (Vec::new(), Vec::new(), rows);
    for range in ranges {
        let middle = range.start + left.min(range.row_count());
        left -= middle - range.start;
        first.push(RowRange { end: middle, ..range });
        rest.push(RowRange { start: middle, ..range });
    }
    let is_empty = |range: &RowRange| range.row_count() == 0;
    first.retain(|range| !is_empty(range));
    rest.retain(|range| !is_empty(range));
    (first, rest)
}

/// An operation is tried again if the server asked for it, or lets nobody in where it did before,
/// and if no earlier operation went down with its transaction: those would have to be sent again
/// too.
fn is_worth_another(failure: &Failure) -> bool {
    let is_passing = matches!(
        failure.error,
        TargetError::PushedBack { .. } | TargetError::Connect { sqlstate: None, .. }
    );
    is_passing && !failure.in_doubt && failure.earlier.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_split_after_any_row() {
        let ranges = |ends: &[(u64, u64)]| -> Vec<RowRange> {
            ends.iter().map(|&(start, end)| RowRange { start, end }).collect()
        };
        for (rows, first, rest) in [
            (0, &[][..], &[(0, 3), (7, 9)][..]),
            (2, &[(0, 2)], &[(2, 3), (7, 9)]),
            (3, &[(0, 3)], &[(7, 9)]),
            (4, &[(0, 3), (7, 8)], &[(8, 9)]),
            (5, &[(0, 3), (7, 9)], &[]),
        ] {
            assert_eq!(split(ranges(&[(0, 3), (7, 9)]), rows), (ranges(first), ranges(rest)));
        }
    }
}
