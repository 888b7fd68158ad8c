//! How an operation carries its batch: statement text, and rows encoded for the wire.
//!
//! One file each. Everything here is pure: rows in, text and bytes out. Encoding is part of the
//! operation for every strategy alike, and timed there.

pub mod copy_binary;
pub mod copy_text;
pub mod multi_row;
pub mod single_row;
mod text;
pub mod unnest;

use serde::{Deserialize, Serialize};

use crate::rows::{ColumnSpec, RowSlice, Value};

/// PostgreSQL counts the parameters of a statement in 16 bits (manual, "Message Formats", Bind).
pub const PARAMETERS_MAX: u64 = 65_535;

/// How an operation carries its batch.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// One `INSERT … VALUES ($1, …)` of one row.
    SingleRow,
    /// Single-row INSERTs, this many in flight on one session.
    Pipelined {
        /// Statements sent and not yet answered, at most.
        in_flight: u32,
    },
    /// One `INSERT … VALUES ($1, …), ($5, …), …`.
    MultiRow,
    /// One `INSERT … SELECT * FROM unnest($1, $2, …)`.
    Unnest,
    /// One `COPY … FROM STDIN`.
    CopyText,
    /// One `COPY … FROM STDIN (FORMAT binary)`.
    CopyBinary,
}

impl Strategy {
    /// Returns the name that scenario files use.
    pub fn name(self) -> &'static str {
        match self {
            Strategy::SingleRow => "single_row",
            Strategy::Pipelined { .. } => "pipelined",
            Strategy::MultiRow => "multi_row",
            Strategy::Unnest => "unnest",
            Strategy::CopyText => "copy_text",
            Strategy::CopyBinary => "copy_binary",
        }
    }

    /// Returns whether each row is a statement of its own, and in autocommit a transaction.
    pub fn is_a_statement_a_row(self) -> bool {
        matches!(self, Strategy::SingleRow | Strategy::Pipelined { .. })
    }

    /// Returns the most rows that one operation can carry, with `columns` columns a row.
    pub fn batch_rows_max(self, columns: usize) -> u64 {
        match self {
            Strategy::SingleRow => 1,
            Strategy::MultiRow => PARAMETERS_MAX / columns as u64,
            Strategy::Pipelined { .. }
            | Strategy::Unnest
            | Strategy::CopyText
            | Strategy::CopyBinary => 1_000_000,
        }
    }
}

/// The table of a statement, and what the statement asks back.
#[derive(Clone, Copy, Debug)]
pub struct Shape<'a> {
    /// The table's name, not quoted.
    pub table: &'a str,
    /// The columns sent with every row.
    pub columns: &'a [ColumnSpec],
    /// The column that the statement asks back, if any.
    pub returning: Option<&'a str>,
}

impl Shape<'_> {
    /// `INSERT INTO "users" ("name","email")`, spaced as GORM does it.
    fn insert_into(self) -> String {
        format!("INSERT INTO {} ({})", quoted(self.table), self.column_list())
    }

    fn column_list(self) -> String {
        let names: Vec<String> = self.columns.iter().map(|column| quoted(&column.name)).collect();
        names.join(",")
    }

    fn returning_clause(self) -> String {
        self.returning.map(|column| format!(" RETURNING {}", quoted(column))).unwrap_or_default()
    }
}

/// Quotes an SQL identifier.
pub fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

/// Parameters of a statement in binary format, back to back in one buffer that is used again.
#[derive(Debug, Default)]
pub struct Parameters {
    bytes: Vec<u8>,
    /// One end a parameter, in bytes.
    ends: Vec<usize>,
    /// Whether a parameter is NULL, up to the last one that is.
    nulls: Vec<bool>,
}

impl Parameters {
    /// Forgets all parameters and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.nulls.clear();
    }

    /// Returns how many parameters there are.
    pub fn count(&self) -> usize {
        self.ends.len()
    }

    /// Returns parameter `index`, encoded; `None` if it is NULL.
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        if self.nulls.get(index) == Some(&true) {
            return None;
        }
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        Some(&self.bytes[start..self.ends[index]])
    }

    fn push(&mut self, value: Value<'_>) {
        match value {
            Value::Int8(value) | Value::TimestampTz(value) => {
                self.bytes.extend_from_slice(&value.to_be_bytes());
            }
            Value::Text(bytes) | Value::Binary(_, bytes) => self.bytes.extend_from_slice(bytes),
            Value::Null => {
                self.nulls.resize(self.ends.len(), false);
                self.nulls.push(true);
            }
        }
        self.ends.push(self.bytes.len());
    }

    /// Appends the parameters of each row of `slice`, row by row.
    pub fn push_rows(&mut self, slice: &RowSlice) {
        let (columns, rows) = slice.columns();
        for row in rows {
            for column in columns {
                self.push(column.value(row));
            }
        }
    }
}

/// Appends a value behind its length; the length of NULL is -1.
fn put_value(out: &mut Vec<u8>, value: Value<'_>) {
    match value {
        Value::Int8(value) | Value::TimestampTz(value) => {
            put_length(out, 8);
            out.extend_from_slice(&value.to_be_bytes());
        }
        Value::Text(bytes) | Value::Binary(_, bytes) => {
            put_length(out, bytes.len());
            out.extend_from_slice(bytes);
        }
        Value::Null => out.extend_from_slice(&(-1_i32).to_be_bytes()),
    }
}

/// Appends a length as PostgreSQL's formats want it: 32 bits, signed, big end first.
fn put_length(out: &mut Vec<u8>, length: usize) {
    let length = i32::try_from(length).expect("a value is far below PostgreSQL's 1 GiB limit");
    out.extend_from_slice(&length.to_be_bytes());
}

#[cfg(test)]
pub(crate) mod fixture {
    use std::sync::{Arc, LazyLock};

    use super::*;
    use crate::rows::{Generator, RowRange};

    pub(crate) fn shape(returning: bool) -> Shape<'static> {
        static COLUMNS: LazyLock<Arc<[ColumnSpec]>> =
            LazyLock::new(|| Arc::clone(Generator::article_user(1).columns()));
        Shape { table: "users", columns: &COLUMNS, returning: returning.then_some("id") }
    }

    pub(crate) fn slice(start: u64, end: u64) -> RowSlice {
        let range = RowRange { start, end };
        RowSlice::new(Arc::new(Generator::article_user(1).build(range)), range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting_keeps_identifiers_whole() {
        assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
    }

    #[test]
    fn the_parameter_limit_counts_columns() {
        assert_eq!(Strategy::MultiRow.batch_rows_max(4), 16_383);
        assert_eq!(Strategy::MultiRow.batch_rows_max(5), 13_107);
    }
}
