//! The record of a check: both arms, the pairs as they came, and what the gate made of them.

use std::{collections::BTreeMap, fs, path::Path};

use serde::{Deserialize, Serialize};

use super::{Host, RecordError, directory::at};
use crate::{
    gate::{Advice, Arm, Arms, Check, Conclusion, Evidence, Options, Outcome, Timing, WarmUp},
    plan::Plan,
    target::ServerInfo,
};

/// Name of the file of a check.
pub const CHECK: &str = "check.json";

/// Version of the format of `check.json`. A reader refuses others.
pub const CHECK_SCHEMA_VERSION: u32 = 1;

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
    /// What is wrong, a sentence a table.
    pub problems: Vec<String>,
}

impl CheckRecord {
    /// What the check says in one word: the worst that a cell of it says. [`Conclusion::Invalid`] if
    /// it ended before it had checked anything.
    pub fn conclusion(&self) -> Conclusion {
        let all = self.cells.iter().map(|cell| cell.outcome.conclusion());
        all.max().unwrap_or(Conclusion::Invalid)
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
