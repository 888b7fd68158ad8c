//! Ranges of row indexes, and sets of them that stay small while ranges join up.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A half-open range of row indexes, `start..end`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct RowRange {
    /// The first index.
    pub start: u64,
    /// One past the last index.
    pub end: u64,
}

impl RowRange {
    /// Returns how many rows the range holds.
    pub fn row_count(self) -> u64 {
        self.end - self.start
    }

    /// Returns whether the range holds `index`.
    pub fn contains(self, index: u64) -> bool {
        self.start <= index && index < self.end
    }
}

/// A set of row indexes, kept as ranges: its size is the number of holes, not of rows.
///
/// Invariant: ranges are disjoint, not empty, and never touch.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RowSet {
    ends: BTreeMap<u64, u64>,
}

impl RowSet {
    /// Adds `range`. It must not overlap what is there: a row is confirmed once.
    pub fn insert(&mut self, range: RowRange) {
        if range.start == range.end {
            return;
        }
        let mut merged = range;
        if let Some((&start, &end)) = self.ends.range(..=range.start).next_back() {
            assert!(end <= range.start, "rows {range:?} are in the set already");
            if end == range.start {
                merged.start = start;
            }
        }
        if let Some((&start, &end)) = self.ends.range(range.start..).next() {
            assert!(range.end <= start, "rows {range:?} are in the set already");
            if start == range.end {
                merged.end = end;
                self.ends.remove(&start);
            }
        }
        self.ends.insert(merged.start, merged.end);
    }

    /// Adds every range of `other`.
    pub fn extend(&mut self, other: &RowSet) {
        other.ranges().for_each(|range| self.insert(range));
    }

    /// Returns the ranges, in order.
    pub fn ranges(&self) -> impl Iterator<Item = RowRange> + '_ {
        self.ends.iter().map(|(&start, &end)| RowRange { start, end })
    }

    /// Returns how many rows the set holds.
    pub fn row_count(&self) -> u64 {
        self.ranges().map(RowRange::row_count).sum()
    }

    /// Returns whether the set holds `index`.
    pub fn contains(&self, index: u64) -> bool {
        self.ends.range(..=index).next_back().is_some_and(|(_, &end)| index < end)
    }

    /// Returns whether the set holds no row.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Returns one past the largest index, or 0.
    pub fn end(&self) -> u64 {
        self.ends.last_key_value().map_or(0, |(_, &end)| end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_join_in_any_order() {
        let orders = [[0, 1, 2, 3], [3, 2, 1, 0], [0, 2, 1, 3], [2, 0, 3, 1]];
        for order in orders {
            let mut set = RowSet::default();
            for part in order {
                set.insert(RowRange { start: part * 10, end: part * 10 + 10 });
            }
            assert_eq!(set.ranges().collect::<Vec<_>>(), [RowRange { start: 0, end: 40 }]);
        }
    }

    #[test]
    fn holes_stay_holes() {
        let mut set = RowSet::default();
        set.insert(RowRange { start: 0, end: 5 });
        set.insert(RowRange { start: 7, end: 9 });
        assert_eq!((set.row_count(), set.end()), (7, 9));
        assert!(set.contains(4) && !set.contains(5) && !set.contains(6) && set.contains(7));
    }

    #[test]
    #[should_panic(expected = "in the set already")]
    fn a_row_confirmed_twice_is_a_bug() {
        let mut set = RowSet::default();
        set.insert(RowRange { start: 0, end: 5 });
        set.insert(RowRange { start: 4, end: 6 });
    }
}
