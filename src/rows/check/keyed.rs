//! Rows that name themselves: each is compared with the row that its key names.

use super::{Finding, RowFields, Task, Verification, indexes};
use crate::rows::{RowSet, mix};

/// Compares rows by their keys.
///
/// The first pass holds a 128-bit sum of keyed hashes of the keys; the second a bit for each row.
#[derive(Debug)]
pub(super) struct Keyed {
    task: Task,
    /// One bit a row index; only in the second pass.
    seen: Option<Vec<u64>>,
    key_sum: u128,
    duplicate: Finding,
    foreign: Finding,
    changed: Finding,
}

impl Keyed {
    pub(super) fn new(task: Task) -> Keyed {
        let seen = (!task.in_doubt.is_empty()).then(|| bits(&task.expected, &task.in_doubt));
        Keyed {
            task,
            seen,
            key_sum: 0,
            duplicate: Finding::default(),
            foreign: Finding::default(),
            changed: Finding::default(),
        }
    }

    pub(super) fn again(self) -> Keyed {
        let task = self.task.again();
        let seen = Some(bits(&task.expected, &task.in_doubt));
        Keyed { seen, ..Keyed::new(task) }
    }

    pub(super) fn row(&mut self, fields: &RowFields<'_>) {
        let task = &mut self.task;
        task.take_in(fields);
        let index = task.generator.index_of(fields);
        let known = |&index: &u64| task.expected.contains(index) || task.in_doubt.contains(index);
        let Some(index) = index.filter(known) else {
            let key = task.generator.key_of(fields).unwrap_or_default();
            self.foreign.add(|| shown(key));
            return;
        };
        self.key_sum = self.key_sum.wrapping_add(key_hash(index));
        if let Some(&column) = task.differences(index, fields).first() {
            self.changed.add(|| format!("row {index}: {}", task.name(column)));
        }
        if let Some(seen) = &mut self.seen {
            let (word, bit) = place(index);
            if seen[word] & bit != 0 {
                self.duplicate.add(|| format!("row {index}"));
            }
            seen[word] |= bit;
        }
    }

    pub(super) fn needs_another_pass(&self) -> bool {
        if self.seen.is_some() {
            return false;
        }
        let expected = &self.task.expected;
        let key_sum = indexes(expected).map(key_hash).fold(0, u128::wrapping_add);
        self.task.rows_found != expected.row_count() || self.key_sum != key_sum
    }

    pub(super) fn finish(mut self) -> Verification {
        let mut verification = Verification {
            duplicate: self.duplicate,
            foreign: self.foreign,
            changed: self.changed,
            ..self.task.verification()
        };
        if let Some(seen) = &self.seen {
            let is_seen = |index: u64| {
                let (word, bit) = place(index);
                seen[word] & bit != 0
            };
            for index in indexes(&self.task.expected).filter(|&index| !is_seen(index)) {
                verification.missing.add(|| format!("row {index}"));
            }
            let in_doubt = &self.task.in_doubt;
            let present = indexes(in_doubt).filter(|&index| is_seen(index)).count() as u64;
            verification.in_doubt_present = present;
            verification.in_doubt_absent = in_doubt.row_count() - present;
        }
        verification
    }
}

/// A key that no row has: as text if it can be read, else as bytes.
fn shown(key: &[u8]) -> String {
    match std::str::from_utf8(key) {
        Ok(text) if !text.contains('\0') => format!("{text:?}"),
        _ => key.iter().fold("0x".to_owned(), |text, byte| format!("{text}{byte:02x}")),
    }
}

fn bits(expected: &RowSet, in_doubt: &RowSet) -> Vec<u64> {
    let words = expected.end().max(in_doubt.end()).div_ceil(64);
    vec![0; usize::try_from(words).expect("a bit for each row fits into memory")]
}

fn place(index: u64) -> (usize, u64) {
    (usize::try_from(index / 64).expect("within the bits"), 1 << (index % 64))
}

/// Two independent 64-bit hashes of the index: a swap of keys that keeps one sum breaks the other.
fn key_hash(index: u64) -> u128 {
    (u128::from(mix(0x6b65_7973, index)) << 64) | u128::from(mix(0x7375_6d73, index))
}
