//! Checks the rows of a table against the rows that were confirmed: exactly, in any order.
//!
//! Where a column names its row, each row read is compared with the row that its key names, and the
//! multiset of keys with the plan's ([`Keyed`]). Where none does, the multiset of whole rows is
//! compared ([`Content`]). Either way the first pass holds a few sums, whatever the number of rows;
//! only a table that fails is read again, to name what is wrong: once, or in parts.
//!
//! Compared are the values that were sent. Columns that the server makes (identity, default,
//! generated) are not, nor those that a trigger was seen to change.

mod content;
mod keyed;

use std::cell::OnceCell;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use self::{content::Content, keyed::Keyed};
use super::{Generator, RowRange, RowSet, Value};

/// Rows that are built at once to be compared.
const ROWS_AT_ONCE: u64 = 4_096;
/// Examples kept of each kind of finding.
const EXAMPLES_MAX: usize = 5;

/// What a table was found to hold.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Verification {
    /// Rows that the server had confirmed.
    pub rows_expected: u64,
    /// Rows in the table.
    pub rows_found: u64,
    /// Sum (mod 2^128) of the content hashes of the rows expected, in hexadecimal.
    pub checksum_expected: String,
    /// Sum (mod 2^128) of the content hashes of the rows found, in hexadecimal.
    pub checksum_found: String,
    /// Confirmed, and not in the table.
    pub missing: Finding,
    /// In the table more than once.
    pub duplicate: Finding,
    /// In the table, and never confirmed.
    pub foreign: Finding,
    /// In the table with a value that was not sent.
    pub changed: Finding,
    /// Rows of operations in doubt (connection lost at the commit) that are in the table.
    pub in_doubt_present: u64,
    /// Rows of operations in doubt that are not in the table.
    pub in_doubt_absent: u64,
}

/// One kind of mismatch.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Finding {
    /// How many rows.
    pub count: u64,
    /// The first few, each in words.
    pub examples: Vec<String>,
}

impl Finding {
    fn add(&mut self, example: impl FnOnce() -> String) {
        self.count += 1;
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(example());
        }
    }
}

impl Verification {
    /// Returns whether the table holds what was confirmed, all of it and nothing else.
    pub fn is_exact(&self) -> bool {
        [&self.missing, &self.duplicate, &self.foreign, &self.changed]
            .iter()
            .all(|finding| finding.count == 0)
            && self.rows_found == self.rows_expected + self.in_doubt_present
            && (self.checksum_found == self.checksum_expected || 0 < self.in_doubt_present)
    }

    /// Says what is wrong, or nothing if the table is exact.
    pub fn complaint(&self) -> Option<String> {
        if self.is_exact() {
            return None;
        }
        let mut parts = Vec::new();
        for (name, finding) in [
            ("missing", &self.missing),
            ("duplicate", &self.duplicate),
            ("foreign", &self.foreign),
            ("changed", &self.changed),
        ] {
            if 0 < finding.count {
                let more =
                    if (finding.examples.len() as u64) < finding.count { ", …" } else { "" };
                let examples = finding.examples.join(", ");
                parts.push(format!("{} {name} ({examples}{more})", finding.count));
            }
        }
        if parts.is_empty() {
            parts.push("checksums differ".to_owned());
        }
        Some(format!(
            "{} rows confirmed, {} found: {}",
            self.rows_expected,
            self.rows_found,
            parts.join("; ")
        ))
    }
}

/// One row as read back: its compared columns in binary format, in the generator's order.
pub(crate) type RowFields<'a> = [Option<&'a [u8]>];

/// Takes in the rows of a table, one at a time.
#[derive(Debug)]
pub struct Checker(Method);

#[derive(Debug)]
enum Method {
    Keyed(Keyed),
    Content(Content),
}

impl Checker {
    /// Creates the checker of a first pass.
    pub fn new(generator: Generator, expected: RowSet, in_doubt: RowSet) -> Checker {
        let task = Task::new(generator, expected, in_doubt);
        Checker(if task.generator.key().is_some() {
            Method::Keyed(Keyed::new(task))
        } else {
            Method::Content(Content::new(task))
        })
    }

    /// Creates the checker of another pass over the same table, which names rows.
    #[must_use]
    pub fn again(self) -> Checker {
        Checker(match self.0 {
            Method::Keyed(keyed) => Method::Keyed(keyed.again()),
            Method::Content(content) => Method::Content(content.again()),
        })
    }

    /// Takes in one row: its compared columns in binary format, in the generator's order.
    pub fn row(&mut self, fields: &RowFields<'_>) {
        match &mut self.0 {
            Method::Keyed(keyed) => keyed.row(fields),
            Method::Content(content) => content.row(fields),
        }
    }

    /// Returns whether another pass is needed to say what is wrong.
    pub fn needs_another_pass(&mut self) -> bool {
        match &mut self.0 {
            Method::Keyed(keyed) => keyed.needs_another_pass(),
            Method::Content(content) => content.needs_another_pass(),
        }
    }

    /// Says what the table was found to hold.
    pub fn finish(self) -> Verification {
        match self.0 {
            Method::Keyed(keyed) => keyed.finish(),
            Method::Content(content) => content.finish(),
        }
    }
}

/// What a table is held against, and what both methods count of it.
#[derive(Debug)]
struct Task {
    generator: Generator,
    expected: RowSet,
    in_doubt: RowSet,
    rows_found: u64,
    content_sum: u128,
    expected_sum: OnceCell<u128>,
    scratch: Vec<u8>,
    /// One value, made anew.
    value: Vec<u8>,
}

impl Task {
    fn new(generator: Generator, expected: RowSet, in_doubt: RowSet) -> Task {
        Task {
            generator,
            expected,
            in_doubt,
            rows_found: 0,
            content_sum: 0,
            expected_sum: OnceCell::new(),
            scratch: Vec::new(),
            value: Vec::new(),
        }
    }

    /// The same task before any row was taken in.
    fn again(self) -> Task {
        let expected_sum = self.expected_sum;
        Task { expected_sum, ..Task::new(self.generator, self.expected, self.in_doubt) }
    }

    /// Counts a row and returns the hash of its content.
    fn take_in(&mut self, fields: &RowFields<'_>) -> u128 {
        self.scratch.clear();
        for field in fields {
            put_field(&mut self.scratch, *field);
        }
        let hash = xxh3_128(&self.scratch);
        self.rows_found += 1;
        self.content_sum = self.content_sum.wrapping_add(hash);
        hash
    }

    /// Hands over each row of a set with the hash of the content that it is expected to have.
    fn for_each(&mut self, of: impl Fn(&Task) -> &RowSet, mut take: impl FnMut(u64, u128)) {
        let mut scratch = std::mem::take(&mut self.scratch);
        for range in of(self).ranges() {
            let mut start = range.start;
            while start < range.end {
                let end = range.end.min(start + ROWS_AT_ONCE);
                let chunk = self.generator.build_some(RowRange { start, end });
                for (row, index) in (chunk.range.start..chunk.range.end).enumerate() {
                    scratch.clear();
                    for &column in self.generator.compared() {
                        put_value(&mut scratch, chunk.columns[column].value(row));
                    }
                    take(index, xxh3_128(&scratch));
                }
                start = chunk.range.end;
            }
        }
        self.scratch = scratch;
    }

    /// Returns the compared values of row `index`.
    fn values(&self, index: u64) -> Vec<Option<Vec<u8>>> {
        let value = |&column: &usize| {
            let mut value = Vec::new();
            self.generator.write_value(index, column, &mut value).then_some(value)
        };
        self.generator.compared().iter().map(value).collect()
    }

    /// Returns the sum of the hashes of all rows expected; made once.
    fn expected_sum(&mut self) -> u128 {
        if let Some(&sum) = self.expected_sum.get() {
            return sum;
        }
        let mut sum: u128 = 0;
        self.for_each(|task| &task.expected, |_, hash| sum = sum.wrapping_add(hash));
        *self.expected_sum.get_or_init(|| sum)
    }

    /// Returns which of the compared columns differ from those of row `index`.
    fn differences(&mut self, index: u64, fields: &RowFields<'_>) -> Vec<usize> {
        let mut different = Vec::new();
        for (place, &column) in self.generator.compared().iter().enumerate() {
            self.value.clear();
            let is_there = self.generator.write_value(index, column, &mut self.value);
            if fields.get(place) != Some(&is_there.then_some(&self.value[..])) {
                different.push(column);
            }
        }
        different
    }

    fn name(&self, column: usize) -> &str {
        &self.generator.columns()[column].name
    }

    fn verification(&mut self) -> Verification {
        Verification {
            rows_expected: self.expected.row_count(),
            rows_found: self.rows_found,
            checksum_expected: format!("{:032x}", self.expected_sum()),
            checksum_found: format!("{:032x}", self.content_sum),
            ..Verification::default()
        }
    }
}

fn put_value(out: &mut Vec<u8>, value: Value<'_>) {
    match value {
        Value::Int8(number) | Value::TimestampTz(number) => {
            put_field(out, Some(&number.to_be_bytes()));
        }
        Value::Text(bytes) | Value::Binary(_, bytes) => put_field(out, Some(bytes)),
        Value::Null => put_field(out, None),
    }
}

fn put_field(out: &mut Vec<u8>, field: Option<&[u8]>) {
    let length = field.map_or(u32::MAX, |field| u32::try_from(field.len()).unwrap_or(u32::MAX));
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(field.unwrap_or_default());
}

fn indexes(set: &RowSet) -> impl Iterator<Item = u64> + '_ {
    set.ranges().flat_map(|range| range.start..range.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Row = [Vec<u8>; 4];

    fn rows(generator: &Generator, range: RowRange) -> Vec<Row> {
        let chunk = generator.build(range);
        let count = usize::try_from(range.row_count()).unwrap();
        (0..count)
            .map(|row| {
                [0, 1, 2, 3].map(|column: usize| match chunk.columns[column].value(row) {
                    Value::Int8(value) | Value::TimestampTz(value) => value.to_be_bytes().to_vec(),
                    Value::Text(text) => text.to_vec(),
                    other => panic!("a user has no {other:?}"),
                })
            })
            .collect()
    }

    fn verify(table: &[Row], in_doubt: RowRange) -> Verification {
        let mut expected = RowSet::default();
        expected.insert(RowRange { start: 0, end: 100 });
        let mut doubt = RowSet::default();
        doubt.insert(in_doubt);
        let mut checker = Checker::new(Generator::article_user(7), expected, doubt);
        let feed = |checker: &mut Checker| {
            for row in table {
                let fields: Vec<_> = row.iter().map(|field| Some(&field[..])).collect();
                checker.row(&fields);
            }
        };
        feed(&mut checker);
        while checker.needs_another_pass() {
            checker = checker.again();
            feed(&mut checker);
        }
        checker.finish()
    }

    /// Each row: what is done to the table; counts of (missing, duplicate, foreign, changed).
    #[test]
    fn names_what_is_wrong() {
        type Damage = fn(&mut Vec<Row>);
        let none: Damage = |_| ();
        let cases: &[(&str, Damage, [u64; 4])] = &[
            ("nothing", none, [0, 0, 0, 0]),
            ("order", |table| table.reverse(), [0, 0, 0, 0]),
            ("deleted", |table| drop(table.remove(3)), [1, 0, 0, 0]),
            ("inserted twice", |table| table.push(table[5].clone()), [0, 1, 0, 0]),
            ("swapped for a copy", |table| table[4] = table[5].clone(), [1, 1, 0, 0]),
            ("foreign", |table| table.push(table[0].clone().map(|_| b"x".to_vec())), [0, 0, 1, 0]),
            (
                "beyond the plan",
                |table| table[9][1] = b"user_100@example.com".to_vec(),
                [1, 0, 1, 0],
            ),
            ("name", |table| table[9][0] = b"eve".to_vec(), [0, 0, 0, 1]),
            ("age", |table| table[9][2][7] ^= 1, [0, 0, 0, 1]),
            ("time", |table| table[9][3][7] ^= 1, [0, 0, 0, 1]),
        ];
        for (name, damage, want) in cases {
            let mut table = rows(&Generator::article_user(7), RowRange { start: 0, end: 100 });
            damage(&mut table);
            let found = verify(&table, RowRange::default());
            let got = [&found.missing, &found.duplicate, &found.foreign, &found.changed]
                .map(|finding| finding.count);
            assert_eq!(got, *want, "{name}");
            assert_eq!(found.is_exact(), *want == [0; 4], "{name}");
            assert_eq!(found.complaint().is_none(), *want == [0; 4], "{name}");
        }
    }

    #[test]
    fn rows_in_doubt_are_settled_by_their_keys() {
        let generator = Generator::article_user(7);
        let table = rows(&generator, RowRange { start: 0, end: 110 });
        let found = verify(&table, RowRange { start: 100, end: 120 });
        assert!(found.is_exact(), "{found:?}");
        assert_eq!((found.in_doubt_present, found.in_doubt_absent), (10, 10));
    }
}
