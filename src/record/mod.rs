//! The record: the run on disk, written as it goes.
//!
//! A kill at any moment leaves a record that can be read and says that it is incomplete. It holds
//! no password. What a number means is not said here but in `verdict`.

mod check;
mod directory;
mod environment;
mod folder;
mod histogram;
mod journal;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use self::{
    check::{
        ArmRecord, CHECK, CHECK_SCHEMA_VERSION, CellCheck, CheckDirectory, CheckRecord, Comparison,
        PairRow, SessionRecord, TablesRead, is_check, read_check,
    },
    directory::{Directory, RECORD, RecordError, WindowRow, read, read_windows},
    environment::{Environment, Host, SystemTime, memory_peak_bytes},
    histogram::EncodedHistogram,
    journal::{JournalRow, is_resting, read_journal},
};
pub use crate::target::ServerInfo;
use crate::{
    measure::{Histograms, Kind},
    plan::{CellPlan, Plan},
    rows::Verification,
};

/// Version of the format of `record.json`. A reader refuses others.
pub const SCHEMA_VERSION: u32 = 1;

/// One run.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Record {
    /// See [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Version of batchpilot, and the commit it was built from if that is known.
    pub batchpilot: String,
    /// The command line's words, URLs left out.
    pub command: String,
    /// When the run began, in UTC.
    pub started_at: String,
    /// When it ended, in UTC; `None` if it was killed.
    pub finished_at: Option<String>,
    /// Most memory that batchpilot itself had resident, in bytes; `None` if it was killed.
    pub client_memory_peak_bytes: Option<u64>,
    /// Whether every block of the plan was run to its end.
    pub complete: bool,
    /// What was to be run, as resolved.
    pub plan: Plan,
    /// What it ran on.
    pub environment: Environment,
    /// What was measured, in the order of running.
    pub blocks: Vec<BlockRecord>,
    /// What a reader should know, in words: clamps, refusals, stops.
    pub notes: Vec<String>,
}

/// How a block ended.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockEnd {
    /// Its stop rule was met.
    Done,
    /// It was told to stop; what it measured until then is valid.
    Stopped,
    /// An error ended it.
    Failed,
    /// Operations did not end and were abandoned; its rows could not be checked.
    Abandoned,
}

/// One block: what was measured in one repetition of a cell.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct BlockRecord {
    /// Number in the order of running, from 0.
    pub number: usize,
    /// Index of its cell in the plan.
    pub cell: usize,
    /// Which repetition of the cell, from 0.
    pub repetition: u32,
    /// When it began, in UTC.
    pub started_at: String,
    /// How it ended.
    pub ended: BlockEnd,
    /// From the first start to the last confirmation, or to the end of the block's time where that ended
    /// it, in nanoseconds.
    pub elapsed_ns: u64,
    /// The part that counts, where a warm-up does not: rate and latencies are of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steady: Option<Steady>,
    /// Operations that ended well.
    pub operations: u64,
    /// Operations among them whose transaction was rolled back later: they are in windows and
    /// latencies, and their rows are among those failed.
    #[serde(default)]
    pub operations_rolled_back: u64,
    /// Rows that the server confirmed, those settled from doubt included.
    pub rows_confirmed: u64,
    /// Rows that were not inserted: rejected, failed, rolled back.
    pub rows_failed: u64,
    /// Rows whose connection was lost at the commit, before they were settled.
    pub rows_in_doubt: u64,
    /// What the table was found to hold; `None` if it could not be read.
    pub verification: Option<Verification>,
    /// Why it could not be read, where an error says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification_error: Option<String>,
    /// Attempts that the server pushed back.
    pub pushed_back: u64,
    /// Errors and push-back by SQLSTATE.
    pub errors: BTreeMap<String, u64>,
    /// The first error, in words.
    pub error: Option<String>,
    /// Operations that were due in an open loop and never started.
    pub never_started: u64,
    /// Whether an open loop fell behind by more than its queue holds.
    pub overloaded: bool,
    /// CPU time of batchpilot while the clock ran, in nanoseconds.
    pub client_cpu_ns: u64,
    /// Time that workers waited for rows to be built, in nanoseconds, added over workers.
    pub rows_wait_ns: u64,
    /// Windows.
    pub windows: u64,
    /// Windows in which the client was the limit.
    pub windows_client_bound: u64,
    /// WAL of the whole server while the block ran, in bytes.
    pub wal_bytes: Option<u64>,
    /// Full-page images of the whole server while the block ran.
    pub wal_full_page_images: Option<u64>,
    /// Checkpoints that began while the block ran.
    pub checkpoints: Option<u64>,
    /// How often a session of ours that was not idle was seen to wait for each event, a sample a
    /// window; `CPU` where it waited for nothing.
    #[serde(default)]
    pub wait_events: BTreeMap<String, u64>,
    /// Latencies by kind.
    pub latency: BTreeMap<String, EncodedHistogram>,
}

/// What a block did after its warm-up.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Steady {
    /// Rows; of an operation that began before it or ended after it, the part that its time in it is
    /// of its latency.
    pub rows: f64,
    /// Its length in nanoseconds, at least 1.
    pub elapsed_ns: u64,
}

impl BlockRecord {
    /// Returns rows a second, or 0 if nothing was confirmed.
    pub fn rows_per_s(&self) -> f64 {
        match self.steady {
            Some(Steady { rows, elapsed_ns }) => rows * 1e9 / elapsed_ns as f64,
            None if self.elapsed_ns == 0 => 0.0,
            None => self.rows_confirmed as f64 * 1e9 / self.elapsed_ns as f64,
        }
    }

    /// Returns its latencies of one kind; none where it has no such operation.
    pub fn latency_of(&self, kind: Kind) -> hdrhistogram::Histogram<u64> {
        self.latency.get(kind.name()).map_or_else(Histograms::empty, |encoded| {
            encoded.decode().expect("was checked when the record was read")
        })
    }

    /// Returns whether the block's number may be used: run to its end, rows checked and exact.
    pub fn is_valid(&self) -> bool {
        self.ended == BlockEnd::Done && self.complaint().is_none()
    }

    /// Says what is wrong with the block's rows, or nothing.
    pub fn complaint(&self) -> Option<String> {
        match &self.verification {
            None => Some(match &self.verification_error {
                Some(error) => format!("the table could not be read back: {error}"),
                None => "the table could not be read back".to_owned(),
            }),
            Some(verification) => verification.complaint(),
        }
    }
}

impl Record {
    /// Returns the blocks of a cell, in the order of running.
    pub fn blocks_of(&self, cell: usize) -> impl Iterator<Item = &BlockRecord> {
        self.blocks.iter().filter(move |block| block.cell == cell)
    }

    /// Returns the blocks of a cell whose numbers may be used: valid, and not disturbed.
    pub fn valid_blocks_of(&self, cell: usize) -> impl Iterator<Item = &BlockRecord> {
        let counts = |block: &&BlockRecord| block.is_valid() && self.plan.counts(block.number);
        self.blocks_of(cell).filter(counts)
    }

    /// Returns the cell of a block.
    pub fn cell_of(&self, block: &BlockRecord) -> &CellPlan {
        &self.plan.cells[block.cell]
    }

    /// Returns the blocks whose rows were read back and are not what was confirmed, and in what.
    pub fn invalid_blocks(&self) -> impl Iterator<Item = (&BlockRecord, String)> {
        let checked = self.blocks.iter().filter(|block| block.verification.is_some());
        checked.filter_map(|block| Some((block, block.complaint()?)))
    }

    /// Names the first histogram that cannot be decoded, if any.
    fn damaged_histogram(&self) -> Option<String> {
        let all = self.blocks.iter().flat_map(|block| {
            block.latency.iter().map(move |(kind, encoded)| (block.number, kind, encoded))
        });
        let mut damaged = all.filter(|(_, _, encoded)| encoded.decode().is_none());
        let (number, kind, _) = damaged.next()?;
        Some(format!("block {number}: latency `{kind}` is no HdrHistogram (V2, deflate, base64)"))
    }

    /// Adds up the latencies of one kind over the valid blocks of a cell. Histograms are added;
    /// percentiles are never averaged.
    pub fn latency_of(&self, cell: usize, kind: Kind) -> hdrhistogram::Histogram<u64> {
        let mut sum = Histograms::empty();
        for block in self.valid_blocks_of(cell) {
            sum.add(block.latency_of(kind)).expect("all of batchpilot's histograms grow");
        }
        sum
    }
}
