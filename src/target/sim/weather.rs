//! What makes a server faster or slower from moment to moment: noise and stalls.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::Chance;

/// Length of a tick: the weather is the same within one.
pub const TICK_S: f64 = 0.05;
/// Time over which the noise has the deviation asked for.
const NOISE_OVER_S: f64 = 0.5;
/// What the weather is like, on the whole.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Climate {
    /// Standard deviation that the logarithm of the rate has over half a second.
    pub noise: f64,
    /// Memory of this noise, in seconds.
    pub memory_s: f64,
    /// Stalls, such as checkpoints.
    pub stalls: Option<Dips>,
    /// Bursts of somebody else's work: short, and more often.
    pub bursts: Option<Dips>,
    /// Standard deviation of the logarithm of a drift that comes and goes within minutes.
    pub wander: f64,
}

/// Times at which the server does less. Each number is drawn evenly between both ends.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Dips {
    /// Seconds from the start of one to that of the next.
    pub gap_s: (f64, f64),
    /// Seconds that one lasts.
    pub length_s: (f64, f64),
    /// Factor on the rate.
    pub rate: (f64, f64),
}

impl Climate {
    /// No weather at all.
    pub const CALM: Climate =
        Climate { noise: 0.0, memory_s: 0.5, stalls: None, bursts: None, wander: 0.0 };
}

impl Dips {
    /// Stalls as the research has them.
    pub const STALLS: Dips = Dips { gap_s: (25.0, 35.0), length_s: (5.0, 5.0), rate: (0.4, 0.6) };
}

/// Memory of the slow drift.
const WANDER_MEMORY_S: f64 = 60.0;

/// Factors on the rate, tick by tick.
#[derive(Clone, Debug)]
pub struct Weather {
    factors: Vec<f64>,
    stalled: Vec<bool>,
    /// When each stall began, in seconds.
    stalls: Vec<f64>,
}

impl Weather {
    /// Draws noise and stalls.
    ///
    /// The logarithm of the rate follows an Ornstein-Uhlenbeck process, scaled such that its mean
    /// over half a second has the standard deviation asked for. The rate keeps its mean.
    pub fn draw(chance: &mut Chance, length_s: f64, climate: &Climate) -> Weather {
        let ticks = tick(length_s);
        let keep = (-TICK_S / climate.memory_s).exp();
        let averaged = variance_of_average(keep, tick(NOISE_OVER_S));
        let factors = wave(chance, ticks, keep, climate.noise / averaged.sqrt());
        let mut weather = Weather { factors, stalled: vec![false; ticks], stalls: Vec::new() };
        if let Some(stalls) = &climate.stalls {
            for stall in weather.dip(chance, stalls) {
                weather.stalls.push(stall.start as f64 * TICK_S);
                weather.stalled[stall].fill(true);
            }
        }
        if let Some(bursts) = &climate.bursts {
            weather.dip(chance, bursts);
        }
        if 0.0 < climate.wander {
            let keep = (-TICK_S / WANDER_MEMORY_S).exp();
            let drift = wave(chance, ticks, keep, climate.wander);
            weather.factors.iter_mut().zip(drift).for_each(|(factor, it)| *factor *= it);
        }
        weather
    }

    /// Lets the rate dip again and again. Returns the ticks of each.
    fn dip(&mut self, chance: &mut Chance, dips: &Dips) -> Vec<Range<usize>> {
        let mut all = Vec::new();
        let mut start_s = chance.uniform(0.4 * dips.gap_s.0, dips.gap_s.1);
        let ticks = self.factors.len();
        while tick(start_s) < ticks {
            let factor = chance.uniform(dips.rate.0, dips.rate.1);
            let (shortest, longest) = dips.length_s;
            let length_s =
                if shortest < longest { chance.uniform(shortest, longest) } else { longest };
            let dip = tick(start_s)..tick(start_s + length_s).min(ticks);
            self.factors[dip.clone()].iter_mut().for_each(|it| *it *= factor);
            all.push(dip);
            start_s += chance.uniform(dips.gap_s.0, dips.gap_s.1);
        }
        all
    }

    /// Ticks drawn.
    pub fn ticks(&self) -> usize {
        self.factors.len()
    }

    /// Factor on the rate in a tick; after the last one, the first follows again.
    pub fn factor(&self, tick: usize) -> f64 {
        self.factors[tick % self.factors.len()]
    }

    /// How many stalls have begun.
    pub fn stalls_until(&self, at_s: f64) -> usize {
        self.stalls.partition_point(|start_s| *start_s <= at_s)
    }

    /// Whether the server stalls in a tick.
    pub fn is_stalled(&self, tick: usize) -> bool {
        self.stalled.get(tick).copied().unwrap_or(false)
    }
}

/// The tick that a moment lies in.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small and positive")]
pub fn tick(at_s: f64) -> usize {
    // A moment that is a whole number of ticks, but for rounding, is the start of its tick.
    (at_s / TICK_S + 1e-6) as usize
}

/// Factors whose logarithm follows an Ornstein-Uhlenbeck process of this deviation.
fn wave(chance: &mut Chance, ticks: usize, keep: f64, deviation: f64) -> Vec<f64> {
    let mut state = chance.normal();
    let mut next = || {
        let factor = (deviation * state - 0.5 * deviation * deviation).exp();
        state = keep * state + (1.0 - keep * keep).sqrt() * chance.normal();
        factor
    };
    (0..ticks).map(|_| next()).collect()
}

/// Variance of the mean of `count` neighbours in a process that keeps this share from one to the
/// next, as a share of its own variance.
fn variance_of_average(keep: f64, count: usize) -> f64 {
    let pairs = (0..count).flat_map(|a| (0..count).map(move |b| a.abs_diff(b)));
    let sum: f64 = pairs.map(|gap| keep.powf(gap as f64)).sum();
    sum / (count * count) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(seed: u64, length_s: f64, noise: f64, stalls: Option<Dips>) -> Weather {
        let climate = Climate { noise, stalls, ..Climate::CALM };
        Weather::draw(&mut Chance::new(seed, 0), length_s, &climate)
    }

    #[test]
    fn noise_over_half_a_second_is_as_asked() {
        let weather = drawn(1, 20_000.0, 0.1, None);
        let logs: Vec<f64> = (0..weather.ticks() / 10)
            .map(|it| (0..10).map(|at| weather.factor(it * 10 + at).ln()).sum::<f64>() / 10.0)
            .collect();
        let mean = logs.iter().sum::<f64>() / logs.len() as f64;
        let variance = logs.iter().map(|it| (it - mean).powi(2)).sum::<f64>() / logs.len() as f64;
        assert!((variance.sqrt() - 0.1).abs() < 0.004, "{}", variance.sqrt());
    }

    #[test]
    fn noise_leaves_the_mean_rate() {
        let weather = drawn(2, 20_000.0, 0.15, None);
        let count = weather.ticks();
        let mean = (0..count).map(|it| weather.factor(it)).sum::<f64>() / count as f64;
        assert!((mean - 1.0).abs() < 0.01, "{mean}");
    }

    #[test]
    fn stalls_last_5_s_and_come_about_every_30() {
        let weather = drawn(3, 3_000.0, 0.1, Some(Dips::STALLS));
        let stalled = (0..weather.ticks()).filter(|it| weather.is_stalled(*it)).count();
        let share = stalled as f64 / weather.ticks() as f64;
        assert!((share - 5.0 / 30.0).abs() < 0.02, "{share}");
    }

    #[test]
    fn without_weather_nothing_changes() {
        let calm = drawn(4, 100.0, 0.0, None);
        assert!((0..calm.ticks() + 10).all(|it| (calm.factor(it) - 1.0).abs() < 1e-12));
        assert_eq!(calm.stalls_until(1e9), 0);
    }

    #[test]
    fn bursts_are_as_often_and_as_deep_as_asked() {
        let bursts = Dips { gap_s: (5.0, 15.0), length_s: (1.0, 3.0), rate: (0.5, 0.5) };
        let climate = Climate { bursts: Some(bursts), ..Climate::CALM };
        let weather = Weather::draw(&mut Chance::new(5, 0), 3_000.0, &climate);
        let low = (0..weather.ticks()).filter(|it| weather.factor(*it) < 0.75).count();
        let share = low as f64 / weather.ticks() as f64;
        assert!((share - 2.0 / 10.0).abs() < 0.03, "{share}");
    }

    #[test]
    fn a_whole_number_of_ticks_starts_its_tick() {
        assert_eq!([0.0, 0.05, 0.15, 0.149, 150.0].map(tick), [0, 1, 3, 2, 3_000]);
    }
}
