//! What a check says: about each cell and each metric, in numbers and in sentences.

use serde::{Deserialize, Serialize};

use crate::{
    gate::{
        Advice, Arm, Block, Bounds, Conclusion, Fault, Judgement, Metric, Options, Outcome,
        Session, Undecided, WarmUp,
    },
    record::{CellCheck, CheckRecord, Comparison},
    stats::{
        Estimate,
        format::{counted, number, times},
    },
};

/// Everything that a check says.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct CheckVerdict {
    /// In one word; shown first.
    pub conclusion: Conclusion,
    /// What the word means here, in a sentence.
    pub headline: String,
    /// The cells, in the order of running.
    pub cells: Vec<CheckedCell>,
    /// Names of the cells that were not begun.
    pub unchecked: Vec<String>,
    /// What was read back, in a sentence.
    pub tables: String,
    /// What a reader should doubt, in sentences.
    pub caveats: Vec<String>,
}

/// What the pairs of a cell say.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct CheckedCell {
    /// Its name.
    pub name: String,
    /// In one word.
    pub conclusion: Conclusion,
    /// What the word means here, in a sentence.
    pub sentence: String,
    /// Of the last session that was looked at: first what is gated, then the p99 latency.
    pub metrics: Vec<CheckedMetric>,
    /// How it came to that, in sentences: sessions, looks, what would have been seen.
    pub reasons: Vec<String>,
}

/// What the pairs of a session say about a metric.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct CheckedMetric {
    /// Which.
    pub metric: Metric,
    /// Of the blocks of base: rows a second, or nanoseconds.
    pub base: Option<Estimate>,
    /// Of the blocks of head.
    pub head: Option<Estimate>,
    /// Head over base: the Hodges–Lehmann estimate of the pairs, with the 95 % interval.
    pub ratio: Estimate,
    /// What fails and what passes; `None` of a metric that is only remarked on.
    pub bounds: Option<Bounds>,
    /// What follows for it, all sessions considered.
    pub standing: Standing,
    /// The least worsening, as a share, that the last look would have failed.
    pub detectable: Option<f64>,
}

/// What follows for a metric from all sessions of its cell, of which one may be under way.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It cannot fail a check.
    NotGated,
    /// What was measured must not be judged.
    Invalid,
    /// No look was taken yet.
    NoLook,
    /// It fails the cell.
    Worse,
    /// It failed in one session and not in both.
    NotConfirmed,
    /// It passed: in a session that only confirms failures of others, in the one before.
    NotWorse,
    /// Neither.
    Undecided,
}

impl Standing {
    /// As it is called in tables: head is …
    pub fn words(self) -> &'static str {
        match self {
            Standing::NotGated => "not gated",
            Standing::Invalid => "invalid",
            Standing::NoLook => "no look",
            Standing::Worse => "worse",
            Standing::NotConfirmed => "seen once",
            Standing::NotWorse => "not worse",
            Standing::Undecided => "undecided",
        }
    }

    /// A look says what its session saw, and only the outcome what that comes to: a session that is to
    /// confirm a failure may fail in another metric, and passes none.
    fn of(metric: Metric, cell: &CellCheck, options: &Options) -> Standing {
        if bounds(metric, options).is_none() {
            return Standing::NotGated;
        }
        match &cell.outcome {
            Outcome::Invalid(_) => return Standing::Invalid,
            Outcome::Fail(metrics) if metrics.contains(&metric) => return Standing::Worse,
            _ => (),
        }
        let looks = cell.check.sessions().iter().filter_map(|session| {
            let findings = &session.inspections().last()?.findings;
            findings.iter().find(|it| it.metric == metric).map(|it| it.judgement)
        });
        let looks: Vec<Judgement> = looks.collect();
        match looks.as_slice() {
            [] => Standing::NoLook,
            looks if looks.contains(&Judgement::Fail) => Standing::NotConfirmed,
            looks if looks.contains(&Judgement::Pass) => Standing::NotWorse,
            _ => Standing::Undecided,
        }
    }
}

impl Metric {
    /// As it is called in sentences and tables.
    pub fn words(self) -> &'static str {
        match self {
            Metric::RowsPerS => "rows/s",
            Metric::LatencyP95 => "p95 latency",
            Metric::LatencyP99 => "p99 latency",
        }
    }

    /// What the gate judged of a block: rows a second, or nanoseconds.
    fn of(self, block: &Block) -> f64 {
        let value = self.value(block);
        if self.is_latency() { value * 1e9 } else { value }
    }
}

impl CheckVerdict {
    /// Judges a check. What it decided while it ran is not decided again.
    pub fn of(record: &CheckRecord) -> CheckVerdict {
        let cells: Vec<CheckedCell> =
            record.cells.iter().map(|cell| checked(cell, record)).collect();
        let conclusion = record.conclusion();
        let headline = headline(record, conclusion, &cells);
        let unchecked = record.cells_missing().map(str::to_owned).collect();
        let caveats = caveats(record);
        CheckVerdict { conclusion, headline, cells, unchecked, tables: tables(record), caveats }
    }
}

/// What the word means here, in a sentence.
fn headline(record: &CheckRecord, conclusion: Conclusion, cells: &[CheckedCell]) -> String {
    let all = record.arms.base.plan.cells.len();
    // What ended the check says nothing about a cell.
    let is_told =
        |name: &str| record.cells.iter().any(|it| it.name == name && !record.is_cut_off(it));
    match cells.iter().find(|cell| cell.conclusion == conclusion && is_told(&cell.name)) {
        Some(only) if all == 1 => only.sentence.clone(),
        Some(_) if conclusion == Conclusion::Pass => {
            format!("head is not slower than base in any of {all} cells")
        }
        Some(cell) => format!("{}: {}", cell.name, cell.sentence),
        None if cells.is_empty() => "it ended before anything was checked".to_owned(),
        None => {
            let passed = cells.iter().filter(|it| it.conclusion == Conclusion::Pass).count();
            format!(
                "it did not run to its end; head is not slower than base in {passed} of {all} {}, as \
                 far as they were checked",
                if all == 1 { "cell" } else { "cells" }
            )
        }
    }
}

fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let rounded =
        if percent.abs() < 10.0 { (percent * 10.0).round() / 10.0 } else { percent.round() };
    format!("{} %", number(rounded))
}

fn bounds(metric: Metric, options: &Options) -> Option<Bounds> {
    match metric {
        Metric::RowsPerS => options.rows_per_s,
        Metric::LatencyP95 => options.latency_p95,
        Metric::LatencyP99 => None,
    }
}

fn checked(cell: &CellCheck, record: &CheckRecord) -> CheckedCell {
    let options = &record.options;
    let is_cut_off = record.is_cut_off(cell);
    let metrics = [Metric::RowsPerS, Metric::LatencyP95, Metric::LatencyP99];
    let metrics: Vec<CheckedMetric> =
        metrics.into_iter().filter_map(|it| metric(it, cell, is_cut_off, options)).collect();
    let mut reasons = reasons(cell);
    if metrics.iter().any(is_off_the_quotient) {
        reasons.push(
            "head / base is the middle of the ratios of the pairs, each of two neighbouring blocks, \
             and not the quotient of the two columns: those hold what the machine did between pairs."
                .to_owned(),
        );
    }
    CheckedCell {
        name: cell.name.clone(),
        conclusion: record.conclusion_of(cell),
        sentence: sentence(cell, is_cut_off, options),
        metrics,
        reasons,
    }
}

/// Returns whether a reader who divides head by base gets another ratio than the pairs', by more
/// than 1 %.
fn is_off_the_quotient(metric: &CheckedMetric) -> bool {
    let Some((base, head)) = metric.base.zip(metric.head) else { return false };
    0.01 < (head.value / base.value / metric.ratio.value).ln().abs()
}

fn metric(
    metric: Metric,
    cell: &CellCheck,
    is_cut_off: bool,
    options: &Options,
) -> Option<CheckedMetric> {
    let session = cell.check.session_shown();
    let of = |arm: Arm| {
        let block = |pair: &crate::gate::Pair| match arm {
            Arm::Base => metric.of(&pair.base),
            Arm::Head => metric.of(&pair.head),
        };
        let values: Vec<f64> = session.pairs().iter().map(block).collect();
        Estimate::of(&values)
    };
    let last = session.inspections().last();
    let finding = last.and_then(|it| it.findings.iter().find(|it| it.metric == metric));
    Some(CheckedMetric {
        metric,
        base: of(Arm::Base),
        head: of(Arm::Head),
        ratio: session.running(metric)?,
        bounds: bounds(metric, options),
        standing: match Standing::of(metric, cell, options) {
            Standing::Invalid if is_cut_off => Standing::NoLook,
            standing => standing,
        },
        detectable: finding.and_then(|it| it.detectable),
    })
}

/// Says what the outcome of a cell means.
fn sentence(cell: &CellCheck, is_cut_off: bool, options: &Options) -> String {
    let sessions = cell.check.sessions();
    let last = sessions.last().expect("a check has a session");
    let pairs = last.pairs().len();
    let ratio = |session: &Session, metric: Metric| {
        let ratio = session.running(metric).map(times).unwrap_or_default();
        format!("{} {ratio}", metric.words())
    };
    let failed_first = || {
        let first = &sessions[0];
        let ratios: Vec<String> = first.failed().iter().map(|it| ratio(first, *it)).collect();
        format!("a first session failed ({})", ratios.join(", "))
    };
    let stopped = format!("stopped after {pairs} pairs, before it could say anything");
    match &cell.outcome {
        _ if is_cut_off => stopped,
        Outcome::Pass => {
            let gated = [Metric::RowsPerS, Metric::LatencyP95];
            let most = gated.into_iter().filter_map(|metric| {
                let tolerance = percent(bounds(metric, options)?.tolerance);
                Some(format!("{tolerance} of {}", metric.words()))
            });
            let most = most.collect::<Vec<_>>().join(" or ");
            format!("head is not worse than base by {most}, as {pairs} pairs prove")
        }
        Outcome::Fail(metrics) => {
            let ratios: Vec<String> = metrics.iter().map(|it| ratio(last, *it)).collect();
            let how = match sessions.len() {
                1 => format!("in {pairs} pairs, not confirmed by a second session"),
                _ => format!("in {pairs} pairs of a second session, as in the first"),
            };
            format!("head is slower than base: {} {how}", ratios.join(" and "))
        }
        Outcome::Inconclusive(Undecided::LastLook) => {
            format!("{pairs} pairs prove neither that head is slower nor that it is not")
        }
        Outcome::Inconclusive(Undecided::NotReproduced) => {
            format!(
                "{}, and a fresh one did not: what it saw lay in the session, or is too small to be \
                 seen twice",
                failed_first()
            )
        }
        Outcome::Inconclusive(Undecided::Stopped) if 1 < sessions.len() => format!(
            "{}, and the one that was to confirm it was stopped after {pairs} pairs",
            failed_first()
        ),
        Outcome::Inconclusive(Undecided::Stopped) => stopped,
        Outcome::Invalid(faults) => {
            let faults: Vec<String> = faults.iter().map(|it| fault(it, cell, options)).collect();
            faults.join("; ")
        }
    }
}

fn fault(fault: &Fault, cell: &CellCheck, options: &Options) -> String {
    let because = |what: Option<&String>| what.map(|it| format!(" ({it})")).unwrap_or_default();
    match *fault {
        Fault::InsertErrors { operations } => {
            let count = counted(operations, "operation was", "operations were");
            format!("{count} not confirmed{}", because(cell.error.as_ref()))
        }
        Fault::WrongTables { tables } => {
            let count = counted(tables, "table", "tables");
            let first = because(cell.tables.problems.first());
            format!("{count} did not hold what the server had confirmed{first}")
        }
        Fault::ClientBound { share } => format!(
            "batchpilot itself was the limit in {} of an arm's windows, {} at most: a slower server \
             would not show",
            percent(share),
            percent(options.client_bound_max)
        ),
        Fault::Steal { share } => format!(
            "the hypervisor took {} of the CPU time, {} at most: the machine was measured, and not \
             the arms",
            percent(share),
            percent(options.steal_max)
        ),
        Fault::TooFewPairs { pairs, pairs_min } => {
            let pairs = counted(pairs as u64, "pair was", "pairs were");
            format!("{pairs} measured, and it takes {pairs_min} to say anything")
        }
    }
}

/// Says how it came to the outcome.
fn reasons(cell: &CellCheck) -> Vec<String> {
    let mut reasons = Vec::new();
    let sessions = cell.check.sessions();
    if let [first, second] = sessions {
        let of = |session: &Session| {
            let ratio = session.running(Metric::RowsPerS).map(times);
            let ratio = ratio.map(|it| format!(", rows/s {it}")).unwrap_or_default();
            format!("{} pairs{ratio}", session.pairs().len())
        };
        reasons.push(format!(
            "First session: {}. Second, with new connections and tables, the other arm's first: {}.",
            of(first),
            of(second)
        ));
    }
    if let Some(inspection) = cell.check.session_shown().inspections().last() {
        let seen = inspection.findings.iter().filter_map(|finding| {
            let share = percent(finding.detectable?);
            Some(match finding.metric {
                Metric::RowsPerS => format!("{share} fewer rows/s"),
                other => format!("{share} more {}", other.words()),
            })
        });
        let seen: Vec<String> = seen.collect();
        if !seen.is_empty() {
            reasons.push(format!(
                "The last look, after {} pairs, would have failed {}.",
                inspection.look.pairs,
                seen.join(", or ")
            ));
        }
    }
    reasons
}

fn tables(record: &CheckRecord) -> String {
    let read = |of: fn(&CellCheck) -> u64| record.cells.iter().map(of).sum::<u64>();
    let (tables, rows) = (read(|it| it.tables.tables), read(|it| it.tables.rows));
    let wrong: usize = record.cells.iter().map(|it| it.tables.problems.len()).sum();
    let exact = tables.saturating_sub(wrong as u64);
    let seconds: f64 = record.cells.iter().map(|it| it.tables.seconds).sum();
    let time = if seconds < 0.05 { String::new() } else { format!(", in {seconds:.1} s") };
    format!("{exact} of {tables} tables read back and exact, {} rows{time}", number(rows as f64))
}

fn caveats(record: &CheckRecord) -> Vec<String> {
    let mut caveats = Vec::new();
    let missing: Vec<&str> = record.cells_missing().collect();
    if !missing.is_empty() && !record.cells.is_empty() {
        caveats.push(format!("It ended before it had begun {}.", missing.join(", ")));
    }
    if let Comparison::Null(arm) = record.comparison {
        let so = match record.conclusion() {
            Conclusion::Fail => ": this FAIL is a false one, and this machine needs larger margins",
            _ => ": what differs is this machine's doing",
        };
        caveats.push(format!("Both arms are {}{so}.", arm.name()));
    }
    if record.is_simulated() {
        caveats.push("No number here was measured on a database.".to_owned());
    }
    for cell in &record.cells {
        let name = if record.cells.len() == 1 { String::new() } else { format!("{}: ", cell.name) };
        for problem in cell.tables.problems.iter().skip(1) {
            caveats.push(format!("{name}{problem}."));
        }
        let late = cell.sessions.iter().filter(|it| it.warm_up == WarmUp::TimedOut).count();
        if 0 < late {
            caveats.push(format!(
                "{name}the warm-up was ended by its time limit in {}: the arms were not steady yet.",
                counted(late as u64, "session", "sessions")
            ));
        }
        // What fails is not remarked on as well.
        let failed: &[Metric] = match &cell.outcome {
            Outcome::Fail(metrics) => metrics,
            _ => &[],
        };
        let is_news = |it: &&Advice| match it {
            Advice::P99Worse { .. } => !failed.contains(&Metric::LatencyP95),
            Advice::TotalsWorse { .. } => !failed.contains(&Metric::RowsPerS),
            Advice::TotalsDiffer { .. } => true,
        };
        let news = cell.advice.iter().filter(is_news);
        caveats.extend(news.map(|it| format!("{name}{}", advice(it))));
    }
    caveats
}

fn advice(advice: &Advice) -> String {
    let totals = |totals: &crate::gate::Totals| {
        format!(
            "{}x the rows of base in all (stalled blocks: base {}, head {})",
            number(totals.ratio),
            percent(totals.stalled_base),
            percent(totals.stalled_head)
        )
    };
    match advice {
        Advice::P99Worse { ratio } => {
            format!("The p99 latency of head is {} of base's; it is not gated.", times(*ratio))
        }
        Advice::TotalsWorse { totals: it } => {
            format!("Head inserted {}; that is not gated.", totals(it))
        }
        Advice::TotalsDiffer { totals: it, ratio } => format!(
            "Head inserted {}, and a typical pair says {}x: a few blocks make the difference.",
            totals(it),
            number(*ratio)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_that_divide_into_another_ratio_are_told_of() {
        let estimate = |value: f64| Estimate { value, low: None, high: None, n: 15 };
        let off = |base: f64, head: f64, ratio: f64| {
            is_off_the_quotient(&CheckedMetric {
                metric: Metric::RowsPerS,
                base: Some(estimate(base)),
                head: Some(estimate(head)),
                ratio: estimate(ratio),
                bounds: None,
                standing: Standing::NotGated,
                detectable: None,
            })
        };
        assert!(off(539_938.0, 530_618.0, 1.025), "seen: fewer rows, and a ratio above 1");
        assert!(!off(539_938.0, 530_618.0, 0.985));
    }
}
