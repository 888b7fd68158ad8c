//! The rule of the article that this project set out from, 3.3: halve the batch when the last
//! windows vary much, double it when they vary little.
//!
//! It takes steadiness for a sign of room, and noise for a sign of none. Both thresholds are
//! relative, so that they mean something on more than one machine.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::{
    Bounds, Evidence, Setting,
    reactive::{Reactive, Reason},
};

/// Settings of the rule.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct VarianceRule {
    /// What is watched.
    pub signal: Signal,
    /// Where it starts; the workers stay as they are.
    pub start: Setting,
    /// Least batch rows. The article says 16. A larger one halves less often in vain.
    pub batch_rows_min: u64,
    /// Most batch rows. The article says 512, which a COPY does not need.
    pub batch_rows_max: u64,
    /// Standard deviation of the last windows, as a share of their mean, below which the batch is
    /// doubled. A larger one grows on noisier servers.
    pub low: f64,
    /// The same, above which the batch is halved. A smaller one shrinks on quieter servers.
    pub high: f64,
}

/// What the rule watches.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// Rows a second.
    Rate,
    /// Mean service latency.
    Latency,
}

impl Default for VarianceRule {
    fn default() -> VarianceRule {
        VarianceRule {
            signal: Signal::Latency,
            start: Setting { batch_rows: 64, workers: 8 },
            batch_rows_min: 16,
            batch_rows_max: 512,
            low: 0.05,
            high: 0.15,
        }
    }
}

/// Windows that the deviation is taken of.
const WINDOWS: usize = 10;

/// The policy.
#[derive(Clone, Debug)]
pub struct Variance {
    rule: VarianceRule,
    setting: Setting,
    last: VecDeque<f64>,
}

impl Variance {
    /// Starts the rule within bounds.
    pub fn new(rule: VarianceRule, bounds: &Bounds) -> Variance {
        let (low, high) = bounds.batch_rows();
        let batch_rows_min = rule.batch_rows_min.clamp(low, high);
        let batch_rows_max = rule.batch_rows_max.clamp(batch_rows_min, high);
        let rule = VarianceRule { batch_rows_min, batch_rows_max, ..rule };
        let setting = bounds.nearest(rule.start);
        Variance { rule, setting, last: VecDeque::new() }
    }
}

impl Reactive for Variance {
    const STATE: &'static str = "variance";

    fn setting(&self) -> Setting {
        self.setting
    }

    fn react(&mut self, evidence: &Evidence) -> Reason {
        self.last.push_back(match self.rule.signal {
            Signal::Rate => evidence.rows_per_s,
            Signal::Latency => evidence.latency_s,
        });
        if WINDOWS < self.last.len() {
            self.last.pop_front();
        }
        if self.last.len() < WINDOWS {
            return ("fewer than 10 windows", Vec::new());
        }
        let deviation = relative_deviation(&self.last);
        let rows = self.setting.batch_rows;
        let reason = if self.rule.high < deviation {
            self.setting.batch_rows = (rows / 2).max(self.rule.batch_rows_min);
            "varies much: halve"
        } else if deviation < self.rule.low {
            self.setting.batch_rows = rows.saturating_mul(2).min(self.rule.batch_rows_max);
            "varies little: double"
        } else {
            "varies neither much nor little: hold"
        };
        (reason, vec![("deviation", deviation)])
    }
}

/// Standard deviation as a share of the mean; 0 for a steady target, whose mean is not 0.
fn relative_deviation(values: &VecDeque<f64>) -> f64 {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|it| (it - mean).powi(2)).sum::<f64>() / (n - 1.0);
    variance.sqrt() / mean
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{controller::Controller, measure::WindowSummary};

    fn window(latency_ms: f64) -> WindowSummary {
        WindowSummary {
            length: Duration::from_millis(500),
            operations: 10,
            rows_within: 640.0,
            service_ns_mean: latency_ms * 1e6,
            ..WindowSummary::default()
        }
    }

    /// Latencies in ms, repeated; the batch rows after 30 windows.
    #[test]
    fn steady_doubles_noisy_halves_and_between_holds() {
        let rows: [(&[f64], u64); 3] = [(&[10.0], 512), (&[5.0, 15.0], 16), (&[9.0, 11.0], 64)];
        for (latencies, expected) in rows {
            let mut variance = Variance::new(VarianceRule::default(), &Bounds::WIDE);
            let mut decision = variance.start();
            for latency_ms in latencies.iter().cycle().take(30) {
                decision = variance.decide(&window(*latency_ms));
            }
            assert_eq!(decision.setting, Setting { batch_rows: expected, workers: 8 });
        }
    }

    #[test]
    fn flawed_windows_do_not_count() {
        let mut variance = Variance::new(VarianceRule::default(), &Bounds::WIDE);
        for _ in 0..50 {
            let decision = variance.decide(&WindowSummary { pushed_back: 1, ..window(10.0) });
            assert_eq!(
                (decision.setting.batch_rows, decision.reason),
                (64, "the server pushed back")
            );
        }
    }

    #[test]
    fn bounds_go_before_floor_and_cap() {
        let bounds = Bounds::new((1_000, 2_000), (1, 4)).unwrap();
        let mut variance = Variance::new(VarianceRule::default(), &bounds);
        for _ in 0..50 {
            variance.decide(&window(10.0));
        }
        assert_eq!(variance.setting, Setting { batch_rows: 1_000, workers: 4 });
    }
}
