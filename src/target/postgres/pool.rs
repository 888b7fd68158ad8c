//! The pool of sessions: deadpool, with the knobs of Go's `sql.DB` and of HikariCP.

use std::{sync::Arc, time::Duration};

use deadpool::managed::{
    self, Metrics, PoolError, QueueMode, RecycleError, RecycleResult, TimeoutType, Timeouts,
};
use deadpool_postgres::{ClientWrapper, Runtime};
use tokio::task::JoinHandle;
use tokio_postgres::{Config, Error};

use super::{PgSession, PgTarget, error, info, socket::Connector};
use crate::{
    rows::ColumnSpec,
    strategy::quoted,
    target::{Operation, Pool, PoolSettings, Session as _, TargetError},
};

/// How often sessions that were idle for too long are closed.
const REAP_PERIOD: Duration = Duration::from_millis(500);
const CREATE_TIMEOUT: Duration = Duration::from_secs(30);

/// A pool of sessions on one table.
#[derive(Debug)]
pub struct PgPool {
    pool: managed::Pool<Sessions>,
    settings: PoolSettings,
    address: String,
    flushes_statistics: bool,
    reaper: JoinHandle<()>,
}

/// Opens sessions for deadpool.
pub(crate) struct Sessions {
    connector: Connector,
    config: Config,
    search_path: String,
    table: String,
    columns: Arc<[ColumnSpec]>,
    key: Option<String>,
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Sessions").field("table", &self.table).finish_non_exhaustive()
    }
}

impl managed::Manager for Sessions {
    type Type = PgSession;
    type Error = Error;

    async fn create(&self) -> Result<PgSession, Error> {
        let opened = self.connector.connect(&self.config).await?;
        let client = ClientWrapper::new(opened.client, opened.task);
        client.batch_execute(&self.search_path).await?;
        let (columns, key) = (Arc::clone(&self.columns), self.key.clone());
        Ok(PgSession::new(client, opened.wire, self.table.clone(), columns, key))
    }

    async fn recycle(&self, session: &mut PgSession, _: &Metrics) -> RecycleResult<Error> {
        match session.is_lost() {
            true => Err(RecycleError::message("the connection was lost")),
            false => Ok(()),
        }
    }
}

/// A session on loan.
#[derive(Debug)]
pub struct PgLease(managed::Object<Sessions>);

impl std::ops::Deref for PgLease {
    type Target = PgSession;

    fn deref(&self) -> &PgSession {
        &self.0
    }
}

impl std::ops::DerefMut for PgLease {
    fn deref_mut(&mut self) -> &mut PgSession {
        &mut self.0
    }
}

pub(super) fn open(target: &PgTarget, settings: PoolSettings) -> Result<PgPool, TargetError> {
    let sessions = Sessions {
        connector: target.connector.clone(),
        config: target.options.config.clone(),
        search_path: format!("SET search_path TO {}", quoted(&target.schema)),
        table: target.table.clone(),
        columns: Arc::clone(target.generator.columns()),
        key: target.key.clone(),
    };
    let pool = managed::Pool::builder(sessions)
        .max_size(settings.size_max as usize)
        // The session used last is used next: where workers are fewer than they were, sessions that
        // are not needed stay idle, and only those that are have statements made for them.
        .queue_mode(QueueMode::Lifo)
        .wait_timeout(Some(Duration::from_millis(settings.acquire_timeout_ms)))
        .create_timeout(Some(CREATE_TIMEOUT))
        .runtime(Runtime::Tokio1)
        .build()
        .map_err(|error| TargetError::Failed { message: error.to_string(), sqlstate: None })?;
    let reaper = tokio::spawn(reap(pool.clone(), settings));
    let flushes_statistics = info::VERSION_THAT_FLUSHES <= target.version;
    Ok(PgPool { pool, settings, address: target.options.address(), flushes_statistics, reaper })
}

/// Closes sessions that were idle for too long, down to the least number of idle ones.
async fn reap(pool: managed::Pool<Sessions>, settings: PoolSettings) {
    let longest = Duration::from_millis(settings.idle_timeout_ms);
    loop {
        tokio::time::sleep(REAP_PERIOD).await;
        let mut spare = pool.status().available.saturating_sub(settings.idle_min as usize);
        pool.retain(|_, metrics| {
            let goes = 0 < spare && longest < metrics.last_used();
            spare -= usize::from(goes);
            !goes
        });
    }
}

impl PgPool {
    /// Opens `count` sessions at once and prepares their statements.
    pub(super) async fn warm(
        &self,
        count: u32,
        operation: Operation,
        batch_rows: &[u64],
    ) -> Result<(), TargetError> {
        let mut leases = Vec::new();
        for number in 1..=count {
            let mut lease = self.acquire().await.map_err(|error| match error {
                TargetError::PushedBack { message, sqlstate } => {
                    let message = format!("session {number} of {count}: {message}");
                    TargetError::Connect { message, sqlstate: Some(sqlstate) }
                }
                other => other,
            })?;
            for &rows in batch_rows {
                lease.prepare(operation, rows).await?;
            }
            leases.push(lease);
        }
        Ok(())
    }

    /// Sessions report their counters with a delay; asked to, they do at once (15 and later).
    async fn flush_statistics(&self) {
        if !self.flushes_statistics {
            return;
        }
        let mut leases = Vec::new();
        while 0 < self.pool.status().available {
            let Ok(mut lease) = self.acquire().await else { return };
            let flush = "SELECT pg_stat_force_next_flush()";
            if lease.batch_execute(flush).await.is_err() {
                return;
            }
            leases.push(lease);
        }
    }
}

impl Pool for PgPool {
    type Session = PgSession;
    type Lease = PgLease;

    async fn acquire(&self) -> Result<PgLease, TargetError> {
        // Without a wait there is no timer to be set.
        let at_once = Timeouts { wait: Some(Duration::ZERO), ..self.pool.timeouts() };
        let session = match self.pool.timeout_get(&at_once).await {
            Err(PoolError::Timeout(TimeoutType::Wait)) => self.pool.get().await,
            other => other,
        };
        let waited_ms = self.settings.acquire_timeout_ms;
        session.map(PgLease).map_err(|error| error::of_pool(error, &self.address, waited_ms))
    }

    async fn close(self) {
        let flush = tokio::time::timeout(Duration::from_secs(1), self.flush_statistics());
        drop(flush.await);
    }
}

impl Drop for PgPool {
    /// Closes all sessions: the reaper, which shares the pool, would keep them open.
    fn drop(&mut self) {
        self.reaper.abort();
        self.pool.close();
    }
}
