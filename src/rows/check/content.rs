//! Rows without a key: the multiset of whole rows is compared.

use std::collections::BTreeMap;

use super::{Finding, RowFields, Task, Verification, indexes};

/// Rows that match nothing, and of which a copy is kept, to pair them with rows that are missing.
const STRANGERS_MAX: usize = 1_000;

/// Compares multisets of rows by 128-bit hashes.
///
/// The first pass holds a count and the sum of the hashes. Two different multisets of one size have
/// one sum with a chance of about 2^-128, unless somebody looks for such rows; who can write to the
/// table can do worse. The second pass holds 48 bytes for each row expected.
#[derive(Debug)]
pub(super) struct Content {
    task: Task,
    /// Rows that were not yet found, by hash; only in the second pass.
    open: Option<BTreeMap<u128, Open>>,
    duplicate: Finding,
    /// Rows that match nothing: how many, and the first of them.
    strangers_count: u64,
    strangers: Vec<Vec<Option<Vec<u8>>>>,
    in_doubt_present: u64,
}

/// Rows of one content.
#[derive(Debug)]
struct Open {
    /// The first of them.
    first: u64,
    expected: u64,
    in_doubt: u64,
}

impl Content {
    pub(super) fn new(mut task: Task) -> Content {
        let open = (!task.in_doubt.is_empty()).then(|| open(&mut task));
        Content {
            task,
            open,
            duplicate: Finding::default(),
            strangers_count: 0,
            strangers: Vec::new(),
            in_doubt_present: 0,
        }
    }

    pub(super) fn again(self) -> Content {
        let mut task = self.task.again();
        let open = Some(open(&mut task));
        Content { open, ..Content::new(task) }
    }

    pub(super) fn row(&mut self, fields: &RowFields<'_>) {
        let hash = self.task.take_in(fields);
        let Some(open) = &mut self.open else { return };
        match open.get_mut(&hash) {
            Some(rows) if 0 < rows.expected => rows.expected -= 1,
            Some(rows) if 0 < rows.in_doubt => {
                rows.in_doubt -= 1;
                self.in_doubt_present += 1;
            }
            Some(rows) => self.duplicate.add(|| format!("row {}", rows.first)),
            None => {
                self.strangers_count += 1;
                if self.strangers.len() < STRANGERS_MAX {
                    let copy = fields.iter().map(|field| field.map(<[u8]>::to_vec));
                    self.strangers.push(copy.collect());
                }
            }
        }
    }

    pub(super) fn needs_second_pass(&mut self) -> bool {
        self.open.is_none()
            && (self.task.rows_found != self.task.expected.row_count()
                || self.task.content_sum != self.task.expected_sum())
    }

    pub(super) fn finish(mut self) -> Verification {
        let mut verification =
            Verification { duplicate: self.duplicate, ..self.task.verification() };
        let Some(open) = self.open else { return verification };
        verification.in_doubt_present = self.in_doubt_present;
        verification.in_doubt_absent = self.task.in_doubt.row_count() - self.in_doubt_present;
        let missing_count: u64 = open.values().map(|rows| rows.expected).sum();
        let mut missing: Vec<u64> =
            open.values().filter(|rows| 0 < rows.expected).map(|rows| rows.first).collect();
        missing.sort_unstable();
        missing.truncate(STRANGERS_MAX);
        for stranger in &self.strangers {
            let fields: Vec<_> = stranger.iter().map(Option::as_deref).collect();
            let Some((place, column)) = nearest(&mut self.task, &missing, &fields) else {
                continue;
            };
            let index = missing.remove(place);
            let name = self.task.name(column);
            verification.changed.add(|| format!("row {index}: {name}"));
        }
        let changed = verification.changed.count;
        let missing_count = missing_count - changed;
        (0..missing_count).for_each(|row| {
            let index = usize::try_from(row).ok().and_then(|row| missing.get(row));
            let shown = || index.map_or_else(String::new, |index| format!("row {index}"));
            verification.missing.add(shown);
        });
        (0..self.strangers_count - changed)
            .for_each(|_| verification.foreign.add(|| "a row that was never sent".to_owned()));
        verification
    }
}

/// Counts the rows that are to be found, by content.
fn open(task: &mut Task) -> BTreeMap<u128, Open> {
    let mut open = BTreeMap::new();
    let sets = [(task.expected.clone(), 1, 0), (task.in_doubt.clone(), 0, 1)];
    for (set, expected, in_doubt) in sets {
        for index in indexes(&set) {
            let none = Open { first: index, expected: 0, in_doubt: 0 };
            let rows = open.entry(task.expected_hash(index)).or_insert(none);
            rows.expected += expected;
            rows.in_doubt += in_doubt;
        }
    }
    open
}

/// Returns which of the `missing` rows is most like this one, if more than half of its columns are
/// the same, and the first column that differs.
fn nearest(task: &mut Task, missing: &[u64], fields: &RowFields<'_>) -> Option<(usize, usize)> {
    let columns = task.generator.compared().len();
    let differences = missing.iter().enumerate().map(|(place, &index)| {
        let different = task.differences(index, fields);
        (different.len(), place, different.first().copied())
    });
    let (count, place, column) = differences.min()?;
    (count * 2 < columns.max(2)).then_some((place, column?))
}
