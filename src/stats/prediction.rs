//! What observations so far say of the next one: a prediction interval.
//!
//! The interval of a mean narrows with every observation. What the next observation may be does not
//! narrow below their spread, and that spread is what a stored number has to be held against. Hahn
//! and Meeker, "Statistical intervals", 1991, section 4.8.

use statrs::distribution::ContinuousCDF;

use super::{normal_quantile, students};

/// Where the next of normal observations may lie, and how sure that is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prediction {
    /// The mean of the observations so far: what is expected of the next one.
    pub mean: f64,
    /// Standard error of the next one's distance from the mean.
    pub error: f64,
    /// Degrees of freedom of the error; `None` where it was given, and not estimated.
    pub freedom: Option<usize>,
    /// Observations so far.
    pub observations: usize,
}

impl Prediction {
    /// Takes the spread from the observations themselves. Where they happen to lie closer together
    /// than `deviation_min`, it counts instead. `None` for fewer than two, or one that is not finite.
    pub fn of(observations: &[f64], deviation_min: f64) -> Option<Prediction> {
        let (mean, deviation) = (mean(observations)?, deviation(observations)?);
        let n = observations.len();
        let error = next(deviation.max(deviation_min), n);
        Some(Prediction { mean, error, freedom: Some(n - 1), observations: n })
    }

    /// Takes the spread as known. `None` for no observation, or one that is not finite.
    pub fn with_deviation(observations: &[f64], deviation: f64) -> Option<Prediction> {
        let (mean, n) = (mean(observations)?, observations.len());
        Some(Prediction { mean, error: next(deviation, n), freedom: None, observations: n })
    }

    /// How far from the mean the next observation is with probability `alpha`, on one side.
    pub fn reach(&self, alpha: f64) -> f64 {
        assert!(0.0 < alpha && alpha < 0.5, "{alpha} is not a one-sided level");
        let quantile = match self.freedom {
            Some(freedom) => students(freedom).inverse_cdf(1.0 - alpha),
            None => normal_quantile(1.0 - alpha),
        };
        quantile * self.error
    }
}

/// The next observation is as far from the true mean as any, and that is known to this error only.
fn next(deviation: f64, observations: usize) -> f64 {
    deviation * (1.0 + 1.0 / observations as f64).sqrt()
}

fn mean(values: &[f64]) -> Option<f64> {
    let is_usable = !values.is_empty() && values.iter().all(|it| it.is_finite());
    is_usable.then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Standard deviation, of n - 1; `None` for fewer than two values.
pub fn deviation(values: &[f64]) -> Option<f64> {
    let mean = mean(values)?;
    let squares: f64 = values.iter().map(|it| (it - mean).powi(2)).sum();
    (1 < values.len()).then(|| (squares / (values.len() - 1) as f64).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::reference::{assert_exact, uniform};

    /// Hours of extra sleep, Student 1908, first group. By hand: a mean of 0.75, a standard deviation
    /// of 1.7890096577591625, and 2.2621571628 from a table for t(0.975, 9).
    #[test]
    fn the_next_observation_is_a_mean_and_a_spread_away() {
        let sleep = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0];
        let next = Prediction::of(&sleep, 0.0).unwrap();
        assert_exact(next.mean, 0.75);
        assert_eq!(next.freedom, Some(9));
        let want = 2.262_157_162_8 * 1.789_009_657_759_162_5 * 1.1_f64.sqrt();
        assert!((next.reach(0.025) - want).abs() < 1e-9, "{}", next.reach(0.025));
        // A spread that is known has no degrees of freedom: 1.96 of them.
        let next = Prediction::with_deviation(&sleep[..1], 2.0).unwrap();
        assert!((next.reach(0.025) - 1.959_964 * 2.0 * 2_f64.sqrt()).abs() < 1e-5);
    }

    #[test]
    fn what_says_nothing_of_the_next_one_has_no_prediction() {
        assert_eq!(Prediction::of(&[1.0], 0.1), None);
        assert_eq!(Prediction::with_deviation(&[], 0.1), None);
        assert_eq!(Prediction::of(&[1.0, f64::NAN], 0.1), None);
        let equal = Prediction::of(&[2.0; 4], 0.1).unwrap();
        assert_exact(equal.error, 0.1 * 1.25_f64.sqrt());
    }

    /// Of 4,000 series of six and one more, as many lie below the limit as its level says.
    #[test]
    fn the_next_one_is_beyond_as_often_as_the_level_says() {
        let numbers = uniform(4_000 * 7 * 12, 5);
        let normal: Vec<f64> = numbers.chunks(12).map(|it| it.iter().sum::<f64>() - 6.0).collect();
        let beyond = normal.chunks(7).filter(|it| {
            let next = Prediction::of(&it[..6], 0.0).unwrap();
            it[6] < next.mean - next.reach(0.05)
        });
        let share = beyond.count() as f64 / 4_000.0;
        assert!((0.04..0.06).contains(&share), "{share}");
    }
}
