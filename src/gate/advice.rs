//! What a check remarks on and does not judge: the tail, and what the estimate cannot see.

use serde::{Deserialize, Serialize};

use super::{Block, Metric, Options, Pair, Session};
use crate::stats::{Estimate, median};

/// What the blocks of a session add up to.
///
/// The estimate of the pairs' ratios is that of a typical pair, and a stall that hits one block in
/// ten moves it hardly; the totals see it. They are too noisy to decide anything.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Totals {
    /// All rows of head over all its seconds, divided by the same of base.
    pub ratio: f64,
    /// Share of base's blocks that are stalled: far below its own median rate.
    pub stalled_base: f64,
    /// The same of head.
    pub stalled_head: f64,
}

/// A remark.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Advice {
    /// The p99 latency is proven to be worse by more than [`Options::p99_worse`].
    P99Worse {
        /// Head over base.
        ratio: Estimate,
    },
    /// Head inserted fewer rows in all, by more than [`Options::totals_worse`].
    TotalsWorse {
        /// See [`Totals`].
        totals: Totals,
    },
    /// Totals and estimate differ by more than [`Options::totals_gap`]: a few blocks make the
    /// difference.
    TotalsDiffer {
        /// See [`Totals`].
        totals: Totals,
        /// The estimate: head over base.
        ratio: f64,
    },
}

impl Totals {
    /// Adds up; `None` without a pair.
    pub fn of(pairs: &[Pair], options: &Options) -> Option<Totals> {
        pairs.first()?;
        let arm = |of: fn(&Pair) -> &Block| -> (f64, f64) {
            let blocks = || pairs.iter().map(of);
            let seconds: f64 = blocks().map(|it| it.seconds).sum();
            let rows: f64 = blocks().map(|it| it.rows as f64).sum();
            let rates: Vec<f64> = blocks().map(Block::rows_per_s).collect();
            let bound = options.stalled_below * median(&rates);
            let stalled = rates.iter().filter(|rate| **rate < bound).count();
            (rows.max(0.5) / seconds, stalled as f64 / rates.len() as f64)
        };
        let (base, stalled_base) = arm(|pair| &pair.base);
        let (head, stalled_head) = arm(|pair| &pair.head);
        Some(Totals { ratio: head / base, stalled_base, stalled_head })
    }
}

impl Advice {
    /// All remarks on a session.
    pub fn of(session: &Session, options: &Options) -> Vec<Advice> {
        let mut advice = Vec::new();
        let p99 = session.running(Metric::LatencyP99);
        let is_worse = |it: &Estimate| it.low.is_some_and(|low| 1.0 + options.p99_worse < low);
        advice.extend(p99.filter(is_worse).map(|ratio| Advice::P99Worse { ratio }));
        let totals = Totals::of(session.pairs(), options);
        let Some((totals, rate)) = totals.zip(session.running(Metric::RowsPerS)) else {
            return advice;
        };
        if totals.ratio < 1.0 - options.totals_worse {
            advice.push(Advice::TotalsWorse { totals });
        }
        if options.totals_gap < (totals.ratio - rate.value).abs() {
            advice.push(Advice::TotalsDiffer { totals, ratio: rate.value });
        }
        advice
    }
}
