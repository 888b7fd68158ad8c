//! A check as Markdown, for the summary of a CI step or a comment on a pull request: the verdict
//! first, then the numbers; the rest is folded.
//!
//! **Invariant:** below [`BYTES_MAX`] bytes: a comment may have 65,536, a summary more.

use std::io::{self, Write};

use super::{NotRun, change, limits, percent};
use crate::{
    gate::{Conclusion, Judgement, Session},
    record::{CellCheck, CheckRecord},
    report::check::{ran, subject, title, typical},
    stats::format::number,
    verdict::{CheckVerdict, CheckedCell, CheckedMetric, Standing},
};

/// Longest text that is written.
pub const BYTES_MAX: usize = 60_000;
/// What is kept of it for the rest, where the table is long.
const ROOM_BELOW_TABLE: usize = 15_000;
/// Longest name or sentence that is shown whole, in characters.
const CHARACTERS_MAX: usize = 600;

/// Writes a check.
///
/// # Errors
///
/// Those of `out`.
pub fn write(record: &CheckRecord, verdict: &CheckVerdict, out: &mut dyn Write) -> io::Result<()> {
    out.write_all(text(record, verdict).as_bytes())
}

/// Writes a check that did not run.
///
/// # Errors
///
/// Those of `out`.
pub fn write_not_run(not_run: &NotRun<'_>, out: &mut dyn Write) -> io::Result<()> {
    let mark = mark(Conclusion::Invalid);
    let why = not_run.why.words();
    let mut text = format!(
        "## {mark} ERROR: batchpilot check, not run\n\n**ERROR**: {why}; nothing was judged.\n\n"
    );
    let command = format!("\n`{}`, batchpilot {}\n\n", code(not_run.command), not_run.batchpilot);
    let cut = "    …\n";
    let room = BYTES_MAX - command.len() - cut.len();
    // Indented, lines stay as they are, and nothing in them is markup.
    for line in not_run.error.lines() {
        let plain = line.chars().map(|it| if it.is_control() { ' ' } else { it });
        let line = format!("    {}\n", plain.take(CHARACTERS_MAX).collect::<String>());
        if room < text.len() + line.len() {
            text.push_str(cut);
            break;
        }
        text.push_str(&line);
    }
    text.push_str(&command);
    out.write_all(text.as_bytes())
}

fn text(record: &CheckRecord, verdict: &CheckVerdict) -> String {
    let mark = mark(verdict.conclusion);
    let (word, title) = (verdict.conclusion.word(), escaped(&title(record)));
    let mut text = format!("## {mark} {word}: batchpilot check of {title}\n\n");
    text.push_str(&format!("**{word}**: {}.\n\n", escaped(&verdict.headline)));
    if record.is_simulated() {
        text.push_str("**SIMULATED**: no number here was measured on a database.\n\n");
    }
    if let Some(error) = &record.error {
        text.push_str(&format!("It was ended by an error: {}\n\n", escaped(error)));
    }
    push_table(verdict, &mut text);
    for caveat in &verdict.caveats {
        push_if_it_fits(&format!("> {}\n>\n", escaped(caveat)), &mut text);
    }
    push_if_it_fits("\n", &mut text);
    for (title, lines) in [
        ("How it came to that", reasons(verdict)),
        ("Looks", looks(record)),
        ("What was run", settings(record, verdict)),
        ("What was compared, and on what", compared(record)),
    ] {
        if !lines.is_empty() {
            let body = lines.join("\n");
            let section =
                format!("<details><summary>{title}</summary>\n\n{body}\n\n</details>\n\n");
            let is_in = push_if_it_fits(&section, &mut text);
            if !is_in {
                push_if_it_fits(&format!("*{title}: too long; see report.html.*\n\n"), &mut text);
            }
        }
    }
    text
}

fn mark(conclusion: Conclusion) -> &'static str {
    match conclusion {
        Conclusion::Pass => "✅",
        Conclusion::Inconclusive => "❔",
        Conclusion::Fail => "❌",
        Conclusion::Invalid => "⛔",
    }
}

fn push_table(verdict: &CheckVerdict, text: &mut String) {
    let rows: Vec<String> = verdict
        .cells
        .iter()
        .flat_map(|cell| cell.metrics.iter().map(move |metric| row(cell, metric)))
        .collect();
    if rows.is_empty() {
        return;
    }
    text.push_str("| cell | number | base | head | change [95 %] | fails at | passes at | n | |\n");
    text.push_str("|:--|:--|--:|--:|--:|--:|--:|--:|:--|\n");
    let room = BYTES_MAX - ROOM_BELOW_TABLE;
    let shown = rows.iter().take_while(|row| {
        let fits = text.len() + row.len() < room;
        if fits {
            text.push_str(row);
        }
        fits
    });
    let left_out = rows.len() - shown.count();
    if 0 < left_out {
        text.push_str(&format!("\n{left_out} more numbers are in report.html.\n"));
    }
    text.push('\n');
}

fn row(cell: &CheckedCell, metric: &CheckedMetric) -> String {
    let (fails, passes) = metric.bounds.map_or(("–".into(), "–".into()), |bounds| {
        let (fails, passes) = limits(metric.metric, bounds);
        (percent(fails, 0), percent(passes, 0))
    });
    let said = metric.standing.words();
    let emphasis = if metric.standing == Standing::Worse { "**" } else { "" };
    format!(
        "| {} | {} | {} | {} | {emphasis}{}{emphasis} | {fails} | {passes} | {} | {emphasis}{said}{emphasis} |\n",
        escaped(&cell.name),
        metric.metric.words(),
        unbroken(&typical(metric.metric, metric.base)),
        unbroken(&typical(metric.metric, metric.head)),
        unbroken(&change(metric)),
        metric.ratio.n,
    )
}

/// No line ends between a number and its unit, or within an interval.
fn unbroken(text: &str) -> String {
    text.replace(' ', "\u{a0}")
}

fn reasons(verdict: &CheckVerdict) -> Vec<String> {
    let mut lines = Vec::new();
    for cell in &verdict.cells {
        if 1 < verdict.cells.len() {
            let word = cell.conclusion.word();
            lines.push(format!(
                "- **{}**: {word}: {}",
                escaped(&cell.name),
                escaped(&cell.sentence)
            ));
        }
        lines.extend(cell.reasons.iter().map(|reason| format!("- {}", escaped(reason))));
    }
    lines.push(format!("- {}.", escaped(&verdict.tables)));
    lines
}

/// What was seen at each look of each session.
fn looks(record: &CheckRecord) -> Vec<String> {
    let mut lines = vec![
        "| cell | session | pairs | number | change | could fail | |".to_owned(),
        "|:--|--:|--:|:--|--:|--:|:--|".to_owned(),
    ];
    for cell in &record.cells {
        for (number, session) in cell.check.sessions().iter().enumerate() {
            lines.extend(looks_of(cell, number + 1, session));
        }
    }
    if lines.len() == 2 { Vec::new() } else { lines }
}

fn looks_of<'a>(
    cell: &'a CellCheck,
    number: usize,
    session: &'a Session,
) -> impl Iterator<Item = String> + 'a {
    session.inspections().iter().flat_map(move |inspection| {
        inspection.findings.iter().map(move |finding| {
            format!(
                "| {} | {number} | {} | {} | {} | {} | {} |",
                escaped(&cell.name),
                inspection.look.pairs,
                finding.metric.words(),
                percent(finding.ratio.value, 1),
                finding
                    .detectable
                    .map_or("–".to_owned(), |share| format!("{:.1} %", share * 100.0)),
                match finding.judgement {
                    Judgement::Fail => "worse",
                    Judgement::Pass => "not worse",
                    Judgement::Open => "undecided",
                }
            )
        })
    })
}

/// What was run in each cell, by each arm where they differ.
fn settings(record: &CheckRecord, verdict: &CheckVerdict) -> Vec<String> {
    let of = |cell: &CheckedCell| {
        let ran = ran(record, cell);
        let line = |it: &String| format!("- {}: {}", escaped(&cell.name), escaped(it));
        ran.iter().map(line).collect::<Vec<String>>()
    };
    verdict.cells.iter().flat_map(of).collect()
}

fn compared(record: &CheckRecord) -> Vec<String> {
    let mut lines: Vec<String> =
        subject(record).iter().map(|line| format!("- {}", escaped(line))).collect();
    let client = &record.client;
    let gibibytes = client.memory_bytes as f64 / f64::from(1 << 30);
    lines.push(format!(
        "- machine: {} x {}, {} GiB, {}",
        client.cpus,
        escaped(&client.cpu),
        number(gibibytes.round()),
        escaped(&client.system)
    ));
    lines.push(format!("- begun {}, seed {}", record.started_at, record.seed));
    lines.push(format!(
        "- `{}`, batchpilot {}",
        code(&record.command),
        escaped(&record.batchpilot)
    ));
    lines.extend(record.notes.iter().map(|note| format!("- {}", escaped(note))));
    lines
}

/// Adds a piece as a whole or not at all.
fn push_if_it_fits(piece: &str, text: &mut String) -> bool {
    let fits = text.len() + piece.len() <= BYTES_MAX;
    if fits {
        text.push_str(piece);
    }
    fits
}

/// A text of somebody else's: no markup, no mention of a person, no link, one line, and not endless.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.chars().take(CHARACTERS_MAX) {
        match character {
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' => {
                escaped.push('\\');
                escaped.push(character);
            }
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '@' => escaped.push_str("&#64;"),
            character if character.is_control() => escaped.push(' '),
            character => escaped.push(character),
        }
    }
    if text.chars().nth(CHARACTERS_MAX).is_some() {
        escaped.push('…');
    }
    escaped
}

fn code(text: &str) -> String {
    let plain = text.chars().map(|it| if it.is_control() || it == '`' { ' ' } else { it });
    plain.take(CHARACTERS_MAX).collect()
}
