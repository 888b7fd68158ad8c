//! The constants of the gate, and the rule that they make.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Metric;

/// All that can be chosen. The defaults are those that `results/gate-study.md` was made with.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Bounds of rows a second, default 2 % and 10 %; without them it is not gated.
    pub rows_per_s: Option<Bounds>,
    /// Bounds of the p95 latency of an operation, default 5 % and 25 %.
    pub latency_p95: Option<Bounds>,
    /// When the pairs are looked at, default after 15, 20, 30, 45 and 60, at 0.001, 0.001, 0.002,
    /// 0.003 and 0.003. A later last look finds smaller slow-downs and takes longer; more looks end
    /// earlier and need smaller levels, because the chance of a false failure adds up over them (by
    /// default to 0.01).
    pub looks: Vec<Look>,
    /// One-sided level of the limit that proves "not worse", 0 to 0.5, default 0.025. It is spent at each
    /// look and not shared among them: `results/gate-study.md` says how much of what is as slow as the
    /// tolerance passes. Larger passes sooner, and passes more of that.
    pub pass_alpha: f64,
    /// What a failed session needs before it is believed, default [`Confirmation::Full`].
    pub confirmation: Confirmation,
    /// Operations that a block should hold, at the median latency: default 20. More make a block
    /// longer and its rate steadier, and neighbours less alike.
    pub block_operations: u32,
    /// The shortest block, default 1 s. Shorter ones make more pairs of the same time, and give the
    /// guard a larger share of it.
    pub block_min: Duration,
    /// The longest block, default 5 s. Longer ones let the machine change between neighbours.
    pub block_max: Duration,
    /// What is left out after a change of arms, at least: default 0.2 s. Less lets operations of the
    /// other arm into the block.
    pub guard_min: Duration,
    /// The same in operations, at the median latency: default 2.
    pub guard_operations: u32,
    /// Length of a window of the warm-up, default 0.5 s. Shorter ones end it sooner, and agree less
    /// often.
    pub warm_up_window: Duration,
    /// Windows of each arm that must agree before measuring starts, default 3. More, or a smaller
    /// `warm_up_spread`, wait longer for a machine that never settles.
    pub warm_up_windows: usize,
    /// The largest difference between windows that agree, as a share of their median: default 0.2.
    /// Both arms warm up alike, so that a rest of it cancels in pairs.
    pub warm_up_spread: f64,
    /// When measuring starts all the same, default after 20 s.
    pub warm_up_max: Duration,
    /// After how many pairs both tables are read back, compared row by row and emptied, default 5.
    /// More interrupt the pairs less often, and insert into larger tables.
    pub pairs_a_table: usize,
    /// Pairs below which a check says nothing, default 15.
    pub pairs_min: usize,
    /// Share of the CPU time that the hypervisor may take, the median of a session's blocks: default
    /// 0.2. Above it the machine is measured, and not the arms: a look decides nothing, and the last
    /// look makes the check invalid.
    pub steal_max: f64,
    /// Share of windows in which batchpilot itself was the limit, default 0.1. Above it a slower
    /// server would not show.
    pub client_bound_max: f64,
    /// How much worse the p99 must be proven before it is remarked on, default 0.1.
    pub p99_worse: f64,
    /// How much fewer rows head may have inserted in all before it is remarked on, default 0.15.
    pub totals_worse: f64,
    /// How far the totals may be from the estimate, default 0.05: farther, and a few blocks made up
    /// the difference, which the estimate does not see.
    pub totals_gap: f64,
    /// A block is stalled below this share of its arm's median rate, default 0.5.
    pub stalled_below: f64,
}

/// How much worse is a regression, and how much better than that is none.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Bounds {
    /// Fails only what is proven to be worse by more than this share. Larger misses small
    /// regressions; smaller takes what an arm's luck in memory and files does for one.
    pub margin: f64,
    /// Passes only what is proven to be worse by less than this share. Larger passes sooner; smaller
    /// leaves more undecided on a noisy machine.
    pub tolerance: f64,
}

/// A planned test.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Look {
    /// After how many pairs.
    pub pairs: usize,
    /// Its share of the false failures: the one-sided level of the limit that fails, 0 to 0.5.
    pub alpha: f64,
}

/// What a failed session needs before it is believed.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Confirmation {
    /// Nothing. Twice as quick, and what lies in the session itself fails some unchanged commits.
    Off,
    /// A second session by the same rule, which may pass at an early look.
    Same,
    /// A second session that fails at a look, or goes on to the last one. Few checks of unchanged
    /// arms come this far, so that its time costs little, and a real regression is not let off by
    /// an early look that was kind to it.
    Full,
}

impl Default for Options {
    fn default() -> Options {
        let look = |(pairs, alpha)| Look { pairs, alpha };
        Options {
            rows_per_s: Some(Bounds { margin: 0.02, tolerance: 0.10 }),
            latency_p95: Some(Bounds { margin: 0.05, tolerance: 0.25 }),
            looks: [(15, 0.001), (20, 0.001), (30, 0.002), (45, 0.003), (60, 0.003)]
                .map(look)
                .to_vec(),
            pass_alpha: 0.025,
            confirmation: Confirmation::Full,
            block_operations: 20,
            block_min: Duration::from_secs(1),
            block_max: Duration::from_secs(5),
            guard_min: Duration::from_millis(200),
            guard_operations: 2,
            warm_up_window: Duration::from_millis(500),
            warm_up_windows: 3,
            warm_up_spread: 0.2,
            warm_up_max: Duration::from_secs(20),
            pairs_a_table: 5,
            pairs_min: 15,
            steal_max: 0.2,
            client_bound_max: 0.1,
            p99_worse: 0.1,
            totals_worse: 0.15,
            totals_gap: 0.05,
            stalled_below: 0.5,
        }
    }
}

/// Options that make no rule.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum OptionsError {
    /// There is nothing that could fail.
    #[error("nothing is gated: give bounds of rows_per_s or of latency_p95")]
    NothingGated,
    /// Looks must come one after the other.
    #[error("looks at {0:?} pairs: give one at least, each after more pairs than the one before")]
    Looks(Vec<usize>),
    /// A level is no probability of being wrong on one side.
    #[error("{key} is {value}: expected a number above 0 and below 0.5")]
    Level {
        /// Which one.
        key: &'static str,
        /// What it is.
        value: f64,
    },
    /// Bounds are out of order.
    #[error(
        "{metric}: margin {}, tolerance {}: expected 0 <= margin < tolerance, and of rows_per_s below 1",
        bounds.margin, bounds.tolerance
    )]
    Bounds {
        /// Of which metric.
        metric: &'static str,
        /// What they are.
        bounds: Bounds,
    },
    /// The shortest block is longer than the longest, or nothing.
    #[error("blocks from {min:?} to {max:?}: expected 0 < block_min <= block_max")]
    Blocks {
        /// `block_min`.
        min: Duration,
        /// `block_max`.
        max: Duration,
    },
    /// The last look comes before a check says anything.
    #[error("the last look is at {last} pairs, and fewer than {min} (pairs_min) say nothing")]
    TooFewPairs {
        /// Pairs at the last look.
        last: usize,
        /// `pairs_min`.
        min: usize,
    },
    /// The level of the last look is below what its pairs can reach.
    #[error(
        "the last look, at {pairs} pairs, cannot fail: not even all of them against head are less \
         likely by chance than its level, which is {alpha} for each number gated; give it more \
         pairs or a larger level"
    )]
    CannotFail {
        /// Pairs at the last look.
        pairs: usize,
        /// Its level for each number gated.
        alpha: f64,
    },
}

/// What will be tested: made by [`Options::rule`], so that nobody checks again.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Rule {
    /// In order, never empty; levels are those of one metric.
    pub(super) looks: Vec<Look>,
    /// Never empty.
    pub(super) tests: Vec<Test>,
    pub(super) pass_alpha: f64,
    pub(super) confirmation: Confirmation,
    pub(super) pairs_min: usize,
    pub(super) steal_max: f64,
}

/// The bounds of a metric as gains.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Test {
    pub(super) metric: Metric,
    /// Fails if the upper limit is below this.
    pub(super) fail_below: f64,
    /// Passes if the lower limit is above this.
    pub(super) pass_above: f64,
}

impl Options {
    /// Checks the options, and divides the levels by the metrics gated in all scenarios of a check:
    /// each is one more chance to fail. Passing is not divided: all must pass.
    pub fn rule(&self, scenarios: usize) -> Result<Rule, OptionsError> {
        let pairs: Vec<usize> = self.looks.iter().map(|look| look.pairs).collect();
        if pairs.is_empty() || pairs[0] == 0 || !pairs.is_sorted_by(|one, two| one < two) {
            return Err(OptionsError::Looks(pairs));
        }
        let levels = self.looks.iter().map(|look| ("looks.alpha", look.alpha));
        for (key, value) in levels.chain([("pass_alpha", self.pass_alpha)]) {
            if !(0.0 < value && value < 0.5) {
                return Err(OptionsError::Level { key, value });
            }
        }
        if self.block_min.is_zero() || self.block_max < self.block_min {
            return Err(OptionsError::Blocks { min: self.block_min, max: self.block_max });
        }
        let tests = self.tests()?;
        let chances = (tests.len() * scenarios.max(1)) as f64;
        let divided = |look: &Look| Look { alpha: look.alpha / chances, ..*look };
        let last = divided(self.looks.last().expect("there is one"));
        if last.pairs < self.pairs_min {
            return Err(OptionsError::TooFewPairs { last: last.pairs, min: self.pairs_min });
        }
        // All pairs against head, the least likely of all outcomes, have this probability.
        if last.alpha < 0.5_f64.powf(last.pairs as f64) {
            return Err(OptionsError::CannotFail { pairs: last.pairs, alpha: last.alpha });
        }
        Ok(Rule {
            looks: self.looks.iter().map(divided).collect(),
            tests,
            pass_alpha: self.pass_alpha,
            confirmation: self.confirmation,
            pairs_min: self.pairs_min,
            steal_max: self.steal_max,
        })
    }

    fn tests(&self) -> Result<Vec<Test>, OptionsError> {
        let gated = [
            (Metric::RowsPerS, "rows_per_s", self.rows_per_s),
            (Metric::LatencyP95, "latency_p95", self.latency_p95),
        ];
        let mut tests = Vec::new();
        for (metric, name, bounds) in gated {
            let Some(bounds) = bounds else { continue };
            let Bounds { margin, tolerance } = bounds;
            // A rate cannot fall by more than all of it; a latency may double.
            let most = if metric.is_latency() { f64::INFINITY } else { 1.0 };
            if !(0.0 <= margin && margin < tolerance && tolerance < most) {
                return Err(OptionsError::Bounds { metric: name, bounds });
            }
            let fail_below = metric.gain_of_worse(margin);
            tests.push(Test { metric, fail_below, pass_above: metric.gain_of_worse(tolerance) });
        }
        if tests.is_empty() { Err(OptionsError::NothingGated) } else { Ok(tests) }
    }
}

impl Rule {
    /// Pairs after which a session ends in any case.
    pub fn pairs_max(&self) -> usize {
        self.looks.last().expect("a rule has a look").pairs
    }

    /// Pairs after which the next look is taken, so many being there.
    pub fn next_look(&self, pairs: usize) -> usize {
        let next = self.looks.iter().find(|look| pairs <= look.pairs);
        next.map_or(self.pairs_max(), |look| look.pairs)
    }
}
