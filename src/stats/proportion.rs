//! The interval of a share that was counted.

use statrs::distribution::{Beta, ContinuousCDF};

/// Clopper and Pearson's limits of a probability after `count` of `n`, each wrong with probability
/// `alpha` at most: "The use of confidence or fiducial limits", 1934. From 0 to 1 if `n` is 0.
pub fn share_limits(count: u64, n: u64, alpha: f64) -> (f64, f64) {
    assert!(count <= n, "{count} of {n}");
    let (hits, misses) = (count as f64, (n - count) as f64);
    let low = if count == 0 { 0.0 } else { quantile(hits, misses + 1.0, alpha) };
    let high = if count == n { 1.0 } else { quantile(hits + 1.0, misses, 1.0 - alpha) };
    (low, high)
}

/// By halving: statrs' own inverse ends with nine digits of a small share.
fn quantile(a: f64, b: f64, level: f64) -> f64 {
    let beta = Beta::new(a, b).expect("both are positive");
    let (mut low, mut high) = (0.0, 1.0);
    loop {
        let middle = f64::midpoint(low, high);
        // Two neighbouring numbers have no third between them.
        if middle <= low || high <= middle {
            return middle;
        }
        if beta.cdf(middle) < level { low = middle } else { high = middle }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::reference::assert_exact;

    /// scipy 1.17.1: `stats.binomtest(count, n).proportion_ci(0.95)`.
    #[test]
    fn limits_are_those_of_scipy() {
        let cases = [
            (0, 3_000, 0.0, 0.001_228_870_803_825_501_1),
            (3, 20_000, 3.093_467_444_516_009e-5, 0.000_438_300_453_418_137_86),
            (17, 20, 0.621_073_173_454_704_4, 0.967_929_062_814_452_4),
            (20, 20, 0.831_566_529_016_914_5, 1.0),
            (850, 1_000, 0.826_341_871_432_934_9, 0.871_575_188_883_797_9),
        ];
        for (count, n, low, high) in cases {
            let limits = share_limits(count, n, 0.025);
            assert_exact(limits.0, low);
            assert_exact(limits.1, high);
        }
    }

    /// None in 3,000 says 0.1 % at most: the rule of three.
    #[test]
    fn nothing_seen_is_bounded_by_the_rule_of_three() {
        assert_exact(share_limits(0, 3_000, 0.05).1, 0.000_998_079_011_996_619_2);
        assert_eq!(share_limits(0, 0, 0.05), (0.0, 1.0));
    }
}
