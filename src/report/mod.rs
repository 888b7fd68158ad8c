//! Shows records and verdicts: computes nothing, takes its writer as a parameter.

pub mod check;
pub mod compare;
mod html;
pub mod json;
pub mod svg;
pub mod text;

use crate::{
    record::{JournalRow, Record, WindowRow},
    verdict::Verdict,
};

/// The plots of a record, as SVG.
struct Plots {
    rates: String,
    latency: String,
    over_time: String,
    /// Where a controller ran.
    steering: Option<String>,
}

/// Draws every file of a report: name in the run's directory, and content.
///
/// The same record gives the same bytes, whatever became of the run.
pub fn files(
    record: &Record,
    verdict: &Verdict,
    windows: &[WindowRow],
    journal: &[JournalRow],
) -> Vec<(&'static str, Vec<u8>)> {
    let plots = Plots {
        rates: svg::rates(record, verdict),
        latency: svg::latency(record, verdict),
        over_time: svg::over_time(record, windows),
        steering: svg::steering(record, windows, journal),
    };
    let page = html::page(record, verdict, &plots);
    let mut files = vec![
        ("plots/rates.svg", plots.rates.into_bytes()),
        ("plots/latency.svg", plots.latency.into_bytes()),
        ("plots/over_time.svg", plots.over_time.into_bytes()),
        ("report.html", page.into_bytes()),
    ];
    files.extend(plots.steering.map(|it| ("plots/steering.svg", it.into_bytes())));
    files
}
