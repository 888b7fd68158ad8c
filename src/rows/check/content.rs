//! Rows without a key: the multiset of whole rows is compared.

use std::collections::BTreeMap;

use super::{Finding, RowFields, Task, Verification};

/// Rows that match nothing, and of which a copy is kept, to pair them with rows that are missing.
const STRANGERS_MAX: usize = 1_000;
/// Parts of the multiset that are compared on their own.
const BUCKETS: usize = 1 << 16;
/// Rows that a later pass holds, about.
const ROWS_A_PASS: u64 = 1 << 20;

/// Compares multisets of rows by 128-bit hashes.
///
/// The first pass holds, for each of 65,536 buckets of hashes, a count and the sum of the hashes, whatever
/// the number of rows. Two different multisets of one size have one sum with a chance of about 2^-128,
/// unless somebody looks for such rows; who can write to the table can do worse. Only rows of buckets that
/// differ, or that hold rows in doubt, are looked at one by one: in passes that hold about a million
/// rows each.
#[derive(Debug)]
pub(super) struct Content {
    task: Task,
    pass: Pass,
    /// Buckets that are left to be looked at, with the rows expected in each.
    suspects: Vec<(usize, u64)>,
    duplicate: Finding,
    missing_count: u64,
    missing: Vec<u64>,
    /// Rows that match nothing: how many, and the first of them.
    strangers_count: u64,
    strangers: Vec<Vec<Option<Vec<u8>>>>,
    in_doubt_present: u64,
}

#[derive(Debug)]
enum Pass {
    /// All buckets, by their sums.
    Sums(Vec<Bucket>),
    /// The rows of some buckets.
    Rows { is_selected: Vec<bool>, open: BTreeMap<u128, Open> },
}

/// What was found, less what was expected.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Bucket {
    sum: u128,
    count: u64,
}

/// Rows of one content that were not yet found.
#[derive(Debug)]
struct Open {
    /// The first of them.
    first: u64,
    expected: u64,
    in_doubt: u64,
}

fn bucket_of(hash: u128) -> usize {
    usize::try_from(hash >> 112).expect("16 bits")
}

impl Content {
    pub(super) fn new(task: Task) -> Content {
        Content {
            task,
            pass: Pass::Sums(vec![Bucket::default(); BUCKETS]),
            suspects: Vec::new(),
            duplicate: Finding::default(),
            missing_count: 0,
            missing: Vec::new(),
            strangers_count: 0,
            strangers: Vec::new(),
            in_doubt_present: 0,
        }
    }

    /// Makes ready for the rows of the next buckets.
    pub(super) fn again(mut self) -> Content {
        self.settle();
        let mut is_selected = vec![false; BUCKETS];
        let mut rows = 0;
        while let Some((bucket, count)) = self.suspects.pop() {
            is_selected[bucket] = true;
            rows += count;
            if ROWS_A_PASS <= rows {
                break;
            }
        }
        let mut task = self.task.again();
        let open = open(&mut task, &is_selected);
        Content { task, pass: Pass::Rows { is_selected, open }, ..self }
    }

    pub(super) fn row(&mut self, fields: &RowFields<'_>) {
        let hash = self.task.take_in(fields);
        let (is_selected, open) = match &mut self.pass {
            Pass::Sums(buckets) => {
                let bucket = &mut buckets[bucket_of(hash)];
                bucket.sum = bucket.sum.wrapping_add(hash);
                bucket.count = bucket.count.wrapping_add(1);
                return;
            }
            Pass::Rows { is_selected, open } => (is_selected, open),
        };
        if !is_selected[bucket_of(hash)] {
            return;
        }
        match open.get_mut(&hash) {
            Some(rows) if 0 < rows.expected => rows.expected -= 1,
            Some(rows) if 0 < rows.in_doubt => {
                rows.in_doubt -= 1;
                self.in_doubt_present += 1;
            }
            Some(rows) => self.duplicate.add(|| self.task.generator.name_of(rows.first)),
            None => {
                self.strangers_count += 1;
                if self.strangers.len() < STRANGERS_MAX {
                    let copy = fields.iter().map(|field| field.map(<[u8]>::to_vec));
                    self.strangers.push(copy.collect());
                }
            }
        }
    }

    pub(super) fn needs_another_pass(&mut self) -> bool {
        if let Pass::Sums(buckets) = &mut self.pass {
            self.suspects = suspects(&mut self.task, buckets);
        }
        !self.suspects.is_empty()
    }

    /// Notes which rows of the pass were not found.
    fn settle(&mut self) {
        let Pass::Rows { open, .. } = &self.pass else { return };
        let missing = open.values().filter(|rows| 0 < rows.expected);
        self.missing_count += missing.clone().map(|rows| rows.expected).sum::<u64>();
        self.missing.extend(missing.map(|rows| rows.first));
        self.missing.sort_unstable();
        self.missing.truncate(STRANGERS_MAX);
    }

    pub(super) fn finish(mut self) -> Verification {
        self.settle();
        let mut verification =
            Verification { duplicate: self.duplicate, ..self.task.verification() };
        verification.in_doubt_present = self.in_doubt_present;
        verification.in_doubt_absent = self.task.in_doubt.row_count() - self.in_doubt_present;
        let name_of = |index| self.task.generator.name_of(index);
        // Those that are alike are one row that was changed.
        let mut lost: Vec<(u64, Vec<Option<Vec<u8>>>)> = Vec::new();
        if !self.strangers.is_empty() {
            lost = self.missing.iter().map(|&index| (index, self.task.values(index))).collect();
        }
        for stranger in &self.strangers {
            let Some((place, column)) = nearest(&lost, stranger) else { continue };
            let (index, _) = lost.remove(place);
            self.missing.retain(|&it| it != index);
            let column = self.task.name(self.task.generator.compared()[column]);
            verification.changed.add(|| format!("{}: {column}", name_of(index)));
        }
        let changed = verification.changed.count;
        (0..self.missing_count - changed).for_each(|row| {
            let index = usize::try_from(row).ok().and_then(|row| self.missing.get(row));
            verification.missing.add(|| index.map_or_else(String::new, |&index| name_of(index)));
        });
        (0..self.strangers_count - changed)
            .for_each(|_| verification.foreign.add(|| "a row that was never sent".to_owned()));
        verification
    }
}

/// Takes what was expected from what was found; returns the buckets where something is left, and those
/// with rows in doubt.
fn suspects(task: &mut Task, buckets: &mut [Bucket]) -> Vec<(usize, u64)> {
    let mut rows = vec![0_u64; BUCKETS];
    let mut sum: u128 = 0;
    task.for_each(
        |task| &task.expected,
        |_, hash| {
            let place = bucket_of(hash);
            let bucket = &mut buckets[place];
            bucket.sum = bucket.sum.wrapping_sub(hash);
            bucket.count = bucket.count.wrapping_sub(1);
            rows[place] += 1;
            sum = sum.wrapping_add(hash);
        },
    );
    task.expected_sum.get_or_init(|| sum);
    let mut is_in_doubt = vec![false; BUCKETS];
    task.for_each(
        |task| &task.in_doubt,
        |_, hash| {
            rows[bucket_of(hash)] += 1;
            is_in_doubt[bucket_of(hash)] = true;
        },
    );
    let differs = |&bucket: &usize| buckets[bucket] != Bucket::default() || is_in_doubt[bucket];
    (0..BUCKETS).filter(differs).map(|bucket| (bucket, rows[bucket])).collect()
}

/// Counts the rows that are to be found in the buckets of a pass, by content.
fn open(task: &mut Task, is_selected: &[bool]) -> BTreeMap<u128, Open> {
    let mut open = BTreeMap::new();
    let mut add = |index: u64, hash: u128, (expected, in_doubt): (u64, u64)| {
        if is_selected[bucket_of(hash)] {
            let none = Open { first: index, expected: 0, in_doubt: 0 };
            let rows = open.entry(hash).or_insert(none);
            rows.expected += expected;
            rows.in_doubt += in_doubt;
        }
    };
    task.for_each(|task| &task.expected, |index, hash| add(index, hash, (1, 0)));
    task.for_each(|task| &task.in_doubt, |index, hash| add(index, hash, (0, 1)));
    open
}

/// Returns which of the rows `lost` is most like this one, if more than half of its columns are the same,
/// and the first column that differs.
fn nearest(
    lost: &[(u64, Vec<Option<Vec<u8>>>)],
    stranger: &[Option<Vec<u8>>],
) -> Option<(usize, usize)> {
    let differences = lost.iter().enumerate().map(|(place, (_, values))| {
        let differs = |&column: &usize| values.get(column) != stranger.get(column);
        let columns = 0..values.len().max(stranger.len());
        (columns.clone().filter(differs).count(), place, columns.clone().find(differs))
    });
    let (count, place, column) = differences.min()?;
    let columns = lost[place].1.len();
    (count * 2 < columns.max(2)).then_some((place, column.filter(|&it| it < columns)?))
}
