//! Mann and Whitney's test (Wilcoxon's rank sum): whether one sample lies lower than another.

use super::{index, normal_below};

/// Product of the sample sizes up to which the distribution is exact. Its cost grows with the
/// square: 2,500 take some milliseconds.
const EXACT_MAX: usize = 2_500;

/// What the ranks of two samples say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RankSum {
    /// Pairs (one of a, one of b) in which a is larger; a tie counts half.
    pub u: f64,
    /// Probability of such a `u` or a lower one if both samples come from one distribution.
    pub p_lower: f64,
    /// Probability of such a `u` or a higher one.
    pub p_higher: f64,
    /// Whether the probabilities are exact; else normal, corrected for ties and continuity.
    pub is_exact: bool,
}

impl RankSum {
    /// Compares `a` with `b`; `None` if one is empty or has a NaN. It asks for independent
    /// observations; neighbouring windows of one run are none.
    pub fn of(a: &[f64], b: &[f64]) -> Option<RankSum> {
        if a.is_empty() || b.is_empty() || a.iter().chain(b).any(|it| it.is_nan()) {
            return None;
        }
        let mut all: Vec<(f64, bool)> = a.iter().map(|it| (*it, true)).collect();
        all.extend(b.iter().map(|it| (*it, false)));
        all.sort_by(|one, two| one.0.total_cmp(&two.0));
        let (mut rank_sum, mut ties, mut start) = (0.0, 0.0, 0);
        for group in all.chunk_by(|one, two| one.0 >= two.0) {
            let size = group.len() as f64;
            let rank = start as f64 + (size + 1.0) / 2.0;
            rank_sum += rank * group.iter().filter(|(_, is_a)| *is_a).count() as f64;
            ties += size.powi(3) - size;
            start += group.len();
        }
        let u = rank_sum - (a.len() * (a.len() + 1)) as f64 / 2.0;
        Some(if ties < 0.5 && a.len() * b.len() <= EXACT_MAX {
            RankSum::exact(u, a.len(), b.len())
        } else {
            RankSum::normal(u, a.len() as f64, b.len() as f64, ties)
        })
    }

    /// The smaller side, doubled.
    pub fn p_two_sided(&self) -> f64 {
        (2.0 * self.p_lower.min(self.p_higher)).min(1.0)
    }

    fn exact(u: f64, a: usize, b: usize) -> RankSum {
        let probabilities = exact(a, b);
        // Without ties `u` is a whole number.
        let at = index(u.round());
        RankSum {
            u,
            p_lower: probabilities[..=at].iter().sum::<f64>().min(1.0),
            p_higher: probabilities[at..].iter().sum::<f64>().min(1.0),
            is_exact: true,
        }
    }

    fn normal(u: f64, a: f64, b: f64, ties: f64) -> RankSum {
        let n = a + b;
        let variance = a * b / 12.0 * (n + 1.0 - ties / (n * (n - 1.0)));
        let beyond = |distance: f64| {
            // Where all observations are equal, every order of them is as likely as this one.
            if variance <= 0.0 { 1.0 } else { normal_below((distance + 0.5) / variance.sqrt()) }
        };
        let mean = a * b / 2.0;
        RankSum { u, p_lower: beyond(u - mean), p_higher: beyond(mean - u), is_exact: false }
    }
}

/// The probability of each `u` from 0 to `a * b`: the largest observation is one of `a`, and then it
/// is above all of `b`, or one of `b`. Mann and Whitney, 1947, equation 1.
fn exact(a: usize, b: usize) -> Vec<f64> {
    // Of `i` observations with 0 to `b` others.
    let mut rows: Vec<Vec<f64>> = vec![vec![1.0]; b + 1];
    for i in 1..=a {
        rows[0] = vec![1.0];
        for j in 1..=b {
            let (share, mut row) = (i as f64 / (i + j) as f64, vec![0.0; i * j + 1]);
            // `rows[j]` still is of i - 1 observations, `rows[j - 1]` already of i.
            for (u, probability) in rows[j].iter().enumerate() {
                row[u + j] += share * probability;
            }
            for (u, probability) in rows[j - 1].iter().enumerate() {
                row[u] += (1.0 - share) * probability;
            }
            rows[j] = row;
        }
    }
    rows.pop().expect("a row for b, and one for 0")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::reference::{assert_exact, uniform};

    /// Permeability at term and before, Hollander and Wolfe, table 4.1; R's `wilcox.test` prints
    /// W = 35, p = 0.1272 in its example. More digits by scipy 1.17.1's `stats.mannwhitneyu`.
    #[test]
    fn exact_probabilities_are_those_of_r_and_scipy() {
        let term = [0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46];
        let before = [1.15, 0.88, 0.90, 0.74, 1.21];
        let ranks = RankSum::of(&term, &before).unwrap();
        assert!(ranks.is_exact);
        assert_exact(ranks.u, 35.0);
        assert_exact(ranks.p_lower, 0.896_769_896_769_896_7);
        assert_exact(ranks.p_higher, 0.127_206_127_206_127_2);
        assert_exact(ranks.p_two_sided(), 0.254_412_254_412_254_4);
        let numbers = uniform(70, 7);
        let shifted: Vec<f64> = numbers[40..].iter().map(|it| it + 0.2).collect();
        let ranks = RankSum::of(&numbers[..40], &shifted).unwrap();
        assert!(ranks.is_exact);
        assert_exact(ranks.u, 464.0);
        assert_exact(ranks.p_lower, 0.054_073_384_743_282_69);
        assert_exact(ranks.p_higher, 0.947_230_712_668_712_5);
    }

    /// scipy 1.17.1, `method="asymptotic"`.
    #[test]
    fn ties_are_corrected_as_scipy_does() {
        let (a, b) = ([1.0, 2.0, 2.0, 3.0, 3.0, 3.0, 4.0], [2.0, 3.0, 4.0, 4.0, 5.0]);
        let ranks = RankSum::of(&a, &b).unwrap();
        assert!(!ranks.is_exact);
        assert_exact(ranks.u, 8.5);
        assert_exact(ranks.p_lower, 0.076_934_197_356_064_92);
        assert_exact(ranks.p_higher, 0.944_505_604_462_020_1);
        assert_exact(ranks.p_two_sided(), 0.153_868_394_712_129_85);
    }

    #[test]
    fn equal_and_missing_observations_have_an_answer() {
        assert_exact(RankSum::of(&[2.0; 4], &[2.0; 3]).unwrap().p_two_sided(), 1.0);
        assert_exact(RankSum::of(&[2.0], &[2.0]).unwrap().p_lower, 1.0);
        assert_exact(RankSum::of(&[1.0], &[2.0]).unwrap().p_lower, 0.5);
        assert_eq!(RankSum::of(&[], &[2.0]), None);
        assert_eq!(RankSum::of(&[1.0, f64::NAN], &[2.0]), None);
        assert_exact(RankSum::of(&[f64::NEG_INFINITY], &[f64::INFINITY]).unwrap().u, 0.0);
    }
}
