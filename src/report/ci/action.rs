//! A check as github-action-benchmark reads it: one file for what should be large, one for what
//! should be small, because the action takes one direction at a time.
//!
//! It draws charts with these; its alerts compare one number with the one before, and call noise a
//! regression. Cells whose check is INVALID are left out.
//!
//! Source: <https://github.com/benchmark-action/github-action-benchmark>, "customBiggerIsBetter" and
//! "customSmallerIsBetter".

use serde::Serialize;

use super::{change, usable};
use crate::{
    gate::Metric,
    report::check::typical,
    stats::Estimate,
    verdict::{CheckVerdict, CheckedCell, CheckedMetric},
};

/// File of what should be large, for the tool `customBiggerIsBetter`.
pub const BIGGER: &str = "bigger-is-better.json";
/// File of what should be small, for the tool `customSmallerIsBetter`.
pub const SMALLER: &str = "smaller-is-better.json";

#[derive(Serialize)]
struct Entry {
    name: String,
    unit: &'static str,
    value: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    range: Option<String>,
    extra: String,
}

/// Returns both files: name and content.
pub fn files(verdict: &CheckVerdict) -> [(&'static str, Vec<u8>); 2] {
    let of = |is_bigger: bool| {
        let wanted = move |it: &&CheckedMetric| (it.metric == Metric::RowsPerS) == is_bigger;
        let cells = usable(verdict).flat_map(|cell| {
            cell.metrics.iter().filter(wanted).filter_map(|metric| entry(cell, metric))
        });
        let mut text = serde_json::to_vec_pretty(&cells.collect::<Vec<_>>()).expect("plain data");
        text.push(b'\n');
        text
    };
    [(BIGGER, of(true)), (SMALLER, of(false))]
}

fn entry(cell: &CheckedCell, metric: &CheckedMetric) -> Option<Entry> {
    let head = metric.head?;
    let (unit, divisor) = match metric.metric {
        Metric::RowsPerS => ("rows/s", 1.0),
        Metric::LatencyP95 | Metric::LatencyP99 => ("ms", 1e6),
    };
    Some(Entry {
        name: format!("{}: {}", cell.name, metric.metric.words()),
        unit,
        value: head.value / divisor,
        range: range(head),
        extra: format!(
            "{}\nbase: {}\nhead: {}\nhead against base: {}\nn = {} pairs",
            cell.conclusion.word(),
            typical(metric.metric, metric.base),
            typical(metric.metric, metric.head),
            change(metric),
            metric.ratio.n
        ),
    })
}

/// `± 1.8%`: half of the interval.
fn range(estimate: Estimate) -> Option<String> {
    let half = (estimate.high? - estimate.low?) / 2.0 / estimate.value;
    Some(format!("± {:.1}%", half * 100.0))
}
