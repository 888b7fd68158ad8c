//! `report.html`: one page that needs nothing else, validity first.
//!
//! **Invariant:** no network: styles and plots are in the page, and it has no script.

pub(super) mod check;
mod facts;
mod tables;

use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde::Serialize;

use self::{
    facts::Fact,
    tables::{ClaimRow, CostRow, ResultRow, SettingRow, WaitRow},
};
use super::Plots;
use crate::{
    record::Record,
    stats::format::number,
    verdict::{Judgement, Outcome, Validity, Verdict},
};

const TEMPLATE: &str = include_str!("../report.html.jinja");

/// All that the template shows, in the order of the page.
#[derive(Serialize)]
struct Page<'a> {
    title: String,
    /// What to say of a simulated server, before all else.
    simulated: Option<String>,
    validity: Band,
    answer: Vec<Sentence<'a>>,
    has_claims: bool,
    has_speedup_claims: bool,
    baseline: Option<&'a str>,
    results: Vec<ResultRow<'a>>,
    reasons: &'a [String],
    caveats: &'a [String],
    notes: Vec<&'a String>,
    plots: Vec<&'a str>,
    environment: Vec<Fact>,
    settings: Vec<Fact>,
    setup: Vec<SettingRow<'a>>,
    costs: Vec<CostRow<'a>>,
    waits: Vec<WaitRow<'a>>,
    method: Vec<String>,
    claims: Vec<ClaimRow<'a>>,
    batchpilot: &'a str,
    command: &'a str,
}

/// What stands first: whether the numbers may be used.
#[derive(Serialize)]
struct Band {
    class: &'static str,
    word: &'static str,
    sentence: String,
    problems: Vec<String>,
}

/// A sentence of the answer; about a claim, with what came of it.
#[derive(Serialize)]
struct Sentence<'a> {
    text: &'a str,
    badge: Option<Badge>,
}

#[derive(Clone, Copy, Serialize)]
struct Badge {
    class: &'static str,
    word: &'static str,
}

/// Returns the page.
pub(super) fn page(record: &Record, verdict: &Verdict, plots: &Plots) -> String {
    let page = Page {
        title: record.plan.heading(),
        simulated: facts::simulation(record),
        validity: band(&verdict.validity),
        answer: answer(verdict),
        has_claims: verdict.cells.iter().any(|cell| cell.claimed_rows_per_s.is_some()),
        has_speedup_claims: verdict.cells.iter().any(|cell| cell.claimed_speedup.is_some()),
        baseline: verdict.baseline.map(|cell| record.plan.cells[cell].name.as_str()),
        results: tables::results(verdict),
        reasons: &verdict.reasons,
        caveats: &verdict.caveats,
        notes: verdict.own_rows.iter().chain(&record.notes).collect(),
        plots: plots_of(plots),
        environment: facts::environment(record),
        settings: facts::settings(record),
        setup: tables::setup(record),
        costs: tables::costs(verdict),
        waits: tables::waits(verdict),
        method: facts::method(record),
        claims: tables::claims(record, verdict),
        batchpilot: &record.batchpilot,
        command: &record.command,
    };
    environment().render_str(TEMPLATE, page).expect("the template names what a page has")
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.add_template("style.css", include_str!("../style.css")).expect("no markup in it");
    environment
}

fn plots_of(plots: &Plots) -> Vec<&str> {
    let Plots { rates, latency, over_time, steering, search } = plots;
    let of_a_search = search.iter().chain(steering);
    of_a_search.chain([rates, latency, over_time]).map(String::as_str).collect()
}

fn band(validity: &Validity) -> Band {
    let Validity { blocks_exact, blocks, blocks_planned, rows_checked, .. } = validity;
    let rows = number(*rows_checked as f64);
    let exact = format!("{blocks_exact} of {blocks} blocks were read back and are exact");
    let (class, word, sentence) = match validity.judgement {
        _ if *blocks == 0 => ("doubt", "INCOMPLETE", "No block was run.".to_owned()),
        Judgement::Valid => (
            "good",
            "VALID",
            format!("All {rows} rows of {blocks} blocks were read back and are exact."),
        ),
        Judgement::Incomplete => (
            "doubt",
            "INCOMPLETE",
            format!(
                "{blocks} of {blocks_planned} blocks were run; {exact}, {rows} rows in all. What \
                 follows is of these."
            ),
        ),
        Judgement::Invalid => (
            "bad",
            "INVALID",
            format!(
                "A table did not hold what the server had confirmed: {exact}, {rows} rows in all. \
                 Do not use these numbers."
            ),
        ),
    };
    Band { class, word, sentence, problems: validity.problems.clone() }
}

/// What came of each claim, and then what else the answer says.
fn answer(verdict: &Verdict) -> Vec<Sentence<'_>> {
    let claims = verdict
        .claims
        .iter()
        .map(|claim| Sentence { text: &claim.sentence, badge: Some(badge(claim.outcome)) });
    let is_claim = |text: &str| verdict.claims.iter().any(|claim| claim.sentence == text);
    let others = verdict.answer.iter().filter(|text| !is_claim(text));
    claims.chain(others.map(|text| Sentence { text, badge: None })).collect()
}

fn badge(outcome: Outcome) -> Badge {
    match outcome {
        Outcome::Holds => Badge { class: "good", word: "holds" },
        Outcome::Refuted => Badge { class: "bad", word: "does not hold" },
        Outcome::Inconclusive => Badge { class: "doubt", word: "undecided" },
    }
}
