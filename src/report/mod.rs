//! Shows records and verdicts: computes nothing, takes its writer as a parameter.

pub mod svg;
pub mod text;

use crate::{
    record::{Record, WindowRow},
    verdict::Verdict,
};

/// Draws every file of a report: name in the run's directory, and content.
pub fn files(
    record: &Record,
    verdict: &Verdict,
    windows: &[WindowRow],
) -> Vec<(&'static str, Vec<u8>)> {
    let rates = svg::rates(record, verdict);
    let latency = svg::latency(record, verdict);
    let over_time = svg::over_time(record, windows);
    vec![
        ("plots/rates.svg", rates.into_bytes()),
        ("plots/latency.svg", latency.into_bytes()),
        ("plots/over_time.svg", over_time.into_bytes()),
    ]
}
