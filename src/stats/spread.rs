//! How far observations lie from what they should be.

use statrs::distribution::{ChiSquared, ContinuousCDF};

/// The spread of observations whose true mean is 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Root of the mean square.
    pub deviation: f64,
    /// Upper limit of the deviation, one-sided.
    pub upper: f64,
}

impl Spread {
    /// Estimates it, with a limit that the true deviation is above with a chance of `alpha`; for
    /// normal observations. `None` without observations.
    ///
    /// The sum of squares over the true variance is χ² with as many degrees of freedom as there are
    /// observations: no mean was estimated.
    pub fn about_zero(observations: &[f64], alpha: f64) -> Option<Spread> {
        let n = observations.len() as f64;
        let distribution = ChiSquared::new(n).ok()?;
        let squares: f64 = observations.iter().map(|it| it * it).sum();
        let upper = (squares / distribution.inverse_cdf(alpha)).sqrt();
        Some(Spread { deviation: (squares / n).sqrt(), upper })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Its 10 % quantiles: Abramowitz and Stegun, table 26.8.
    #[test]
    fn the_limit_is_that_of_chi_square() {
        for (n, quantile) in [(1_u32, 0.015_790_8), (10, 4.865_18)] {
            let observations = vec![0.1; n as usize];
            let spread = Spread::about_zero(&observations, 0.1).unwrap();
            let want = (f64::from(n) * 0.01 / quantile).sqrt();
            assert!((spread.deviation - 0.1).abs() < 1e-12);
            assert!((spread.upper / want - 1.0).abs() < 1e-5, "{n}: {spread:?} {want}");
        }
        assert_eq!(Spread::about_zero(&[], 0.1), None);
    }
}
