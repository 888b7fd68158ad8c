//! The report as text: validity first, then the table, then the verdict in words.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use comfy_table::{
    Cell, CellAlignment, ColumnConstraint, ContentArrangement, Table, TableComponent, Width,
    presets,
};

use crate::{
    plan::{CellPlan, Plan},
    record::Record,
    stats::{
        Estimate,
        format::{number, time_us},
    },
    verdict::{CellVerdict, Judgement, Outcome, Validity, Verdict, settings},
};

pub(super) const BOLD: Style = Style::new().bold();
pub(super) const GOOD: Style = AnsiColor::Green.on_default().bold();
pub(super) const DOUBT: Style = AnsiColor::Yellow.on_default().bold();
pub(super) const BAD: Style = AnsiColor::Red.on_default().bold();

/// Writes the report. Colours are for a writer that can drop them.
///
/// # Errors
///
/// Those of `out`.
pub fn write(record: &Record, verdict: &Verdict, out: &mut dyn Write) -> io::Result<()> {
    write_within(terminal(), record, verdict, out)
}

/// As [`write()`], within so many columns; `None`: as wide as the numbers are.
///
/// # Errors
///
/// Those of `out`.
pub fn write_within(
    columns: Option<u16>,
    record: &Record,
    verdict: &Verdict,
    out: &mut dyn Write,
) -> io::Result<()> {
    write_validity(columns, &verdict.validity, out)?;
    writeln!(out, "\n{BOLD}{}{BOLD:#}", wrapped(columns, "", &record.plan.heading()))?;
    writeln!(out, "{}", wrapped(columns, "", &server_line(record)))?;
    writeln!(out, "{}", table(columns, record, verdict).trim_fmt())?;
    let legend = "Measured: geometric mean of the blocks and its 95 % interval; latencies: \
                  service, of one operation.";
    writeln!(out, "{}", wrapped(columns, "", legend))?;
    write_verdict(columns, verdict, out)?;
    write_section(columns, "Why", &verdict.reasons, out)?;
    write_section(columns, "Caveats", &verdict.caveats, out)?;
    write_section(columns, "Lines", &verdict.own_rows, out)?;
    write_section(columns, "Notes", &record.notes, out)
}

/// Writes the verdict alone.
///
/// # Errors
///
/// Those of `out`.
pub fn write_answer(verdict: &Verdict, out: &mut dyn Write) -> io::Result<()> {
    write_verdict(terminal(), verdict, out)
}

/// Returns the columns of the terminal, if standard output is one.
pub(super) fn terminal() -> Option<u16> {
    Table::new().width()
}

fn table_name(plan: &Plan) -> String {
    let name = &plan.table.name;
    if name.is_empty() { "of your own".to_owned() } else { name.clone() }
}

/// Writes a plan, as `run --check` shows it.
///
/// # Errors
///
/// Those of `out`.
pub fn write_plan(plan: &Plan, out: &mut dyn Write) -> io::Result<()> {
    let columns = terminal();
    writeln!(out, "{}", wrapped(columns, "", &format!("{}: {}", plan.name, plan.title)))?;
    let blocks = format!(
        "{} cells x {} repetitions = {} blocks, in random order (seed {}); windows of {} ms; \
         table {}{}",
        plan.cells.len(),
        plan.repetitions,
        plan.blocks.len(),
        plan.seed,
        plan.window_ms,
        table_name(plan),
        if plan.table.unlogged { " (UNLOGGED)" } else { "" },
    );
    writeln!(out, "{}", wrapped(columns, "", &blocks))?;
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
    keep_words_whole(&mut table);
    writeln!(out, "{}", table.trim_fmt())?;
    write_section(columns, "Notes", &plan.notes, out)
}

fn plan_row(cell: &CellPlan) -> Vec<Cell> {
    vec![
        Cell::new(&cell.name),
        Cell::new(cell.strategy.name()),
        right(settings::batch_rows(cell)),
        right(settings::workers(cell)),
        Cell::new(settings::transaction(cell.transaction)),
        right(format!("{}..{}", cell.pool.idle_min, cell.pool.size_max)),
        Cell::new(settings::pace(cell.pace)),
        Cell::new(settings::stop(cell)),
    ]
}

fn write_validity(
    columns: Option<u16>,
    validity: &Validity,
    out: &mut dyn Write,
) -> io::Result<()> {
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
        writeln!(out, "{}", wrapped(columns, "  ", problem))?;
    }
    Ok(())
}

fn server_line(record: &Record) -> String {
    if let Some(sim) = &record.plan.sim {
        return format!(
            "SIMULATED server (seed {}), in virtual time: no number here was measured on a \
             database · {} cores, round trip {}, commit {}",
            sim.seed,
            number(sim.before.cores),
            time_us(sim.before.round_trip_s * 1e6),
            time_us(sim.before.fsync_s * 1e6),
        );
    }
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

/// How much of the results there is room for.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Layout {
    /// All columns, and a line a cell.
    Wide,
    /// Intervals below their numbers, long names on two lines. The ratio to a claim is left out: its
    /// parts stand side by side.
    Folded,
    /// As folded, without the claims: the verdict names each beside what was measured.
    Narrow,
}

/// Which columns the results have.
#[derive(Clone, Copy)]
struct Columns {
    layout: Layout,
    has_claims: bool,
    has_ratio: bool,
    has_claimed_speedup: bool,
    baseline: Option<usize>,
}

/// Columns of a name that is broken.
const NAME_WIDTH: usize = 18;

/// The widest layout that fits; the narrowest is squeezed if nothing does.
fn table(columns: Option<u16>, record: &Record, verdict: &Verdict) -> Table {
    let has_claims = !record.plan.claims.is_empty();
    for layout in [Layout::Wide, Layout::Folded] {
        let table = table_in(layout, has_claims, verdict);
        let width = table.lines().map(|line| textwrap::core::display_width(line.trim_end())).max();
        if columns.is_none_or(|columns| width.unwrap_or(0) <= usize::from(columns)) {
            return table;
        }
    }
    let mut table = table_in(Layout::Narrow, has_claims, verdict);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    if let Some(columns) = columns {
        table.set_width(columns);
    }
    table
}

fn table_in(layout: Layout, has_claims: bool, verdict: &Verdict) -> Table {
    let baseline = verdict.baseline;
    let columns = Columns {
        layout,
        has_claims: has_claims && layout != Layout::Narrow,
        has_ratio: has_claims && layout == Layout::Wide,
        has_claimed_speedup: baseline.is_some() && layout != Layout::Narrow,
        baseline,
    };
    let mut table = new_table(&header(columns));
    table.set_content_arrangement(ContentArrangement::Disabled);
    for cell in &verdict.cells {
        table.add_row(row(cell, columns));
    }
    // No room is lost at the edges.
    if let Some(first) = table.column_mut(0) {
        first.set_padding((0, 1));
    }
    table
}

fn header(columns: Columns) -> Vec<&'static str> {
    let all = [
        (true, "cell"),
        (columns.has_claims, "claimed"),
        (true, "rows/s"),
        (columns.has_ratio, "/ claim"),
        (columns.has_claimed_speedup, "claimed"),
        (columns.baseline.is_some(), "speed-up"),
        (true, "p50"),
        (true, "p99"),
        (true, "n"),
    ];
    all.iter().filter(|(is_shown, _)| *is_shown).map(|(_, title)| *title).collect()
}

fn row(cell: &CellVerdict, columns: Columns) -> Vec<Cell> {
    let claimed = |value: Option<f64>, unit: &str| {
        right(value.map_or(String::new(), |value| format!("{}{unit}", number(value))))
    };
    let layout = columns.layout;
    let name = match layout {
        Layout::Wide => cell.name.clone(),
        Layout::Folded | Layout::Narrow => textwrap::fill(&cell.name, NAME_WIDTH),
    };
    let mut row = vec![Cell::new(name)];
    if columns.has_claims {
        row.push(claimed(cell.claimed_rows_per_s, ""));
    }
    row.push(estimate(cell.rows_per_s, "", layout));
    if columns.has_ratio {
        row.push(claimed(cell.ratio_to_claim.map(|ratio| ratio.value), "x"));
    }
    if columns.has_claimed_speedup {
        row.push(claimed(cell.claimed_speedup, "x"));
    }
    match columns.baseline {
        None => (),
        // Over itself, which is no measurement.
        Some(baseline) if baseline == cell.cell => row.push(right("1x".to_owned())),
        Some(_) => row.push(estimate(cell.speedup, "x", layout)),
    }
    let latency =
        |nanos: u64| right(if nanos == 0 { "–".into() } else { time_us(nanos as f64 / 1e3) });
    row.push(latency(cell.service_ns_p50));
    row.push(latency(cell.service_ns_p99));
    row.push(right(cell.rows_per_s.map_or(0, |rate| rate.n).to_string()));
    row
}

/// The number and its interval, side by side or one above the other.
fn estimate(estimate: Option<Estimate>, unit: &str, layout: Layout) -> Cell {
    let gap = if layout == Layout::Wide { ' ' } else { '\n' };
    right(match estimate {
        None => "–".to_owned(),
        Some(Estimate { value, low: Some(low), high: Some(high), .. }) => {
            format!("{}{unit}{gap}[{}, {}]", number(value), number(low), number(high))
        }
        Some(Estimate { value, .. }) => format!("{}{unit}", number(value)),
    })
}

pub(super) fn new_table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    for line in [TableComponent::HeaderLines, TableComponent::MiddleHeaderIntersections] {
        table.set_style(line, '─');
    }
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header.iter().map(|title| match *title {
        "cell" | "number" | "strategy" | "transaction" | "pace" | "stop" | "metric" | "" => {
            Cell::new(title)
        }
        title => right(title.to_owned()),
    }));
    table
}

/// Lets a narrow terminal break cells between words, and not within.
fn keep_words_whole(table: &mut Table) {
    let longest = |cell: &Cell| {
        cell.content().split(' ').map(|word| word.chars().count()).max().unwrap_or_default()
    };
    let header: Vec<usize> =
        table.header().map(|row| row.cell_iter().map(longest).collect()).unwrap_or_default();
    let last = header.len().saturating_sub(1);
    for (index, title) in header.into_iter().enumerate() {
        let padding = if index == last { 0 } else { 1 };
        let cells = table.row_iter().filter_map(|row| row.cell_iter().nth(index)).map(longest);
        let longest = cells.max().unwrap_or_default().max(title);
        let column = table.column_mut(index).expect("a column has a header");
        column.set_padding((0, padding));
        let width = u16::try_from(longest).unwrap_or(u16::MAX).saturating_add(padding);
        column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(width)));
    }
}

pub(super) fn right(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

pub(super) fn write_section(
    columns: Option<u16>,
    title: &str,
    sentences: &[String],
    out: &mut dyn Write,
) -> io::Result<()> {
    if sentences.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{BOLD}{title}{BOLD:#}")?;
    for sentence in sentences {
        writeln!(out, "{}", wrapped(columns, "  ", sentence))?;
    }
    Ok(())
}

/// Claims with a mark each, then what else the verdict answers.
fn write_verdict(columns: Option<u16>, verdict: &Verdict, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "\n{BOLD}Verdict{BOLD:#}")?;
    for claim in &verdict.claims {
        let style = style(claim.outcome);
        let sentence = wrapped(columns, "    ", &claim.sentence);
        let mark = mark(claim.outcome);
        writeln!(out, "  {style}{mark}{style:#} {}", sentence.trim_start())?;
    }
    let is_claim = |sentence: &&String| verdict.claims.iter().any(|it| it.sentence == **sentence);
    for sentence in verdict.answer.iter().filter(|sentence| !is_claim(sentence)) {
        writeln!(out, "{}", wrapped(columns, "  ", sentence))?;
    }
    Ok(())
}

/// Holds two words together; written as a space.
const NO_BREAK: char = '\u{a0}';

/// Breaks a sentence between words at the last column, but not between a number and its unit or its
/// interval; leaves it whole where there is none.
pub(super) fn wrapped(columns: Option<u16>, indent: &str, sentence: &str) -> String {
    let width = columns.map_or(usize::MAX, usize::from);
    let mut glued = sentence.to_owned();
    for unit in ["%", "µs", "ms", "s", "rows/s"] {
        for end in [" ", ",", ".", ";", ":", ")", "]"] {
            glued = glued.replace(&format!(" {unit}{end}"), &format!("{NO_BREAK}{unit}{end}"));
        }
    }
    let glued = glue_intervals(&glued);
    let options = textwrap::Options::new(width)
        .initial_indent(indent)
        .subsequent_indent("    ")
        .word_splitter(textwrap::WordSplitter::NoHyphenation);
    textwrap::fill(&glued, options).replace(NO_BREAK, " ")
}

/// Holds `0.98 [0.96, 1.01]` together: brackets that open before a digit have an interval in them.
fn glue_intervals(sentence: &str) -> String {
    let (mut glued, mut is_within) = (String::new(), false);
    for word in sentence.split_inclusive(' ') {
        let inner = word.strip_prefix('[');
        is_within |= inner.is_some_and(|it| it.starts_with(|first: char| first.is_ascii_digit()));
        if is_within && glued.ends_with(' ') {
            glued.pop();
            glued.push(NO_BREAK);
        }
        glued.push_str(word);
        is_within &= !word.contains(']');
    }
    glued
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_never_ends_between_a_number_and_its_unit() {
        let sentence = "It took 28 % of the CPU, 139 µs (12 ms) a row and 3,125 rows/s in 5 s.";
        for columns in 12..80 {
            for line in wrapped(Some(columns), "", sentence).lines() {
                let ends_in_number = line.ends_with(|last: char| last.is_ascii_digit());
                assert!(!ends_in_number, "{columns}: {line}");
                assert!(line.chars().count() <= usize::from(columns), "{columns}: {line}");
            }
        }
        let whole = wrapped(None, "", sentence);
        assert_eq!(whole, sentence, "no character is left changed");
    }

    #[test]
    fn an_interval_stays_with_its_value() {
        let sentence = "The ratio was 0.24 [0.22, 0.27] in one and 1.01 [0.9, 1.1] in another.";
        for columns in 24..80 {
            let lines = wrapped(Some(columns), "", sentence);
            let whole = |interval| lines.lines().any(|line| line.contains(interval));
            assert!(whole("0.24 [0.22, 0.27]") && whole("1.01 [0.9, 1.1]"), "{columns}: {lines}");
        }
        assert_eq!(wrapped(None, "", sentence), sentence);
    }
}
