//! A simulated database in virtual time: a latency model on tokio's timers, and rows kept as ranges.
//!
//! An operation takes `round_trip + per_row * rows`, a COMMIT `commit`; both are stretched by
//! `1 + slope * (in_flight - knee)` once more than `knee` are in flight. Above `limit` they are
//! refused, which takes a round trip: a refusal that took no time would never let a paused clock
//! advance. With tokio's clock paused, the same plan gives the same run.
//!
//! Beside it lies a truer server, [`Surface`], with its [`Weather`] and changes as a [`Case`]: pure,
//! so that `arena` can make whole windows from it at once.

mod case;
mod chance;
mod surface;
mod weather;

pub use self::{
    case::{Case, Course, Family},
    chance::Chance,
    surface::{Change, Cliff, Misfit, Surface},
    weather::{TICK_S, Weather, tick},
};

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    clock::{self, Instant},
    rows::{Finding, Generator, RowRange, RowSet, Verification},
    target::{
        Batch, Inserted, Operation, Pool, PoolSettings, ServerInfo, ServerSample, Session, Target,
        TargetError,
    },
};

/// The latency model, and what goes wrong.
#[derive(Clone, Copy, Debug)]
pub struct Model {
    /// What every operation takes at least.
    pub round_trip: Duration,
    /// What each row adds.
    pub per_row: Duration,
    /// What a COMMIT takes; an implicit one is part of the operation.
    pub commit: Duration,
    /// Operations in flight beyond which all get slower.
    pub knee: u32,
    /// By how much, for each operation beyond the knee.
    pub slope: f64,
    /// Operations in flight beyond which the server pushes back.
    pub limit: u32,
    /// A stall: nothing ends between these offsets from the target's creation.
    pub stall: Option<(Duration, Duration)>,
    /// The operation, counted from 0, whose connection is lost after it was committed.
    pub lost_after_commit: Option<u64>,
    /// The operation, counted from 0, whose connection is lost before it was committed.
    pub lost_before_commit: Option<u64>,
    /// The operation, counted from 0, that is rejected as bad data.
    pub rejected: Option<u64>,
}

impl Default for Model {
    fn default() -> Model {
        Model {
            round_trip: Duration::from_millis(10),
            per_row: Duration::from_micros(10),
            commit: Duration::from_millis(1),
            knee: 1_000,
            slope: 0.0,
            limit: 1_000,
            stall: None,
            lost_after_commit: None,
            lost_before_commit: None,
            rejected: None,
        }
    }
}

/// A simulated database.
#[derive(Clone, Debug)]
pub struct SimTarget {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    model: Model,
    created: Instant,
    in_flight: AtomicU32,
    operations: AtomicU64,
    table: Mutex<RowSet>,
}

impl SimTarget {
    /// Creates a database that follows `model`.
    pub fn new(model: Model) -> SimTarget {
        let shared = Shared {
            model,
            created: clock::now(),
            in_flight: AtomicU32::new(0),
            operations: AtomicU64::new(0),
            table: Mutex::default(),
        };
        SimTarget { shared: Arc::new(shared) }
    }

    /// Returns the rows of the table.
    pub fn table(&self) -> RowSet {
        self.shared.table().clone()
    }
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, RowSet> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Spends the time that a step of `alone` takes with what else is in flight; refuses above the
    /// limit.
    async fn spend(&self, alone: Duration) -> Result<(), TargetError> {
        let in_flight = InFlight::enter(&self.in_flight);
        let excess = in_flight.level.saturating_sub(self.model.knee);
        let time = alone.mul_f64(1.0 + self.model.slope * f64::from(excess));
        tokio::time::sleep(time).await;
        if let Some((start, end)) = self.model.stall {
            let now = self.created.elapsed();
            if start <= now && now < end {
                tokio::time::sleep(end - now).await;
            }
        }
        if self.model.limit < in_flight.level {
            return Err(TargetError::PushedBack {
                sqlstate: "53300".to_owned(),
                message: "too many operations in flight".to_owned(),
            });
        }
        Ok(())
    }
}

impl Target for SimTarget {
    type Pool = SimPool;

    async fn reset_table(&self) -> Result<(), TargetError> {
        *self.shared.table() = RowSet::default();
        Ok(())
    }

    async fn open_pool(
        &self,
        settings: PoolSettings,
        _: u32,
        _: Operation,
        _: &[u64],
    ) -> Result<SimPool, TargetError> {
        Ok(SimPool {
            shared: Arc::clone(&self.shared),
            free: Arc::new(Semaphore::new(settings.size_max as usize)),
            acquire_timeout_ms: settings.acquire_timeout_ms,
        })
    }

    async fn sample(&self) -> Result<ServerSample, TargetError> {
        Ok(ServerSample::default())
    }

    async fn verify(
        &self,
        _: Generator,
        confirmed: RowSet,
        in_doubt: RowSet,
    ) -> Result<Verification, TargetError> {
        let table = self.shared.table();
        let indexes = |set: &RowSet| -> Vec<u64> {
            set.ranges().flat_map(|range: RowRange| range.start..range.end).collect()
        };
        let count = |set: &RowSet, is_in: bool| {
            indexes(set).into_iter().filter(|index| table.contains(*index) == is_in).count() as u64
        };
        let is_known = |index: &u64| confirmed.contains(*index) || in_doubt.contains(*index);
        let foreign = indexes(&table).iter().filter(|index| !is_known(index)).count() as u64;
        let finding = |count: u64| Finding { count, examples: Vec::new() };
        Ok(Verification {
            rows_expected: confirmed.row_count(),
            rows_found: table.row_count(),
            missing: finding(count(&confirmed, false)),
            foreign: finding(foreign),
            in_doubt_present: count(&in_doubt, true),
            in_doubt_absent: count(&in_doubt, false),
            ..Verification::default()
        })
    }

    async fn info(&self) -> Result<ServerInfo, TargetError> {
        Ok(ServerInfo { version: "simulated".to_owned(), ..ServerInfo::default() })
    }

    async fn cancel(&self) {}

    async fn close(self) -> Result<(), TargetError> {
        Ok(())
    }
}

/// A pool of simulated sessions.
#[derive(Debug)]
pub struct SimPool {
    shared: Arc<Shared>,
    free: Arc<Semaphore>,
    acquire_timeout_ms: u64,
}

/// A simulated session on loan.
#[derive(Debug)]
pub struct SimLease {
    session: SimSession,
    _permit: OwnedSemaphorePermit,
}

impl std::ops::Deref for SimLease {
    type Target = SimSession;

    fn deref(&self) -> &SimSession {
        &self.session
    }
}

impl std::ops::DerefMut for SimLease {
    fn deref_mut(&mut self) -> &mut SimSession {
        &mut self.session
    }
}

impl Pool for SimPool {
    type Session = SimSession;
    type Lease = SimLease;

    async fn acquire(&self) -> Result<SimLease, TargetError> {
        let waited_ms = self.acquire_timeout_ms;
        let free = Arc::clone(&self.free).acquire_owned();
        let permit = tokio::time::timeout(Duration::from_millis(waited_ms), free).await;
        let permit = permit.map_err(|_| TargetError::PoolTimeout { waited_ms })?;
        let session = SimSession { shared: Arc::clone(&self.shared), transaction: None };
        Ok(SimLease { session, _permit: permit.expect("the semaphore is never closed") })
    }

    async fn close(self) {}
}

/// A simulated session.
#[derive(Debug)]
pub struct SimSession {
    shared: Arc<Shared>,
    /// Rows of the open transaction, if one is open.
    transaction: Option<Vec<RowRange>>,
}

impl Session for SimSession {
    async fn prepare(&mut self, _: Operation, _: u64) -> Result<bool, TargetError> {
        Ok(false)
    }

    async fn begin(&mut self) -> Result<(), TargetError> {
        self.transaction = Some(Vec::new());
        self.shared.spend(self.shared.model.round_trip).await
    }

    async fn commit(&mut self) -> Result<(), TargetError> {
        let rows = self.transaction.take().expect("begun before");
        self.shared.spend(self.shared.model.commit).await?;
        rows.into_iter().for_each(|range| self.shared.table().insert(range));
        Ok(())
    }

    async fn rollback(&mut self) {
        self.transaction = None;
    }

    async fn insert<B: Batch>(
        &mut self,
        _: Operation,
        batch: &mut B,
    ) -> Result<Inserted, TargetError> {
        let model = self.shared.model;
        let mut ranges = Vec::new();
        while let Some(slice) = batch.next().await {
            ranges.push(slice.range());
        }
        let rows = batch.row_count();
        let row_time = model.per_row * u32::try_from(rows).unwrap_or(u32::MAX);
        self.shared.spend(model.round_trip + row_time).await?;
        let number = self.shared.operations.fetch_add(1, Ordering::Relaxed);
        if model.rejected == Some(number) {
            let (sqlstate, message) = ("22000".to_owned(), "bad data".to_owned());
            return Err(TargetError::Rejected { sqlstate, message });
        }
        let lost = || TargetError::ConnectionLost { message: "simulated".to_owned() };
        if model.lost_before_commit == Some(number) {
            return Err(lost());
        }
        match &mut self.transaction {
            Some(transaction) => transaction.extend(ranges),
            None => ranges.into_iter().for_each(|range| self.shared.table().insert(range)),
        }
        if model.lost_after_commit == Some(number) {
            return Err(lost());
        }
        Ok(Inserted { rows, ..Inserted::default() })
    }
}

/// Counts one operation for as long as it lives, even if its future is dropped.
struct InFlight<'a> {
    counter: &'a AtomicU32,
    level: u32,
}

impl InFlight<'_> {
    fn enter(counter: &AtomicU32) -> InFlight<'_> {
        InFlight { counter, level: counter.fetch_add(1, Ordering::Relaxed) + 1 }
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.counter.fetch_sub(1, Ordering::Relaxed);
    }
}
