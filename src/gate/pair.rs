//! What the gate compares: two neighbouring blocks, one of each arm.

use serde::{Deserialize, Serialize};

/// What a block of one arm measured, its guard left out.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Block {
    /// Rows confirmed.
    pub rows: u64,
    /// How long that took, in seconds; positive.
    pub seconds: f64,
    /// Service latency of an operation, in seconds, 95th percentile.
    pub latency_s_p95: f64,
    /// Its 99th percentile.
    pub latency_s_p99: f64,
    /// Share of the CPU time that the hypervisor took; 0 where that is not known.
    pub steal: f64,
}

/// Two blocks that ran one after the other, in either order.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Pair {
    /// Of the arm that is compared with.
    pub base: Block,
    /// Of the arm that is judged.
    pub head: Block,
}

/// What may fail a check.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Rows confirmed a second. Less is worse.
    RowsPerS,
    /// The 95th percentile of an operation's service latency. More is worse. It sees what group
    /// commit hides from the rate.
    LatencyP95,
    /// The 99th percentile. It never fails a check: too few operations of a block are beyond it.
    LatencyP99,
}

impl Block {
    /// Rows a second. A block in which nothing was confirmed counts as half a row: leaving it out
    /// would be kind to the arm that stood still.
    pub fn rows_per_s(&self) -> f64 {
        assert!(0.0 < self.seconds && self.seconds.is_finite(), "a block of {} s", self.seconds);
        (self.rows as f64).max(0.5) / self.seconds
    }

    /// A latency; the whole block at least if nothing was confirmed in it.
    fn latency_s(&self, latency_s: f64) -> f64 {
        if self.rows == 0 { latency_s.max(self.seconds) } else { latency_s.max(1e-9) }
    }
}

impl Metric {
    /// What a block measured: rows a second, or seconds.
    pub(crate) fn value(self, block: &Block) -> f64 {
        match self {
            Metric::RowsPerS => block.rows_per_s(),
            Metric::LatencyP95 => block.latency_s(block.latency_s_p95),
            Metric::LatencyP99 => block.latency_s(block.latency_s_p99),
        }
    }

    /// The logarithm of how much better head was: below 0 where it was worse.
    pub(super) fn gain(self, pair: &Pair) -> f64 {
        let (base, head) = (self.value(&pair.base), self.value(&pair.head));
        let ratio = if self.is_latency() { base / head } else { head / base };
        ratio.ln()
    }

    /// The ratio head : base where head is worse by a share: a tenth fewer rows/s is 0.9, a tenth
    /// more latency 1.1.
    pub(crate) fn ratio_of_worse(self, share: f64) -> f64 {
        if self.is_latency() { 1.0 + share } else { 1.0 - share }
    }

    /// The share by which head is worse at a ratio; below 0 if it is better.
    pub(crate) fn worse_of_ratio(self, ratio: f64) -> f64 {
        if self.is_latency() { ratio - 1.0 } else { 1.0 - ratio }
    }

    /// The gain of head being worse by a share.
    pub(crate) fn gain_of_worse(self, share: f64) -> f64 {
        let log = self.ratio_of_worse(share).ln();
        if self.is_latency() { -log } else { log }
    }

    /// The share by which head is worse at a gain; below 0 if it is better.
    pub(crate) fn worse_of_gain(self, gain: f64) -> f64 {
        self.worse_of_ratio(self.ratio_of_gain(gain))
    }

    /// The ratio head : base at a gain, as it was measured.
    pub(crate) fn ratio_of_gain(self, gain: f64) -> f64 {
        match self {
            Metric::RowsPerS => gain.exp(),
            Metric::LatencyP95 | Metric::LatencyP99 => (-gain).exp(),
        }
    }

    /// Returns whether more of it is worse.
    pub(crate) fn is_latency(self) -> bool {
        self != Metric::RowsPerS
    }
}
