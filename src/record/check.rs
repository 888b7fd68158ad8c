//! The record of a check: both arms, the pairs as they came, and what the gate made of them.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::Path,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    Host, RecordError,
    folder::{Folder, at, csv_error, replace},
};
use crate::{
    gate::{
        Advice, Arm, Arms, Block, Check, Conclusion, Evidence, Fault, Options, Outcome, Timing,
        WarmUp,
    },
    plan::Plan,
    target::ServerInfo,
};

/// Name of the file of a check.
pub const CHECK: &str = "check.json";

const PAIRS: &str = "pairs.csv";

/// Version of the format of `check.json`. A reader refuses others. 2 counts windows by arm.
pub const CHECK_SCHEMA_VERSION: u32 = 2;

/// One check. It is written anew after each pair: at any moment it says what is known so far.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct CheckRecord {
    /// See [`CHECK_SCHEMA_VERSION`].
    pub check_schema_version: u32,
    /// Version of batchpilot, and the commit it was built from if that is known.
    pub batchpilot: String,
    /// The command line's words, URLs left out.
    pub command: String,
    /// Short name: that of the scenario.
    pub name: String,
    /// When it began, in UTC.
    pub started_at: String,
    /// When it ended, in UTC; `None` if it was killed.
    pub finished_at: Option<String>,
    /// Whether it ran to its own end: not killed, not stopped, and not ended by an error.
    pub complete: bool,
    /// What is compared with what.
    pub comparison: Comparison,
    /// Both arms.
    pub arms: Arms<ArmRecord>,
    /// The machine that batchpilot ran on.
    pub client: Host,
    /// One-minute load average before the check.
    pub load_before: f64,
    /// Share of the machine's CPU time that was not idle just before the check, 0 to 1.
    pub cpu_busy_before: Option<f64>,
    /// Seed of the rows and of the order of blocks.
    pub seed: u64,
    /// The constants of the gate.
    pub options: Options,
    /// What was checked, in the order of running: one entry a cell of the scenario that was begun.
    pub cells: Vec<CellCheck>,
    /// Why it ended before its end, if it did so by an error.
    pub error: Option<String>,
    /// What a reader should know, in words.
    pub notes: Vec<String>,
}

/// What is compared with what.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Comparison {
    /// Two scenario files.
    Scenarios,
    /// Two servers.
    Servers,
    /// Two schemas of a table.
    Schemas,
    /// An arm with itself: how much this machine makes up. A failure is a false one.
    Null(Arm),
}

/// One arm.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ArmRecord {
    /// What it is called: a file, an address, a git reference and a file.
    pub label: String,
    /// What was run, as resolved. It has no blocks of its own: pairs take their place.
    pub plan: Plan,
    /// What it ran on; `None` until it was asked.
    pub server: Option<ServerInfo>,
    /// Whether batchpilot started the server.
    pub private_server: bool,
    /// File system under the private server's data, as `type on device`.
    pub storage: Option<String>,
}

/// The check of one cell.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct CellCheck {
    /// Index of the cell in both plans.
    pub cell: usize,
    /// Its name.
    pub name: String,
    /// Length of all blocks; `None` until the first warm-up is over.
    pub timing: Option<Timing>,
    /// When and how its sessions began: one, or two where a failure was to be confirmed.
    pub sessions: Vec<SessionRecord>,
    /// Pairs, looks and decisions.
    pub check: Check,
    /// What would make the numbers lie.
    pub evidence: Evidence,
    /// What its tables were found to hold.
    pub tables: TablesRead,
    /// Errors and push-back by SQLSTATE.
    pub errors: Arms<BTreeMap<String, u64>>,
    /// The first error of an insert, in words.
    pub error: Option<String>,
    /// What it says; while it goes on, what it would say if it ended here.
    pub outcome: Outcome,
    /// Remarks on the last session, which decide nothing.
    pub advice: Vec<Advice>,
}

/// How a session began.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct SessionRecord {
    /// When, in UTC.
    pub started_at: String,
    /// The arm whose connections and tables were made first.
    pub created_first: Arm,
    /// How its warm-up ended; [`WarmUp::GoOn`] while it goes on.
    pub warm_up: WarmUp,
    /// How long that took, both arms, in seconds.
    pub warm_up_s: f64,
    /// Rows a second in each window of the warm-up.
    pub warm_up_rows_per_s: Arms<Vec<f64>>,
    /// The arm that ran first, of each pair.
    pub first: Vec<Arm>,
}

/// What tables were found to hold when they were read back: all of them, before they are emptied
/// and at the end.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct TablesRead {
    /// How many were read.
    pub tables: u64,
    /// Rows in them, compared one by one with what was sent.
    pub rows: u64,
    /// How long that took, in seconds: time in which no pair ran.
    pub seconds: f64,
    /// What is wrong, a sentence a table.
    pub problems: Vec<String>,
}

/// The directory of a check under way.
#[derive(Debug)]
pub struct CheckDirectory {
    folder: Folder,
    pairs: csv::Writer<File>,
}

/// A row of `pairs.csv`: one block of a pair. A column's unit is in its name.
#[derive(Debug, Serialize)]
pub struct PairRow<'a> {
    /// Name of the cell.
    pub cell: &'a str,
    /// Which session, from 0.
    pub session: usize,
    /// Which pair of it, from 0.
    pub pair: usize,
    /// Whose block.
    pub arm: Arm,
    /// Whether it ran before the pair's other one.
    pub is_first: bool,
    /// When its clock started, from the making of the directory.
    pub start_s: f64,
    /// Rows confirmed.
    pub rows: u64,
    /// How long the part that counts was.
    pub seconds: f64,
    /// Rows a second.
    pub rows_per_s: f64,
    /// Median service latency.
    pub service_ns_p50: u64,
    /// Its 95th percentile.
    pub service_ns_p95: u64,
    /// Its 99th percentile.
    pub service_ns_p99: u64,
    /// Its largest.
    pub service_ns_max: u64,
    /// Share of the CPU time that the hypervisor took.
    pub steal: f64,
    /// Windows.
    pub windows: u64,
    /// Windows in which batchpilot was the limit.
    pub windows_client_bound: u64,
}

impl CheckDirectory {
    /// Makes `<parent>/<UTC time>-<name>/` and starts its files.
    ///
    /// # Errors
    ///
    /// [`RecordError::File`] if that cannot be written to.
    pub fn create(parent: &Path, name: &str) -> Result<CheckDirectory, RecordError> {
        let folder = Folder::create(parent, name)?;
        let pairs = csv::Writer::from_writer(folder.start(PAIRS)?);
        Ok(CheckDirectory { folder, pairs })
    }

    /// Returns where the files are.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Replaces `check.json`, all of it or nothing.
    ///
    /// # Errors
    ///
    /// [`RecordError::File`].
    pub fn write(&self, check: &CheckRecord) -> Result<(), RecordError> {
        let text = serde_json::to_vec_pretty(check).expect("a check is plain data");
        self.replace(CHECK, &text)
    }

    /// Replaces a file of the directory, all of it or nothing; makes folders above it.
    ///
    /// # Errors
    ///
    /// [`RecordError::File`].
    pub fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), RecordError> {
        replace(&self.path().join(name), bytes)
    }

    /// Appends a block of a pair.
    ///
    /// # Errors
    ///
    /// [`RecordError::File`].
    pub fn append(&mut self, row: &PairRow<'_>) -> Result<(), RecordError> {
        let path = self.path().join(PAIRS);
        self.pairs.serialize(row).map_err(|error| csv_error(&path, error))?;
        self.pairs.flush().map_err(at(&path))
    }

    /// As [`super::Directory::utc_at`].
    pub fn utc_at(&self, offset: Duration) -> String {
        self.folder.utc_at(offset)
    }

    /// As [`super::Directory::discard`].
    pub fn discard(self) {
        self.folder.discard();
    }
}

impl CellCheck {
    /// The cell has not been begun.
    pub fn new(cell: usize, name: &str, check: Check, options: &Options) -> CellCheck {
        let evidence = Evidence::default();
        CellCheck {
            cell,
            name: name.to_owned(),
            timing: None,
            sessions: Vec::new(),
            outcome: check.outcome(&evidence, options),
            check,
            evidence,
            tables: TablesRead::default(),
            errors: Arms::default(),
            error: None,
            advice: Vec::new(),
        }
    }

    /// Says anew what follows from pairs and evidence.
    pub fn judge(&mut self, options: &Options) {
        self.outcome = self.check.outcome(&self.evidence, options);
        self.advice = Advice::of(self.check.session_shown(), options);
    }
}

impl PairRow<'_> {
    /// What the gate is told of the block.
    pub fn block(&self) -> Block {
        Block {
            rows: self.rows,
            seconds: self.seconds,
            latency_s_p95: self.service_ns_p95 as f64 / 1e9,
            latency_s_p99: self.service_ns_p99 as f64 / 1e9,
            steal: self.steal,
        }
    }
}

impl CheckRecord {
    /// What the check says in one word: the worst that a cell of it says. [`Conclusion::Invalid`] if
    /// it ended before it had checked anything.
    ///
    /// One that did not run to its end is no PASS: what it would have found, nobody knows. The cell in
    /// which it ended does not take away what another one has proven.
    pub fn conclusion(&self) -> Conclusion {
        let worst = self.cells.iter().map(|cell| self.conclusion_of(cell)).max();
        let worst = worst.unwrap_or(Conclusion::Invalid);
        if self.ran_to_its_end() { worst } else { worst.max(Conclusion::Inconclusive) }
    }

    /// What a cell of this check says in one word.
    pub fn conclusion_of(&self, cell: &CellCheck) -> Conclusion {
        if self.is_cut_off(cell) { Conclusion::Inconclusive } else { cell.outcome.conclusion() }
    }

    /// Whether the check ended in this cell, after others, and so soon that nothing else is wrong
    /// with it.
    pub fn is_cut_off(&self, cell: &CellCheck) -> bool {
        let is_too_few = |fault: &Fault| matches!(fault, Fault::TooFewPairs { .. });
        !self.ran_to_its_end()
            && 1 < self.cells.len()
            && self.cells.last().is_some_and(|last| last.cell == cell.cell)
            && matches!(&cell.outcome, Outcome::Invalid(faults) if faults.iter().all(is_too_few))
    }

    fn ran_to_its_end(&self) -> bool {
        self.complete && self.cells_missing().next().is_none()
    }

    /// The names of the cells that were not begun.
    pub fn cells_missing(&self) -> impl Iterator<Item = &str> {
        let names = self.arms.base.plan.cells.iter().map(|cell| cell.name.as_str());
        names.enumerate().filter_map(|(index, name)| {
            (!self.cells.iter().any(|cell| cell.cell == index)).then_some(name)
        })
    }

    /// Whether the numbers are those of a simulated server.
    pub fn is_simulated(&self) -> bool {
        self.arms.base.plan.sim.is_some()
    }
}

/// Returns whether a directory is that of a check.
pub fn is_check(path: &Path) -> bool {
    path.is_dir() && path.join(CHECK).is_file()
        || path.file_name().is_some_and(|name| name == CHECK)
}

/// Reads `check.json` of a directory, or the file itself.
///
/// # Errors
///
/// What cannot be read, or is of another version.
pub fn read_check(path: &Path) -> Result<CheckRecord, RecordError> {
    let path = if path.is_dir() { path.join(CHECK) } else { path.to_path_buf() };
    let text = fs::read(&path).map_err(at(&path))?;
    let bad = |problem: String| RecordError::Format { path: path.clone(), problem };
    #[derive(Deserialize)]
    struct Version {
        check_schema_version: u32,
    }
    let version: Version = serde_json::from_slice(&text)
        .map_err(|error| bad(format!("not a check of batchpilot: {error}")))?;
    if version.check_schema_version != CHECK_SCHEMA_VERSION {
        let (found, reads) = (version.check_schema_version, CHECK_SCHEMA_VERSION);
        return Err(RecordError::Version { path, found, reads });
    }
    serde_json::from_slice(&text).map_err(|error| bad(format!("damaged check: {error}")))
}
