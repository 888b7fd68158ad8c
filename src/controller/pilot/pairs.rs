//! What paired probes say of a place: a window away between two windows at home.
//!
//! A server's slow moods hit all three and cancel; where the two at home differ, the mood changed
//! in between and the probe says nothing.

use std::collections::{BTreeMap, VecDeque};

use crate::{
    controller::Cell,
    stats::{expected_gain, median, normal_below, robust_deviation},
};

/// Time after which a difference counts half.
const HALF_LIFE_S: f64 = 120.0;
/// Differences kept of a place: two places that are 2 % apart take hundreds to tell apart.
const DIFFERENCES_MAX: usize = 240;
/// Distance from the median, in standard deviations, at which a difference is cut off.
const CUT_OFF: f64 = 2.5;
/// Windows ahead that a probe is valued over: the first alone is hardly ever worth it.
const LOOK_AHEAD: f64 = 4.0;
/// Gain that a move has to bring.
const GAIN_MIN: f64 = 0.004;
/// Standard deviations that probes may lie from the prior by chance.
const CHANCE: f64 = 2.0;
/// Share of a gain that was moved for that may be chance.
const GAIN_DOUBT: f64 = 0.5;
/// Differences between windows at home that the noise is taken of, and the least for it.
const NOISE_WINDOWS: usize = 60;
const NOISE_WINDOWS_MIN: usize = 2;
/// Noise where nothing is known of it, and the differences that this counts for.
const NOISE_USUAL: f64 = 0.15;
const NOISE_USUAL_WINDOWS: f64 = 3.0;
/// Least and most noise of a difference.
const NOISE: (f64, f64) = (0.01, 0.4);
/// Difference at home that makes a probe worthless: this, or this many deviations.
const EDGE: f64 = 0.25;
const EDGE_DEVIATIONS: f64 = 3.3;

/// What is believed of a place before it was probed: its gain over home.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prior {
    pub(super) mean: f64,
    pub(super) deviation: f64,
}

/// What is believed of it after.
#[derive(Clone, Copy, Debug)]
pub(super) struct Belief {
    pub(super) mean: f64,
    pub(super) deviation: f64,
    /// Probes it rests on.
    pub(super) n: usize,
    /// Probability that it is faster than home by these alone.
    pub(super) by_probes: f64,
}

impl Belief {
    /// Probability that a move there gains anything worth it.
    pub(super) fn gains(&self) -> f64 {
        normal_below((self.mean - GAIN_MIN) / self.deviation)
    }
}

#[derive(Clone, Copy, Debug)]
struct Difference {
    value: f64,
    at_s: f64,
    /// What it counts, of one that is as noisy as those at home.
    weight: f64,
}

/// What a window says of the place that it was measured at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) log_rate: f64,
    /// Variance of it that comes from counting.
    pub(super) counting: f64,
}

/// Two windows at home.
#[derive(Clone, Copy, Debug)]
struct Step {
    distance: f64,
    counting: f64,
}

/// Differences of all places to home.
#[derive(Clone, Debug)]
pub(super) struct Pairs {
    differences: BTreeMap<Cell, Vec<Difference>>,
    at_home: VecDeque<Step>,
    noise: f64,
    /// The part of the noise's variance that comes from counting.
    counting: f64,
}

impl Default for Pairs {
    fn default() -> Pairs {
        Pairs {
            differences: BTreeMap::new(),
            at_home: VecDeque::new(),
            noise: NOISE_USUAL,
            counting: 0.0,
        }
    }
}

impl Pairs {
    /// Takes in two windows at home, one after the other or around a probe.
    pub(super) fn at_home(&mut self, before: &Window, after: &Window) {
        self.at_home.push_back(Step {
            distance: (after.log_rate - before.log_rate).abs(),
            counting: f64::midpoint(before.counting, after.counting),
        });
        if NOISE_WINDOWS < self.at_home.len() {
            self.at_home.pop_front();
        }
        if NOISE_WINDOWS_MIN <= self.at_home.len() {
            let distances: Vec<f64> = self.at_home.iter().map(|it| it.distance).collect();
            let counting: Vec<f64> = self.at_home.iter().map(|it| it.counting).collect();
            let measured = (0.9 * robust_deviation(&distances)).clamp(NOISE.0, NOISE.1);
            let share = distances.len() as f64 / (distances.len() as f64 + NOISE_USUAL_WINDOWS);
            self.noise = NOISE_USUAL * (measured / NOISE_USUAL).powf(share);
            self.counting = median(&counting);
        }
    }

    /// Takes in a probe between two windows at home. Returns whether it says anything: where the mood
    /// changed, only if it lies further below both than they lie apart. A probe of 9 s at a third of
    /// home's rate was once sent three times, as the mood changed around it.
    pub(super) fn probe(
        &mut self,
        cell: Cell,
        at_s: f64,
        [before, away, after]: [Window; 3],
    ) -> bool {
        let step = (after.log_rate - before.log_rate).abs();
        let is_edge = EDGE.max(EDGE_DEVIATIONS * self.noise) < step;
        let slower = before.log_rate.min(after.log_rate);
        if is_edge && slower - step < away.log_rate {
            return false;
        }
        // Windows of fewer operations than those that the noise was taken of are noisier.
        let counting = away.counting + (before.counting + after.counting) / 4.0;
        let excess = (counting - 1.5 * self.counting).max(0.0);
        let noise2 = self.noise * self.noise;
        let mood = if is_edge { slower } else { f64::midpoint(before.log_rate, after.log_rate) };
        let value = away.log_rate - mood;
        let differences = self.differences.entry(cell).or_default();
        differences.push(Difference { value, at_s, weight: noise2 / (noise2 + excess) });
        if DIFFERENCES_MAX < differences.len() {
            differences.remove(0);
        }
        true
    }

    /// Home moved to `to`, of which this was believed: what was known of it is now known of the old
    /// home, and all others are that much less of a gain. That is a guess that all of them share, and
    /// of many places the one that was moved to looks better than it is: it may be off by half.
    pub(super) fn moved(&mut self, from: Cell, to: Cell, belief: &Belief) {
        let mut reversed = self.differences.remove(&to).unwrap_or_default();
        reversed.iter_mut().for_each(|it| it.value = -it.value);
        let doubt = belief.deviation.powi(2) + (belief.mean * GAIN_DOUBT).powi(2);
        for differences in self.differences.values_mut() {
            let weight: f64 = differences.iter().map(|it| it.weight).sum();
            let kept = 1.0 / (1.0 + weight * doubt / self.noise.powi(2));
            for it in differences {
                it.value -= belief.mean;
                it.weight *= kept;
            }
        }
        self.differences.insert(from, reversed);
    }

    /// Forgets all differences, and keeps the noise.
    pub(super) fn forget(&mut self) {
        self.differences.clear();
    }

    /// When a place was last probed.
    pub(super) fn last_s(&self, cell: Cell) -> Option<f64> {
        self.differences.get(&cell)?.last().map(|it| it.at_s)
    }

    /// Weighs the prior against the probes. Where they contradict the prior beyond chance, the
    /// prior is doubted: it comes from a smooth model, and there are cliffs.
    pub(super) fn belief(&self, cell: Cell, now_s: f64, prior: Prior) -> Belief {
        let prior_variance = prior.deviation * prior.deviation;
        let none = Vec::new();
        let differences = self.differences.get(&cell).unwrap_or(&none);
        if differences.is_empty() {
            return Belief { mean: prior.mean, deviation: prior.deviation, n: 0, by_probes: 0.5 };
        }
        let values: Vec<f64> = differences.iter().map(|it| it.value).collect();
        let center = median(&values);
        let reach = if values.len() < 3 { f64::INFINITY } else { CUT_OFF * self.noise };
        let (mut sum, mut weights) = (0.0, 0.0);
        for it in differences {
            let weight = it.weight * 0.5_f64.powf((now_s - it.at_s) / HALF_LIFE_S);
            sum += weight * it.value.clamp(center - reach, center + reach);
            weights += weight;
        }
        // Of what is days old nothing is left.
        let weights = weights.max(f64::MIN_POSITIVE);
        let measured = sum / weights;
        let precision = weights / (self.noise * self.noise);
        let doubt = ((measured - prior.mean).powi(2) - CHANCE * CHANCE / precision).max(0.0);
        let prior_precision = 1.0 / (prior_variance + doubt);
        let variance = 1.0 / (prior_precision + precision);
        let mean = variance * (prior_precision * prior.mean + precision * measured);
        let by_probes = normal_below(measured * precision.sqrt());
        Belief { mean, deviation: variance.sqrt(), n: values.len(), by_probes }
    }

    /// What is gained on average by probing there and moving if it is better.
    pub(super) fn worth(&self, belief: &Belief) -> f64 {
        let variance = belief.deviation * belief.deviation;
        let after = 1.0 / (1.0 / variance + LOOK_AHEAD / (self.noise * self.noise));
        expected_gain(belief.mean, (variance - after).max(0.0).sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: Cell = Cell { batch: 10, workers: 3 };
    const AWAY: Cell = Cell { batch: 12, workers: 3 };
    const PRIOR: Prior = Prior { mean: 0.0, deviation: 0.05 };

    fn window(log_rate: f64) -> Window {
        Window { log_rate, counting: 0.0 }
    }

    fn windows(log_rates: [f64; 3]) -> [Window; 3] {
        log_rates.map(window)
    }

    #[test]
    fn a_probe_in_a_changing_mood_says_nothing() {
        let mut pairs = Pairs::default();
        assert!(!pairs.probe(AWAY, 1.0, windows([10.0, 10.5, 9.4])));
        assert_eq!(pairs.belief(AWAY, 1.0, PRIOR).n, 0);
    }

    #[test]
    fn a_slow_mood_cancels() {
        let mut pairs = Pairs::default();
        for at in 0..20_u32 {
            let mood = 10.0 - 0.05 * f64::from(at);
            let windows = windows([mood, mood + 0.075, mood - 0.05]);
            assert!(pairs.probe(AWAY, at.into(), windows));
        }
        let belief = pairs.belief(AWAY, 20.0, PRIOR);
        assert!(0.05 < belief.mean && belief.mean < 0.1, "{belief:?}");
        assert!(0.9 < belief.gains());
    }

    #[test]
    fn a_prior_that_probes_contradict_is_doubted() {
        let mut pairs = Pairs::default();
        let wrong = Prior { mean: -0.3, deviation: 0.03 };
        for at in 0..4_u32 {
            pairs.probe(AWAY, at.into(), windows([10.0, 10.3, 10.0]));
        }
        let belief = pairs.belief(AWAY, 4.0, wrong);
        assert!(0.2 < belief.mean, "{belief:?}");
    }

    /// Doubted from one deviation on, a third of all probes by chance alone would undo a good model.
    #[test]
    fn a_prior_is_not_doubted_by_chance() {
        let mut pairs = Pairs::default();
        assert!(pairs.probe(AWAY, 1.0, windows([10.0, 10.2, 10.0])));
        let belief = pairs.belief(AWAY, 1.0, PRIOR);
        assert!(belief.mean < 0.03, "{belief:?}");
    }

    #[test]
    fn what_is_days_old_says_nothing() {
        let mut pairs = Pairs::default();
        assert!(pairs.probe(AWAY, 0.0, windows([10.0, 10.3, 10.0])));
        let belief = pairs.belief(AWAY, 1e6, PRIOR);
        assert!((belief.mean - PRIOR.mean).abs() < 1e-9, "{belief:?}");
        assert!((belief.deviation - PRIOR.deviation).abs() < 1e-9, "{belief:?}");
    }

    #[test]
    fn a_move_turns_differences_round() {
        let mut pairs = Pairs::default();
        let gains = windows([10.0, 10.2, 10.0]);
        (0..9_u32).for_each(|at| assert!(pairs.probe(AWAY, at.into(), gains)));
        let belief = pairs.belief(AWAY, 9.0, PRIOR);
        pairs.moved(HOME, AWAY, &belief);
        assert!(pairs.belief(HOME, 9.0, PRIOR).mean < -0.05);
        assert_eq!(pairs.last_s(AWAY), None);
    }

    /// A gain of 0.46 by two probes was once taken off all others as if it were sure, and home was held
    /// for minutes where others were better.
    #[test]
    fn what_is_known_of_others_is_less_sure_after_a_move() {
        const OTHER: Cell = Cell { batch: 8, workers: 3 };
        let mut pairs = Pairs::default();
        let equal = windows([10.0, 10.0, 10.0]);
        (0..40_u32).for_each(|at| assert!(pairs.probe(OTHER, at.into(), equal)));
        let gains = |pairs: &Pairs| pairs.belief(OTHER, 40.0, PRIOR).gains();
        let mut by_chance = pairs.clone();
        let moved = |pairs: &mut Pairs, mean: f64, deviation: f64| {
            pairs.moved(HOME, AWAY, &Belief { mean, deviation, n: 2, by_probes: 0.99 });
        };
        moved(&mut pairs, 0.05, 0.001);
        let (sure, by_chance) = (gains(&pairs), {
            moved(&mut by_chance, 0.3, 0.05);
            gains(&by_chance)
        });
        assert!(sure < by_chance, "{sure} after a small gain, {by_chance} after a large one");
    }

    #[test]
    fn a_probe_far_below_a_changing_mood_says_that_it_is_worse() {
        let mut pairs = Pairs::default();
        assert!(!pairs.probe(AWAY, 1.0, windows([10.0, 9.2, 9.4])), "it may be the mood");
        assert!(pairs.probe(AWAY, 2.0, windows([10.0, 8.4, 9.4])));
        let belief = pairs.belief(AWAY, 2.0, PRIOR);
        assert!(
            belief.mean < -0.5,
            "at most 8.4 less 9.4, which nobody takes for chance: {belief:?}"
        );
    }

    /// Noise comes from windows at home around probes: residuals of a few replicates tell 2 to 3
    /// times too little, and ring false alarms.
    #[test]
    fn noise_is_taken_of_windows_at_home() {
        let mut pairs = Pairs::default();
        for _ in 0..20 {
            pairs.at_home(&window(10.0), &window(10.1));
            pairs.at_home(&window(10.1), &window(10.0));
        }
        assert!((pairs.noise - 0.133).abs() < 0.01, "{}", pairs.noise);
        assert!(pairs.worth(&Belief { mean: 0.0, deviation: 0.05, n: 0, by_probes: 0.5 }) > 0.004);
        assert!(pairs.worth(&Belief { mean: -0.2, deviation: 0.01, n: 9, by_probes: 0.0 }) < 0.001);
    }

    /// On a server whose windows differ by 3 % nothing that gave 10 % more was surely better until there
    /// had been eight windows at home, 11 s of a search of 17 s.
    #[test]
    fn noise_is_learned_from_the_first_windows_on() {
        let noise = |windows: u32, distance: f64| {
            let mut pairs = Pairs::default();
            (0..windows).for_each(|_| pairs.at_home(&window(10.0), &window(10.0 + distance)));
            pairs.noise
        };
        let few = [0, 1, 2, 4, 60].map(|windows| noise(windows, 0.03));
        assert!((few[0] - NOISE_USUAL).abs() < 1e-9 && (few[1] - NOISE_USUAL).abs() < 1e-9);
        assert!(few.windows(2).skip(1).all(|it| it[1] < it[0]) && few[3] < 0.09, "{few:?}");
        assert!((few[4] - 0.043).abs() < 0.003, "{few:?}: what is measured wins in the end");
        assert!(NOISE_USUAL < noise(4, 0.3), "a noisy server is known early, too");
    }

    /// A window of eight operations once moved home on a single probe, that was sure by 0.9999.
    #[test]
    fn a_probe_of_few_operations_says_little() {
        let mut pairs = Pairs::default();
        (0..20).for_each(|_| pairs.at_home(&window(10.0), &window(10.05)));
        let mut few = pairs.clone();
        let [before, away, after] = windows([10.0, 10.28, 10.0]);
        assert!(pairs.probe(AWAY, 1.0, [before, away, after]));
        assert!(0.99 < pairs.belief(AWAY, 1.0, PRIOR).gains());
        assert!(few.probe(AWAY, 1.0, [before, Window { counting: 0.02, ..away }, after]));
        let belief = few.belief(AWAY, 1.0, PRIOR);
        assert!(belief.gains() < 0.99, "{belief:?}");
    }
}
