//! Compares stored records: the last one with those before it.
//!
//! What was measured in another session differs by what the machine was like then, and no error bar
//! of one record knows of that: gates on a stored number call 23 to 38 % of unchanged commits slower
//! on shared machines. So the last record is held against how far records lie from each other, and
//! every answer comes with the slow-down that it could have seen at all. An earlier record that is
//! not like the last one, or must not be used, is left out and named: one odd night does not silence
//! all later ones.

mod judge;
mod likeness;
mod words;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

pub use self::likeness::Difference;
use super::{Judgement as Validity, Verdict};
use crate::{
    gate::{Bounds, Judgement, Metric},
    record::Record,
    stats::Estimate,
};

/// All that can be chosen.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Bounds of rows a second, default 2 % and 10 %, as in the gate.
    pub rows_per_s: Bounds,
    /// Bounds of the p95 latency of an operation, default 5 % and 25 %.
    pub latency_p95: Bounds,
    /// One-sided level at which anything at all fails, default 0.01: it is divided by the numbers
    /// judged. Larger fails more often, also what is unchanged.
    pub fail_alpha: f64,
    /// One-sided level of the limit that proves "not worse", default 0.025.
    pub pass_alpha: f64,
    /// By how much sessions differ that measure the same: the standard deviation of the logarithm,
    /// default 0.1. It counts until there are [`Options::sessions_min`] earlier records. Larger finds
    /// less; smaller takes a busy hour for a regression.
    pub session_noise: f64,
    /// The least that sessions differ, whatever the earlier records say, default 0.03: some lie close
    /// together by luck.
    pub session_noise_min: f64,
    /// Earlier records from which on their own spread counts, default 5. Of fewer it says little.
    pub sessions_min: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            rows_per_s: Bounds { margin: 0.02, tolerance: 0.10 },
            latency_p95: Bounds { margin: 0.05, tolerance: 0.25 },
            fail_alpha: 0.01,
            pass_alpha: 0.025,
            session_noise: 0.1,
            session_noise_min: 0.03,
            sessions_min: 5,
        }
    }
}

/// What records say beside each other.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Comparison {
    /// What follows. Shown first.
    pub outcome: Outcome,
    /// The records: the last one is judged, the others are what it is held against. Where none is like
    /// it, all that could be read, and nothing is judged.
    pub records: Vec<Compared>,
    /// Earlier records that the last one is not held against.
    pub left_out: Vec<LeftOut>,
    /// What was measured, cell by cell.
    pub rows: Vec<Row>,
    /// What a reader should know, in sentences.
    pub caveats: Vec<String>,
}

/// What follows from a comparison.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Nothing is worse by more than its tolerance.
    Pass,
    /// Something is worse by more than its margin, and than sessions differ.
    Fail,
    /// Neither could be proven.
    Inconclusive,
    /// No earlier record is left that the last one may be held against.
    NotComparable,
    /// The last record's numbers must not be used.
    Invalid,
}

/// An earlier record that the last one is not held against.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct LeftOut {
    /// Its directory.
    pub name: String,
    /// Why.
    pub why: Why,
}

/// Why a record is left out.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Something else than the server's speed differs from the last one.
    Unlike(Vec<Difference>),
    /// Its numbers must not be used.
    Invalid,
    /// It cannot be read, in words.
    Unreadable(String),
}

/// A record of a comparison.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Compared {
    /// Its directory.
    pub name: String,
    /// When it was measured, in UTC.
    pub started_at: String,
    /// What measured it.
    pub batchpilot: String,
    /// Whether its numbers may be used.
    pub validity: Validity,
}

/// A number of a cell in each record, and what follows for the last.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Row {
    /// The cell's name.
    pub cell: String,
    /// Rows a second, or seconds of an operation: of its service, in an open loop of its response.
    pub metric: Metric,
    /// One a record, with the interval of its blocks, which does not know of other sessions.
    pub measured: Vec<Option<Estimate>>,
    /// What follows; `None` if one side did not measure it, or nothing may be judged.
    pub finding: Option<Finding>,
}

/// What the earlier records say of the last.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Finding {
    /// The last over the earlier ones' geometric mean. The 95 % interval knows how far sessions
    /// differ; n counts the earlier records.
    pub ratio: Estimate,
    /// The least worsening, as a share, that would have failed.
    pub detectable: f64,
    /// What follows.
    pub judgement: Judgement,
}

impl Comparison {
    /// Compares a record with earlier ones, each with its name; of some, only why they cannot be read
    /// is known.
    pub fn of(
        earlier: &[(String, Result<Record, String>)],
        last: &(String, Record),
        options: &Options,
    ) -> Comparison {
        let (mut alike, mut readable, mut left_out) = (Vec::new(), Vec::new(), Vec::new());
        let mut unknown = BTreeSet::new();
        for (name, record) in earlier {
            let why = match record {
                Err(problem) => Some(Why::Unreadable(problem.clone())),
                Ok(record) => {
                    readable.push((name, record));
                    let (why, not_known) = unlike(record, &last.1);
                    if why.is_none() {
                        alike.push((name, record));
                        unknown.extend(not_known);
                    }
                    why
                }
            };
            left_out.extend(why.map(|why| LeftOut { name: name.clone(), why }));
        }
        let is_alone = alike.is_empty();
        let mut records = if is_alone { readable } else { alike };
        records.push((&last.0, &last.1));
        let compared: Vec<Compared> = records.iter().map(compared).collect();
        let all: Vec<&Record> = records.iter().map(|(_, record)| *record).collect();
        let is_usable = compared.last().is_some_and(Compared::is_usable);
        let mut rows = judge::rows(&all);
        if is_usable && !is_alone {
            judge::judge(&mut rows, options);
        }
        Comparison {
            outcome: match (is_usable, is_alone) {
                (false, _) => Outcome::Invalid,
                (true, true) => Outcome::NotComparable,
                (true, false) => outcome(&rows),
            },
            caveats: words::caveats(&all, &compared, &rows, &unknown, options),
            records: compared,
            left_out,
            rows,
        }
    }

    /// The least and the largest worsening of rows a second that would have been seen in a cell, as
    /// shares; or of latency, if no rate was judged.
    pub fn detectable(&self) -> Option<(f64, f64)> {
        words::detectable(&self.rows)
    }
}

impl Compared {
    fn is_usable(&self) -> bool {
        self.validity != Validity::Invalid
    }
}

fn compared((name, record): &(&String, &Record)) -> Compared {
    Compared {
        name: (*name).clone(),
        started_at: record.started_at.clone(),
        batchpilot: record.batchpilot.clone(),
        validity: validity(record),
    }
}

fn validity(record: &Record) -> Validity {
    Verdict::of(record).validity.judgement
}

/// Why the last record may not be held against an earlier one, if so; and what could not be told.
fn unlike(record: &Record, last: &Record) -> (Option<Why>, BTreeSet<String>) {
    if validity(record) == Validity::Invalid {
        return (Some(Why::Invalid), BTreeSet::new());
    }
    let (differences, unknown) = likeness::differences(record, last);
    ((!differences.is_empty()).then_some(Why::Unlike(differences)), unknown)
}

fn outcome(rows: &[Row]) -> Outcome {
    let judgements = || rows.iter().map(|row| row.finding.map(|it| it.judgement));
    if judgements().any(|it| it == Some(Judgement::Fail)) {
        Outcome::Fail
    } else if !rows.is_empty() && judgements().all(|it| it == Some(Judgement::Pass)) {
        Outcome::Pass
    } else {
        Outcome::Inconclusive
    }
}
