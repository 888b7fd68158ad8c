//! What a scenario file says: a serde mirror of the TOML, how it is read, and its schema.
//!
//! [`Scenario::read`] accepts what these types can hold. `plan::Plan::resolve` fills the defaults
//! and checks the ranges; nothing else reads these types. Every doc comment below is the help text
//! of `batchpilot schema`, and of the reader's error messages.
//!
//! **Invariant:** uses no other module of the crate.

mod check;
mod read;
mod schema;
mod sim;
mod source;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{
    read::{Fault, ScenarioError, ScenarioFile},
    schema::schema,
    sim::{
        Sim, SimChange, SimCliff, SimDips, SimErrors, SimFamily, SimServer, SimSpan, SimWeather,
    },
    source::{Position, Source},
};

/// One scenario: a target, a table, rows, and the cells to measure on them.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Short name; part of the results directory's name. Letters, digits, `-` and `_`.
    pub name: String,
    /// One line for people.
    pub title: Option<String>,
    /// Seed of the rows, of the order of blocks and of Poisson arrivals. Default 1.
    pub seed: Option<u64>,
    /// How often each cell is measured, each time as a block of its own. Default 5, 1 to 1,000.
    /// More repetitions give narrower intervals.
    pub repetitions: Option<u32>,
    /// Length of a window in milliseconds. Default 250, 10 to 60,000.
    pub window_ms: Option<u64>,
    /// Threads that run the workers. Default 1: for one client thread per session is rarely the
    /// limit, and every hand-over between threads costs more than it saves.
    pub client_threads: Option<u32>,
    /// Where to insert.
    #[serde(default)]
    pub target: Target,
    /// A simulated server to insert into, in virtual time, in place of a real one.
    pub sim: Option<Sim>,
    /// The table to insert into.
    #[serde(default)]
    pub table: Table,
    /// How values of some columns are made, for a table of your own.
    #[serde(default)]
    pub columns: Vec<Column>,
    /// The rows to insert.
    #[serde(default)]
    pub rows: Rows,
    /// When a block ends; a cell may say otherwise. Default after 100,000 rows, with a controller
    /// after 20 s.
    pub stop: Option<Stop>,
    /// The pool of sessions; a cell may say otherwise.
    pub pool: Option<Pool>,
    /// What to measure.
    pub cells: Vec<Cell>,
    /// Numbers that somebody published for these cells.
    #[serde(default)]
    pub claims: Vec<Claim>,
}

/// Where to insert. Without a URL here or on the command line, a private PostgreSQL is started.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// `postgresql://user@host:port/database`. Better kept out of the file: `--url`,
    /// `DATABASE_URL` and `PG*` name a server too, and win over this key.
    pub url: Option<String>,
    /// How to reach the private PostgreSQL. Default `unix`.
    pub connection: Option<Connection>,
}

/// The way to a private PostgreSQL.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Connection {
    /// Its Unix-domain socket.
    #[default]
    Unix,
    /// TCP to 127.0.0.1.
    Tcp,
}

/// The table to insert into. It is made in a schema of batchpilot's own and dropped at the end.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// Name of the table. Default `users`; with `ddl`, the only table that it makes.
    pub name: Option<String>,
    /// A file of your own DDL, from this file's folder: its table is filled instead of the article's.
    pub ddl: Option<String>,
    /// A table of the database, as `schema.table`: one made like it, with its indexes, constraints,
    /// defaults and triggers, is filled instead of the article's.
    pub like: Option<String>,
    /// `true` leaves foreign keys out; a table that has some is refused otherwise.
    pub without_foreign_keys: Option<bool>,
    /// With `like`: `true` leaves triggers out.
    pub without_triggers: Option<bool>,
    /// `true` makes an UNLOGGED table: much faster than what production does, and said loudly.
    pub unlogged: Option<bool>,
    /// Columns with a secondary B-tree index each. Default none.
    #[serde(default)]
    pub indexes: Vec<String>,
}

/// How the values of one column are made. Without it they follow from the column's type, its UNIQUE
/// constraints and its CHECKs, and a column with a default is left to the server.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Name of the column.
    pub name: String,
    /// All its values, as PostgreSQL reads them.
    pub values: Option<Vec<Literal>>,
    /// Its least and its greatest value: `[1, 100]` or `["2024-01-01", "2024-12-31"]`.
    pub range: Option<Vec<Literal>>,
    /// Its least and its greatest length, in characters, bytes, bits or elements: `[8, 24]`.
    pub length: Option<Vec<u32>>,
    /// In which order values come. Default `sequential` for what must be unique, else `uniform`.
    pub distribution: Option<Distribution>,
    /// The share of rows that have no value, 0 to 1. Default 0.
    pub null_share: Option<f64>,
    /// `true` leaves the column to the server: rows do not carry it.
    pub left_out: Option<bool>,
}

/// A value as the file writes it; PostgreSQL reads it as one of the column's type.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(untagged)]
pub enum Literal {
    /// Text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A number.
    Number(f64),
    /// `true` or `false`.
    Boolean(bool),
}

/// In which order the values of a column come.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Distribution {
    /// Any, all alike.
    Uniform,
    /// Most near the middle of the range.
    Normal,
    /// The first ones most often: number k about as often as 1/k.
    Zipf,
    /// One after the other.
    Sequential,
    /// Each once, in an order that looks random.
    Scattered,
}

/// The rows to insert.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Rows {
    /// What a row is. Default `article_user`: (name, email, age, created_at), id by the server.
    pub kind: Option<RowKind>,
    /// A CSV file of your own rows, from this file's folder, for a table of your own. Each line is a
    /// row, in the order of the file; `stop` defaults to the end of the file.
    pub csv: Option<String>,
    /// With `csv`: whether the first line names the columns, in any order. Default `true`; `false` takes
    /// the fields for the table's columns in their order.
    pub header: Option<bool>,
    /// With `csv`: what stands between fields. Default `,`.
    pub delimiter: Option<String>,
    /// With `csv`: what a field without quotes says that is NULL. Default: nothing, as in
    /// `COPY … (FORMAT csv)`.
    pub null_text: Option<String>,
    /// With `csv`: what becomes of a line that cannot be read. Default `error`.
    pub on_bad_line: Option<OnBadLine>,
}

/// What becomes of a line that cannot be read.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnBadLine {
    /// All such lines are counted, the first few are shown, and no row is inserted.
    #[default]
    Error,
    /// They are counted, the first few are shown, and they are left out.
    Skip,
}

/// What a row is.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RowKind {
    /// The article's user: id bigserial, name text, email text, age bigint, created_at timestamptz.
    #[default]
    ArticleUser,
}

/// When a block ends. With both keys, whichever comes first.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Stop {
    /// After this many rows.
    pub rows: Option<u64>,
    /// After this many seconds; operations in flight end first.
    pub seconds: Option<f64>,
    /// Of these the first ones that do not count: new sessions and an empty table are slower. What
    /// happens in them is inserted and read back, but is neither in rows/s nor in latencies. Default:
    /// 0.
    pub warm_up_seconds: Option<f64>,
}

/// The pool of sessions.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Pool {
    /// Most sessions open at once (Go's `SetMaxOpenConns`, HikariCP's `maximumPoolSize`).
    /// Default: the cell's workers. Below the workers, workers wait for each other; not
    /// possible where each keeps a session, as transactions of several operations ask.
    pub size_max: Option<u32>,
    /// Sessions kept open when idle (Go's `SetMaxIdleConns`, HikariCP's `minimumIdle`).
    /// Default: the smaller of workers and `size_max`.
    pub idle_min: Option<u32>,
    /// Longest wait for a session, in milliseconds (HikariCP's `connectionTimeout`). Default 30,000.
    pub acquire_timeout_ms: Option<u64>,
    /// Sessions idle for longer are closed down to `idle_min`, in milliseconds (Go's
    /// `SetConnMaxIdleTime`, HikariCP's `idleTimeout`). Default 600,000.
    pub idle_timeout_ms: Option<u64>,
}

/// One setting to measure.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Cell {
    /// Name of the cell, unique in the file.
    pub name: String,
    /// How an operation carries its batch.
    pub strategy: Strategy,
    /// Rows an operation carries. Default 1 for `single_row`, else 1,000. `multi_row` takes at
    /// most 65,535 divided by the number of columns (PostgreSQL's limit on parameters).
    pub batch_rows: Option<u64>,
    /// `pipelined` only: statements in flight on one session. Default: the smaller of
    /// `batch_rows` and 256.
    pub in_flight: Option<u32>,
    /// Workers: tasks that run operations at the same time. Default 1.
    pub workers: Option<u32>,
    /// Where transactions begin and end. Default `autocommit`.
    pub transaction: Option<Transaction>,
    /// `true` asks `RETURNING "id"` and reads the answer, as an ORM does. Default `false`.
    pub returning: Option<bool>,
    /// `false` parses the statement anew in every operation. Default `true`.
    pub prepared: Option<bool>,
    /// What an error does to the rest of the block. Default `fail_fast`, with a controller
    /// `collect`.
    pub on_error: Option<OnError>,
    /// Open loop at a rate; without it, closed loop: as fast as possible.
    pub pace: Option<Pace>,
    /// When this cell's blocks end, in place of the scenario's.
    pub stop: Option<Stop>,
    /// This cell's pool, in place of the scenario's.
    pub pool: Option<Pool>,
    /// Moves batch rows and workers while a block runs, in place of `batch_rows` and `workers`.
    /// Needs autocommit or explicit transactions and a closed loop.
    pub controller: Option<Controller>,
}

impl Cell {
    /// A cell that says only what it must.
    pub fn new(name: String, strategy: Strategy) -> Cell {
        Cell {
            name,
            strategy,
            batch_rows: None,
            in_flight: None,
            workers: None,
            transaction: None,
            returning: None,
            prepared: None,
            on_error: None,
            pace: None,
            stop: None,
            pool: None,
            controller: None,
        }
    }
}

/// What moves batch rows and workers, and within which bounds.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Controller {
    /// How it decides. Default `pilot`.
    pub policy: Option<Policy>,
    /// Least and most rows an operation carries; equal ones leave the workers alone to move. Default
    /// from 1 to what the strategy carries, and at most 65,535.
    pub batch_rows: Option<[u64; 2]>,
    /// Least and most workers; equal ones leave the batch alone to move. Default from 1 to 64, or to
    /// the pool's `size_max`. Never more than the server has sessions free.
    pub workers: Option<[u32; 2]>,
    /// Most that the 99th percentile of the service latency may be, in milliseconds: the most rows/s
    /// that keep it win. Default: no limit. Not for `fixed` and `variance`, which know none.
    pub p99_limit_ms: Option<f64>,
    /// `variance` only: its rule.
    pub variance: Option<Variance>,
}

/// How a controller decides.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// 1,000 rows and 8 workers, come what may.
    Fixed,
    /// The article's rule: halve the batch when the last 10 windows vary much, double it when they
    /// vary little.
    Variance,
    /// Additive increase, multiplicative decrease, in turn on both axes.
    Aimd,
    /// Gradient2 of concurrency-limits, on the workers.
    Gradient,
    /// A ramp, and then a hill climb that races.
    Climb,
    /// A model of the server, paired probes, and a guard against stalls.
    #[default]
    Pilot,
}

/// The article's rule.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Variance {
    /// What is watched. Default `latency`.
    pub signal: Option<Signal>,
    /// Least batch rows. Default 16; a larger one halves less often in vain.
    pub batch_rows_min: Option<u64>,
    /// Most batch rows. Default 512; a larger one grows further on a steady server.
    pub batch_rows_max: Option<u64>,
    /// Standard deviation of the last windows, as a share of their mean, below which the batch is
    /// doubled. Default 0.05; a larger one grows on noisier servers.
    pub low: Option<f64>,
    /// The same, above which the batch is halved. Default 0.15; a smaller one shrinks on quieter
    /// servers.
    pub high: Option<f64>,
}

/// What the article's rule watches.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// Rows a second.
    Rate,
    /// Mean service latency.
    #[default]
    Latency,
}

/// How an operation carries its batch.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// `INSERT … VALUES ($1, …)` for one row.
    SingleRow,
    /// Single-row INSERTs, many in flight on one session.
    Pipelined,
    /// `INSERT … VALUES ($1, …), ($5, …), …`.
    MultiRow,
    /// `INSERT … SELECT * FROM unnest($1, $2, …)`: an array for each column.
    Unnest,
    /// `COPY … FROM STDIN` in text format.
    CopyText,
    /// `COPY … FROM STDIN (FORMAT binary)`.
    CopyBinary,
}

/// Where transactions begin and end: `"autocommit"`, `"explicit"`, `"whole"` or `{ every = N }`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Transaction {
    /// One implicit transaction a statement.
    #[default]
    Autocommit,
    /// BEGIN … COMMIT around each operation, as GORM's Create does.
    Explicit,
    /// BEGIN … COMMIT around every N operations of a worker.
    Every(u32),
    /// One transaction around all that a worker does in a block, as GORM's CreateInBatches does.
    Whole,
}

/// What an error does to the rest of the block.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// The first error cancels the rest (Go's errgroup).
    #[default]
    FailFast,
    /// All run to their end, and all errors are reported (Go's WaitGroup).
    Collect,
}

/// An open loop: operations start when the schedule says, whether or not earlier ones are done.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Pace {
    /// Operations a second, over all workers.
    pub rate: f64,
    /// How starts are spread. Default `fixed`.
    pub arrival: Option<Arrival>,
    /// Operations that may be due and not yet started; beyond it the block is marked overloaded.
    /// Default 10,000.
    pub queue_max: Option<u64>,
}

/// How the starts of an open loop are spread.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Arrival {
    /// At equal distances.
    #[default]
    Fixed,
    /// As a Poisson process: exponential distances.
    Poisson,
}

/// A number that somebody published for a cell.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// The cell that it speaks of.
    pub cell: String,
    /// The number.
    pub value: f64,
    /// Its unit.
    pub unit: ClaimUnit,
    /// For `speedup`: the cell that it is relative to.
    pub baseline: Option<String>,
    /// Who published it, and where.
    pub source: String,
}

/// The unit of a claim.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum ClaimUnit {
    /// Rows a second.
    #[serde(rename = "rows/s")]
    RowsPerSecond,
    /// A ratio of rows a second to those of `baseline`.
    #[serde(rename = "speedup")]
    Speedup,
}
