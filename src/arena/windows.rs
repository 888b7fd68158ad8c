//! Makes whole windows from a simulated server, as the engine would have measured them.

use std::time::Duration;

use super::Segment;
use crate::{
    controller::{Setting, Wish},
    measure::WindowSummary,
    target::sim::{Case, Chance, TICK_S, tick},
};

/// Numbers drawn for samples do not depend on those for the server and the weather.
const STREAM_SAMPLES: u64 = 3;
/// Time that a change of setting takes at least and at most: operations in flight end first.
const DRAIN_S: (f64, f64) = (0.02, 20.0);
/// Length of a window whose controller has no wish.
const WINDOW_S: f64 = 0.25;
/// Deviation of the count of operations, as a share of its square root: less than Poisson's, as
/// workers go round in a closed loop.
const COUNT_NOISE: f64 = 0.3;
/// Latencies drawn of a window, at least and at most.
const SAMPLES: (f64, f64) = (4.0, 400.0);

/// A server that is asked for one window after the other.
#[derive(Debug)]
pub struct Windows<'a> {
    case: &'a Case,
    chance: Chance,
    at_s: f64,
    index: u64,
    epoch: u64,
    current: Option<Setting>,
    segments: Vec<Segment>,
}

impl<'a> Windows<'a> {
    /// Starts at time 0.
    pub fn new(case: &'a Case, seed: u64) -> Windows<'a> {
        Windows {
            case,
            chance: Chance::new(seed, STREAM_SAMPLES),
            at_s: 0.0,
            index: 0,
            epoch: 0,
            current: None,
            segments: Vec::new(),
        }
    }

    /// The end of the last window.
    pub fn at_s(&self) -> f64 {
        self.at_s
    }

    /// What was in force when.
    pub fn into_segments(self) -> Vec<Segment> {
        self.segments
    }

    /// Measures a window at a setting.
    ///
    /// A new setting costs the latency of an operation under the old one; what ends in that time is
    /// in no window. A window lasts at least one latency, and as long as the wish asks.
    pub fn next(&mut self, setting: Setting, wish: Wish) -> WindowSummary {
        self.drain(setting);
        let Setting { batch_rows, workers } = setting;
        let latency_s = self.case.latency_s(self.at_s, batch_rows, workers);
        let wish_s = if wish.length.is_zero() { WINDOW_S } else { wish.length.as_secs_f64() };
        let operations_s = wish.operations as f64 * latency_s / f64::from(workers);
        let length_s = wish_s.max(latency_s).max(operations_s);
        let ticks = tick(length_s + TICK_S / 2.0).max(1);
        let length_s = ticks as f64 * TICK_S;

        let rates = self.operation_rates(setting, ticks);
        let expected = rates.iter().sum::<f64>() * TICK_S;
        let operations = self.count(expected);
        let latencies = self.latencies(setting, &rates, operations[1]);
        let window = summary(self, setting, length_s, operations, &latencies);

        self.segments.push(Segment { start_s: self.at_s, length_s, before: setting, setting });
        self.at_s += length_s;
        self.index += 1;
        window
    }

    fn drain(&mut self, setting: Setting) {
        if let Some(before) = self.current.filter(|it| *it != setting) {
            let latency_s = self.case.latency_s(self.at_s, before.batch_rows, before.workers);
            let length_s = latency_s.clamp(DRAIN_S.0, DRAIN_S.1);
            self.segments.push(Segment { start_s: self.at_s, length_s, before, setting });
            self.at_s += length_s;
            self.epoch += 1;
        }
        self.current = Some(setting);
    }

    /// Operations a second, tick by tick.
    fn operation_rates(&self, setting: Setting, ticks: usize) -> Vec<f64> {
        let first = tick(self.at_s);
        let rate = |at: usize| {
            let at_s = at as f64 * TICK_S;
            let latency_s = self.case.latency_s(at_s, setting.batch_rows, setting.workers);
            f64::from(setting.workers) / latency_s * self.case.weather.factor(at)
        };
        (first..first + ticks).map(rate).collect()
    }

    /// The count is noisy. Returns the operations that the window is worth, and those that end in it: a
    /// part of one does or does not.
    fn count(&mut self, expected: f64) -> [f64; 2] {
        let noise = self.chance.normal() * COUNT_NOISE / expected.max(1.0).sqrt();
        let within = (expected * (1.0 + noise)).max(0.5);
        [within, (within + self.chance.uniform(0.0, 1.0)).floor().max(1.0)]
    }

    /// Draws latencies around those of the ticks, in seconds, sorted.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "4 to 400")]
    fn latencies(&mut self, setting: Setting, rates: &[f64], operations: f64) -> Vec<f64> {
        let tail = self.case.before.tail;
        let count = operations.clamp(SAMPLES.0, SAMPLES.1) as usize;
        let mut latencies: Vec<f64> = (0..count)
            .map(|_| {
                let mean_s = f64::from(setting.workers) / rates[self.chance.index(rates.len())];
                mean_s * (self.chance.normal() * tail - 0.5 * tail * tail).exp()
            })
            .collect();
        latencies.sort_by(f64::total_cmp);
        latencies
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, in ns")]
fn summary(
    windows: &Windows<'_>,
    setting: Setting,
    length_s: f64,
    [within, operations]: [f64; 2],
    latencies: &[f64],
) -> WindowSummary {
    let n = latencies.len();
    // The nearest rank, as the engine's histograms have it.
    let quantile = |q: f64| (latencies[((n as f64 * q).ceil() as usize).max(1) - 1] * 1e9) as u64;
    let mean = latencies.iter().sum::<f64>() / n as f64;
    let variance = latencies.iter().map(|it| (it - mean).powi(2)).sum::<f64>() / n as f64;
    let p99 = quantile(0.99);
    WindowSummary {
        index: windows.index,
        start: Duration::from_secs_f64(windows.at_s),
        length: Duration::from_secs_f64(length_s),
        epoch: windows.epoch,
        batch_rows: setting.batch_rows,
        workers: setting.workers,
        operations: operations as u64,
        rows: operations as u64 * setting.batch_rows,
        rows_within: within * setting.batch_rows as f64,
        // By Little's law: the mean of all operations, not of those drawn above.
        service_ns_mean: f64::from(setting.workers) * length_s / within * 1e9,
        service_ns2_variance: variance * 1e18,
        service_ns_p50: quantile(0.5),
        service_ns_p99: p99,
        service_ns_max: quantile(1.0),
        response_ns_p50: quantile(0.5),
        response_ns_p99: p99,
        response_ns_max: quantile(1.0),
        ..WindowSummary::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::sim::Family;

    const SETTING: Setting = Setting { batch_rows: 256, workers: 8 };

    /// Rates of windows scatter around the truth; the mean of many is the truth.
    #[test]
    fn windows_tell_the_rate_p99_and_deviation_of_the_server() {
        let case = super::super::draw(Family::Quiet, 3);
        let mut windows = Windows::new(&case, 3);
        let all: Vec<WindowSummary> =
            (0..500).map(|_| windows.next(SETTING, Wish::of_ms(500))).collect();
        let n = all.len() as f64;
        let rate = all.iter().map(WindowSummary::rows_per_s).sum::<f64>() / n;
        let truth = case.before.rows_per_s(SETTING.batch_rows, SETTING.workers);
        assert!((rate / truth - 1.0).abs() < 0.02, "{rate} is not {truth}");
        let spread = all.iter().map(|it| (it.rows_per_s() / rate - 1.0).powi(2)).sum::<f64>() / n;
        assert!((0.04..0.08).contains(&spread.sqrt()), "{}", spread.sqrt());
        let p99 = all.iter().map(|it| it.service_ns_p99 as f64 * 1e-9).sum::<f64>() / n;
        let truth = case.before.p99_s(SETTING.batch_rows, SETTING.workers);
        assert!((p99 / truth - 1.0).abs() < 0.25, "{p99} is not {truth}");
    }

    /// What a limit is judged by is the p99 of the latencies that a controller is shown. The ratio was
    /// once that to the median, 2 to 8 % more than any window told.
    #[test]
    fn latencies_have_the_p99_that_a_limit_is_judged_by() {
        let case = super::super::draw(Family::Limit, 3);
        let mut windows = Windows::new(&case, 3);
        let latency_s = case.before.latency_s(SETTING.batch_rows, SETTING.workers);
        let rate = f64::from(SETTING.workers) / latency_s;
        let draw = |_| windows.latencies(SETTING, &[rate], SAMPLES.1);
        let latencies: Vec<f64> = (0..500).flat_map(draw).collect();
        let truth_s = case.before.p99_s(SETTING.batch_rows, SETTING.workers);
        let above = latencies.iter().filter(|it| truth_s < **it).count() as f64;
        // 2,000 of 200,000 are expected above, give or take 45; by the median it was some 1,600.
        let share = above / latencies.len() as f64;
        assert!((share - 0.01).abs() < 0.0009, "{share} lies above p99");
        let mean_s = latencies.iter().sum::<f64>() / latencies.len() as f64;
        assert!((mean_s / latency_s - 1.0).abs() < 0.005, "{mean_s} is not {latency_s}");
    }

    #[test]
    fn a_change_of_setting_costs_an_operation_and_starts_an_epoch() {
        let case = super::super::draw(Family::Quiet, 3);
        let mut windows = Windows::new(&case, 3);
        windows.next(SETTING, Wish::of_ms(250));
        let before_s = windows.at_s();
        let slow = Setting { batch_rows: 60_000, workers: 2 };
        let window = windows.next(slow, Wish::of_ms(250));
        assert!(before_s < window.start.as_secs_f64());
        assert_eq!((window.epoch, window.index), (1, 1));
        assert!(window.length.as_secs_f64() + 0.03 >= case.before.latency_s(60_000, 2));
    }
}
