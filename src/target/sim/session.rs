//! Sessions of a simulated server, and their pool.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    Mishap,
    server::{Server, Step},
};
use crate::{
    clock::{self, Instant},
    rows::RowRange,
    target::{Batch, Inserted, Operation, Pool, PoolSettings, Session, TargetError},
};

/// A pool of simulated sessions.
#[derive(Debug)]
pub struct SimPool {
    server: Arc<Server>,
    free: Arc<Semaphore>,
    idle: Arc<Idle>,
    acquire_timeout_ms: u64,
}

/// Sessions that nobody uses, the last one used on top.
type Idle = Mutex<Vec<SimSession>>;

fn lock(idle: &Idle) -> MutexGuard<'_, Vec<SimSession>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SimPool {
    /// Opens a pool, with its first sessions open at second 0 of the block.
    pub(super) fn open(
        server: &Arc<Server>,
        settings: PoolSettings,
        sessions_warm: u32,
    ) -> Result<SimPool, TargetError> {
        server.open(sessions_warm)?;
        let idle = (0..sessions_warm).map(|_| SimSession::new(server, false)).collect();
        Ok(SimPool {
            server: Arc::clone(server),
            free: Arc::new(Semaphore::new(settings.size_max as usize)),
            idle: Arc::new(Mutex::new(idle)),
            acquire_timeout_ms: settings.acquire_timeout_ms,
        })
    }

    /// Takes a session that is open already, if the server has not ended it.
    fn take_idle(&self) -> Option<SimSession> {
        let mut idle = lock(&self.idle);
        idle.retain(|session| !session.server.has_ended(session.opened));
        idle.pop()
    }
}

impl Pool for SimPool {
    type Session = SimSession;
    type Lease = SimLease;

    async fn acquire(&self) -> Result<SimLease, TargetError> {
        let waited_ms = self.acquire_timeout_ms;
        let free = Arc::clone(&self.free).acquire_owned();
        let permit = clock::timeout(Duration::from_millis(waited_ms), free).await;
        let permit = permit.map_err(|_| TargetError::PoolTimeout { waited_ms })?;
        let permit = permit.expect("the semaphore is never closed");
        let session = match self.take_idle() {
            Some(session) => session,
            None => {
                self.server.connect().await?;
                SimSession::new(&self.server, true)
            }
        };
        Ok(SimLease { session: Some(session), idle: Arc::clone(&self.idle), _permit: permit })
    }

    async fn close(self) {}
}

/// A simulated session on loan.
#[derive(Debug)]
pub struct SimLease {
    session: Option<SimSession>,
    idle: Arc<Idle>,
    _permit: OwnedSemaphorePermit,
}

impl std::ops::Deref for SimLease {
    type Target = SimSession;

    fn deref(&self) -> &SimSession {
        self.session.as_ref().expect("is there until it is given back")
    }
}

impl std::ops::DerefMut for SimLease {
    fn deref_mut(&mut self) -> &mut SimSession {
        self.session.as_mut().expect("is there until it is given back")
    }
}

impl Drop for SimLease {
    fn drop(&mut self) {
        let session = self.session.take().filter(|session| !session.is_lost);
        lock(&self.idle).extend(session);
    }
}

/// A simulated session.
#[derive(Debug)]
pub struct SimSession {
    server: Arc<Server>,
    opened: Instant,
    /// Whether it was opened while the block ran, and not used yet.
    is_new: bool,
    is_lost: bool,
    /// Rows of the open transaction, if one is open.
    transaction: Option<Vec<RowRange>>,
}

impl SimSession {
    /// The session that the server has let in.
    fn new(server: &Arc<Server>, is_new: bool) -> SimSession {
        let server = Arc::clone(server);
        SimSession { server, opened: clock::now(), is_new, is_lost: false, transaction: None }
    }

    async fn take(&mut self, step: Step) -> Result<(), TargetError> {
        let taken = self.server.take(step, Some(self.opened)).await;
        self.is_lost |= matches!(taken, Err(TargetError::ConnectionLost { .. }));
        taken
    }

    fn lose(&mut self) -> TargetError {
        self.is_lost = true;
        TargetError::ConnectionLost { message: "the simulated connection was cut".to_owned() }
    }
}

impl Drop for SimSession {
    fn drop(&mut self) {
        self.server.disconnect();
    }
}

impl Session for SimSession {
    async fn prepare(&mut self, _: Operation, _: u64) -> Result<bool, TargetError> {
        Ok(std::mem::take(&mut self.is_new))
    }

    async fn begin(&mut self) -> Result<(), TargetError> {
        self.transaction = Some(Vec::new());
        self.take(Step::Begin).await
    }

    async fn commit(&mut self) -> Result<(), TargetError> {
        let rows = self.transaction.take().expect("begun before");
        self.take(Step::Commit).await?;
        self.server.insert(rows);
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
        let mut ranges = Vec::new();
        while let Some(slice) = batch.next().await {
            ranges.push(slice.range());
        }
        let rows = batch.row_count();
        self.take(Step::Insert { rows, commits: self.transaction.is_none() }).await?;
        let mishap = self.server.mishap();
        if let Some(Mishap::Rejected(_)) = mishap {
            let (sqlstate, message) = ("22000".to_owned(), "bad data".to_owned());
            return Err(TargetError::Rejected { sqlstate, message });
        }
        if matches!(mishap, Some(Mishap::LostBeforeCommit(_))) || self.server.is_cut() {
            return Err(self.lose());
        }
        match &mut self.transaction {
            Some(transaction) => transaction.extend(ranges),
            None => self.server.insert(ranges),
        }
        if matches!(mishap, Some(Mishap::LostAfterCommit(_))) || self.server.is_cut() {
            return Err(self.lose());
        }
        Ok(Inserted { rows, ..Inserted::default() })
    }
}
