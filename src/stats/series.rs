//! How much a series of dependent observations is worth: autocorrelation, batch means.

/// Autocorrelation times that the sum's window must hold. Sokal, "Monte Carlo methods in
/// statistical mechanics", 1996, section 3.
const WINDOW_TIMES: f64 = 5.0;

/// The autocorrelation at each lag from 0 to n - 1, all divided by n, so that late lags are drawn
/// to 0. None without any spread, or with a value that is not finite.
fn autocorrelations(series: &[f64]) -> impl Iterator<Item = f64> {
    let mean = series.iter().sum::<f64>() / series.len() as f64;
    let variance = series.iter().map(|it| (it - mean).powi(2)).sum::<f64>();
    let lags = if 0.0 < variance && variance.is_finite() { series.len() } else { 0 };
    (0..lags).map(move |lag| {
        let pairs = series.iter().zip(&series[lag..]);
        pairs.map(|(one, two)| (one - mean) * (two - mean)).sum::<f64>() / variance
    })
}

/// Observations from one independent one to the next: 1 + 2 x the sum of the autocorrelations, up
/// to the first lag of at least five such times. Below 1 for a series that swings to and fro; 1 for
/// one that has no autocorrelations.
pub fn autocorrelation_time(series: &[f64]) -> f64 {
    let mut time = None;
    for (lag, correlation) in autocorrelations(series).enumerate() {
        let sum = time.unwrap_or(-1.0) + 2.0 * correlation;
        time = Some(sum);
        if WINDOW_TIMES * sum <= lag as f64 {
            break;
        }
    }
    time.unwrap_or(1.0)
}

/// How many independent observations a series is worth, from 1 to its length (0 for none): a series
/// that swings to and fro counts for no more than it has.
pub fn effective_size(series: &[f64]) -> f64 {
    let n = series.len() as f64;
    (n / autocorrelation_time(series).max(1.0)).max(n.min(1.0))
}

/// The means of consecutive batches of `size` observations; what is left over at the end is not
/// used. Batches that are long against the autocorrelation time are nearly independent.
pub fn batch_means(series: &[f64], size: usize) -> Vec<f64> {
    assert!(0 < size, "a batch holds an observation at least");
    series.chunks_exact(size).map(|batch| batch.iter().sum::<f64>() / size as f64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::reference::{assert_exact, logistic};

    /// x(i) = 0.7 x(i - 1) + noise.
    fn sluggish(n: usize) -> Vec<f64> {
        let mut last = 0.0;
        let mut next = |noise: &f64| {
            last = 0.7 * last + noise;
            last
        };
        logistic(n, 9).iter().map(&mut next).collect()
    }

    /// emcee 3.1.6: autocorr.function_1d, and autocorr.integrated_time with c = 5, tol = 0.
    #[test]
    fn the_autocorrelation_time_is_that_of_emcee() {
        let series = sluggish(400);
        let want = [1.0, 0.675_511_430_995_484_6, 0.439_122_743_567_74, 0.293_970_562_343_587];
        for (got, want) in autocorrelations(&series).zip(want) {
            assert_exact(got, want);
        }
        assert!((autocorrelation_time(&series) - 7.872_849_62).abs() < 1e-8);
        assert_exact(effective_size(&series), 400.0 / autocorrelation_time(&series));
    }

    /// By theory the time is (1 + 0.7) / (1 - 0.7) = 5.67.
    #[test]
    fn a_sluggish_series_is_worth_less_than_a_fifth() {
        let size = effective_size(&sluggish(20_000));
        assert!((size / 20_000.0 - 3.0 / 17.0).abs() < 0.02, "{size}");
        let independent = effective_size(&logistic(20_000, 9));
        assert!(19_000.0 < independent, "{independent}");
    }

    #[test]
    fn a_series_without_spread_or_with_nonsense_has_an_answer() {
        assert_exact(effective_size(&[]), 0.0);
        assert_exact(effective_size(&[3.0]), 1.0);
        assert_exact(effective_size(&[3.0; 9]), 9.0);
        assert_exact(effective_size(&[3.0, f64::NAN, 1.0]), 3.0);
        let to_and_fro: Vec<f64> = (0..20).map(|it| f64::from(it % 2)).collect();
        assert_exact(effective_size(&to_and_fro), 20.0);
    }

    #[test]
    fn batches_leave_out_the_rest() {
        assert_eq!(batch_means(&[1.0, 3.0, 5.0, 7.0, 100.0], 2), [2.0, 6.0]);
        assert!(batch_means(&[1.0], 2).is_empty());
    }
}
