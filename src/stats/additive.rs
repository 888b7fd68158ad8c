//! Effects of rows in a two-way table of which many cells are empty.

use std::collections::BTreeMap;

use super::robust_deviation;

/// Rounds of backfitting: what is left of an error after each is at most the share of a row's
/// observations that it has to itself, and tables here have a few dozen.
const ROUNDS: usize = 200;

/// Deviations within which a value counts in full: the usual ones, which lose 5 % of what normal values
/// tell.
const FULL_WITHIN: f64 = 1.345;
/// So close a value counts in full however close others are: of values without noise the median
/// deviation is what rounding left.
const CLOSE: f64 = 0.01;

/// Fits `value = row + column` to (row, column, value), and returns the effects of the rows, up to a
/// number that is the same for all: what a column does to all of its values is no merit of a row. Rows
/// that no chain of shared columns connects are not compared by it. Values that lie far off count less
/// the farther they are; they are logarithms, or in other units of which a hundredth is little.
///
/// Source: Friedman and Stuetzle, "Projection pursuit regression", JASA 76, 1981 (backfitting); Huber,
/// "Robust estimation of a location parameter", Annals of Mathematical Statistics 35, 1964 (weights).
pub fn additive(observations: &[(usize, u32, f64)]) -> BTreeMap<usize, f64> {
    let mut rows: BTreeMap<usize, f64> = BTreeMap::new();
    let mut weights = vec![1.0; observations.len()];
    for _ in 0..ROUNDS {
        let weighed = || observations.iter().zip(&weights);
        let of_columns =
            weighed().map(|(it, weight)| (it.1, it.2 - rows.get(&it.0).unwrap_or(&0.0), *weight));
        let columns = means(of_columns);
        rows = means(weighed().map(|(it, weight)| (it.0, it.2 - columns[&it.1], *weight)));
        let off = observations.iter().map(|it| (it.2 - columns[&it.1] - rows[&it.0]).abs());
        let off: Vec<f64> = off.collect();
        let in_full = CLOSE.max(FULL_WITHIN * robust_deviation(&off));
        let weight = |off: &f64| if *off <= in_full { 1.0 } else { in_full / off };
        weights = off.iter().map(weight).collect();
    }
    rows
}

/// Weighted means.
fn means<K: Ord>(values: impl Iterator<Item = (K, f64, f64)>) -> BTreeMap<K, f64> {
    let mut sums: BTreeMap<K, (f64, f64)> = BTreeMap::new();
    for (key, value, weight) in values {
        let (sum, weights) = sums.entry(key).or_default();
        *sum += weight * value;
        *weights += weight;
    }
    sums.into_iter().map(|(key, (sum, weights))| (key, sum / weights)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_column_does_is_no_merit_of_a_row() {
        // Row 0 in three good columns, row 1 in all, row 2 in three bad ones, of which it is the best.
        let mood = [0.0, 0.1, 0.0, -1.0, -1.1, -1.0];
        let merit = [0.0, 0.2, 0.5];
        let is_there = |row: usize, column: usize| match row {
            0 => column < 3,
            1 => true,
            _ => 3 <= column,
        };
        let places = (0..3).flat_map(|row| (0..6).map(move |column| (row, column)));
        let observations: Vec<(usize, u32, f64)> = places
            .filter(|(row, column)| is_there(*row, *column))
            .map(|(row, column)| (row, u32::try_from(column).unwrap(), merit[row] + mood[column]))
            .collect();
        let effects = additive(&observations);
        for row in 1..3 {
            let over_first = effects[&row] - effects[&0];
            assert!((over_first - merit[row]).abs() < 1e-6, "{effects:?}");
        }
        assert!(additive(&[]).is_empty());
    }

    /// One block in which the machine slept once cost a setting its place.
    #[test]
    fn one_value_far_off_does_not_move_a_row() {
        let noise = |place: u32| 0.01 * (f64::from(place * 7 % 5) - 2.0);
        let values = |far_off: f64| -> Vec<(usize, u32, f64)> {
            let place = |row: u32, column: u32| {
                let off = if (row, column) == (1, 2) { far_off } else { 0.0 };
                (row as usize, column, 0.05 * f64::from(row) + noise(3 * row + column) + off)
            };
            (0..5).flat_map(|row| (0..3).map(move |column| place(row, column))).collect()
        };
        let (calm, disturbed) = (additive(&values(0.0)), additive(&values(-0.7)));
        for row in 0..5 {
            let moved = (disturbed[&row] - disturbed[&0]) - (calm[&row] - calm[&0]);
            assert!(moved.abs() < 0.02, "row {row}: {moved}");
        }
    }
}
