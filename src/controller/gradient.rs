//! Netflix's Gradient2 limit, on workers: the ratio of the long average latency to the last one.
//!
//! Source: concurrency-limits, `Gradient2Limit.java`, with its tolerance and smoothing. A ratio of
//! latency to its own past knows nothing of throughput: constant bad latency looks perfect.

use super::{
    Bounds, Evidence, Goal, Setting,
    reactive::{Reactive, Reason},
};

/// How much slower than the long average is no sign yet.
const TOLERANCE: f64 = 1.5;
/// Share of the new limit.
const SMOOTHING: f64 = 0.2;
/// Windows of the long average, and those at the start that count alike.
const LONG_WINDOWS: f64 = 600.0;
const WARM_UP: u32 = 10;
/// Above this ratio the long average is brought down: it was taken in an overload.
const DRAIN_ABOVE: f64 = 2.0;
const DRAIN: f64 = 0.95;
/// Operations that may queue, at most.
const QUEUE: f64 = 4.0;

/// The policy.
#[derive(Clone, Debug)]
pub struct Gradient {
    bounds: Bounds,
    p99_limit_s: f64,
    batch_rows: u64,
    limit: f64,
    long_s: Option<f64>,
    windows: u32,
}

impl Gradient {
    /// Starts at 4 workers; the batch rows stay as they are.
    pub fn new(goal: &Goal, batch_rows: u64) -> Gradient {
        let start = goal.bounds.nearest(Setting { batch_rows, workers: 4 });
        Gradient {
            bounds: goal.bounds,
            p99_limit_s: goal.p99_limit.map_or(f64::INFINITY, |it| it.as_secs_f64()),
            batch_rows: start.batch_rows,
            limit: start.workers.into(),
            long_s: None,
            windows: 0,
        }
    }

    fn long_average(&mut self, latency_s: f64) -> f64 {
        self.windows += 1;
        let Some(long_s) = self.long_s else { return latency_s };
        let share = match self.windows {
            few if few < WARM_UP => 1.0 / f64::from(few + 1),
            _ => 2.0 / (LONG_WINDOWS + 1.0),
        };
        let long_s = long_s + share * (latency_s - long_s);
        if DRAIN_ABOVE < long_s / latency_s { DRAIN * long_s } else { long_s }
    }
}

impl Reactive for Gradient {
    const STATE: &'static str = "gradient";

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within bounds")]
    fn setting(&self) -> Setting {
        Setting { batch_rows: self.batch_rows, workers: self.limit as u32 }
    }

    fn react(&mut self, evidence: &Evidence) -> Reason {
        let long_s = self.long_average(evidence.latency_s);
        self.long_s = Some(long_s);
        let exceeds = self.p99_limit_s < evidence.p99_s;
        // A record may say that an operation took no time.
        let latency_s = evidence.latency_s.max(f64::MIN_POSITIVE);
        let gradient = (TOLERANCE * long_s / latency_s).clamp(0.5, 1.0);
        let gradient = if exceeds { 0.5 } else { gradient };
        // Netflix adds 4 whatever the limit, which a limit of 4 would double.
        let target = self.limit * gradient + self.limit.sqrt().clamp(1.0, QUEUE);
        let (low, high) = self.bounds.workers();
        let next = self.limit + SMOOTHING * (target - self.limit);
        self.limit = next.clamp(low.into(), high.into());
        let reason = match () {
            () if exceeds => "p99 above the limit",
            () if gradient < 1.0 => "slower than the long average",
            () => "as fast as the long average: room for a queue",
        };
        (reason, vec![("gradient", gradient), ("long_ms", long_s * 1e3)])
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{controller::Controller, measure::WindowSummary};

    fn workers_after(latencies_ms: &[f64], p99_limit: Option<Duration>) -> u32 {
        let goal = Goal { bounds: Bounds::WIDE, p99_limit, seed: 0, is_search: false };
        let mut gradient = Gradient::new(&goal, 1_000);
        let mut decision = gradient.start();
        for latency_ms in latencies_ms {
            decision = gradient.decide(&WindowSummary {
                length: Duration::from_millis(500),
                operations: 10,
                rows_within: 10_000.0,
                service_ns_mean: latency_ms * 1e6,
                service_ns_p99: 100_000_000,
                ..WindowSummary::default()
            });
        }
        decision.setting.workers
    }

    /// concurrency-limits#134: constant latency, however bad, lets the limit climb to the top.
    #[test]
    fn constant_latency_climbs_to_the_top() {
        assert_eq!(workers_after(&[5_000.0; 200], None), 64);
    }

    #[test]
    fn latency_far_above_the_average_shrinks() {
        let mut latencies = vec![10.0; 20];
        let before = workers_after(&latencies, None);
        latencies.extend([100.0; 10]);
        assert!(workers_after(&latencies, None) < before);
    }

    #[test]
    fn a_violated_limit_shrinks_and_never_to_zero() {
        let limit = Some(Duration::from_millis(50));
        let workers = workers_after(&[10.0; 300], limit);
        assert!((1..=4).contains(&workers), "{workers}");
    }

    /// A record may say that operations took no time; 0 / 0 was once taken for no workers.
    #[test]
    fn no_latency_leaves_a_worker() {
        let workers = workers_after(&[0.0; 20], None);
        assert!((1..=64).contains(&workers), "{workers}");
    }
}
