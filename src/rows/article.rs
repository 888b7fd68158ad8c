//! The article's user: (name, email, age, created_at); the server makes the id.

use std::sync::{Arc, LazyLock};

use super::{Chunk, Column, ColumnSpec, RowRange, SqlType, mix};

static COLUMNS: LazyLock<Arc<[ColumnSpec]>> = LazyLock::new(|| {
    let column = |name: &str, sql_type| ColumnSpec { name: name.to_owned(), sql_type };
    Arc::new([
        column("name", SqlType::text()),
        column("email", SqlType::text()),
        column("age", SqlType::int8()),
        column("created_at", SqlType::timestamptz()),
    ])
});

pub(super) fn columns() -> &'static Arc<[ColumnSpec]> {
    &COLUMNS
}

/// The email, which is unique.
pub(super) const KEY_COLUMN: usize = 1;

const EMAIL_DOMAIN: &[u8] = b"@example.com";

/// 2025-01-01 00:00 UTC, in microseconds since 2000-01-01 00:00 UTC: 9,132 days.
const FIRST_CREATED_AT: i64 = 9_132 * 86_400 * 1_000_000;

/// One user; `name` and `email` follow from the index, the rest from (seed, index).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct User {
    pub(super) index: u64,
    pub(super) age: i64,
    pub(super) created_at: i64,
}

pub(super) fn user(seed: u64, index: u64) -> User {
    let bits = mix(seed, index);
    let age = 18 + i64::try_from(bits % 63).expect("below 63");
    let jitter = i64::try_from((bits >> 32) % 1_000_000).expect("below a million");
    let seconds = i64::try_from(index % 100_000_000).expect("below 100 million");
    User { index, age, created_at: FIRST_CREATED_AT + seconds * 1_000_000 + jitter }
}

impl User {
    pub(super) fn write_name(self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"user_");
        out.extend_from_slice(itoa::Buffer::new().format(self.index).as_bytes());
    }

    pub(super) fn write_email(self, out: &mut Vec<u8>) {
        self.write_name(out);
        out.extend_from_slice(EMAIL_DOMAIN);
    }
}

/// Appends the value of a column in binary format.
pub(super) fn write_value(seed: u64, index: u64, column: usize, out: &mut Vec<u8>) {
    let user = user(seed, index);
    match column {
        0 => user.write_name(out),
        KEY_COLUMN => user.write_email(out),
        2 => out.extend_from_slice(&user.age.to_be_bytes()),
        3 => out.extend_from_slice(&user.created_at.to_be_bytes()),
        _ => unreachable!("a user has four columns"),
    }
}

/// Returns the index of the row that has this email, if one can have it.
pub(super) fn index_of_email(email: &[u8]) -> Option<u64> {
    let digits = email.strip_prefix(b"user_")?.strip_suffix(EMAIL_DOMAIN)?;
    let index: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    // "+7" and "007" parse too, but no row has them.
    (itoa::Buffer::new().format(index).as_bytes() == digits).then_some(index)
}

pub(super) fn build(seed: u64, range: RowRange) -> Chunk {
    let rows = usize::try_from(range.row_count()).expect("a chunk fits into memory");
    let mut names = Vec::with_capacity(rows * 14);
    let mut name_ends = Vec::with_capacity(rows);
    let mut emails = Vec::with_capacity(rows * 26);
    let mut email_ends = Vec::with_capacity(rows);
    let mut ages = Vec::with_capacity(rows);
    let mut created = Vec::with_capacity(rows);
    for index in range.start..range.end {
        let user = user(seed, index);
        user.write_name(&mut names);
        name_ends.push(end_of(&names));
        user.write_email(&mut emails);
        email_ends.push(end_of(&emails));
        ages.push(user.age);
        created.push(user.created_at);
    }
    Chunk {
        range,
        columns: vec![
            Column::Text { bytes: names, ends: name_ends },
            Column::Text { bytes: emails, ends: email_ends },
            Column::Int8(ages),
            Column::TimestampTz(created),
        ],
    }
}

fn end_of(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("a chunk holds less than 4 GiB")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::Value;

    #[test]
    fn a_row_depends_on_seed_and_index_alone() {
        let whole = build(7, RowRange { start: 0, end: 100 });
        let part = build(7, RowRange { start: 40, end: 60 });
        for row in 0..20 {
            for (a, b) in whole.columns.iter().zip(&part.columns) {
                assert_eq!(a.value(row + 40), b.value(row));
            }
        }
        let other = build(8, RowRange { start: 0, end: 100 });
        let differs = |row| whole.columns[3].value(row) != other.columns[3].value(row);
        assert!((0..100).any(differs));
    }

    #[test]
    fn an_email_names_its_row() {
        let chunk = build(1, RowRange { start: 999, end: 1002 });
        for row in 0..3 {
            let Value::Text(email) = chunk.columns[1].value(row) else { panic!("email is text") };
            assert_eq!(index_of_email(email), Some(999 + row as u64));
        }
        for foreign in ["user_07@example.com", "user_+7@example.com", "user_@example.com", "a@b.c"]
        {
            assert_eq!(index_of_email(foreign.as_bytes()), None, "{foreign}");
        }
    }
}
