//! Additive increase, multiplicative decrease, in turn on both axes.
//!
//! As Vector's adaptive request concurrency compares (`controller.rs`): the last window against an
//! exponential average and its deviation; but on rows/s, since a batch has no "right" latency.

use super::{
    Bounds, Evidence, Goal, Setting,
    reactive::{Reactive, Reason},
};

/// Share of the newest window in the average; Vector's.
const ALPHA: f64 = 0.4;
/// Deviations below the average that are a fall; Vector's.
const DEVIATIONS: f64 = 2.5;
/// What is added.
const ROWS_UP: u64 = 64;
const WORKERS_UP: u32 = 1;
/// What is left after a fall.
const ROWS_DOWN: f64 = 0.75;
const WORKERS_DOWN: f64 = 0.9;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Axis {
    Batch,
    Workers,
}

/// The policy.
#[derive(Clone, Debug)]
pub struct Aimd {
    bounds: Bounds,
    p99_limit_s: f64,
    setting: Setting,
    axis: Axis,
    average: Option<Average>,
}

#[derive(Clone, Copy, Debug)]
struct Average {
    mean: f64,
    variance: f64,
}

impl Average {
    fn with(self, value: f64) -> Average {
        let away = value - self.mean;
        Average {
            mean: self.mean + ALPHA * away,
            variance: (1.0 - ALPHA) * (self.variance + ALPHA * away * away),
        }
    }
}

impl Aimd {
    /// Starts at 128 rows and 2 workers, within bounds.
    pub fn new(goal: &Goal) -> Aimd {
        Aimd {
            bounds: goal.bounds,
            p99_limit_s: goal.p99_limit.map_or(f64::INFINITY, |it| it.as_secs_f64()),
            setting: goal.bounds.nearest(Setting { batch_rows: 128, workers: 2 }),
            axis: Axis::Batch,
            average: None,
        }
    }

    fn grow(&mut self) {
        let Setting { batch_rows, workers } = self.setting;
        self.setting = self.bounds.nearest(match self.axis {
            Axis::Batch => Setting { batch_rows: batch_rows + ROWS_UP, workers },
            Axis::Workers => Setting { batch_rows, workers: workers + WORKERS_UP },
        });
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "shrunk, positive")]
    fn shrink(&mut self) {
        let Setting { batch_rows, workers } = self.setting;
        let rows_down = (batch_rows as f64 * ROWS_DOWN) as u64;
        let workers_down = (f64::from(workers) * WORKERS_DOWN) as u32;
        self.setting = self.bounds.nearest(match self.axis {
            Axis::Batch => Setting { batch_rows: rows_down, workers },
            Axis::Workers => Setting { batch_rows, workers: workers_down },
        });
    }

    fn turn(&mut self) {
        self.axis = match self.axis {
            Axis::Batch => Axis::Workers,
            Axis::Workers => Axis::Batch,
        };
    }
}

impl Reactive for Aimd {
    const STATE: &'static str = "aimd";

    fn setting(&self) -> Setting {
        self.setting
    }

    /// As Vector does, which decreases whatever the rate is.
    fn pushed_back(&mut self) -> Reason {
        self.axis = Axis::Workers;
        self.shrink();
        ("the server pushed back: decrease workers", Vec::new())
    }

    fn react(&mut self, evidence: &Evidence) -> Reason {
        let rate = evidence.rows_per_s;
        let Some(average) = self.average else {
            self.average = Some(Average { mean: rate, variance: 0.0 });
            return ("the first window is the average", Vec::new());
        };
        self.average = Some(average.with(rate));
        let reason = if self.p99_limit_s < evidence.p99_s {
            self.shrink();
            self.turn();
            "p99 above the limit: decrease, and turn"
        } else if rate < average.mean - DEVIATIONS * average.variance.sqrt() {
            self.shrink();
            self.turn();
            "slower than the average: decrease, and turn"
        } else if average.mean <= rate {
            self.grow();
            "no slower than the average: increase"
        } else {
            self.turn();
            "a little slower: turn to the other axis"
        };
        (reason, vec![("rows_per_s", rate), ("average", average.mean)])
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{controller::Controller, measure::WindowSummary};

    fn goal(p99_limit: Option<Duration>) -> Goal {
        Goal { bounds: Bounds::WIDE, p99_limit, seed: 0, is_search: false }
    }

    fn window(rows_within: f64) -> WindowSummary {
        let length = Duration::from_secs(1);
        let service_ns_p99 = 10_000_000;
        let operations = 10;
        WindowSummary { length, operations, rows_within, service_ns_p99, ..Default::default() }
    }

    #[test]
    fn grows_while_no_slower_shrinks_on_a_fall_and_turns() {
        let mut aimd = Aimd::new(&goal(None));
        let mut path = |rows| {
            let setting = aimd.decide(&window(rows)).setting;
            (setting.batch_rows, setting.workers)
        };
        assert_eq!(path(1_000.0), (128, 2));
        assert_eq!(path(1_000.0), (192, 2), "equal is no slower");
        assert_eq!(path(500.0), (144, 2), "a fall");
        assert_eq!(path(1_000.0), (144, 3), "workers now");
    }

    /// Held instead, it asked for more sessions than the server gives until the end.
    #[test]
    fn a_server_that_pushes_back_gets_fewer_workers() {
        let mut aimd = Aimd::new(&goal(None));
        aimd.setting.workers = 20;
        let refused = WindowSummary { pushed_back: 3, ..window(1_000.0) };
        let mut workers = || aimd.decide(&refused).setting.workers;
        assert_eq!([workers(), workers()], [18, 16]);
        let last = (0..20).map(|_| workers()).last();
        assert_eq!(last, Some(1));
    }

    #[test]
    fn never_leaves_the_bounds_however_bad_it_gets() {
        let mut aimd = Aimd::new(&goal(Some(Duration::from_millis(1))));
        for _ in 0..200 {
            aimd.decide(&window(1_000.0));
        }
        assert_eq!(aimd.setting, Setting { batch_rows: 1, workers: 1 });
    }
}
