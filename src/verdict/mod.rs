//! What a record says: about each cell, about each claim, and why; with its evidence.
//!
//! `verdict` shows nothing: it hands numbers and sentences to `report`.

mod calibration;
mod cells;
mod check;
pub mod compare;
mod disturbed;
mod own_rows;
pub(crate) mod settings;
mod tuning;
mod words;

use serde::{Deserialize, Serialize};

pub use self::{
    calibration::{NullCheck, Proposal, ProposedBounds},
    check::{CheckVerdict, CheckedCell, CheckedMetric, Standing},
    disturbed::disturbed,
    tuning::{
        ContenderVerdict, Expected, Plateau, SearchVerdict, Seen, Tuning, rows_in_flight, seen,
    },
};

use crate::{
    plan::{ClaimUnit, Pace},
    record::{BlockEnd, JournalRow, Record, WindowRow},
    stats::Estimate,
};

/// Everything that a record says.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Verdict {
    /// Whether the numbers may be used at all. Shown first.
    pub validity: Validity,
    /// The cells, in the order of the plan.
    pub cells: Vec<CellVerdict>,
    /// The claims, in the order of the plan.
    pub claims: Vec<ClaimVerdict>,
    /// The cell that all speed-ups are relative to, if any claim names one.
    pub baseline: Option<usize>,
    /// What holds here and what is best, in sentences.
    pub answer: Vec<String>,
    /// Why measured and claimed differ, in sentences, from what was measured.
    pub reasons: Vec<String>,
    /// What a reader should doubt, in sentences.
    pub caveats: Vec<String>,
    /// What became of each line of the user's own file, in sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub own_rows: Vec<String>,
    /// What a search for the best setting came to, if the run is one and its search is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tuning: Option<Tuning>,
}

/// Whether the numbers of a record may be used.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Validity {
    /// See [`Judgement`].
    pub judgement: Judgement,
    /// Blocks whose table was read back and found exact.
    pub blocks_exact: usize,
    /// Blocks that were run.
    pub blocks: usize,
    /// Blocks of the plan.
    pub blocks_planned: usize,
    /// Rows checked, one by one.
    pub rows_checked: u64,
    /// What is wrong, a sentence a block.
    pub problems: Vec<String>,
}

/// In one word.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Judgement {
    /// Every planned block ran, and every table was exact.
    Valid,
    /// Every table that was checked was exact, but not all of the plan was run.
    Incomplete,
    /// A table did not hold what the server had confirmed.
    Invalid,
}

/// What the blocks of a cell say.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct CellVerdict {
    /// Index of the cell in the plan.
    pub cell: usize,
    /// Its name.
    pub name: String,
    /// Rows a second; `None` if no block of the cell is valid.
    pub rows_per_s: Option<Estimate>,
    /// What was claimed, in rows a second.
    pub claimed_rows_per_s: Option<f64>,
    /// Measured over claimed.
    pub ratio_to_claim: Option<Estimate>,
    /// Rows a second over those of the baseline, paired by repetition.
    pub speedup: Option<Estimate>,
    /// The speed-up that was claimed.
    pub claimed_speedup: Option<f64>,
    /// Service latency of an operation, in nanoseconds.
    pub service_ns_p50: u64,
    /// Its 99th percentile.
    pub service_ns_p99: u64,
    /// Response latency of an operation, in nanoseconds.
    pub response_ns_p50: u64,
    /// Its 99th percentile.
    pub response_ns_p99: u64,
    /// COMMIT alone, where the operation sends one.
    pub commit_ns_p50: Option<u64>,
    /// Round trips that an operation waits for, over the rows it carries.
    pub round_trips_a_row: f64,
    /// Share of the service time that the client spent on encoding, 0 to 1.
    pub encode_share: f64,
    /// Share of the service time spent in COMMIT, where the operation sends one.
    pub commit_share: Option<f64>,
    /// CPU time of batchpilot, in microseconds a row.
    pub client_cpu_us_a_row: f64,
    /// WAL of the server, in bytes a row.
    pub wal_bytes_a_row: Option<f64>,
    /// Full-page images of the server, a row.
    pub full_page_images_a_row: Option<f64>,
    /// Rows inserted and checked, over all valid blocks.
    pub rows: u64,
    /// Operations, over all valid blocks.
    pub operations: u64,
    /// What the server's sessions were seen to wait for, the most frequent first: event and share.
    pub wait_events: Vec<(String, f64)>,
    /// How many sessions were seen, over all samples.
    pub wait_samples: u64,
    /// Repetitions that lie far from the rest. They are in the numbers all the same.
    pub outliers: Vec<u32>,
}

/// What the record says about a claim.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ClaimVerdict {
    /// Index of its cell.
    pub cell: usize,
    /// Its unit.
    pub unit: ClaimUnit,
    /// The number claimed.
    pub claimed: f64,
    /// The same measured here.
    pub measured: Option<Estimate>,
    /// Whether it holds.
    pub outcome: Outcome,
    /// The claim and what came of it, in one sentence.
    pub sentence: String,
    /// Who published it.
    pub source: String,
}

/// Whether a claim of "at least this much" holds here.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The whole interval is at or above it.
    Holds,
    /// The whole interval is below it.
    Refuted,
    /// The interval holds it, or there is none.
    Inconclusive,
}

impl Verdict {
    /// Judges a record.
    pub fn of(record: &Record) -> Verdict {
        let baseline = record.plan.claims.iter().find_map(|claim| claim.baseline);
        let cells = cells::judge(record, baseline);
        let claims = judge_claims(record, &cells);
        Verdict {
            validity: validity(record),
            answer: words::answer(record, &cells, &claims, baseline),
            reasons: words::reasons(record, &cells, baseline),
            caveats: words::caveats(record, &cells),
            own_rows: own_rows::account(record),
            cells,
            claims,
            baseline,
            tuning: None,
        }
    }

    /// Judges a record together with what lies beside it on disk.
    pub fn of_run(record: &Record, journal: &[JournalRow], windows: &[WindowRow]) -> Verdict {
        let mut verdict = Verdict::of(record);
        if verdict.validity.judgement != Judgement::Invalid {
            verdict.tuning = tuning::judge(record, &verdict.cells, journal, windows);
        }
        if let Some(tuning) = &verdict.tuning {
            verdict.answer = tuning.answer(windows, record);
        }
        verdict
    }

    /// Returns whether any claim is refuted, or a limit that was asked for is out of reach.
    pub fn refutes_a_claim(&self) -> bool {
        self.claims.iter().any(|claim| claim.outcome == Outcome::Refuted)
            || self.tuning.as_ref().is_some_and(Tuning::misses_limit)
    }

    /// Returns whether any claim is undecided.
    pub fn is_inconclusive(&self) -> bool {
        self.claims.iter().any(|claim| claim.outcome == Outcome::Inconclusive)
    }
}

fn validity(record: &Record) -> Validity {
    let mut problems: Vec<String> = record
        .invalid_blocks()
        .map(|(block, complaint)| {
            let cell = &record.cell_of(block).name;
            format!("block {} ({cell}, repetition {}): {complaint}", block.number, block.repetition)
        })
        .collect();
    let is_invalid = !problems.is_empty();
    for block in &record.blocks {
        if block.ended != BlockEnd::Done {
            let cell = &record.cell_of(block).name;
            let why = block.error.as_deref().unwrap_or("stopped");
            problems.push(format!("block {} ({cell}) did not end: {why}", block.number));
        }
    }
    for block in record.blocks.iter().filter(|block| block.verification.is_none()) {
        let cell = &record.cell_of(block).name;
        let complaint = block.complaint().unwrap_or_default();
        problems.push(format!("block {} ({cell}): {complaint}", block.number));
    }
    let exact = |block: &&crate::record::BlockRecord| block.complaint().is_none();
    let blocks_exact = record.blocks.iter().filter(exact).count();
    let checked = record.blocks.iter().filter_map(|block| block.verification.as_ref());
    Validity {
        judgement: match (is_invalid, record.complete && blocks_exact == record.blocks.len()) {
            (true, _) => Judgement::Invalid,
            (false, true) => Judgement::Valid,
            (false, false) => Judgement::Incomplete,
        },
        blocks_exact,
        blocks: record.blocks.len(),
        blocks_planned: record.plan.blocks.len(),
        rows_checked: checked.map(|verification| verification.rows_found).sum(),
        problems,
    }
}

fn judge_claims(record: &Record, cells: &[CellVerdict]) -> Vec<ClaimVerdict> {
    let judge = |claim: &crate::plan::ClaimPlan| {
        let measured = match (claim.unit, claim.baseline) {
            // Nothing holds in a run whose rows are not what the server confirmed.
            _ if record.invalid_blocks().next().is_some() => None,
            (ClaimUnit::Speedup, Some(baseline)) => cells::speedup(record, claim.cell, baseline),
            // The rate of an open loop is what was asked for.
            _ if record.plan.cells[claim.cell].pace != Pace::Closed => None,
            _ => cells[claim.cell].rows_per_s,
        };
        let outcome = match measured.and_then(|measured| measured.is_at_least(claim.value)) {
            Some(true) => Outcome::Holds,
            Some(false) => Outcome::Refuted,
            None => Outcome::Inconclusive,
        };
        ClaimVerdict {
            cell: claim.cell,
            unit: claim.unit,
            claimed: claim.value,
            measured,
            outcome,
            sentence: words::claim(record, claim, measured, outcome),
            source: claim.source.clone(),
        }
    };
    record.plan.claims.iter().map(judge).collect()
}
