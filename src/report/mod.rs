//! Shows records and verdicts: computes nothing, takes its writer as a parameter.

pub mod check;
pub mod ci;
pub mod compare;
mod html;
pub mod json;
pub mod svg;
pub mod text;

use crate::{
    record::{CheckRecord, JournalRow, Record, WindowRow},
    verdict::{CheckVerdict, Verdict},
};

/// The plots of a record, as SVG.
struct Plots {
    rates: String,
    latency: String,
    over_time: String,
    /// Where a controller ran.
    steering: Option<String>,
    /// Of a search.
    search: Option<String>,
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
        steering: svg::steering(record, verdict, windows, journal),
        search: svg::search(record, verdict, journal),
    };
    let page = html::page(record, verdict, &plots);
    let mut files = vec![
        ("plots/rates.svg", plots.rates.into_bytes()),
        ("plots/latency.svg", plots.latency.into_bytes()),
        ("plots/over_time.svg", plots.over_time.into_bytes()),
        ("report.html", page.into_bytes()),
    ];
    files.extend(plots.steering.map(|it| ("plots/steering.svg", it.into_bytes())));
    files.extend(plots.search.map(|it| ("plots/search.svg", it.into_bytes())));
    files
}

/// Draws every file of a check's report: name in its directory, and content.
///
/// The same check gives the same bytes, whatever became of it.
pub fn files_of_check(
    record: &CheckRecord,
    verdict: &CheckVerdict,
) -> Vec<(&'static str, Vec<u8>)> {
    let plots: Vec<(&'static str, String)> =
        [("plots/pairs.svg", svg::pairs(record, verdict)), ("plots/arms.svg", svg::arms(record))]
            .into_iter()
            .filter_map(|(name, plot)| Some((name, plot?)))
            .collect();
    let shown: Vec<&str> = plots.iter().map(|(_, plot)| plot.as_str()).collect();
    let page = html::check::page(record, verdict, &shown);
    let mut files = vec![("report.html", page.into_bytes())];
    files.extend(plots.into_iter().map(|(name, plot)| (name, plot.into_bytes())));
    files
}
