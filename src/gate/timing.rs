//! How long a block is, what of it is left out, and when measuring may start.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Options;
use crate::stats::median;

/// The length of all blocks of a check.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Timing {
    /// From one change of arms to the next.
    pub block: Duration,
    /// What is left out at the block's beginning, while operations of the other arm end.
    pub guard: Duration,
}

/// Whether measuring may start.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WarmUp {
    /// Run another window.
    GoOn,
    /// The last windows agree.
    Steady,
    /// They still differ, and it is time to start all the same. To be remarked on.
    TimedOut,
}

impl WarmUp {
    /// Of both arms, which are as old.
    pub fn of_both(base: WarmUp, head: WarmUp) -> WarmUp {
        match (base, head) {
            (WarmUp::Steady, WarmUp::Steady) => WarmUp::Steady,
            (WarmUp::GoOn, _) | (_, WarmUp::GoOn) => WarmUp::GoOn,
            _ => WarmUp::TimedOut,
        }
    }
}

impl Timing {
    /// Chooses by the median latency of an operation, of the slower arm. Short blocks make many
    /// pairs, and their neighbours alike: in simulation 1 s finds two to four times as much as 5 s.
    /// Where operations are so slow that the guard would leave less than half of the longest block,
    /// the block is twice the guard.
    pub fn of(operation_p50: Duration, options: &Options) -> Timing {
        let guard = (operation_p50 * options.guard_operations).max(options.guard_min);
        let wanted = operation_p50 * options.block_operations;
        let block = wanted.clamp(options.block_min, options.block_max).max(guard * 2);
        Timing { block, guard }
    }

    /// The part of a block that is measured.
    pub fn kept(&self) -> Duration {
        self.block - self.guard
    }
}

/// Says after each window of an arm whether it is warm: rates of its windows so far, in order, and
/// how long the warm-up has taken.
pub fn warm_up(rates: &[f64], elapsed: Duration, options: &Options) -> WarmUp {
    let last = rates.len().checked_sub(options.warm_up_windows).map(|start| &rates[start..]);
    let agree = |last: &[f64]| {
        let most = last.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let least = last.iter().copied().fold(f64::INFINITY, f64::min);
        // Windows in which nothing happens agree, and are not warm.
        last.iter().all(|rate| 0.0 < *rate) && most - least <= options.warm_up_spread * median(last)
    };
    match last {
        Some(last) if agree(last) => WarmUp::Steady,
        _ if options.warm_up_max <= elapsed => WarmUp::TimedOut,
        _ => WarmUp::GoOn,
    }
}
