//! Effects of rows in a two-way table of which many cells are empty.

use std::collections::BTreeMap;

/// Rounds of backfitting: what is left of an error after each is at most the share of a row's
/// observations that it has to itself, and tables here have a few dozen.
const ROUNDS: usize = 200;

/// Fits `value = row + column` by least squares to (row, column, value), and returns the effects of the
/// rows, up to a number that is the same for all: what a column does to all of its values is no merit
/// of a row. Rows that no chain of shared columns connects are not compared by it.
///
/// Source: Friedman and Stuetzle, "Projection pursuit regression", JASA 76, 1981 (backfitting).
pub fn additive(observations: &[(usize, u32, f64)]) -> BTreeMap<usize, f64> {
    let mut rows: BTreeMap<usize, f64> = BTreeMap::new();
    for _ in 0..ROUNDS {
        let of_columns =
            observations.iter().map(|it| (it.1, it.2 - rows.get(&it.0).unwrap_or(&0.0)));
        let columns = means(of_columns);
        rows = means(observations.iter().map(|it| (it.0, it.2 - columns[&it.1])));
    }
    rows
}

fn means<K: Ord>(values: impl Iterator<Item = (K, f64)>) -> BTreeMap<K, f64> {
    let mut sums: BTreeMap<K, (f64, f64)> = BTreeMap::new();
    for (key, value) in values {
        let (sum, n) = sums.entry(key).or_default();
        *sum += value;
        *n += 1.0;
    }
    sums.into_iter().map(|(key, (sum, n))| (key, sum / n)).collect()
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
}
