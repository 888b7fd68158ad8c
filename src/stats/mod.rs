//! Numbers in, numbers out: estimates with intervals from independent blocks.
//!
//! Rates are compared on the log scale: a ratio of 2 and one of 1/2 are equally far from 1, and
//! the error of a rate grows with it. One block is one observation; what lies inside a block is
//! not independent and never enters here. What is known to depend on its neighbours has
//! [`effective_size`] and [`bootstrap()`].

mod additive;
mod bootstrap;
pub(crate) mod format;
mod nnls;
mod prediction;
mod proportion;
mod rank_sum;
mod series;
mod signed_rank;
mod slope;
mod spread;
mod welch;

pub use self::{
    additive::additive,
    bootstrap::{Resampling, bootstrap, percentile_interval},
    nnls::nnls,
    prediction::{Prediction, deviation},
    proportion::share_limits,
    rank_sum::RankSum,
    series::{autocorrelation_time, batch_means, effective_size},
    signed_rank::SignedRank,
    slope::Slope,
    spread::Spread,
    welch::Welch,
};

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal, StudentsT};
use statrs::function::erf::erf;

/// Confidence of every interval.
pub const CONFIDENCE: f64 = 0.95;

/// Modified z-score above which an observation is marked as an outlier. Source: Iglewicz and
/// Hoaglin, "How to detect and handle outliers", 1993.
const OUTLIER_SCORE: f64 = 3.5;

/// Median distance from the center over the standard deviation, of a normal distribution.
const MEDIAN_DISTANCE: f64 = 0.674_489_75;

/// A number with its interval.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Estimate {
    /// The geometric mean.
    pub value: f64,
    /// Lower bound at [`CONFIDENCE`]; `None` for fewer than two observations.
    pub low: Option<f64>,
    /// Upper bound.
    pub high: Option<f64>,
    /// Observations.
    pub n: usize,
}

impl Estimate {
    /// Estimates a positive quantity from independent observations: geometric mean, and Student's
    /// interval of the mean of the logarithms. `None` without an observation, or if one is not
    /// positive: leaving it out would be a better number than was measured.
    pub fn of(observations: &[f64]) -> Option<Estimate> {
        if observations.iter().any(|it| !(0.0 < *it && it.is_finite())) {
            return None;
        }
        let logs: Vec<f64> = observations.iter().map(|it| it.ln()).collect();
        let n = logs.len();
        if n == 0 {
            return None;
        }
        let mean = logs.iter().sum::<f64>() / n as f64;
        let value = mean.exp();
        if n < 2 {
            return Some(Estimate { value, low: None, high: None, n });
        }
        let squares: f64 = logs.iter().map(|log| (log - mean).powi(2)).sum();
        let error = (squares / (n - 1) as f64 / n as f64).sqrt();
        let half = quantile_of_t(n - 1) * error;
        Some(Estimate { value, low: Some((mean - half).exp()), high: Some((mean + half).exp()), n })
    }

    /// Estimates a ratio from pairs (numerator, denominator) that were measured close together:
    /// what drifts hits both, and cancels.
    pub fn of_ratio(pairs: &[(f64, f64)]) -> Option<Estimate> {
        let ratios: Vec<f64> = pairs.iter().map(|(above, below)| above / below).collect();
        Estimate::of(&ratios)
    }

    /// Divides by a number that has no error.
    pub fn divided_by(self, divisor: f64) -> Estimate {
        let divide = |it: f64| it / divisor;
        Estimate {
            value: divide(self.value),
            low: self.low.map(divide),
            high: self.high.map(divide),
            n: self.n,
        }
    }

    /// Returns whether the whole interval is at or above `bound`; `None` if the interval holds it,
    /// or if there is no interval.
    pub fn is_at_least(self, bound: f64) -> Option<bool> {
        match (self.low, self.high) {
            (Some(low), _) if bound <= low => Some(true),
            (_, Some(high)) if high < bound => Some(false),
            _ => None,
        }
    }

    /// Returns whether the interval holds `value`; without an interval nothing is ruled out.
    pub fn may_be(self, value: f64) -> bool {
        self.low.is_none_or(|low| low <= value) && self.high.is_none_or(|high| value <= high)
    }
}

/// Probability that a standard normal number is at most `z`.
pub fn normal_below(z: f64) -> f64 {
    0.5 * (1.0 + erf(z / std::f64::consts::SQRT_2))
}

/// The number that a standard normal one is below with this probability.
pub fn normal_quantile(probability: f64) -> f64 {
    Normal::standard().inverse_cdf(probability)
}

/// Density of a standard normal number.
pub fn normal_density(z: f64) -> f64 {
    (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt()
}

/// What is gained on average by choosing the better of 0 and a normal number.
pub fn expected_gain(mean: f64, deviation: f64) -> f64 {
    let z = mean / deviation.max(f64::MIN_POSITIVE);
    mean * normal_below(z) + deviation * normal_density(z)
}

/// Student's one-sided quantile at 95 %, `freedom` degrees of freedom being at least 1.
pub fn upper_of_t(freedom: usize) -> f64 {
    students(freedom).inverse_cdf(0.95)
}

fn students(freedom: usize) -> StudentsT {
    StudentsT::new(0.0, 1.0, freedom.max(1) as f64).expect("one degree at least")
}

/// Student's quantile of which an interval at [`CONFIDENCE`] is as many standard errors long to each
/// side, `freedom` degrees of freedom being at least 1.
pub fn quantile_of_t(freedom: usize) -> f64 {
    students(freedom).inverse_cdf(0.5 + CONFIDENCE / 2.0)
}

/// Returns the indexes of observations that lie far from the rest, on the log scale. They are
/// marked, never dropped. Fewer than four observations have none.
pub fn outliers(observations: &[f64]) -> Vec<usize> {
    if observations.len() < 4 || observations.iter().any(|it| *it <= 0.0) {
        return Vec::new();
    }
    let logs: Vec<f64> = observations.iter().map(|it| it.ln()).collect();
    let center = median(&logs);
    let distances: Vec<f64> = logs.iter().map(|log| (log - center).abs()).collect();
    let spread = robust_deviation(&distances);
    // Equal observations have no spread, and then nothing is far.
    let is_far = |distance: f64| 0.0 < spread && OUTLIER_SCORE < distance / spread;
    (0..logs.len()).filter(|&index| is_far(distances[index])).collect()
}

/// Returns the median, or 0 for no value.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

/// Returns the standard deviation of normal numbers by their distances from their center, 0 for none: the
/// median distance, to which up to half of the numbers do nothing, however far off they lie.
///
/// Source: Hampel, "The influence curve and its role in robust estimation", JASA 69, 1974.
pub fn robust_deviation(distances: &[f64]) -> f64 {
    median(distances) / MEDIAN_DISTANCE
}

/// Logarithms of the ratios of pairs (above, below): below 0 where the first is the smaller. `None`
/// if a number is not positive: its ratio has no logarithm, and leaving the pair out would be kind
/// to the side that did nothing.
pub fn log_ratios(pairs: &[(f64, f64)]) -> Option<Vec<f64>> {
    let is_positive = |it: &f64| 0.0 < *it && it.is_finite();
    let ratio = |(above, below): &(f64, f64)| {
        (is_positive(above) && is_positive(below)).then(|| (above / below).ln())
    };
    pairs.iter().map(ratio).collect()
}

/// The whole part of a place in a list; 0 for one before its beginning.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to a length")]
fn index(place: f64) -> usize {
    place.max(0.0) as usize
}

/// Numbers that an independent implementation can make anew, for figures to compare with.
#[cfg(test)]
mod reference {
    /// From 0 to 1, by C's old generator: state x 1,103,515,245 + 12,345, of 31 bits.
    pub(super) fn uniform(n: usize, seed: u64) -> Vec<f64> {
        let mut state = seed;
        let mut next = || {
            state = (state * 1_103_515_245 + 12_345) % (1 << 31);
            state as f64 / f64::from(1_u32 << 31)
        };
        (0..n).map(|_| next()).collect()
    }

    /// Of the logistic distribution.
    pub(super) fn logistic(n: usize, seed: u64) -> Vec<f64> {
        uniform(n, seed).iter().map(|it| (it / (1.0 - it)).ln()).collect()
    }

    #[track_caller]
    pub(super) fn assert_exact(got: f64, want: f64) {
        assert!((got - want).abs() <= 1e-9 * want.abs().max(1e-3), "{got} is not {want}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-3 * b.abs().max(1.0), "{a} is not {b}");
    }

    /// Figures by hand: logs ln 90, ln 100, ln 110; t(0.975, 2) = 4.3027.
    #[test]
    fn the_interval_is_students() {
        let estimate = Estimate::of(&[90.0, 100.0, 110.0]).unwrap();
        assert_close(estimate.value, 99.666);
        assert_close(estimate.low.unwrap(), 77.603);
        assert_close(estimate.high.unwrap(), 128.001);
    }

    #[test]
    fn one_observation_has_no_interval_and_none_no_estimate() {
        let one = Estimate::of(&[5.0]).unwrap();
        assert_eq!((one.low, one.high, one.n), (None, None, 1));
        assert_eq!(one.is_at_least(1.0), None);
        assert_eq!(Estimate::of(&[]), None);
        assert_eq!(Estimate::of(&[f64::NAN]), None);
        assert_eq!(Estimate::of(&[5.0, 5.0, 0.0]), None, "a block that inserted nothing counts");
    }

    /// A perfectly steady system once crashed nosqlbench's stability detector with 0/0.
    #[test]
    fn no_variance_is_no_problem() {
        let estimate = Estimate::of(&[7.0; 5]).unwrap();
        assert_close(estimate.low.unwrap(), 7.0);
        assert_eq!(estimate.is_at_least(6.9), Some(true));
        assert!(outliers(&[7.0; 5]).is_empty());
    }

    #[test]
    fn drift_that_hits_both_cancels_in_pairs() {
        let pairs = [(20.0, 10.0), (40.0, 20.0), (80.0, 40.0), (10.0, 5.0)];
        let ratio = Estimate::of_ratio(&pairs).unwrap();
        assert_close(ratio.low.unwrap(), 2.0);
        assert_close(ratio.high.unwrap(), 2.0);
    }

    #[test]
    fn a_bound_inside_the_interval_is_undecided() {
        let estimate = Estimate::of(&[90.0, 100.0, 110.0]).unwrap();
        let bounds = [70.0, 100.0, 140.0].map(|bound| estimate.is_at_least(bound));
        assert_eq!(bounds, [Some(true), None, Some(false)]);
        assert_eq!([70.0, 100.0, 140.0].map(|value| estimate.may_be(value)), [false, true, false]);
        assert!(Estimate::of(&[5.0]).unwrap().may_be(1.0), "one block rules nothing out");
    }

    /// Figures from tables; by hand, 0 against N(0, 1) gains 1 / sqrt(2 pi).
    #[test]
    fn normal_and_t_are_those_of_the_tables() {
        assert_close(normal_below(1.96), 0.975);
        assert_close(normal_density(0.0), 0.398_94);
        assert_close(upper_of_t(2), 2.919_99);
        assert_close(expected_gain(0.0, 1.0), 0.398_94);
        assert_close(expected_gain(2.0, 0.0), 2.0);
        assert_close(expected_gain(-2.0, 0.0), 0.0);
    }

    #[test]
    fn ratios_are_logarithms_or_nothing() {
        let ratios = log_ratios(&[(90.0, 100.0), (100.0, 100.0)]).unwrap();
        assert_close(ratios[0], -0.105_36);
        assert_close(ratios[1], 0.0);
        assert_eq!(log_ratios(&[(90.0, 100.0), (0.0, 100.0)]), None);
        assert_eq!(log_ratios(&[(90.0, f64::INFINITY)]), None);
        assert_eq!(log_ratios(&[]), Some(Vec::new()));
    }

    #[test]
    fn outliers_are_marked() {
        assert_eq!(outliers(&[100.0, 101.0, 99.0, 100.5, 20.0]), [4]);
        assert!(outliers(&[100.0, 101.0, 99.0, 100.5, 100.2]).is_empty());
    }

    /// 95 % intervals of simulated blocks hold the truth in about 95 % of runs.
    #[test]
    fn intervals_cover_as_often_as_they_say() {
        use rand::{RngCore, SeedableRng};
        let mut random = rand_pcg::Pcg64Mcg::seed_from_u64(1);
        let mut normal = || -> f64 {
            (0..12).map(|_| f64::from(random.next_u32()) / f64::from(u32::MAX)).sum::<f64>() - 6.0
        };
        let runs = 4_000;
        let mut covered = 0;
        for _ in 0..runs {
            let blocks: Vec<f64> = (0..5).map(|_| (0.2 * normal()).exp() * 1_000.0).collect();
            let estimate = Estimate::of(&blocks).unwrap();
            let is_in = estimate.low.unwrap() <= 1_000.0 && 1_000.0 <= estimate.high.unwrap();
            covered += u32::from(is_in);
        }
        let share = f64::from(covered) / f64::from(runs);
        assert!((0.94..0.96).contains(&share), "{share}");
    }
}
