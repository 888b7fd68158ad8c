//! What a reader of a comparison should know, in sentences.

use std::collections::BTreeSet;

use super::{Compared, Options, Row};
use crate::{gate::Metric, record::Record, stats::format::number, verdict::Judgement};

pub(super) fn caveats(
    records: &[&Record],
    compared: &[Compared],
    rows: &[Row],
    unknown: &BTreeSet<String>,
    options: &Options,
) -> Vec<String> {
    let last = records.last().expect("there is one at least");
    let mut sentences = Vec::new();
    sentences.extend(sessions(rows, options));
    sentences.extend(seen(rows));
    if !unknown.is_empty() {
        let names: Vec<&str> = unknown.iter().map(String::as_str).collect();
        sentences.push(format!(
            "Not every record knows its {}; that is taken to be the same.",
            names.join(", ")
        ));
    }
    if last.plan.sim.is_none() && !last.environment.private_server {
        sentences.push(
            "The server was named by the user: what machine it runs on is not known, and not \
             compared."
                .to_owned(),
        );
    }
    let differs = |of: fn(&Compared) -> &str| compared.iter().any(|it| of(it) != of(&compared[0]));
    if differs(|it| &it.batchpilot) {
        sentences.push("They were measured by different versions of batchpilot.".to_owned());
    }
    if records.iter().any(|record| record.plan.seed != last.plan.seed) {
        sentences.push("Their rows come from different seeds.".to_owned());
    }
    for record in compared.iter().filter(|it| it.validity == Judgement::Incomplete) {
        sentences.push(format!("{} is incomplete: some of its blocks did not end.", record.name));
    }
    let steered = last.plan.cells.iter().filter(|cell| cell.controller.is_some()).count();
    if 0 < steered {
        sentences.push(format!(
            "{steered} cells in which a controller moved the setting are left out: their numbers \
             are of many settings."
        ));
    }
    let unmeasured = rows.iter().filter(|row| row.measured.iter().any(Option::is_none)).count();
    if 0 < unmeasured {
        sentences.push(format!("{unmeasured} numbers are missing in one record or another."));
    }
    sentences
}

/// What the answer rests on.
fn sessions(rows: &[Row], options: &Options) -> Option<String> {
    let earlier = rows.iter().filter_map(|row| row.finding).map(|it| it.ratio.n).max()?;
    let percent = number(options.session_noise * 100.0);
    let each = if earlier == 1 { "record says" } else { "records say" };
    Some(if earlier < options.sessions_min {
        format!(
            "A stored number was measured in another session, and {earlier} earlier {each} little \
             of how far sessions differ: {percent} % is assumed (--session-noise; {} earlier \
             records are enough to tell).",
            options.sessions_min
        )
    } else {
        format!("How far sessions differ is taken from the {earlier} earlier records.")
    })
}

fn seen(rows: &[Row]) -> Option<String> {
    let (least, most) = detectable(rows)?;
    let (least, most) = (percent(least), percent(most));
    let range = if least == most { least } else { format!("{least} to {most}") };
    Some(format!(
        "A slow-down of less than {range} % could not have been seen. `batchpilot check` measures \
         both sides in turn, and sees far smaller ones."
    ))
}

fn percent(share: f64) -> String {
    format!("{:.0}", share * 100.0)
}

pub(super) fn detectable(rows: &[Row]) -> Option<(f64, f64)> {
    let of = |metric: Metric| {
        let rows = rows.iter().filter(move |row| row.metric == metric);
        rows.filter_map(|row| Some(row.finding?.detectable)).collect::<Vec<f64>>()
    };
    let shares = Some(of(Metric::RowsPerS)).filter(|it| !it.is_empty());
    let shares = shares.unwrap_or_else(|| of(Metric::LatencyP95));
    let least = shares.iter().copied().reduce(f64::min)?;
    Some((least, shares.iter().copied().fold(least, f64::max)))
}
