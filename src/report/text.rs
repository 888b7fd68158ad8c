//! The report as text: validity first, then the table, then the verdict in words.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, TableComponent, presets};

use crate::{
    plan::{CellPlan, Plan},
    record::Record,
    stats::{
        Estimate,
        format::{number, time_us},
    },
    verdict::{CellVerdict, Judgement, Outcome, Validity, Verdict, settings},
};

const BOLD: Style = Style::new().bold();
const GOOD: Style = AnsiColor::Green.on_default().bold();
const DOUBT: Style = AnsiColor::Yellow.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();

/// Writes the report. Colours are for a writer that can drop them.
///
/// # Errors
///
/// Those of `out`.
pub fn write(record: &Record, verdict: &Verdict, out: &mut dyn Write) -> io::Result<()> {
    write_validity(&verdict.validity, out)?;
    writeln!(out, "\n{BOLD}{}{BOLD:#}", record.plan.title)?;
    writeln!(out, "{}", server_line(record))?;
    writeln!(out, "{}", table(record, verdict))?;
    writeln!(
        out,
        "Measured: geometric mean of the blocks and its 95 % interval; latencies: service, of one \
         operation."
    )?;
    write_verdict(verdict, out)?;
    write_section("Why", &verdict.reasons, out)?;
    write_section("Caveats", &verdict.caveats, out)?;
    write_section("Notes", &record.notes, out)
}

/// Writes a plan, as `run --check` shows it.
///
/// # Errors
///
/// Those of `out`.
pub fn write_plan(plan: &Plan, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}: {}", plan.name, plan.title)?;
    writeln!(
        out,
        "{} cells x {} repetitions = {} blocks, in random order (seed {}); windows of {} ms; \
         table {}{}",
        plan.cells.len(),
        plan.repetitions,
        plan.blocks.len(),
        plan.seed,
        plan.window_ms,
        plan.table.name,
        if plan.table.unlogged { " (UNLOGGED)" } else { "" },
    )?;
    let mut table = new_table(&[
        "cell",
        "strategy",
        "rows/op",
        "workers",
        "transaction",
        "pool",
        "pace",
        "stop",
    ]);
    for cell in &plan.cells {
        table.add_row(plan_row(cell));
    }
    writeln!(out, "{table}")?;
    write_section("Notes", &plan.notes, out)
}

fn plan_row(cell: &CellPlan) -> Vec<Cell> {
    vec![
        Cell::new(&cell.name),
        Cell::new(cell.strategy.name()),
        right(number(cell.batch_rows as f64)),
        right(cell.workers.to_string()),
        Cell::new(settings::transaction(cell.transaction)),
        right(format!("{}..{}", cell.pool.idle_min, cell.pool.size_max)),
        Cell::new(settings::pace(cell.pace)),
        Cell::new(settings::stop(cell.stop)),
    ]
}

fn write_validity(validity: &Validity, out: &mut dyn Write) -> io::Result<()> {
    let Validity { blocks_exact, blocks, blocks_planned, rows_checked, .. } = validity;
    let checked = format!(
        "{blocks_exact} of {blocks} blocks read back and exact, {} rows",
        number(*rows_checked as f64)
    );
    match validity.judgement {
        Judgement::Valid => writeln!(out, "{GOOD}VALID{GOOD:#}: {checked}")?,
        Judgement::Incomplete => writeln!(
            out,
            "{DOUBT}INCOMPLETE{DOUBT:#}: {blocks} of {blocks_planned} blocks were run; {checked}"
        )?,
        Judgement::Invalid => writeln!(out, "{BAD}INVALID{BAD:#}: {checked}")?,
    }
    for problem in &validity.problems {
        writeln!(out, "  {problem}")?;
    }
    Ok(())
}

fn server_line(record: &Record) -> String {
    let environment = &record.environment;
    let server = &environment.server;
    let version = server.version.split(" on ").next().unwrap_or(&server.version);
    let way = match (server.unix_socket, &server.tls) {
        (true, _) => "Unix-domain socket".to_owned(),
        (false, Some(tls)) => format!("TCP, {tls}"),
        (false, None) => "TCP".to_owned(),
    };
    let setting = |name: &str| server.durability.get(name).map_or("?", String::as_str);
    format!(
        "{version}{} · {way}, round trip {} · fsync {}, synchronous_commit {}, commit {} · {} x {}",
        if environment.private_server { " (private)" } else { "" },
        time_us(server.round_trip.latency_ns_p50 as f64 / 1e3),
        setting("fsync"),
        setting("synchronous_commit"),
        time_us(server.commit.latency_ns_p50 as f64 / 1e3),
        environment.client.cpus,
        environment.client.cpu,
    )
}

fn table(record: &Record, verdict: &Verdict) -> Table {
    let has_claims = !record.plan.claims.is_empty();
    let mut header = vec!["cell"];
    if has_claims {
        header.push("claimed");
    }
    header.push("rows/s");
    if has_claims {
        header.push("/ claim");
    }
    if verdict.baseline.is_some() {
        header.extend(["claimed", "speed-up"]);
    }
    header.extend(["p50", "p99", "n"]);
    let mut table = new_table(&header);
    for cell in &verdict.cells {
        table.add_row(row(cell, has_claims, verdict.baseline.is_some()));
    }
    table
}

fn row(cell: &CellVerdict, has_claims: bool, has_baseline: bool) -> Vec<Cell> {
    let claimed = |value: Option<f64>, unit: &str| {
        right(value.map_or(String::new(), |value| format!("{}{unit}", number(value))))
    };
    let mut row = vec![Cell::new(&cell.name)];
    if has_claims {
        row.push(claimed(cell.claimed_rows_per_s, ""));
    }
    row.push(estimate(cell.rows_per_s, ""));
    if has_claims {
        row.push(claimed(cell.ratio_to_claim.map(|ratio| ratio.value), "x"));
    }
    if has_baseline {
        row.push(claimed(cell.claimed_speedup, "x"));
        row.push(estimate(cell.speedup, "x"));
    }
    let latency =
        |nanos: u64| right(if nanos == 0 { "–".into() } else { time_us(nanos as f64 / 1e3) });
    row.push(latency(cell.service_ns_p50));
    row.push(latency(cell.service_ns_p99));
    row.push(right(cell.rows_per_s.map_or(0, |rate| rate.n).to_string()));
    row
}

/// The number above its interval: narrow enough for a terminal of 100 columns.
fn estimate(estimate: Option<Estimate>, unit: &str) -> Cell {
    right(match estimate {
        None => "–".to_owned(),
        Some(Estimate { value, low: Some(low), high: Some(high), .. }) => {
            format!("{}{unit} [{}, {}]", number(value), number(low), number(high))
        }
        Some(Estimate { value, .. }) => format!("{}{unit}", number(value)),
    })
}

fn new_table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    for line in [TableComponent::HeaderLines, TableComponent::MiddleHeaderIntersections] {
        table.set_style(line, '─');
    }
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header.iter().map(|title| match *title {
        "cell" | "strategy" | "transaction" | "pace" | "stop" => Cell::new(title),
        title => right(title.to_owned()),
    }));
    table
}

fn right(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

fn write_section(title: &str, sentences: &[String], out: &mut dyn Write) -> io::Result<()> {
    if sentences.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{BOLD}{title}{BOLD:#}")?;
    for sentence in sentences {
        writeln!(out, "{}", wrapped("  ", sentence))?;
    }
    Ok(())
}

/// Claims with a mark each, then what else the verdict answers.
fn write_verdict(verdict: &Verdict, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "\n{BOLD}Verdict{BOLD:#}")?;
    for claim in &verdict.claims {
        let style = style(claim.outcome);
        let sentence = wrapped("    ", &claim.sentence);
        let mark = mark(claim.outcome);
        writeln!(out, "  {style}{mark}{style:#} {}", sentence.trim_start())?;
    }
    let is_claim = |sentence: &&String| verdict.claims.iter().any(|it| it.sentence == **sentence);
    for sentence in verdict.answer.iter().filter(|sentence| !is_claim(sentence)) {
        writeln!(out, "{}", wrapped("  ", sentence))?;
    }
    Ok(())
}

/// Breaks a sentence between words at the terminal's width; leaves it whole where there is none.
fn wrapped(indent: &str, sentence: &str) -> String {
    let width = Table::new().width().map_or(usize::MAX, usize::from);
    let options = textwrap::Options::new(width)
        .initial_indent(indent)
        .subsequent_indent("    ")
        .word_splitter(textwrap::WordSplitter::NoHyphenation);
    textwrap::fill(sentence, options)
}

fn style(outcome: Outcome) -> Style {
    match outcome {
        Outcome::Holds => GOOD,
        Outcome::Refuted => BAD,
        Outcome::Inconclusive => DOUBT,
    }
}

fn mark(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Holds => "+",
        Outcome::Refuted => "-",
        Outcome::Inconclusive => "?",
    }
}
