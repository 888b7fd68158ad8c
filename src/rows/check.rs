//! Checks the rows of a table against the rows that were confirmed: exactly, in any order.
//!
//! The first pass holds two sums, whatever the number of rows: each row read is compared with the
//! row that its key names, and the multiset of keys with the plan's by count and by a 128-bit sum
//! of keyed hashes. Only a table that fails is read again with a bit for each row, to name which.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::{Generator, RowSet, article, mix};

/// Examples kept of each kind of finding.
const EXAMPLES_MAX: usize = 5;

/// What a table was found to hold.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Verification {
    /// Rows that the server had confirmed.
    pub rows_expected: u64,
    /// Rows in the table.
    pub rows_found: u64,
    /// Sum (mod 2^64) of the content hashes of the rows expected, in hexadecimal.
    pub checksum_expected: String,
    /// Sum (mod 2^64) of the content hashes of the rows found, in hexadecimal.
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

/// One row as read back, in binary format: (name, email, age, created_at).
pub(crate) type RowFields<'a> = [Option<&'a [u8]>];

/// Takes in the rows of a table, one at a time.
#[derive(Debug)]
pub struct Checker {
    generator: Generator,
    expected: RowSet,
    in_doubt: RowSet,
    /// One bit a row index; only in the second pass.
    seen: Option<Vec<u64>>,
    rows_found: u64,
    key_sum: u128,
    content_sum: u64,
    duplicate: Finding,
    foreign: Finding,
    changed: Finding,
    scratch: Vec<u8>,
}

impl Checker {
    /// Creates the checker of a first pass.
    pub fn new(generator: Generator, expected: RowSet, in_doubt: RowSet) -> Checker {
        let seen = (!in_doubt.is_empty()).then(|| bits(&expected, &in_doubt));
        Checker {
            generator,
            expected,
            in_doubt,
            seen,
            rows_found: 0,
            key_sum: 0,
            content_sum: 0,
            duplicate: Finding::default(),
            foreign: Finding::default(),
            changed: Finding::default(),
            scratch: Vec::new(),
        }
    }

    /// Creates the checker of a second pass over the same table, which names each row.
    pub fn again(self) -> Checker {
        let seen = Some(bits(&self.expected, &self.in_doubt));
        Checker { seen, ..Checker::new(self.generator, self.expected, self.in_doubt) }
    }

    /// Takes in one row. Fields are in binary format, in the order of the generator's columns.
    pub fn row(&mut self, fields: &RowFields<'_>) {
        self.rows_found += 1;
        self.content_sum = self.content_sum.wrapping_add(content_hash(fields, &mut self.scratch));
        let email = fields.get(1).copied().flatten().unwrap_or_default();
        let index = article::index_of_email(email)
            .filter(|&index| self.expected.contains(index) || self.in_doubt.contains(index));
        let Some(index) = index else {
            self.foreign.add(|| format!("{:?}", String::from_utf8_lossy(email)));
            return;
        };
        self.key_sum = self.key_sum.wrapping_add(key_hash(index));
        if let Some(column) = self.first_difference(index, fields) {
            self.changed.add(|| format!("row {index}: {column}"));
        }
        if let Some(seen) = &mut self.seen {
            let (word, bit) = place(index);
            if seen[word] & bit != 0 {
                self.duplicate.add(|| format!("row {index}"));
            }
            seen[word] |= bit;
        }
    }

    /// Returns whether a second pass is needed to say what is wrong.
    pub fn needs_second_pass(&self) -> bool {
        if self.seen.is_some() {
            return false;
        }
        let key_sum = indexes(&self.expected).map(key_hash).fold(0, u128::wrapping_add);
        self.rows_found != self.expected.row_count() || self.key_sum != key_sum
    }

    /// Says what the table was found to hold.
    pub fn finish(mut self) -> Verification {
        let mut verification = Verification {
            rows_expected: self.expected.row_count(),
            rows_found: self.rows_found,
            checksum_expected: format!("{:016x}", self.expected_content_sum()),
            checksum_found: format!("{:016x}", self.content_sum),
            duplicate: std::mem::take(&mut self.duplicate),
            foreign: std::mem::take(&mut self.foreign),
            changed: std::mem::take(&mut self.changed),
            ..Verification::default()
        };
        if let Some(seen) = &self.seen {
            let is_seen = |index: u64| {
                let (word, bit) = place(index);
                seen[word] & bit != 0
            };
            for index in indexes(&self.expected).filter(|&index| !is_seen(index)) {
                verification.missing.add(|| format!("row {index}"));
            }
            let present = indexes(&self.in_doubt).filter(|&index| is_seen(index)).count() as u64;
            verification.in_doubt_present = present;
            verification.in_doubt_absent = self.in_doubt.row_count() - present;
        }
        verification
    }

    fn expected_content_sum(&mut self) -> u64 {
        let mut sum: u64 = 0;
        let mut text = (Vec::new(), Vec::new());
        for index in indexes(&self.expected) {
            let user = article::user(self.generator.seed, index);
            text.0.clear();
            text.1.clear();
            user.write_name(&mut text.0);
            user.write_email(&mut text.1);
            let (age, created_at) = (user.age.to_be_bytes(), user.created_at.to_be_bytes());
            let fields =
                [Some(&text.0[..]), Some(&text.1[..]), Some(&age[..]), Some(&created_at[..])];
            sum = sum.wrapping_add(content_hash(&fields, &mut self.scratch));
        }
        sum
    }

    fn first_difference(&mut self, index: u64, fields: &RowFields<'_>) -> Option<&'static str> {
        let user = article::user(self.generator.seed, index);
        self.scratch.clear();
        user.write_name(&mut self.scratch);
        let columns = self.generator.columns();
        let is_same = [
            fields.first() == Some(&Some(&self.scratch[..])),
            true, // The email named the row, so it is the row's.
            fields.get(2) == Some(&Some(&user.age.to_be_bytes()[..])),
            fields.get(3) == Some(&Some(&user.created_at.to_be_bytes()[..])),
        ];
        is_same.iter().position(|same| !same).map(|column| columns[column].name)
    }
}

fn indexes(set: &RowSet) -> impl Iterator<Item = u64> + '_ {
    set.ranges().flat_map(|range| range.start..range.end)
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

fn content_hash(fields: &RowFields<'_>, scratch: &mut Vec<u8>) -> u64 {
    scratch.clear();
    for field in fields {
        let length = field.map_or(u32::MAX, |field| u32::try_from(field.len()).unwrap_or(u32::MAX));
        scratch.extend_from_slice(&length.to_be_bytes());
        scratch.extend_from_slice(field.unwrap_or_default());
    }
    xxh3_64(scratch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::{RowRange, Value};

    type Row = [Vec<u8>; 4];

    fn rows(generator: Generator, range: RowRange) -> Vec<Row> {
        let chunk = generator.build(range);
        let count = usize::try_from(range.row_count()).unwrap();
        (0..count)
            .map(|row| {
                [0, 1, 2, 3].map(|column: usize| match chunk.columns[column].value(row) {
                    Value::Int8(value) | Value::TimestampTz(value) => value.to_be_bytes().to_vec(),
                    Value::Text(text) => text.to_vec(),
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
        if checker.needs_second_pass() {
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
            let mut table = rows(Generator::article_user(7), RowRange { start: 0, end: 100 });
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
        let table = rows(generator, RowRange { start: 0, end: 110 });
        let found = verify(&table, RowRange { start: 100, end: 120 });
        assert!(found.is_exact(), "{found:?}");
        assert_eq!((found.in_doubt_present, found.in_doubt_absent), (10, 10));
    }
}
