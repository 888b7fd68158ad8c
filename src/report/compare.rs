//! A comparison of records as text: the answer first, then the numbers side by side.

use std::io::{self, Write};

use anstyle::Style;
use comfy_table::{Cell, ContentArrangement, Table};

use super::text::{BAD, BOLD, DOUBT, GOOD, new_table, right, terminal, wrapped, write_section};
use crate::{
    gate::{Judgement, Metric},
    stats::{
        Estimate,
        format::{number, time_us},
    },
    verdict::{
        Judgement as Validity,
        compare::{Comparison, Difference, LeftOut, Outcome, Row, Why},
    },
};

/// Records that have a column; of more, the last ones have.
const COLUMNS_MAX: usize = 4;
/// Columns of a cell's name that is broken.
const NAME_WIDTH: usize = 18;
/// Differences that are shown of each record.
const DIFFERENCES_MAX: usize = 8;

/// What an answer is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// The exit code follows it.
    Gate,
    /// The exit code does not.
    Advice,
}

/// Writes a comparison. Colours are for a writer that can drop them.
///
/// # Errors
///
/// Those of `out`.
pub fn write(comparison: &Comparison, role: Role, out: &mut dyn Write) -> io::Result<()> {
    write_within(terminal(), comparison, role, out)
}

/// As [`write()`], within so many columns; `None`: as wide as the numbers are.
///
/// # Errors
///
/// Those of `out`.
pub fn write_within(
    columns: Option<u16>,
    comparison: &Comparison,
    role: Role,
    out: &mut dyn Write,
) -> io::Result<()> {
    let (style, word) = word(comparison.outcome);
    let advice = if role == Role::Advice { "Advisory: " } else { "" };
    let headline = wrapped(columns, "", &format!("{word}: {}", sentence(comparison)));
    let rest = headline.strip_prefix(word).unwrap_or_default();
    writeln!(out, "{advice}{style}{word}{style:#}{rest}")?;
    writeln!(out, "\n{BOLD}Records{BOLD:#}")?;
    for (index, record) in comparison.records.iter().enumerate() {
        let valid = match record.validity {
            Validity::Valid => "",
            Validity::Incomplete => ", INCOMPLETE",
            Validity::Invalid => ", INVALID",
        };
        let line = format!("{}  {}{valid}, {}", letter(index), record.name, record.started_at);
        writeln!(out, "{}", wrapped(columns, "  ", &line))?;
    }
    let left_out: Vec<String> = comparison.left_out.iter().map(left_out).collect();
    write_section(columns, "Left out", &left_out, out)?;
    writeln!(out)?;
    writeln!(out, "{}", table(columns, comparison).trim_fmt())?;
    let legend = "Geometric means of the blocks; p95 is of one operation. The interval of a record's \
                  number knows only its own session, that of the ratio how far sessions differ.";
    writeln!(out, "{}", wrapped(columns, "", legend))?;
    write_section(columns, "Caveats", &comparison.caveats, out)
}

fn word(outcome: Outcome) -> (Style, &'static str) {
    match outcome {
        Outcome::Pass => (GOOD, "PASS"),
        Outcome::Fail => (BAD, "FAIL"),
        Outcome::Inconclusive => (DOUBT, "INCONCLUSIVE"),
        Outcome::NotComparable => (DOUBT, "NOT COMPARABLE"),
        Outcome::Invalid => (BAD, "INVALID"),
    }
}

fn sentence(comparison: &Comparison) -> String {
    let last = letter(comparison.records.len() - 1);
    let all = comparison.rows.len();
    let count = |judgement: Judgement| {
        let findings = comparison.rows.iter().filter_map(|row| row.finding);
        findings.filter(|it| it.judgement == judgement).count()
    };
    match comparison.outcome {
        Outcome::Pass => format!("{last} is no worse in any of {all} numbers."),
        Outcome::Fail => {
            let failed = count(Judgement::Fail);
            format!("{last} is worse in {failed} of {all} numbers, and more than sessions differ.")
        }
        Outcome::Inconclusive => {
            let passed = count(Judgement::Pass);
            format!(
                "{last} is no worse in {passed} of {all} numbers; of the rest nothing is proven."
            )
        }
        Outcome::NotComparable => {
            format!("no earlier record is like {last} and may be used; nothing is judged.")
        }
        Outcome::Invalid => format!("{last}'s numbers must not be used; nothing is judged."),
    }
}

/// Names a record that is left out, and says why.
fn left_out(LeftOut { name, why }: &LeftOut) -> String {
    match why {
        Why::Invalid => format!("{name}: INVALID"),
        Why::Unreadable(problem) => format!("{name}: {problem}"),
        Why::Unlike(differences) => {
            let words = |Difference { what, here, last }: &Difference| {
                format!("{what}: {}, the last {}", shown(here), shown(last))
            };
            let mut all: Vec<String> =
                differences.iter().take(DIFFERENCES_MAX).map(words).collect();
            if DIFFERENCES_MAX < differences.len() {
                let more = differences.len() - DIFFERENCES_MAX;
                all.push(format!("and {more} more; --format json has all"));
            }
            format!("{name}: {}", all.join("; "))
        }
    }
}

/// An empty value reads as a mistake.
fn shown(value: &str) -> &str {
    if value.is_empty() { "(empty)" } else { value }
}

/// A, B, … Z, then numbers.
fn letter(index: usize) -> String {
    u8::try_from(index)
        .ok()
        .filter(|index| *index < 26)
        .map_or_else(|| format!("#{}", index + 1), |it| char::from(b'A' + it).to_string())
}

/// What there is room for.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Layout {
    /// Each record's interval below its number.
    Wide,
    /// Their numbers alone: the ratio's interval is the one that counts.
    Narrow,
}

/// The widest layout that fits; the narrowest is squeezed if none does.
fn table(columns: Option<u16>, comparison: &Comparison) -> Table {
    let wide = table_in(Layout::Wide, comparison);
    let width = wide.lines().map(|line| textwrap::core::display_width(line.trim_end())).max();
    let Some(columns) = columns.filter(|it| usize::from(*it) < width.unwrap_or(0)) else {
        return wide;
    };
    let mut narrow = table_in(Layout::Narrow, comparison);
    narrow.set_content_arrangement(ContentArrangement::Dynamic).set_width(columns);
    narrow
}

fn table_in(layout: Layout, comparison: &Comparison) -> Table {
    let count = comparison.records.len();
    let shown: Vec<usize> = (count.saturating_sub(COLUMNS_MAX)..count).collect();
    let letters: Vec<String> = shown.iter().map(|index| letter(*index)).collect();
    let mut header = vec!["cell", "number"];
    header.extend(letters.iter().map(String::as_str));
    header.extend(["ratio", "could see", ""]);
    let mut table = new_table(&header);
    table.set_content_arrangement(ContentArrangement::Disabled);
    let mut above = None;
    for row in &comparison.rows {
        // A cell's name stands once.
        let name = if above == Some(&row.cell) { "" } else { &row.cell };
        above = Some(&row.cell);
        table.add_row(cells(layout, name, row, &shown));
    }
    if let Some(first) = table.column_mut(0) {
        first.set_padding((0, 1));
    }
    table
}

fn cells(layout: Layout, name: &str, row: &Row, shown: &[usize]) -> Vec<Cell> {
    let (number_name, sign) = match row.metric {
        Metric::RowsPerS => ("rows/s", '-'),
        Metric::LatencyP95 => ("p95", '+'),
        Metric::LatencyP99 => ("p99", '+'),
    };
    let mut cells = vec![Cell::new(textwrap::fill(name, NAME_WIDTH)), Cell::new(number_name)];
    let write = |value: f64| match row.metric {
        Metric::RowsPerS => number(value),
        Metric::LatencyP95 | Metric::LatencyP99 => time_us(value * 1e6),
    };
    cells.extend(shown.iter().map(|index| match (layout, row.measured[*index]) {
        (Layout::Wide, estimate) => with_interval(estimate, '\n', write),
        (Layout::Narrow, estimate) => {
            right(estimate.map_or_else(|| "–".to_owned(), |it| write(it.value)))
        }
    }));
    cells.push(with_interval(row.finding.map(|it| it.ratio), ' ', number));
    let detectable = row.finding.map(|it| format!("{sign}{:.0} %", it.detectable * 100.0));
    cells.push(right(detectable.unwrap_or_else(|| "–".to_owned())));
    cells.push(Cell::new(match row.finding.map(|it| it.judgement) {
        Some(Judgement::Fail) => "worse",
        Some(Judgement::Pass) => "no worse",
        Some(Judgement::Open) => "open",
        None => "",
    }));
    cells
}

/// The number and its interval, side by side or one below the other.
fn with_interval(estimate: Option<Estimate>, gap: char, write: impl Fn(f64) -> String) -> Cell {
    right(match estimate {
        None => "–".to_owned(),
        Some(Estimate { value, low: Some(low), high: Some(high), .. }) => {
            format!("{}{gap}[{}, {}]", write(value), write(low), write(high))
        }
        Some(Estimate { value, .. }) => write(value),
    })
}
