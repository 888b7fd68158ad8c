//! A check in Bencher Metric Format, for `bencher run --adapter json --file FILE`.
//!
//! A benchmark a cell, of head: rows a second, latencies in nanoseconds, and both over base's. The
//! ratios are what a threshold should be on: they do not know the machine's bad days. Cells whose
//! check is INVALID are left out, so that no history has them.
//!
//! Source: <https://bencher.dev/docs/reference/bencher-metric-format>

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use serde::Serialize;

use super::usable;
use crate::{
    gate::Metric,
    stats::Estimate,
    verdict::{CheckVerdict, CheckedCell},
};

#[derive(Serialize)]
struct Value {
    value: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    lower_value: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upper_value: Option<f64>,
}

impl From<Estimate> for Value {
    fn from(estimate: Estimate) -> Value {
        let Estimate { value, low, high, .. } = estimate;
        Value { value, lower_value: low, upper_value: high }
    }
}

/// Writes a check.
///
/// # Errors
///
/// Those of `out`.
pub fn write(verdict: &CheckVerdict, out: &mut dyn Write) -> io::Result<()> {
    let benchmarks: BTreeMap<&str, BTreeMap<String, Value>> =
        usable(verdict).map(|cell| (cell.name.as_str(), measures(cell))).collect();
    serde_json::to_writer_pretty(&mut *out, &benchmarks)?;
    out.write_all(b"\n")
}

/// Measures are made where they do not exist yet, by these names.
fn measures(cell: &CheckedCell) -> BTreeMap<String, Value> {
    let mut measures = BTreeMap::new();
    for metric in &cell.metrics {
        let name = match metric.metric {
            Metric::RowsPerS => "rows-per-second",
            Metric::LatencyP95 => "latency-p95",
            Metric::LatencyP99 => "latency-p99",
        };
        measures.extend(metric.head.map(|head| (name.to_owned(), head.into())));
        measures.insert(format!("{name}-ratio"), metric.ratio.into());
    }
    measures
}
