//! A check as text and as JSON: the verdict first.

use std::io::{self, Write};

use comfy_table::{Cell, Table};
use serde::Serialize;

use super::text::{BAD, BOLD, DOUBT, GOOD, new_table, right, terminal, wrapped, write_section};
use crate::{
    gate::{Bounds, Conclusion, Metric},
    plan::CellPlan,
    record::{ArmRecord, CheckRecord, Comparison},
    stats::{
        Estimate,
        format::{number, time_us},
    },
    verdict::{CheckVerdict, CheckedCell, CheckedMetric, Proposal, settings},
};

#[derive(Serialize)]
struct Judged<'a> {
    #[serde(flatten)]
    record: &'a CheckRecord,
    verdict: &'a CheckVerdict,
}

/// Writes a check and its verdict as one JSON document, which `record::read_check` reads.
///
/// # Errors
///
/// Those of `out`.
pub fn write_json(
    record: &CheckRecord,
    verdict: &CheckVerdict,
    out: &mut dyn Write,
) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, &Judged { record, verdict })?;
    out.write_all(b"\n")
}

/// Writes the verdict, the numbers and what a reader should know. Colours are for a writer that can
/// drop them.
///
/// # Errors
///
/// Those of `out`.
pub fn write(record: &CheckRecord, verdict: &CheckVerdict, out: &mut dyn Write) -> io::Result<()> {
    write_within(terminal(), record, verdict, out)
}

/// As [`write()`], within so many columns; `None`: as wide as it comes.
///
/// # Errors
///
/// Those of `out`.
pub fn write_within(
    columns: Option<u16>,
    record: &CheckRecord,
    verdict: &CheckVerdict,
    out: &mut dyn Write,
) -> io::Result<()> {
    let style = match verdict.conclusion {
        Conclusion::Pass => GOOD,
        Conclusion::Inconclusive => DOUBT,
        Conclusion::Fail | Conclusion::Invalid => BAD,
    };
    let word = verdict.conclusion.word();
    let headline = wrapped(columns, "", &format!("{word}: {}", verdict.headline));
    let rest = headline.strip_prefix(word).unwrap_or(&headline);
    writeln!(out, "{style}{word}{style:#}{rest}")?;
    if let Some(error) = &record.error {
        writeln!(out, "{}", wrapped(columns, "", &format!("It was ended by an error: {error}")))?;
    }
    writeln!(out)?;
    for line in subject(record) {
        writeln!(out, "{}", wrapped(columns, "", &line))?;
    }
    for cell in &verdict.cells {
        write_cell(columns, record, verdict, cell, out)?;
    }
    let mut why: Vec<String> = Vec::new();
    for reason in verdict.cells.iter().flat_map(|it| &it.reasons) {
        if !why.contains(reason) {
            why.push(reason.clone());
        }
    }
    why.push(format!("{}.", verdict.tables));
    write_section(columns, "Why", &why, out)?;
    write_section(columns, "Caveats", &verdict.caveats, out)?;
    write_section(columns, "Notes", &record.notes, out)
}

/// What was compared, in a few words.
pub(super) fn title(record: &CheckRecord) -> String {
    let (base, head) = (&record.arms.base.label, &record.arms.head.label);
    match record.comparison {
        Comparison::Null(_) => format!("{base} against itself"),
        _ => format!("{head} against {base}"),
    }
}

/// What was compared, and on what.
pub(super) fn subject(record: &CheckRecord) -> Vec<String> {
    let (base, head) = (&record.arms.base, &record.arms.head);
    let mut lines = match record.comparison {
        Comparison::Null(_) => vec![format!("base and head: {}", base.label)],
        _ => vec![format!("base: {}", base.label), format!("head: {}", head.label)],
    };
    let (of_base, of_head) = (server(base), server(head));
    let commit = |arm: &ArmRecord| {
        let server = arm.server.as_ref().filter(|_| arm.plan.sim.is_none());
        let time = server.map(|it| time_us(it.commit.latency_ns_p50 as f64 / 1e3));
        time.map(|time| format!("commit {time}"))
    };
    if of_base == of_head {
        let all = [Some(of_base), commit(base)];
        lines.push(all.into_iter().flatten().collect::<Vec<_>>().join(", "));
    } else {
        lines.push(format!("base on {of_base}"));
        lines.push(format!("head on {of_head}"));
    }
    lines
}

fn server(arm: &ArmRecord) -> String {
    let table = &arm.plan.table.name;
    if arm.plan.sim.is_some() {
        return "a SIMULATED server, in virtual time".to_owned();
    }
    let Some(server) = &arm.server else { return "a server that was not asked".to_owned() };
    let version = server.version.split(" on ").next().unwrap_or(&server.version);
    let private = if arm.private_server { " (private)" } else { "" };
    format!("{version}{private}, table {table}")
}

fn write_cell(
    columns: Option<u16>,
    record: &CheckRecord,
    verdict: &CheckVerdict,
    cell: &CheckedCell,
    out: &mut dyn Write,
) -> io::Result<()> {
    writeln!(out)?;
    if 1 < verdict.cells.len() {
        let line = format!("{}: {}: {}", cell.name, cell.conclusion.word(), cell.sentence);
        writeln!(out, "{BOLD}{}{BOLD:#}", wrapped(columns, "", &line))?;
    }
    for line in ran(record, cell) {
        writeln!(out, "{}", wrapped(columns, "", &line))?;
    }
    if cell.metrics.is_empty() {
        return Ok(());
    }
    writeln!(out, "{}", table(&cell.metrics).trim_fmt())
}

/// What was run in a cell: a line, or one an arm where they differ.
pub(super) fn ran(record: &CheckRecord, cell: &CheckedCell) -> Vec<String> {
    let of = |arm: &ArmRecord| arm.plan.cells.iter().find(|it| it.name == cell.name).cloned();
    let Some((base, head)) = of(&record.arms.base).zip(of(&record.arms.head)) else {
        return Vec::new();
    };
    let pairs = cell.metrics.first().map_or(0, |it| it.ratio.n);
    let (of_base, of_head) = (setting(&base, &head), setting(&head, &base));
    if of_base == of_head {
        return vec![format!("{of_base}; {pairs} pairs")];
    }
    vec![format!("base: {of_base}; {pairs} pairs"), format!("head: {of_head}")]
}

/// The setting of a cell, and what else differs from another arm's.
fn setting(cell: &CellPlan, other: &CellPlan) -> String {
    let words = format!(
        "{}, {} rows an operation, {} workers",
        cell.strategy.name(),
        settings::batch_rows(cell),
        settings::workers(cell)
    );
    let differing = settings::differing(cell, other).into_iter();
    std::iter::once(words).chain(differing).collect::<Vec<_>>().join(", ")
}

fn table(metrics: &[CheckedMetric]) -> Table {
    let mut table = new_table(&["metric", "base", "head", "head / base", "fails", "passes", ""]);
    for it in metrics {
        let bound = |of: fn(&Bounds) -> f64| {
            let text = it.bounds.map(|bounds| {
                let ratio = it.metric.ratio_of_worse(of(&bounds));
                number((ratio * 1e3).round() / 1e3)
            });
            right(text.unwrap_or_else(|| "–".to_owned()))
        };
        table.add_row(vec![
            Cell::new(it.metric.words().trim_end_matches(" latency")),
            right(typical(it.metric, it.base)),
            right(typical(it.metric, it.head)),
            right(ratio(it.ratio)),
            bound(|bounds| bounds.margin),
            bound(|bounds| bounds.tolerance),
            Cell::new(it.standing.words()),
        ]);
    }
    if let Some(first) = table.column_mut(0) {
        first.set_padding((0, 1));
    }
    table
}

pub(super) fn typical(metric: Metric, value: Option<Estimate>) -> String {
    let Some(Estimate { value, .. }) = value else { return "–".to_owned() };
    match metric {
        Metric::RowsPerS => number(value.round()),
        Metric::LatencyP95 | Metric::LatencyP99 => time_us(value / 1e3),
    }
}

fn ratio(ratio: Estimate) -> String {
    let three = |value: f64| format!("{value:.3}");
    match (ratio.low, ratio.high) {
        (Some(low), Some(high)) => {
            format!("{} [{}, {}]", three(ratio.value), three(low), three(high))
        }
        _ => three(ratio.value),
    }
}

/// Writes what null checks say of a machine.
///
/// # Errors
///
/// Those of `out`.
pub fn write_proposal(proposal: &Proposal, out: &mut dyn Write) -> io::Result<()> {
    let columns = terminal();
    let percent = |share: f64| format!("{} %", number((share * 1e4).round() / 1e2));
    let Proposal { checks, failed, .. } = proposal;
    let line = format!("{failed} of {checks} null checks failed.");
    writeln!(out, "\n{BOLD}Calibration{BOLD:#}\n{}", wrapped(columns, "  ", &line))?;
    let mut flags = String::new();
    for it in &proposal.metrics {
        let line = format!(
            "{}: an arm lies {} from itself (90 % limit {}); margin {} (was {}), tolerance {} (was \
             {}).",
            it.metric.words(),
            percent(it.deviation),
            percent(it.deviation_upper),
            percent(it.proposed.margin),
            percent(it.given.margin),
            percent(it.proposed.tolerance),
            percent(it.given.tolerance)
        );
        writeln!(out, "{}", wrapped(columns, "  ", &line))?;
        let prefix = if it.metric == Metric::RowsPerS { "--" } else { "--p95-" };
        let short = |share: f64| format!("{}%", number((share * 1e4).round() / 1e2));
        if it.proposed != it.given {
            flags.push_str(&format!(
                " {prefix}margin {} {prefix}tolerance {}",
                short(it.proposed.margin),
                short(it.proposed.tolerance)
            ));
        }
    }
    match flags.as_str() {
        "" => writeln!(out, "  What the checks ran with is wide enough here."),
        flags => writeln!(out, "  Proposed:{flags}"),
    }
}
