//! What makes a server faster or slower from moment to moment: noise and stalls.

use super::Chance;

/// Length of a tick: the weather is the same within one.
pub const TICK_S: f64 = 0.05;
/// Time over which the noise has the deviation asked for.
const NOISE_OVER_S: f64 = 0.5;
/// Length of a stall.
const STALL_S: f64 = 5.0;

/// Factors on the rate, tick by tick.
#[derive(Clone, Debug)]
pub struct Weather {
    factors: Vec<f64>,
    stalled: Vec<bool>,
}

impl Weather {
    /// Draws noise and stalls.
    ///
    /// The logarithm of the rate follows an Ornstein-Uhlenbeck process with this memory, scaled
    /// such that its mean over half a second has the standard deviation `noise`. The rate keeps its
    /// mean. A stall takes the rate to between 0.4 and 0.6 for 5 s, every 25 to 35 s.
    pub fn draw(
        chance: &mut Chance,
        length_s: f64,
        noise: f64,
        memory_s: f64,
        has_stalls: bool,
    ) -> Weather {
        let ticks = tick(length_s);
        let keep = (-TICK_S / memory_s).exp();
        let averaged = variance_of_average(keep, tick(NOISE_OVER_S));
        let deviation = noise / averaged.sqrt();
        let mut state = chance.normal();
        let mut factors = Vec::with_capacity(ticks);
        for _ in 0..ticks {
            factors.push((deviation * state - 0.5 * deviation * deviation).exp());
            state = keep * state + (1.0 - keep * keep).sqrt() * chance.normal();
        }
        let mut stalled = vec![false; ticks];
        let mut start_s = chance.uniform(10.0, 35.0);
        while has_stalls && start_s < length_s {
            let factor = chance.uniform(0.4, 0.6);
            for at in tick(start_s)..tick(start_s + STALL_S).min(ticks) {
                factors[at] *= factor;
                stalled[at] = true;
            }
            start_s += chance.uniform(25.0, 35.0);
        }
        Weather { factors, stalled }
    }

    /// Ticks drawn.
    pub fn ticks(&self) -> usize {
        self.factors.len()
    }

    /// Factor on the rate in a tick; after the last one, that of the last.
    pub fn factor(&self, tick: usize) -> f64 {
        self.factors[tick.min(self.factors.len() - 1)]
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

    #[test]
    fn noise_over_half_a_second_is_as_asked() {
        let weather = Weather::draw(&mut Chance::new(1, 0), 20_000.0, 0.1, 0.5, false);
        let logs: Vec<f64> = (0..weather.ticks() / 10)
            .map(|it| (0..10).map(|at| weather.factor(it * 10 + at).ln()).sum::<f64>() / 10.0)
            .collect();
        let mean = logs.iter().sum::<f64>() / logs.len() as f64;
        let variance = logs.iter().map(|it| (it - mean).powi(2)).sum::<f64>() / logs.len() as f64;
        assert!((variance.sqrt() - 0.1).abs() < 0.004, "{}", variance.sqrt());
    }

    #[test]
    fn noise_leaves_the_mean_rate() {
        let weather = Weather::draw(&mut Chance::new(2, 0), 20_000.0, 0.15, 0.5, false);
        let count = weather.ticks();
        let mean = (0..count).map(|it| weather.factor(it)).sum::<f64>() / count as f64;
        assert!((mean - 1.0).abs() < 0.01, "{mean}");
    }

    #[test]
    fn stalls_last_5_s_and_come_about_every_30() {
        let weather = Weather::draw(&mut Chance::new(3, 0), 3_000.0, 0.1, 0.5, true);
        let stalled = (0..weather.ticks()).filter(|it| weather.is_stalled(*it)).count();
        let share = stalled as f64 / weather.ticks() as f64;
        assert!((share - 5.0 / 30.0).abs() < 0.02, "{share}");
    }

    #[test]
    fn a_whole_number_of_ticks_starts_its_tick() {
        assert_eq!([0.0, 0.05, 0.15, 0.149, 150.0].map(tick), [0, 1, 3, 2, 3_000]);
    }
}
