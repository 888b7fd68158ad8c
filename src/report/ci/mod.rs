//! A check as other programs read it: CI servers, pull requests, trackers of benchmarks.

pub mod action;
pub mod bencher;
pub mod junit;
pub mod markdown;

use crate::{
    gate::{Bounds, Conclusion, Metric},
    verdict::{CheckVerdict, CheckedCell, CheckedMetric},
};

/// A check that ended before it had measured anything, or at once when it was told to twice.
///
/// Trackers of benchmarks get no file then: a missing number is honest.
#[derive(Clone, Copy, Debug)]
pub struct NotRun<'a> {
    /// The command's words.
    pub command: &'a str,
    /// batchpilot's version.
    pub batchpilot: &'a str,
    /// Why it did not run.
    pub why: Why,
    /// The error's words.
    pub error: &'a str,
}

/// Why a check did not run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Why {
    /// The tool or a server failed.
    Failed,
    /// It cannot run as asked.
    Usage,
    /// The arms cannot be compared.
    NotComparable,
    /// A signal ended it.
    Stopped,
}

impl Why {
    /// Returns the kind of error, in a word or two.
    fn words(self) -> &'static str {
        match self {
            Why::Failed => "failed",
            Why::Usage => "cannot run",
            Why::NotComparable => "not comparable",
            Why::Stopped => "stopped",
        }
    }
}

/// The cells whose numbers may go into a history: what is INVALID was not measured.
fn usable(verdict: &CheckVerdict) -> impl Iterator<Item = &CheckedCell> {
    verdict.cells.iter().filter(|cell| cell.conclusion != Conclusion::Invalid)
}

/// The ratio head : base that fails, and the one that passes.
pub(super) fn limits(metric: Metric, bounds: Bounds) -> (f64, f64) {
    (metric.ratio_of_worse(bounds.margin), metric.ratio_of_worse(bounds.tolerance))
}

/// `-17.9 % [-21, -15]`: head against base, as a change.
pub(super) fn change(metric: &CheckedMetric) -> String {
    let ratio = metric.ratio;
    let value = percent(ratio.value, 1);
    match (ratio.low, ratio.high) {
        (Some(low), Some(high)) => format!("{value} [{}, {}]", signed(low, 1), signed(high, 1)),
        _ => value,
    }
}

/// A ratio as a change: `-2.5 %`.
pub(super) fn percent(ratio: f64, decimals: usize) -> String {
    format!("{} %", signed(ratio, decimals))
}

fn signed(ratio: f64, decimals: usize) -> String {
    let text = format!("{:+.decimals$}", (ratio - 1.0) * 100.0);
    let is_zero = text.chars().all(|it| matches!(it, '+' | '-' | '0' | '.'));
    if is_zero { text.replace('-', "+") } else { text }
}
