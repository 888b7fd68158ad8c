//! Welch's test: whether two means differ, of samples whose variances may.

use statrs::distribution::{ContinuousCDF, StudentsT};

/// What Student's t says of two means. Welch, "The generalization of Student's problem", 1947.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Welch {
    /// The difference of the means, a - b, in standard errors.
    pub t: f64,
    /// Degrees of freedom, by Satterthwaite.
    pub freedom: f64,
    /// Probability of such a `t` or a lower one if the means are equal.
    pub p_lower: f64,
    /// Probability of such a `t` or a higher one.
    pub p_higher: f64,
}

impl Welch {
    /// Compares the means of `a` and `b`, every observation counting as independent. `None` for
    /// fewer than two observations, for one that is not finite, or without any spread.
    pub fn of(a: &[f64], b: &[f64]) -> Option<Welch> {
        Welch::with_sizes(a, b, a.len() as f64, b.len() as f64)
    }

    /// As [`Welch::of`], but a sample counts as so many independent observations: see
    /// [`super::effective_size`].
    pub fn with_sizes(a: &[f64], b: &[f64], size_a: f64, size_b: f64) -> Option<Welch> {
        let (mean_a, variance_a) = moments(a)?;
        let (mean_b, variance_b) = moments(b)?;
        // Two independent observations are the fewest that have a variance.
        let (size_a, size_b) = (size_a.max(2.0), size_b.max(2.0));
        let (error_a, error_b) = (variance_a / size_a, variance_b / size_b);
        let error = error_a + error_b;
        if error <= 0.0 {
            return None;
        }
        let t = (mean_a - mean_b) / error.sqrt();
        let parts = error_a.powi(2) / (size_a - 1.0) + error_b.powi(2) / (size_b - 1.0);
        let freedom = error.powi(2) / parts;
        let student = StudentsT::new(0.0, 1.0, freedom).ok()?;
        Some(Welch { t, freedom, p_lower: student.cdf(t), p_higher: student.sf(t) })
    }

    /// The smaller side, doubled.
    pub fn p_two_sided(&self) -> f64 {
        (2.0 * self.p_lower.min(self.p_higher)).min(1.0)
    }
}

/// Mean and variance, of n - 1.
fn moments(values: &[f64]) -> Option<(f64, f64)> {
    if values.len() < 2 || values.iter().any(|it| !it.is_finite()) {
        return None;
    }
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    Some((mean, values.iter().map(|it| (it - mean).powi(2)).sum::<f64>() / (n - 1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::reference::assert_exact;

    /// Hours of extra sleep under two drugs, Student 1908: R's `t.test(extra ~ group, sleep)`
    /// prints t = -1.8608, df = 17.776, p = 0.07939. More digits by scipy 1.17.1's `ttest_ind`.
    #[test]
    fn the_test_is_that_of_r_and_scipy() {
        let one = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0];
        let two = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4];
        let welch = Welch::of(&one, &two).unwrap();
        assert_exact(welch.t, -1.860_813_467_486_852_6);
        assert_exact(welch.freedom, 17.776_473_516_178_488);
        assert_exact(welch.p_two_sided(), 0.079_394_140_187_358_3);
        assert_exact(welch.p_lower, 0.039_697_070_093_679_15);
        // `ttest_ind_from_stats` with 4 and 5 observations.
        let fewer = Welch::with_sizes(&one, &two, 4.0, 5.0).unwrap();
        assert_exact(fewer.t, -1.248_343_529_960_151_5);
        assert_exact(fewer.p_two_sided(), 0.252_827_860_673_330_6);
    }

    #[test]
    fn what_has_no_spread_has_no_test() {
        assert_eq!(Welch::of(&[1.0, 1.0], &[2.0, 2.0]), None);
        assert_eq!(Welch::of(&[1.0], &[2.0, 3.0]), None);
        assert_eq!(Welch::of(&[1.0, f64::NAN], &[2.0, 3.0]), None);
        assert!(Welch::of(&[1.0, 1.0], &[2.0, 3.0]).unwrap().p_lower < 0.5);
    }
}
