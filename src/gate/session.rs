//! One session of a check: pairs go in, and at the planned looks a judgement may come out.

use serde::{Deserialize, Serialize};

use super::{Arm, Confirmation, Look, Metric, Pair, Rule, options::Test};
use crate::stats::{CONFIDENCE, Estimate, SignedRank, median};

/// The pairs of a session, and what was seen at its looks.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Session {
    rule: Rule,
    /// The metrics that it must fail in to confirm; `None` in a first session.
    confirms: Option<Vec<Metric>>,
    pairs: Vec<Pair>,
    inspections: Vec<Inspection>,
}

/// What was seen at a look.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Inspection {
    /// When, and at which level for each metric.
    pub look: Look,
    /// Of each gated metric.
    pub findings: Vec<Finding>,
}

/// What a look says about a metric.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Finding {
    /// Which.
    pub metric: Metric,
    /// Head over base, with the 95 % interval.
    pub ratio: Estimate,
    /// The limit on the side of better, at the level of the look: head is worse than this, as a
    /// ratio. `None` if so few pairs have no limit at that level.
    pub fail_limit: Option<f64>,
    /// The limit on the side of worse, at the level of passing.
    pub pass_limit: Option<f64>,
    /// The least worsening, as a share, that this look would have failed: the margin and the
    /// distance from the estimate to the limit.
    pub detectable: Option<f64>,
    /// What follows.
    pub judgement: Judgement,
}

/// What follows from a look, for a metric or for a session.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Judgement {
    /// Proven to be worse by more than the margin.
    Fail,
    /// Proven to be worse by less than the tolerance, at this look or at an earlier one.
    Pass,
    /// Neither.
    Open,
}

impl Session {
    /// Starts the first session of a check.
    pub(super) fn first(rule: &Rule) -> Session {
        let (pairs, inspections) = (Vec::new(), Vec::new());
        Session { rule: rule.clone(), confirms: None, pairs, inspections }
    }

    /// Starts the session that is to confirm failures in these metrics.
    pub(super) fn confirming(rule: &Rule, metrics: Vec<Metric>) -> Session {
        Session { confirms: Some(metrics), ..Session::first(rule) }
    }

    /// Takes the next pair. A judgement ends the session; [`Judgement::Open`] at the last look.
    pub(super) fn push(&mut self, pair: Pair) -> Option<Judgement> {
        assert!(self.pairs.len() < self.rule.pairs_max(), "the session is over");
        self.pairs.push(pair);
        let look = *self.rule.looks.iter().find(|look| look.pairs == self.pairs.len())?;
        let findings = self.rule.tests.iter().map(|test| self.inspect(test, look)).collect();
        self.inspections.push(Inspection { look, findings });
        match self.judge() {
            Judgement::Open if look.pairs < self.rule.pairs_max() => None,
            judgement => Some(judgement),
        }
    }

    /// The pairs so far, in order.
    pub fn pairs(&self) -> &[Pair] {
        &self.pairs
    }

    /// The looks so far, in order.
    pub fn inspections(&self) -> &[Inspection] {
        &self.inspections
    }

    /// Head over base by the pairs so far, with the 95 % interval: for a display while it runs. It
    /// decides nothing, because it may be read after every pair. `None` before the first pair.
    pub fn running(&self, metric: Metric) -> Option<Estimate> {
        self.running_at(metric, self.pairs.len())
    }

    /// The same as it was after so many pairs, for a plot.
    pub fn running_at(&self, metric: Metric, pairs: usize) -> Option<Estimate> {
        let gains: Vec<f64> = self.pairs.iter().take(pairs).map(|it| metric.gain(it)).collect();
        Some(ratio(metric, &SignedRank::of(&gains)?))
    }

    /// What the blocks of an arm measured, in order: rows a second, or seconds.
    pub fn values(&self, metric: Metric, arm: Arm) -> Vec<f64> {
        let blocks = self.pairs.iter().map(|pair| match arm {
            Arm::Base => &pair.base,
            Arm::Head => &pair.head,
        });
        blocks.map(|block| metric.value(block)).collect()
    }

    /// Head over base in each pair, in order.
    pub fn ratios(&self, metric: Metric) -> Vec<f64> {
        self.pairs.iter().map(|pair| metric.ratio_of_gain(metric.gain(pair))).collect()
    }

    /// Share of the CPU time that the hypervisor took, in the median block.
    pub fn steal(&self) -> f64 {
        let both = |pair: &Pair| [pair.base.steal, pair.head.steal];
        median(&self.pairs.iter().flat_map(both).collect::<Vec<_>>())
    }

    /// The metrics that the last look failed, and a confirmation asks for.
    pub fn failed(&self) -> Vec<Metric> {
        let findings = self.inspections.last().map_or(&[][..], |it| &it.findings);
        let counts = |metric: &Metric| self.confirms.as_ref().is_none_or(|it| it.contains(metric));
        let failed = findings.iter().filter(|it| it.judgement == Judgement::Fail);
        failed.map(|it| it.metric).filter(counts).collect()
    }

    /// A failure in one metric fails the session, only a pass in each passes it.
    fn judge(&self) -> Judgement {
        let findings = &self.inspections.last().expect("it was just made").findings;
        if !self.failed().is_empty() {
            Judgement::Fail
        } else if findings.iter().all(|it| it.judgement == Judgement::Pass) {
            Judgement::Pass
        } else {
            Judgement::Open
        }
    }

    fn inspect(&self, test: &Test, look: Look) -> Finding {
        let metric = test.metric;
        let gains: Vec<f64> = self.pairs.iter().map(|pair| metric.gain(pair)).collect();
        let ranks = SignedRank::of(&gains).expect("gains of real blocks are finite");
        let (upper, lower) = (ranks.upper(look.alpha), ranks.lower(self.rule.pass_alpha));
        let is_worse = upper.is_some_and(|upper| upper < test.fail_below);
        let is_no_worse = lower.is_some_and(|lower| test.pass_above < lower);
        let half_width = upper.map(|upper| upper - ranks.estimate());
        Finding {
            metric,
            ratio: ratio(metric, &ranks),
            fail_limit: upper.map(|it| metric.ratio_of_gain(it)),
            pass_limit: lower.map(|it| metric.ratio_of_gain(it)),
            detectable: half_width.map(|it| metric.worse_of_gain(test.fail_below - it)),
            judgement: match self.may_pass() {
                // Which pairs the neighbours leave alone is chance, and more pairs may still tell.
                _ if self.rule.steal_max < self.steal() => Judgement::Open,
                true if self.passed_before(metric) => Judgement::Pass,
                _ if is_worse => Judgement::Fail,
                true if is_no_worse => Judgement::Pass,
                _ => Judgement::Open,
            },
        }
    }

    fn may_pass(&self) -> bool {
        self.confirms.is_none() || self.rule.confirmation == Confirmation::Same
    }

    /// A metric that passes is done, as if it were judged alone: looking again until it fails would
    /// add to its chances of failing.
    fn passed_before(&self, metric: Metric) -> bool {
        let mut findings = self.inspections.iter().flat_map(|it| &it.findings);
        findings.any(|it| it.metric == metric && it.judgement == Judgement::Pass)
    }
}

fn ratio(metric: Metric, ranks: &SignedRank) -> Estimate {
    let alpha = (1.0 - CONFIDENCE) / 2.0;
    let turn = |gain: f64| metric.ratio_of_gain(gain);
    let (lower, upper) = (ranks.lower(alpha).map(turn), ranks.upper(alpha).map(turn));
    // Where more is worse, the limit of the gain that is lower is the ratio's upper one.
    let (low, high) = if metric.is_latency() { (upper, lower) } else { (lower, upper) };
    Estimate { value: turn(ranks.estimate()), low, high, n: ranks.n() }
}
