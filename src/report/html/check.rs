//! `report.html` of a check: the verdict first, then the numbers, the pairs, and what it ran on.

use serde::Serialize;

use super::{
    environment,
    facts::{self, Fact},
};
use crate::{
    gate::{Conclusion, Confirmation, Finding, Inspection, Judgement, Metric, WarmUp},
    record::{ArmRecord, CheckRecord},
    report::{
        check::{ran, title, typical},
        ci::{change, limits, percent},
    },
    stats::format::number,
    verdict::{CheckVerdict, CheckedMetric, Standing},
};

const TEMPLATE: &str = include_str!("../check.html.jinja");

/// All that the template shows, in the order of the page.
#[derive(Serialize)]
struct Page<'a> {
    title: String,
    is_simulated: bool,
    verdict: Badge,
    headline: &'a str,
    error: Option<&'a str>,
    rows: Vec<Row<'a>>,
    reasons: Vec<String>,
    caveats: Vec<&'a String>,
    plots: &'a [&'a str],
    looks: Vec<Look<'a>>,
    arms: Vec<ArmFacts>,
    method: Vec<String>,
    batchpilot: &'a str,
    command: &'a str,
}

#[derive(Serialize)]
struct Badge {
    class: &'static str,
    word: &'static str,
}

/// A number of a cell.
#[derive(Serialize)]
struct Row<'a> {
    cell: &'a str,
    metric: &'static str,
    base: String,
    head: String,
    change: String,
    fails: String,
    passes: String,
    detectable: String,
    n: usize,
    class: &'static str,
    word: &'static str,
}

/// What a look said of a number.
#[derive(Serialize)]
struct Look<'a> {
    cell: &'a str,
    session: usize,
    pairs: usize,
    level: String,
    metric: &'static str,
    change: String,
    fail_limit: String,
    pass_limit: String,
    class: &'static str,
    word: &'static str,
}

#[derive(Serialize)]
struct ArmFacts {
    title: String,
    facts: Vec<Fact>,
}

/// Returns the page.
pub(in crate::report) fn page(
    record: &CheckRecord,
    verdict: &CheckVerdict,
    plots: &[&str],
) -> String {
    let page = Page {
        title: format!("Check: {}", title(record)),
        is_simulated: record.is_simulated(),
        verdict: badge(verdict.conclusion),
        headline: &verdict.headline,
        error: record.error.as_deref(),
        rows: rows(verdict),
        reasons: reasons(verdict),
        caveats: verdict.caveats.iter().chain(&record.notes).collect(),
        plots,
        looks: looks(record),
        arms: arms(record),
        method: method(record, verdict),
        batchpilot: &record.batchpilot,
        command: &record.command,
    };
    let rendered = environment().render_str(TEMPLATE, page);
    rendered.expect("the template names what a page has")
}

fn badge(conclusion: Conclusion) -> Badge {
    let class = match conclusion {
        Conclusion::Pass => "good",
        Conclusion::Inconclusive => "doubt",
        Conclusion::Fail | Conclusion::Invalid => "bad",
    };
    Badge { class, word: conclusion.word() }
}

fn rows(verdict: &CheckVerdict) -> Vec<Row<'_>> {
    let rows = verdict.cells.iter().flat_map(|cell| {
        cell.metrics.iter().map(move |metric| {
            let bound = metric.bounds.map(|bounds| limits(metric.metric, bounds));
            let shown = |ratio: Option<f64>| ratio.map_or("–".to_owned(), |it| percent(it, 0));
            Row {
                cell: &cell.name,
                metric: metric.metric.words(),
                base: typical(metric.metric, metric.base),
                head: typical(metric.metric, metric.head),
                change: change(metric),
                fails: shown(bound.map(|it| it.0)),
                passes: shown(bound.map(|it| it.1)),
                detectable: detectable(metric),
                n: metric.ratio.n,
                class: class(metric.standing),
                word: metric.standing.words(),
            }
        })
    });
    rows.collect()
}

fn class(standing: Standing) -> &'static str {
    match standing {
        Standing::NotGated | Standing::NoLook => "",
        Standing::Worse | Standing::Invalid => "bad",
        Standing::NotWorse => "good",
        Standing::Undecided | Standing::NotConfirmed => "doubt",
    }
}

fn detectable(metric: &CheckedMetric) -> String {
    let sign = if metric.metric == Metric::RowsPerS { '-' } else { '+' };
    let share = metric.detectable.map(|share| format!("{sign}{:.1} %", share * 100.0));
    share.unwrap_or_else(|| "–".to_owned())
}

fn reasons(verdict: &CheckVerdict) -> Vec<String> {
    let mut reasons = Vec::new();
    for cell in &verdict.cells {
        if 1 < verdict.cells.len() {
            let word = cell.conclusion.word();
            reasons.push(format!("{}: {word}: {}.", cell.name, cell.sentence));
        }
        reasons.extend(cell.reasons.iter().cloned());
    }
    reasons.push(format!("{}.", verdict.tables));
    reasons
}

fn looks(record: &CheckRecord) -> Vec<Look<'_>> {
    let mut looks = Vec::new();
    for cell in &record.cells {
        for (number, session) in cell.check.sessions().iter().enumerate() {
            for inspection in session.inspections() {
                let look = |finding| look(&cell.name, number + 1, inspection, finding);
                looks.extend(inspection.findings.iter().map(look));
            }
        }
    }
    looks
}

fn look<'a>(cell: &'a str, session: usize, inspection: &Inspection, finding: &Finding) -> Look<'a> {
    let limit = |ratio: Option<f64>| ratio.map_or("–".to_owned(), |it| percent(it, 1));
    let (class, word) = match finding.judgement {
        Judgement::Fail => ("bad", "worse"),
        Judgement::Pass => ("good", "not worse"),
        Judgement::Open => ("doubt", "undecided"),
    };
    Look {
        cell,
        session,
        pairs: inspection.look.pairs,
        level: number(inspection.look.alpha),
        metric: finding.metric.words(),
        change: percent(finding.ratio.value, 1),
        fail_limit: limit(finding.fail_limit),
        pass_limit: limit(finding.pass_limit),
        class,
        word,
    }
}

fn arms(record: &CheckRecord) -> Vec<ArmFacts> {
    let (base, head) = (&record.arms.base, &record.arms.head);
    let mut arms = Vec::new();
    let machine = vec![
        facts::machine(&record.client),
        facts::busy(record.cpu_busy_before),
        facts::load(record.load_before),
    ];
    if record.is_simulated() {
        return arms;
    }
    if (&base.server, &base.storage) == (&head.server, &head.storage) {
        arms.push(ArmFacts { title: "Both arms".to_owned(), facts: of_arm(base) });
    } else {
        arms.push(ArmFacts { title: format!("Base: {}", base.label), facts: of_arm(base) });
        arms.push(ArmFacts { title: format!("Head: {}", head.label), facts: of_arm(head) });
    }
    arms.push(ArmFacts { title: "Client".to_owned(), facts: machine });
    arms
}

fn of_arm(arm: &ArmRecord) -> Vec<Fact> {
    let server = arm.server.as_ref();
    let mut all = server.map(|it| facts::server(it, arm.private_server)).unwrap_or_default();
    let storage = arm.storage.as_deref().unwrap_or("not known");
    all.push(Fact::new("Storage of the data", storage));
    all
}

/// When a failure counts.
fn confirmation(how: Confirmation) -> &'static str {
    match how {
        Confirmation::Off => "A failure counts at once: no second session was asked for.",
        Confirmation::Same => {
            "A failure counts after a second session, with new connections and tables, failed in the \
             same number; that session may pass at an early look."
        }
        Confirmation::Full => {
            "A failure counts after a second session, with new connections and tables, failed in the \
             same number."
        }
    }
}

fn method(record: &CheckRecord, verdict: &CheckVerdict) -> Vec<String> {
    let ended =
        record.finished_at.as_ref().map_or("did not end".to_owned(), |it| format!("ended {it}"));
    let mut sentences = vec![
        format!(
            "Blocks of both arms alternate, in an order drawn by seed {}, on sessions that stay \
             open; a pair of neighbours is one observation, because what the machine does to one it \
             does to the other.",
            record.seed
        ),
        format!(
            "The looks were planned before the first pair, each with its level; the levels of all \
             looks and numbers add up to the chance of a false failure. {}",
            confirmation(record.options.confirmation)
        ),
    ];
    for cell in &verdict.cells {
        let ran = ran(record, cell);
        sentences.extend(ran.iter().map(|it| format!("{}: {it}.", cell.name)));
    }
    for cell in &record.cells {
        let Some(timing) = cell.timing else { continue };
        let late = cell.sessions.iter().any(|it| it.warm_up == WarmUp::TimedOut);
        sentences.push(format!(
            "{}: blocks of {} s, of which the first {} s are left out; {} sessions{}.",
            cell.name,
            number(timing.block.as_secs_f64()),
            number(timing.guard.as_secs_f64()),
            cell.sessions.len(),
            if late { ", of which one was not warm when it began" } else { "" },
        ));
    }
    sentences.push(format!("Begun {}, {ended}.", record.started_at));
    sentences
}
