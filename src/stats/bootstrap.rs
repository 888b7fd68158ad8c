//! The block bootstrap: how far a statistic of a dependent series may lie from the truth.

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::index;

/// How the series is drawn again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Resampling {
    /// Neighbours that are drawn together. Larger keeps more of the dependence, and leaves fewer
    /// different blocks; some autocorrelation times do. 1 is the bootstrap of independent values.
    pub block: usize,
    /// How many series are drawn. 1,000 give the middle 95 % to about 1 % of their width.
    pub resamples: usize,
    /// The same seed draws the same series.
    pub seed: u64,
}

/// The statistic of each series that was drawn, sorted. Blocks start anywhere, and go on from the
/// end to the beginning, so that all observations are drawn equally often. Politis and Romano, "A
/// circular block-resampling procedure for stationary data", 1992. Empty for an empty series.
pub fn bootstrap(
    series: &[f64],
    resampling: Resampling,
    statistic: impl Fn(&[f64]) -> f64,
) -> Vec<f64> {
    assert!(0 < resampling.block, "a block holds an observation at least");
    if series.is_empty() {
        return Vec::new();
    }
    let mut random = Pcg64Mcg::seed_from_u64(resampling.seed);
    let mut drawn = Vec::with_capacity(series.len() + resampling.block);
    let mut draw = || {
        drawn.clear();
        while drawn.len() < series.len() {
            let start = random.random_range(0..series.len());
            drawn.extend((start..start + resampling.block).map(|at| series[at % series.len()]));
        }
        statistic(&drawn[..series.len()])
    };
    let mut statistics: Vec<f64> = (0..resampling.resamples).map(|_| draw()).collect();
    statistics.sort_by(f64::total_cmp);
    statistics
}

/// The interval that leaves out the share `alpha` at either end: the percentile interval. With
/// fewer than some 30 blocks it is too narrow. `None` for no statistic or a NaN among them.
pub fn percentile_interval(sorted: &[f64], alpha: f64) -> Option<(f64, f64)> {
    // Sorted by total order: a NaN is first or last.
    if sorted.first()?.is_nan() || sorted.last()?.is_nan() {
        return None;
    }
    let last = sorted.len() - 1;
    let low = index(alpha * last as f64);
    Some((sorted[low], sorted[last - low]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::reference::{assert_exact, logistic};

    fn mean(values: &[f64]) -> f64 {
        values.iter().sum::<f64>() / values.len() as f64
    }

    /// The variance of the mean of drawn series has a closed form: that of a block's mean, over the
    /// number of blocks.
    #[test]
    fn the_mean_varies_as_theory_says() {
        let series = logistic(60, 2);
        for block in [1, 5, 12] {
            let resampling = Resampling { block, resamples: 20_000, seed: 3 };
            let means = bootstrap(&series, resampling, mean);
            let squares = means.iter().map(|it| (it - mean(&series)).powi(2)).sum::<f64>();
            let of_block = |start: usize| {
                let sum: f64 = (start..start + block).map(|at| series[at % 60]).sum();
                (sum / block as f64 - mean(&series)).powi(2)
            };
            let theory = (0..60).map(of_block).sum::<f64>() / 60.0 * block as f64 / 60.0;
            let ratio = squares / 20_000.0 / theory;
            assert!((ratio - 1.0).abs() < 0.04, "block {block}: {ratio}");
        }
    }

    #[test]
    fn one_block_of_all_changes_no_mean() {
        let series = logistic(30, 2);
        let means = bootstrap(&series, Resampling { block: 30, resamples: 50, seed: 1 }, mean);
        assert!(means.iter().all(|it| (it - mean(&series)).abs() < 1e-12), "{means:?}");
    }

    #[test]
    fn a_seed_repeats_and_nothing_has_no_interval() {
        let series = logistic(30, 2);
        let draw = |seed| bootstrap(&series, Resampling { block: 3, resamples: 9, seed }, mean);
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert_eq!(percentile_interval(&bootstrap(&[], RESAMPLING, mean), 0.025), None);
        let nonsense = bootstrap(&[1.0, f64::NAN], RESAMPLING, mean);
        assert_eq!(percentile_interval(&nonsense, 0.025), None);
    }

    const RESAMPLING: Resampling = Resampling { block: 1, resamples: 20, seed: 1 };

    #[test]
    fn the_interval_leaves_out_both_ends() {
        let sorted: Vec<f64> = (0..=1_000).map(f64::from).collect();
        let (low, high) = percentile_interval(&sorted, 0.025).unwrap();
        assert_exact(low, 25.0);
        assert_exact(high, 975.0);
        assert_eq!(percentile_interval(&[7.0], 0.025), Some((7.0, 7.0)));
    }
}
