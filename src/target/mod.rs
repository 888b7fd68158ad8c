//! The seam between the harness and a database.
//!
//! A run is generic over [`Target`]: `cli` picks the implementation once, at the top.

mod info;
pub mod postgres;
pub mod sim;

pub use self::info::{Probe, ServerInfo};

use std::{future::Future, ops::DerefMut, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    rows::{CsvFacts, CsvSettings, Distribution, Generator, RowSet, RowSlice, Verification},
    strategy::Strategy,
};

/// The table that blocks fill, in batchpilot's own schema.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct TableSettings {
    /// Its name; empty for the only table of a DDL, until that was run.
    pub name: String,
    /// Whether it is UNLOGGED.
    pub unlogged: bool,
    /// Columns with a secondary index, beside those of the table itself.
    pub indexes: Vec<String>,
    /// Where it comes from.
    #[serde(default)]
    pub source: TableSource,
    /// What is done about foreign keys.
    #[serde(default)]
    pub foreign_keys: ForeignKeys,
    /// How values of some columns are made.
    #[serde(default)]
    pub columns: Vec<ColumnRule>,
    /// The file whose lines are the rows, in place of rows that are made up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csv: Option<CsvSettings>,
}

/// Where a table comes from.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TableSource {
    /// The article.
    #[default]
    Article,
    /// Statements of a file.
    Ddl {
        /// The file's name.
        file: String,
        /// What it says.
        text: String,
    },
    /// A table of the database.
    Like {
        /// Its name, as `schema.table`.
        table: String,
        /// What is done about its triggers.
        triggers: Triggers,
    },
}

/// What is done about the triggers of a table that is copied.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Triggers {
    /// The copy has them too.
    #[default]
    Copy,
    /// The copy has none.
    LeaveOut,
}

/// What is done about foreign keys.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ForeignKeys {
    /// A table that has some is refused.
    #[default]
    Refuse,
    /// The table is filled without them.
    LeaveOut,
}

/// What is known of the user's own table once it is made.
#[derive(Clone, Debug, Default)]
pub struct TableInfo {
    /// Its name.
    pub name: String,
    /// Columns sent with every row.
    pub columns: usize,
    /// Columns sent that are arrays, by name.
    pub arrays: Vec<String>,
    /// How many rows UNIQUE columns let there be, or the file holds, if not any number.
    pub rows_max: Option<u64>,
    /// What the user's own file was found to hold.
    pub csv: Option<CsvFacts>,
    /// Whether there is a column for `RETURNING` to ask back.
    pub has_key: bool,
    /// What a reader of the numbers should know.
    pub notes: Vec<String>,
    /// What whoever starts a run should know before rows go in.
    pub warnings: Vec<String>,
}

/// How the values of a column are made.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ColumnRule {
    /// The column.
    pub name: String,
    /// Its values, as the server reads them.
    pub values: Option<Vec<String>>,
    /// Its least and its greatest value, as the server reads them.
    pub range: Option<[String; 2]>,
    /// The least and the greatest length.
    pub length: Option<(u32, u32)>,
    /// In which order values come.
    pub distribution: Option<Distribution>,
    /// The share of rows without a value, 0 to 1.
    pub null_share: f64,
    /// Whether rows do not carry the column.
    pub is_left_out: bool,
}

impl ColumnRule {
    /// Has rows carry a column, and says nothing of its values.
    pub fn of(name: &str) -> ColumnRule {
        ColumnRule {
            name: name.to_owned(),
            values: None,
            range: None,
            length: None,
            distribution: None,
            null_share: 0.0,
            is_left_out: false,
        }
    }

    /// Leaves a column to the server.
    pub fn left_out(name: &str) -> ColumnRule {
        ColumnRule { is_left_out: true, ..ColumnRule::of(name) }
    }
}

/// The pool of sessions.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct PoolSettings {
    /// Most sessions open at once.
    pub size_max: u32,
    /// Sessions kept open when idle.
    pub idle_min: u32,
    /// Longest wait for a session, in milliseconds.
    pub acquire_timeout_ms: u64,
    /// Longest idle time of a session above `idle_min`, in milliseconds.
    pub idle_timeout_ms: u64,
}

/// What a session is asked to do with each batch.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Operation {
    /// How it carries its batch.
    pub strategy: Strategy,
    /// Whether ids are asked back.
    pub returning: bool,
    /// Whether the statement is prepared before its first use.
    pub prepared: bool,
}

/// What came of an operation.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Inserted {
    /// Rows that the server confirmed.
    pub rows: u64,
    /// What the client spent on turning rows into the wire format.
    pub encode: Duration,
}

/// The server's own counters at a moment. Differences of two samples say what happened between.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct ServerSample {
    /// Position of the write-ahead log, in bytes.
    pub wal_bytes: u64,
    /// Full-page images written; `None` where sessions cannot be asked to report them at once.
    pub wal_full_page_images: Option<u64>,
    /// Checkpoints begun, timed and requested.
    pub checkpoints: u64,
    /// Autovacuum workers running now.
    pub autovacuum_workers: u64,
    /// What each of our sessions that is not idle waits for now, as `type:event`; `CPU` for one
    /// that waits for nothing (PostgreSQL manual, `pg_stat_activity`).
    pub wait_events: Vec<String>,
}

/// A database that rows can be inserted into.
pub trait Target: Send + Sync + 'static {
    /// A pool of its sessions.
    type Pool: Pool;

    /// Returns what makes the rows of the table, from `seed`.
    fn generator(&self, seed: u64) -> Generator;

    /// Returns what is known of the user's own table; `None` of the article's, which the plan knows.
    fn own_table(&self) -> Option<&TableInfo>;

    /// Makes the table anew: empty, in the same state for every block, after a CHECKPOINT where
    /// the role may ask for one.
    ///
    /// # Errors
    ///
    /// [`TargetError::Failed`] if the table cannot be made.
    fn reset_table(&self) -> impl Future<Output = Result<(), TargetError>> + Send;

    /// Makes the table anew without a CHECKPOINT: the caller asks for one by another table's
    /// [`Target::reset_table`] on the same server, when there is less to write.
    ///
    /// # Errors
    ///
    /// [`TargetError::Failed`] if the table cannot be made.
    fn empty_table(&self) -> impl Future<Output = Result<(), TargetError>> + Send;

    /// Opens a pool, with its least number of idle sessions open and ready for `operation` on
    /// batches of each of `batch_rows`.
    ///
    /// # Errors
    ///
    /// Those of connecting.
    fn open_pool(
        &self,
        settings: PoolSettings,
        sessions_warm: u32,
        operation: Operation,
        batch_rows: &[u64],
    ) -> impl Future<Output = Result<Self::Pool, TargetError>> + Send;

    /// Reads the server's counters.
    ///
    /// # Errors
    ///
    /// Those of asking; a run goes on without counters.
    fn sample(&self) -> impl Future<Output = Result<ServerSample, TargetError>> + Send;

    /// Compares the table with the rows confirmed. Rows `in_doubt` may be there or not.
    ///
    /// # Errors
    ///
    /// Those of reading the table. A table that differs is not an error but a finding.
    fn verify(
        &self,
        generator: Generator,
        confirmed: RowSet,
        in_doubt: RowSet,
    ) -> impl Future<Output = Result<Verification, TargetError>> + Send;

    /// Says what the server is, and measures round trip and commit.
    ///
    /// # Errors
    ///
    /// Those of asking.
    fn info(&self) -> impl Future<Output = Result<ServerInfo, TargetError>> + Send;

    /// Asks the server to give up what [`Target::reset_table`] or [`Target::verify`] had it do, for a
    /// caller that waits for that no longer.
    fn cancel(&self) -> impl Future<Output = ()> + Send;

    /// Leaves nothing behind on the server.
    ///
    /// # Errors
    ///
    /// [`TargetError`], with the name of what is left behind.
    fn close(self) -> impl Future<Output = Result<(), TargetError>> + Send;
}

/// A pool of sessions.
pub trait Pool: Send + Sync + 'static {
    /// A session of it.
    type Session: Session;
    /// A session on loan; it goes back when dropped.
    type Lease: DerefMut<Target = Self::Session> + Send;

    /// Waits for a session.
    ///
    /// # Errors
    ///
    /// [`TargetError::PoolTimeout`] after the pool's acquire timeout, or those of connecting.
    fn acquire(&self) -> impl Future<Output = Result<Self::Lease, TargetError>> + Send;

    /// Closes all sessions, their statistics flushed to the server first.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// A share of a pool that several blocks use in turn: closing it leaves the sessions open.
impl<P: Pool> Pool for Arc<P> {
    type Session = P::Session;
    type Lease = P::Lease;

    fn acquire(&self) -> impl Future<Output = Result<P::Lease, TargetError>> + Send {
        self.as_ref().acquire()
    }

    /// Whoever has the last share closes the sessions, by taking the pool out of it.
    async fn close(self) {
        drop(self);
    }
}

/// One session. It runs one operation at a time.
pub trait Session: Send {
    /// Makes ready for `operation` on batches of `batch_rows`: what is prepared here is not timed.
    /// Returns whether anything had to be.
    ///
    /// # Errors
    ///
    /// Those of preparing the statement.
    fn prepare(
        &mut self,
        operation: Operation,
        batch_rows: u64,
    ) -> impl Future<Output = Result<bool, TargetError>> + Send;

    /// Begins a transaction.
    ///
    /// # Errors
    ///
    /// See [`TargetError`].
    fn begin(&mut self) -> impl Future<Output = Result<(), TargetError>> + Send;

    /// Commits the transaction.
    ///
    /// # Errors
    ///
    /// See [`TargetError`]. After [`TargetError::ConnectionLost`] its rows are in doubt.
    fn commit(&mut self) -> impl Future<Output = Result<(), TargetError>> + Send;

    /// Rolls the transaction back, if the session is still there.
    fn rollback(&mut self) -> impl Future<Output = ()> + Send;

    /// Inserts a batch.
    ///
    /// # Errors
    ///
    /// See [`TargetError`]. After [`TargetError::ConnectionLost`] outside a transaction the rows
    /// are in doubt.
    fn insert<B: Batch>(
        &mut self,
        operation: Operation,
        batch: &mut B,
    ) -> impl Future<Output = Result<Inserted, TargetError>> + Send;
}

/// The rows of one operation. Large batches come in slices, so that memory stays bounded.
pub trait Batch: Send {
    /// Returns how many rows the batch holds in all.
    fn row_count(&self) -> u64;

    /// Returns the next rows, or `None` after the last. The first slice is there at once.
    fn next(&mut self) -> impl Future<Output = Option<RowSlice>> + Send;

    /// Notes that the server has answered for one row more, in their order, without an error. A
    /// session whose statements each carry one row says so, whether or not a later one fails.
    fn acknowledge_row(&mut self);
}

/// Why something failed, in the terms that the engine acts on (design section 5).
#[derive(Clone, Debug, thiserror::Error)]
pub enum TargetError {
    /// The server cannot be reached, or does not let us in.
    #[error("{message}")]
    Connect {
        /// What, where, and the way out.
        message: String,
        /// `SQLSTATE`, if the server answered.
        sqlstate: Option<String>,
    },
    /// Busy: worth another attempt after a pause.
    #[error("the server pushed back ({sqlstate}): {message}")]
    PushedBack {
        /// Five characters.
        sqlstate: String,
        /// The server's words.
        message: String,
    },
    /// No session became free in time.
    #[error(
        "no session became free within {waited_ms} ms; raise pool.size_max or acquire_timeout_ms"
    )]
    PoolTimeout {
        /// The pool's acquire timeout.
        waited_ms: u64,
    },
    /// The session is gone.
    #[error("the connection was lost: {message}")]
    ConnectionLost {
        /// What was seen of it.
        message: String,
    },
    /// The data cannot be inserted, now or later.
    #[error("the server rejected the rows ({sqlstate}): {message}")]
    Rejected {
        /// Five characters.
        sqlstate: String,
        /// The server's words.
        message: String,
    },
    /// The table cannot be made, or rows cannot be made for it.
    #[error("{problem}")]
    Table {
        /// The key of the scenario that it is about, such as `columns[2].range`.
        key: Option<String>,
        /// What is wrong, and the way out.
        problem: String,
    },
    /// Anything else.
    #[error("{message}")]
    Failed {
        /// What was tried and what came back.
        message: String,
        /// `SQLSTATE`, if the server answered.
        sqlstate: Option<String>,
    },
}

/// `cannot_connect_now`: the server starts, stops or recovers.
const CANNOT_CONNECT_NOW: &str = "57P03";

impl TargetError {
    /// Returns whether there is no server to speak to, for now or for good: that says nothing of what
    /// one would take.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, TargetError::Connect { .. }) || self.code() == CANNOT_CONNECT_NOW
    }

    /// Returns the SQLSTATE, or the kind of error where there is none: the key of error counts.
    pub fn code(&self) -> &str {
        match self {
            TargetError::PushedBack { sqlstate, .. }
            | TargetError::Rejected { sqlstate, .. }
            | TargetError::Connect { sqlstate: Some(sqlstate), .. }
            | TargetError::Failed { sqlstate: Some(sqlstate), .. } => sqlstate,
            TargetError::Connect { sqlstate: None, .. } => "connect",
            TargetError::PoolTimeout { .. } => "pool_timeout",
            TargetError::Table { .. } => "table",
            TargetError::ConnectionLost { .. } => "connection_lost",
            TargetError::Failed { sqlstate: None, .. } => "failed",
        }
    }
}
