//! In which order the numbers of a column come: by chance, or each once.

use super::draw::Bits;

/// How a number below `count` follows from a row.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Order {
    /// Any, all alike.
    Uniform,
    /// Most near the middle: the sum of twelve uniform draws, which is close to a normal
    /// distribution whose standard deviation is a twelfth of the whole.
    Normal,
    /// Number `k` about as often as 1 / (k + 1): Zipf's law with exponent 1.
    Zipf,
    /// One after the other, a step every so many rows; from the first again after the last.
    Sequential {
        /// Rows that share a number, one after the other.
        rows: u64,
    },
    /// Each once, in an order that looks random.
    Scattered,
}

impl Order {
    /// Returns a number below `count`.
    pub(super) fn draw(self, count: u64, bits: &mut Bits, index: u64) -> u64 {
        match self {
            Order::Uniform => bits.below(count),
            Order::Normal => {
                let sum: u128 = (0..12).map(|_| u128::from(bits.next() >> 32)).sum();
                let place = (sum * u128::from(count)) / (12 << 32);
                u64::try_from(place).expect("below the count")
            }
            Order::Zipf => {
                let share = (bits.next() >> 11) as f64 / (1_u64 << 53) as f64;
                let place = ((count as f64 + 1.0).ln() * share).exp() - 1.0;
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "at least 0, and held below the count"
                )]
                let place = place as u64;
                place.min(count - 1)
            }
            Order::Sequential { rows } => index / rows % count,
            Order::Scattered => scatter(index % count, count),
        }
    }

    /// Returns the row that number `place` belongs to.
    pub(super) fn index_of(self, count: u64, place: u64) -> Option<u64> {
        match self {
            Order::Sequential { rows: 1 } => Some(place),
            Order::Scattered => Some(gather(place, count)),
            _ => None,
        }
    }

    /// Returns whether no two rows share a number, as long as there are no more rows than numbers.
    pub(super) fn is_unique(self) -> bool {
        matches!(self, Order::Sequential { rows: 1 } | Order::Scattered)
    }
}

/// A permutation of the numbers below `count`: one of the next power of two, walked until it lands
/// below. Source: Black and Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002.
fn scatter(index: u64, count: u64) -> u64 {
    let bits = width(count);
    let mut place = permute(index, bits);
    while count <= place {
        place = permute(place, bits);
    }
    place
}

fn gather(place: u64, count: u64) -> u64 {
    let bits = width(count);
    let mut index = unpermute(place, bits);
    while count <= index {
        index = unpermute(index, bits);
    }
    index
}

fn width(count: u64) -> u32 {
    (64 - (count - 1).leading_zeros()).max(2)
}

/// Odd numbers, so that multiplying by them can be undone.
const FACTORS: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9];

/// A permutation of the numbers of so many bits, at most 63: multiply and fold, twice.
pub(super) fn permute(number: u64, bits: u32) -> u64 {
    let mask = (1 << bits) - 1;
    FACTORS.iter().fold(number & mask, |number, factor| {
        let product = number.wrapping_mul(*factor) & mask;
        product ^ product >> bits.div_ceil(2)
    })
}

/// Undoes [`permute`].
pub(super) fn unpermute(number: u64, bits: u32) -> u64 {
    let mask = (1 << bits) - 1;
    FACTORS.iter().rev().fold(number & mask, |number, factor| {
        let product = number ^ number >> bits.div_ceil(2);
        product.wrapping_mul(inverse(*factor)) & mask
    })
}

/// The number that `odd` must be multiplied by for 1, mod 2^64: Newton's method doubles the right
/// bits in each step, from three.
fn inverse(odd: u64) -> u64 {
    (0..5).fold(odd, |guess, _| guess.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(guess))))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_permutation_reaches_all_and_is_undone() {
        for count in [1, 2, 3, 7, 8, 1_000, 4_096] {
            let places: BTreeSet<u64> = (0..count).map(|index| scatter(index, count)).collect();
            assert_eq!(places, (0..count).collect(), "{count}");
            assert!((0..count).all(|index| gather(scatter(index, count), count) == index));
        }
        for bits in [2, 5, 40, 56, 62, 63] {
            for number in [0, 1, (1_u64 << bits) - 1, 0x1234_5678_9abc_def0 & ((1 << bits) - 1)] {
                assert_eq!(unpermute(permute(number, bits), bits), number, "{number} {bits}");
            }
        }
    }

    /// Shares of the lowest, middle and highest tenth of 1,000 numbers in 100,000 draws.
    #[test]
    fn distributions_have_their_shapes() {
        let shares = |order: Order| {
            let mut tenths = [0_u32; 10];
            for index in 0..100_000 {
                let place = order.draw(1_000, &mut Bits::new(1, 0, index), index);
                tenths[usize::try_from(place / 100).unwrap()] += 1;
            }
            tenths.map(|count| f64::from(count) / 100_000.0)
        };
        for order in [Order::Uniform, Order::Sequential { rows: 7 }, Order::Scattered] {
            let shares = shares(order);
            assert!(shares.iter().all(|share| (share - 0.1).abs() < 0.005), "{order:?} {shares:?}");
        }
        // P(|z| < 1.2) of the standard normal distribution is 0.7699 (12 standard deviations in all).
        let normal = shares(Order::Normal);
        assert!((normal[4] + normal[5] - 0.7699).abs() < 0.01, "{normal:?}");
        // ln(101) / ln(1001) = 0.668.
        let zipf = shares(Order::Zipf);
        assert!((zipf[0] - 0.668).abs() < 0.01, "{zipf:?}");
    }
}
