//! How far the 99th percentile of the latency lies above its mean. It is much the same everywhere.

use crate::controller::Evidence;

/// Operations of a window that tell its p99.
const OPERATIONS: u64 = 60;
/// Least share of a window in what is known.
const FORGET: f64 = 0.06;
/// 99th percentile of the normal distribution.
const NORMAL_P99: f64 = 2.326;
/// The ratio before anything is known.
const RATIO: f64 = 1.8;

/// What the windows told. Where they hold too few operations to tell their p99, it is inferred from
/// the variance, as if the logarithm of the latency were normal.
#[derive(Clone, Debug, Default)]
pub(super) struct Tail {
    log_ratio: Average,
    relative_variance: Average,
}

#[derive(Clone, Debug, Default)]
struct Average {
    value: f64,
    /// Windows that it rests on; one of few operations is a part of one.
    windows: f64,
}

impl Average {
    fn learn(&mut self, value: f64, window: f64) {
        self.windows += window;
        let share = FORGET.max(1.0 / self.windows.max(1.0)) * window;
        self.value += share * (value - self.value);
    }
}

impl Tail {
    /// Takes in any window: a stall stretches the mean and the tail alike.
    pub(super) fn learn(&mut self, evidence: &Evidence) {
        if evidence.latency_s <= 0.0 || evidence.operations < 2 {
            return;
        }
        if OPERATIONS <= evidence.operations {
            // A window whose p99 is below its mean was measured too coarsely to tell.
            let ratio = (evidence.p99_s / evidence.latency_s).max(1.0);
            self.log_ratio.learn(ratio.ln(), 1.0);
            return;
        }
        let window = evidence.operations as f64 / OPERATIONS as f64;
        self.relative_variance.learn(evidence.relative_variance, window);
        let variance = self.relative_variance.value.ln_1p();
        self.log_ratio.learn(NORMAL_P99 * variance.sqrt() - variance / 2.0, window);
    }

    /// The 99th percentile as a multiple of the mean.
    pub(super) fn ratio(&self) -> f64 {
        if self.log_ratio.windows < 1.0 { RATIO } else { self.log_ratio.value.exp() }
    }
}
