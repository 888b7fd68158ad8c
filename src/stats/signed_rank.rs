//! The Hodges–Lehmann estimate of a shift, with limits from Wilcoxon's signed-rank distribution.
//!
//! The estimate is the median of all averages of two observations (Walsh averages, an observation
//! with itself included), a limit one of those averages. It asks for independent observations that
//! lie symmetrically about the shift, and for nothing else: one stalled block among fifteen moves a
//! mean at will, and this hardly. Hodges and Lehmann, "Estimates of location based on rank tests",
//! 1963; Hollander, Wolfe and Chicken, "Nonparametric statistical methods", 3rd edition, 3.1 to 3.3.

use super::{index, normal_quantile};

/// Observations up to which the distribution is exact. Its cost grows with the cube: 200 take some
/// milliseconds.
const EXACT_MAX: usize = 200;

/// Observations, ready for an estimate and for limits at any level.
#[derive(Clone, Debug, PartialEq)]
pub struct SignedRank {
    n: usize,
    /// Sorted. Never empty.
    averages: Vec<f64>,
    null: Null,
}

/// How the rank sum falls when the shift is 0.
#[derive(Clone, Debug, PartialEq)]
enum Null {
    /// Probability of each sum up to the middle; the other half mirrors it.
    Exact(Vec<f64>),
    Normal,
}

impl SignedRank {
    /// Takes observations, in memory of half their number squared. `None` for none, or if one is
    /// not finite. Zeros and ties stay in: limits then lie as far out as they must, or further.
    pub fn of(observations: &[f64]) -> Option<SignedRank> {
        if observations.is_empty() || observations.iter().any(|it| !it.is_finite()) {
            return None;
        }
        let n = observations.len();
        let mut averages = Vec::with_capacity(n * (n + 1) / 2);
        for (index, one) in observations.iter().enumerate() {
            averages.extend(observations[index..].iter().map(|two| f64::midpoint(*one, *two)));
        }
        averages.sort_by(f64::total_cmp);
        let null = if n <= EXACT_MAX { Null::Exact(exact(n)) } else { Null::Normal };
        Some(SignedRank { n, averages, null })
    }

    /// Observations.
    pub fn n(&self) -> usize {
        self.n
    }

    /// The Hodges–Lehmann estimate.
    pub fn estimate(&self) -> f64 {
        let count = self.averages.len();
        f64::midpoint(self.averages[(count - 1) / 2], self.averages[count / 2])
    }

    /// The lower limit at a one-sided level: the shift is below it with probability `alpha` at most,
    /// 0 < `alpha` < 0.5. `None` if so few observations have no limit at that level.
    pub fn lower(&self, alpha: f64) -> Option<f64> {
        Some(self.averages[self.rank(alpha)? - 1])
    }

    /// The upper limit; see [`SignedRank::lower`].
    pub fn upper(&self, alpha: f64) -> Option<f64> {
        Some(self.averages[self.averages.len() - self.rank(alpha)?])
    }

    /// The largest rank `k` with P(rank sum < k) <= alpha.
    fn rank(&self, alpha: f64) -> Option<usize> {
        assert!(0.0 < alpha && alpha < 0.5, "{alpha} is not a one-sided level");
        let mut below = 0.0;
        let rank = match &self.null {
            Null::Exact(probabilities) => probabilities
                .iter()
                .take_while(|probability| {
                    below += **probability;
                    below <= alpha
                })
                .count(),
            Null::Normal => {
                let n = self.n as f64;
                let mean = n * (n + 1.0) / 4.0;
                let deviation = (n * (n + 1.0) * (2.0 * n + 1.0) / 24.0).sqrt();
                // A sum below k is one of at most k - 1: half a step above that, for continuity.
                index(mean + 0.5 + deviation * normal_quantile(alpha))
            }
        };
        (0 < rank).then_some(rank)
    }
}

/// The probability of each sum from 0 to the middle when each of the ranks 1 to `n` counts with
/// probability a half.
fn exact(n: usize) -> Vec<f64> {
    let middle = n * (n + 1) / 4;
    let mut probabilities = vec![0.0; middle + 1];
    probabilities[0] = 1.0;
    for rank in 1..=n {
        for sum in (0..=middle).rev() {
            let with = if rank <= sum { probabilities[sum - rank] } else { 0.0 };
            probabilities[sum] = 0.5 * (probabilities[sum] + with);
        }
    }
    probabilities
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::reference::{assert_exact, logistic};

    /// Hamilton's depression scale before and after, Hollander and Wolfe, table 3.1; the example of
    /// R's `wilcox.test`.
    const DEPRESSION: [f64; 9] = [
        1.83 - 0.878,
        0.50 - 0.647,
        1.62 - 0.598,
        2.48 - 2.05,
        1.68 - 1.06,
        1.88 - 1.29,
        1.55 - 1.06,
        -0.08,
        1.30 - 1.29,
    ];

    #[track_caller]
    fn check(observations: &[f64], estimate: f64, limits: &[(f64, f64, f64)]) {
        let ranks = SignedRank::of(observations).unwrap();
        assert_exact(ranks.estimate(), estimate);
        for (alpha, low, high) in limits {
            assert_exact(ranks.lower(*alpha).unwrap(), *low);
            assert_exact(ranks.upper(*alpha).unwrap(), *high);
        }
    }

    /// Limits by inverting scipy 1.17.1's `stats.wilcoxon(d - shift, method="exact")`: the shifts
    /// between two Walsh averages at which p passes `alpha`.
    #[test]
    fn exact_limits_are_those_of_scipy() {
        let limits = [(0.025, 0.01, 0.786), (0.05, 0.175, 0.726), (0.005, -0.1135, 0.987)];
        check(&DEPRESSION, 0.46, &limits);
        let shifted =
            |n, seed| -> Vec<f64> { logistic(n, seed).iter().map(|it| 0.05 * it - 0.03).collect() };
        let limits = [
            (0.0005, -0.118_046_027_343_486_36, 0.071_574_677_009_201_88),
            (0.001, -0.113_719_500_700_978_29, 0.060_877_457_184_313_39),
            (0.025, -0.089_931_636_263_725_52, 0.011_675_299_723_413_35),
        ];
        check(&shifted(15, 1), -0.055_878_787_047_814_335, &limits);
        let limits = [
            (0.0015, -0.097_013_375_127_103_4, 0.025_802_922_786_005_766),
            (0.003, -0.092_124_234_112_415_05, 0.021_290_470_798_768_76),
            (0.025, -0.066_680_896_755_902_25, 0.005_102_566_618_820_373),
        ];
        check(&shifted(30, 2), -0.030_223_769_136_467_113, &limits);
        let limits = [
            (0.003, -0.075_264_985_177_356_6, -0.007_282_642_540_923_326),
            (0.006, -0.072_326_060_524_820_85, -0.010_702_157_192_046_768),
            (0.025, -0.063_748_077_495_959_48, -0.016_387_502_349_955_868),
        ];
        check(&shifted(60, 3), -0.039_333_847_363_697_32, &limits);
    }

    /// The same with `method="approx", correction=True`.
    #[test]
    fn normal_limits_are_those_of_scipy() {
        let many: Vec<f64> = logistic(250, 4).iter().map(|it| 0.05 * it - 0.03).collect();
        let limits = [
            (0.001, -0.053_120_089_851_952_63, -0.019_838_227_450_630_505),
            (0.025, -0.046_769_620_707_033_05, -0.025_863_797_101_281_262),
        ];
        check(&many, -0.036_201_965_172_695_11, &limits);
    }

    /// 2^-n is the rarest that n signs can be.
    #[test]
    fn few_observations_have_no_limit_at_a_strict_level() {
        let nine = SignedRank::of(&[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]).unwrap();
        assert_eq!((nine.upper(0.001), nine.lower(0.001)), (None, None));
        assert_eq!(nine.upper(1.0 / 512.0), Some(0.9));
        assert_eq!(SignedRank::of(&[0.1; 4]).unwrap().lower(0.025), None);
    }

    #[test]
    fn equal_observations_have_their_value_for_limits() {
        for value in [0.0, -0.1] {
            let same = SignedRank::of(&[value; 15]).unwrap();
            let got = (same.estimate(), same.lower(0.001), same.upper(0.001), same.n());
            assert_eq!(got, (value, Some(value), Some(value), 15));
        }
    }

    #[test]
    fn what_is_no_number_has_no_estimate() {
        assert_eq!(SignedRank::of(&[]), None);
        assert_eq!(SignedRank::of(&[0.1, f64::NAN]), None);
        assert_eq!(SignedRank::of(&[0.1, f64::NEG_INFINITY]), None);
    }

    /// Turning the signs mirrors all; order means nothing.
    #[test]
    fn limits_mirror_and_ignore_order() {
        let some = logistic(20, 12);
        let mirrored: Vec<f64> = some.iter().rev().map(|it| -it).collect();
        let (ranks, mirrored) =
            (SignedRank::of(&some).unwrap(), SignedRank::of(&mirrored).unwrap());
        assert_exact(ranks.estimate(), -mirrored.estimate());
        assert_exact(ranks.upper(0.01).unwrap(), -mirrored.lower(0.01).unwrap());
    }

    /// Where the exact distribution ends, the normal one differs by a rank of 20,000 at most.
    #[test]
    fn exact_and_normal_meet() {
        let some = logistic(EXACT_MAX, 3);
        let exact = SignedRank::of(&some).unwrap();
        let normal = SignedRank { null: Null::Normal, ..exact.clone() };
        for alpha in [0.001, 0.025] {
            let (one, two) = (exact.rank(alpha).unwrap(), normal.rank(alpha).unwrap());
            assert!(one.abs_diff(two) <= one / 100, "{alpha}: {one} and {two}");
        }
    }
}
