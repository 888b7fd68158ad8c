//! A check as JUnit XML: a test case a gated number, as CI servers show tests.
//!
//! The elements are those of Jenkins' schema (`junit-10.xsd`), which GitLab and the others read, too.
//! A regression is a failure, what is undecided is skipped, and what must not be judged is an error:
//! an INCONCLUSIVE check is no red build, and no green one that hides it.

use std::io::{self, Write};

use quick_xml::{
    Writer,
    events::{BytesDecl, BytesText, Event},
};

use super::{NotRun, change, limits};
use crate::{
    gate::{Conclusion, Metric, Outcome},
    record::{CellCheck, CheckRecord},
    report::check::{subject, typical, write_within},
    stats::format::number,
    verdict::{CheckVerdict, CheckedCell, CheckedMetric, Standing},
};

/// Columns of the text that is quoted.
const COLUMNS: u16 = 100;

/// What became of a test case.
enum Status {
    Passed,
    /// Element, type and message.
    Other(&'static str, &'static str, String),
}

struct Case {
    class: String,
    name: String,
    status: Status,
    /// What a reader finds below the message.
    text: String,
}

/// What the file holds.
struct Suite<'a> {
    name: String,
    /// UTC, if the check had begun.
    started_at: Option<&'a str>,
    seconds: f64,
    properties: Vec<(&'static str, String)>,
    cases: Vec<Case>,
    text: String,
}

/// Writes a check.
///
/// # Errors
///
/// Those of `out`.
pub fn write(record: &CheckRecord, verdict: &CheckVerdict, out: &mut dyn Write) -> io::Result<()> {
    let suite = Suite {
        name: clean(&record.name),
        started_at: Some(&record.started_at),
        seconds: seconds_measured(record),
        properties: properties(record, verdict),
        cases: cases(record, verdict),
        text: text(record, verdict),
    };
    write_suite(&suite, out)
}

/// Writes a check that did not run: one test case, an error.
///
/// # Errors
///
/// Those of `out`.
pub fn write_not_run(not_run: &NotRun<'_>, out: &mut dyn Write) -> io::Result<()> {
    let (name, error) = ("check".to_owned(), clean(not_run.error));
    let status = Status::Other("error", not_run.why.words(), error.clone());
    let case = Case { class: name.clone(), name: "run".to_owned(), status, text: error };
    let suite = Suite {
        name,
        started_at: None,
        seconds: 0.0,
        properties: vec![
            ("conclusion", "ERROR".to_owned()),
            ("command", clean(not_run.command)),
            ("batchpilot", clean(not_run.batchpilot)),
        ],
        cases: vec![case],
        text: "The check did not run: nothing was judged.".to_owned(),
    };
    write_suite(&suite, out)
}

fn write_suite(suite: &Suite<'_>, out: &mut dyn Write) -> io::Result<()> {
    let Suite { name, started_at, properties, cases, text, .. } = suite;
    let count = |element: &str| {
        let is_it = |it: &&Case| matches!(it.status, Status::Other(name, ..) if name == element);
        cases.iter().filter(is_it).count().to_string()
    };
    let (tests, failures, errors) = (cases.len().to_string(), count("failure"), count("error"));
    let seconds = format!("{:.3}", suite.seconds);
    let totals = [
        ("tests", tests.as_str()),
        ("failures", failures.as_str()),
        ("errors", errors.as_str()),
        ("time", seconds.as_str()),
    ];
    let mut xml = Writer::new_with_indent(&mut *out, b' ', 2);
    xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let root = xml.create_element("testsuites").with_attribute(("name", "batchpilot check"));
    root.with_attributes(totals).write_inner_content(|xml| {
        let suite = xml.create_element("testsuite").with_attribute(("name", name.as_str()));
        suite
            .with_attributes(totals)
            .with_attribute(("skipped", count("skipped").as_str()))
            .with_attributes(started_at.map(|it| ("timestamp", it)))
            .write_inner_content(|xml| {
                write_properties(properties, xml)?;
                cases.iter().try_for_each(|case| write_case(case, xml))?;
                xml.create_element("system-out").write_text_content(BytesText::new(text))?;
                Ok(())
            })?;
        Ok(())
    })?;
    out.write_all(b"\n")
}

fn properties(record: &CheckRecord, verdict: &CheckVerdict) -> Vec<(&'static str, String)> {
    vec![
        ("conclusion", verdict.conclusion.word().to_owned()),
        ("headline", clean(&verdict.headline)),
        ("base", clean(&record.arms.base.label)),
        ("head", clean(&record.arms.head.label)),
        ("command", clean(&record.command)),
        ("seed", record.seed.to_string()),
        ("batchpilot", record.batchpilot.clone()),
    ]
}

fn write_properties<W: Write>(
    properties: &[(&str, String)],
    xml: &mut Writer<W>,
) -> io::Result<()> {
    xml.create_element("properties").write_inner_content(|xml| {
        for (name, value) in properties {
            xml.create_element("property")
                .with_attributes([("name", *name), ("value", value.as_str())])
                .write_empty()?;
        }
        Ok(())
    })?;
    Ok(())
}

fn write_case<W: Write>(case: &Case, xml: &mut Writer<W>) -> io::Result<()> {
    let element = xml
        .create_element("testcase")
        .with_attributes([("classname", case.class.as_str()), ("name", case.name.as_str())]);
    element.write_inner_content(|xml| {
        match &case.status {
            Status::Passed => {
                xml.create_element("system-out").write_text_content(BytesText::new(&case.text))?;
            }
            Status::Other(element, kind, message) => {
                xml.create_element(*element)
                    .with_attributes([("type", *kind), ("message", message.as_str())])
                    .write_text_content(BytesText::new(&case.text))?;
            }
        }
        Ok(())
    })?;
    Ok(())
}

fn cases(record: &CheckRecord, verdict: &CheckVerdict) -> Vec<Case> {
    let mut cases = Vec::new();
    for (cell, checked) in record.cells.iter().zip(&verdict.cells) {
        let gated: Vec<&CheckedMetric> =
            checked.metrics.iter().filter(|it| it.bounds.is_some()).collect();
        if gated.is_empty() {
            let status = other(checked, "gated numbers were not measured");
            cases.push(case(checked, "check", status, String::new()));
        }
        for metric in gated {
            let status = status(cell, checked, metric);
            cases.push(case(checked, metric.metric.words(), status, numbers(metric)));
        }
    }
    // No green build where a part was not checked.
    for name in verdict.unchecked.iter().filter(|_| !verdict.cells.is_empty()) {
        let (class, name) = (clean(name), "check".to_owned());
        let status = Status::Other("skipped", "inconclusive", "not checked".to_owned());
        cases.push(Case { class, name, status, text: String::new() });
    }
    let is_green = cases.iter().all(|it| matches!(it.status, Status::Passed));
    if is_green && verdict.conclusion != Conclusion::Pass && record.error.is_none() {
        let status = Status::Other("skipped", "inconclusive", clean(&verdict.headline));
        let (class, name) = (clean(&record.name), "run".to_owned());
        cases.push(Case { class, name, status, text: String::new() });
    }
    let error = record.error.clone().or_else(|| {
        // A check that measured nothing is no check that found nothing.
        verdict.cells.is_empty().then(|| verdict.headline.clone())
    });
    if let Some(error) = error {
        let status = Status::Other("error", "ended", clean(&error));
        let (class, name, text) = (clean(&record.name), "run".to_owned(), clean(&error));
        cases.push(Case { class, name, status, text });
    }
    cases
}

fn case(checked: &CheckedCell, name: &str, status: Status, text: String) -> Case {
    Case { class: clean(&checked.name), name: name.to_owned(), status, text }
}

fn status(cell: &CellCheck, checked: &CheckedCell, metric: &CheckedMetric) -> Status {
    let message =
        || clean(&format!("{} {}: {}", metric.metric.words(), change(metric), checked.sentence));
    match &cell.outcome {
        Outcome::Invalid(_) => other(checked, &checked.sentence),
        Outcome::Fail(metrics) if metrics.contains(&metric.metric) => {
            Status::Other("failure", "regression", message())
        }
        _ if metric.standing == Standing::NotWorse => Status::Passed,
        _ => Status::Other("skipped", "inconclusive", message()),
    }
}

/// What the whole cell says.
fn other(checked: &CheckedCell, because: &str) -> Status {
    match checked.conclusion {
        Conclusion::Invalid => Status::Other("error", "invalid", clean(&checked.sentence)),
        _ => Status::Other("skipped", "inconclusive", clean(because)),
    }
}

fn numbers(metric: &CheckedMetric) -> String {
    let name = metric.metric.words();
    let mut lines = vec![
        format!("base {name}: {}", typical(metric.metric, metric.base)),
        format!("head {name}: {}", typical(metric.metric, metric.head)),
        format!("change: {} (95 % interval, n = {} pairs)", change(metric), metric.ratio.n),
    ];
    if let Some(bounds) = metric.bounds {
        let (fails, passes) = limits(metric.metric, bounds);
        lines.push(format!("fails at head / base {fails:.3}, passes at {passes:.3}"));
    }
    if let Some(detectable) = metric.detectable {
        let less = if metric.metric == Metric::RowsPerS { "fewer" } else { "more" };
        let share = number((detectable * 1e3).round() / 10.0);
        lines.push(format!("the last look would have failed {share} % {less}"));
    }
    lines.join("\n")
}

fn text(record: &CheckRecord, verdict: &CheckVerdict) -> String {
    let mut text = Vec::new();
    write_within(Some(COLUMNS), record, verdict, &mut text).expect("writes to memory");
    let text = String::from_utf8_lossy(&text).into_owned();
    let plain = anstream::adapter::strip_str(&text).to_string();
    format!("{}\n{}", subject(record).join("\n"), clean(&plain))
}

/// Time in blocks of both arms, in seconds.
fn seconds_measured(record: &CheckRecord) -> f64 {
    let sessions = record.cells.iter().flat_map(|cell| cell.check.sessions());
    let pairs = sessions.flat_map(|session| session.pairs());
    // The sum of nothing is -0, which the schema does not take.
    pairs.map(|pair| pair.base.seconds + pair.head.seconds).fold(0.0, |sum, it| sum + it)
}

/// Leaves out what XML 1.0 cannot hold, not even escaped: a name or an error may have an escape
/// sequence of a terminal in it.
fn clean(text: &str) -> String {
    let may_stay = |it: char| !it.is_control() || matches!(it, '\n' | '\t');
    text.chars().filter(|it| may_stay(*it) && !matches!(it, '\u{fffe}' | '\u{ffff}')).collect()
}
