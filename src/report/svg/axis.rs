//! Axes: where a value stands, and which values get a tick.

use crate::stats::format::{number, time_ns};

/// Rates that span more than this are drawn on a log axis.
const LINEAR_SPAN_MAX: f64 = 20.0;

/// A tick: a value, and its label unless it only gets a line.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tick {
    pub(super) value: f64,
    pub(super) label: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Scale {
    Linear,
    Log,
}

/// An axis, from `low` at pixel `from` to `high` at pixel `to`.
///
/// Invariant: `low < high`, and `0 < low` on a log scale.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    /// Makes a linear axis.
    pub(super) fn linear((low, high): (f64, f64), (from, to): (f64, f64)) -> Axis {
        assert!(low < high, "an axis from {low} to {high}");
        Axis { scale: Scale::Linear, low, high, from, to }
    }

    /// Makes a log axis of positive values.
    pub(super) fn log((low, high): (f64, f64), (from, to): (f64, f64)) -> Axis {
        assert!(0.0 < low && low < high, "a log axis from {low} to {high}");
        Axis { scale: Scale::Log, low, high, from, to }
    }

    /// Makes an axis for rates: linear from 0, or log where they span much.
    pub(super) fn rates(values: &[f64], pixels: (f64, f64)) -> Axis {
        let positive = || values.iter().copied().filter(|it| 0.0 < *it && it.is_finite());
        let (least, most) = (positive().fold(f64::MAX, f64::min), positive().fold(0.0, f64::max));
        if most <= 0.0 {
            return Axis::linear((0.0, 1.0), pixels);
        }
        if least * LINEAR_SPAN_MAX < most {
            return Axis::log((least * 0.8, most * 1.25), pixels);
        }
        let step = step(most);
        Axis::linear((0.0, (most / step).ceil() * step), pixels)
    }

    /// Returns whether distances on it are ratios.
    pub(super) fn is_log(&self) -> bool {
        self.scale == Scale::Log
    }

    /// Returns whether a value lies between its ends.
    pub(super) fn holds(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }

    /// Returns where a value stands; what lies beyond an end stands at that end.
    pub(super) fn at(&self, value: f64) -> f64 {
        let value = value.clamp(self.low, self.high);
        let share = match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Log => (value / self.low).ln() / (self.high / self.low).ln(),
        };
        self.from + share * (self.to - self.from)
    }

    /// Returns the ticks, with labels made by `label` where one fits.
    pub(super) fn ticks(&self, label: impl Fn(f64) -> String) -> Vec<Tick> {
        match self.scale {
            Scale::Linear => {
                let step = step(self.high - self.low);
                let count = ((self.high - self.low) / step + 1e-9).floor();
                (0..=200)
                    .map(f64::from)
                    .take_while(|index| *index <= count)
                    .map(|index| self.low + index * step)
                    .map(|value| Tick { value, label: Some(label(value)) })
                    .collect()
            }
            Scale::Log => self.log_ticks(label),
        }
    }

    /// Returns ticks at round values of a linear axis, wherever its ends are.
    pub(super) fn round_ticks(&self, label: impl Fn(f64) -> String) -> Vec<Tick> {
        let step = step(self.high - self.low);
        let first = (self.low / step - 1e-9).ceil();
        (0..=20)
            .map(|index| (first + f64::from(index)) * step)
            .take_while(|value| *value <= self.high + step * 1e-9)
            .map(|value| Tick { value, label: Some(label(value)) })
            .collect()
    }

    /// Every decade has a label; with few decades, so have 2 and 5 times it.
    fn log_ticks(&self, label: impl Fn(f64) -> String) -> Vec<Tick> {
        let decades = (self.high / self.low).log10();
        let labelled: &[u32] = if decades < 2.5 { &[1, 2, 5] } else { &[1] };
        let mut ticks = Vec::new();
        let mut decade = 10_f64.powf(self.low.log10().floor());
        while decade <= self.high {
            for digit in 1..10 {
                let value = decade * f64::from(digit);
                if self.low <= value * (1.0 + 1e-9) && value <= self.high * (1.0 + 1e-9) {
                    let label = labelled.contains(&digit).then(|| label(value));
                    ticks.push(Tick { value, label });
                }
            }
            decade *= 10.0;
        }
        ticks
    }
}

/// Returns 1, 2 or 5 times a power of ten, so that four to ten steps fill `span`.
fn step(span: f64) -> f64 {
    let rough = span / 8.0;
    let decade = 10_f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * decade);
    steps.into_iter().find(|step| rough <= *step * (1.0 + 1e-9)).unwrap_or(decade * 10.0)
}

/// `500`, `2.5k`, `10k`, `1M`.
pub(super) fn short(value: f64) -> String {
    let (divisor, suffix) = match value.abs() {
        size if size >= 999_500.0 => (1e6, "M"),
        size if size >= 999.5 => (1e3, "k"),
        _ => (1.0, ""),
    };
    // A tick's digits, and not those that summing steps added.
    let text = format!("{:.3}", value / divisor);
    format!("{}{suffix}", text.trim_end_matches('0').trim_end_matches('.'))
}

/// `100 µs`, `2 ms`, for a tick in nanoseconds.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 1 h, rounded")]
pub(super) fn short_ns(nanos: f64) -> String {
    if nanos < 999.5 { format!("{} ns", number(nanos)) } else { time_ns(nanos.round() as u64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<String> {
        axis.ticks(short).into_iter().filter_map(|tick| tick.label).collect()
    }

    #[test]
    fn rates_that_span_much_are_on_a_log_axis() {
        let axis = Axis::rates(&[780.0, 93_000.0], (0.0, 100.0));
        assert!(axis.is_log());
        assert_eq!(labels(&axis), ["1k", "2k", "5k", "10k", "20k", "50k", "100k"]);
        let axis = Axis::rates(&[500.0, 2_300.0], (0.0, 100.0));
        assert!(!axis.is_log());
        assert_eq!(labels(&axis), ["0", "500", "1k", "1.5k", "2k", "2.5k"]);
    }

    #[test]
    fn ticks_are_round_where_the_ends_are_not() {
        let values = |low, high| -> Vec<f64> {
            let ticks = Axis::linear((low, high), (0.0, 1.0)).round_ticks(short);
            ticks.into_iter().map(|tick| (tick.value * 1e6).round() / 1e6).collect()
        };
        assert_eq!(values(0.873, 1.04), [0.9, 0.95, 1.0]);
        assert_eq!(values(-0.3, 1.0), [-0.2, 0.0, 0.2, 0.4, 0.6, 0.8, 1.0]);
    }

    #[test]
    fn nothing_measured_still_has_an_axis() {
        let axis = Axis::rates(&[], (0.0, 100.0));
        assert_eq!((axis.at(0.0), axis.at(1.0)), (0.0, 100.0));
        assert!(Axis::rates(&[0.0, f64::NAN], (0.0, 1.0)).at(0.5) > 0.0);
    }

    #[test]
    fn values_stand_in_proportion() {
        let axis = Axis::log((1.0, 100.0), (0.0, 200.0));
        assert!((axis.at(10.0) - 100.0).abs() < 1e-9);
        assert!((axis.at(0.01) - 0.0).abs() < 1e-9);
        let axis = Axis::linear((0.0, 10.0), (100.0, 0.0));
        assert!((axis.at(2.5) - 75.0).abs() < 1e-9);
    }

    #[test]
    fn ticks_are_short() {
        let cases = [(0.0, "0"), (0.25, "0.25"), (2_500.0, "2.5k"), (1e5, "100k"), (3e6, "3M")];
        for (value, want) in cases {
            assert_eq!(short(value), want);
        }
        assert_eq!([short_ns(500.0), short_ns(2e6), short_ns(1e9)], ["500 ns", "2 ms", "1 s"]);
    }
}
