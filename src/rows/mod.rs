//! The row at an index: a pure function of (seed, index), built in columns, a chunk at a time.
//!
//! Every strategy gets the same rows. They are built outside the measured path; what a strategy
//! makes of them (parameters, arrays, COPY lines) is encoding, and inside it.

mod article;
mod check;
mod range;

use std::sync::Arc;

pub use self::{
    check::{Checker, Finding, Verification},
    range::{RowRange, RowSet},
};

/// The type of a column, as far as encoding needs to know it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ColumnKind {
    /// `bigint`.
    Int8,
    /// `text`.
    Text,
    /// `timestamptz`, in microseconds since 2000-01-01 00:00 UTC (PostgreSQL's epoch).
    TimestampTz,
}

impl ColumnKind {
    /// Returns the name of the type in SQL.
    pub fn sql_type(self) -> &'static str {
        match self {
            ColumnKind::Int8 => "bigint",
            ColumnKind::Text => "text",
            ColumnKind::TimestampTz => "timestamptz",
        }
    }

    /// Returns the type's object identifier. Source: PostgreSQL's `pg_type.dat`.
    pub fn oid(self) -> u32 {
        match self {
            ColumnKind::Int8 => 20,
            ColumnKind::Text => 25,
            ColumnKind::TimestampTz => 1184,
        }
    }
}

/// A column that is sent with every row.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ColumnSpec {
    /// Its name in the table.
    pub name: &'static str,
    /// Its type.
    pub kind: ColumnKind,
}

/// The values of one column of a chunk.
#[derive(Clone, Debug)]
pub enum Column {
    /// `bigint` values.
    Int8(Vec<i64>),
    /// `text` values, back to back; value `i` ends before `ends[i]`.
    Text {
        /// UTF-8 of all values.
        bytes: Vec<u8>,
        /// One end a value, in bytes.
        ends: Vec<u32>,
    },
    /// `timestamptz` values, in microseconds since 2000-01-01 00:00 UTC.
    TimestampTz(Vec<i64>),
}

/// One value of a row.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Value<'a> {
    /// A `bigint`.
    Int8(i64),
    /// A `text`.
    Text(&'a [u8]),
    /// A `timestamptz`, in microseconds since 2000-01-01 00:00 UTC.
    TimestampTz(i64),
}

impl Column {
    /// Returns the value of row `row` of the chunk.
    #[inline]
    pub fn value(&self, row: usize) -> Value<'_> {
        match self {
            Column::Int8(values) => Value::Int8(values[row]),
            Column::Text { bytes, ends } => {
                let start = if row == 0 { 0 } else { ends[row - 1] as usize };
                Value::Text(&bytes[start..ends[row] as usize])
            }
            Column::TimestampTz(values) => Value::TimestampTz(values[row]),
        }
    }
}

/// Consecutive rows, in columns.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// The indexes of its rows.
    pub range: RowRange,
    /// One entry a column, in the order of [`Generator::columns`].
    pub columns: Vec<Column>,
}

/// Some consecutive rows of a chunk.
#[derive(Clone, Debug)]
pub struct RowSlice {
    chunk: Arc<Chunk>,
    range: RowRange,
}

impl RowSlice {
    /// Takes `range` out of `chunk`.
    pub fn new(chunk: Arc<Chunk>, range: RowRange) -> RowSlice {
        assert!(chunk.range.start <= range.start && range.end <= chunk.range.end);
        RowSlice { chunk, range }
    }

    /// Returns the indexes of the rows.
    pub fn range(&self) -> RowRange {
        self.range
    }

    /// Returns the columns of the chunk, and the rows in it that the slice holds.
    pub fn columns(&self) -> (&[Column], std::ops::Range<usize>) {
        let offset = |index: u64| {
            usize::try_from(index - self.chunk.range.start).expect("a chunk fits into memory")
        };
        (&self.chunk.columns, offset(self.range.start)..offset(self.range.end))
    }
}

/// Makes rows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Generator {
    seed: u64,
}

impl Generator {
    /// Creates a generator of the article's users.
    pub fn article_user(seed: u64) -> Generator {
        Generator { seed }
    }

    /// Returns the columns that are sent with every row.
    pub fn columns(self) -> &'static [ColumnSpec] {
        &article::COLUMNS
    }

    /// Builds the rows of `range`. Costs about 60 bytes of memory a row.
    pub fn build(self, range: RowRange) -> Chunk {
        article::build(self.seed, range)
    }
}

/// Mixes 64 bits so that neighbours differ in half of them. Source: Steele, Lea and Flood,
/// "Fast splittable pseudorandom number generators", OOPSLA 2014 (SplitMix64).
fn mix(seed: u64, index: u64) -> u64 {
    let mut bits = seed.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
