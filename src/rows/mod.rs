//! The row at an index: a pure function of (seed, index), or a line of the user's own file; built in
//! columns, a chunk at a time.
//!
//! Every strategy gets the same rows. They are built outside the measured path; what a strategy
//! makes of them (parameters, arrays, COPY lines) is encoding, and inside it.
//!
//! A column holds its values in PostgreSQL's binary format, back to back, and a bit for each NULL;
//! the article's columns keep forms of their own, which encode faster. Text, where a strategy wants
//! it, is made from the binary value by its [`ColumnKind`].
//!
//! What the server gives back is compared byte by byte ([`Checker`]), so a value is always made in
//! the form in which the server would return it.

mod article;
pub mod calendar;
mod check;
mod csv;
mod kind;
pub mod numeric_text;
mod range;
mod table;

use std::sync::Arc;

pub use self::{
    check::{Checker, Finding, Verification},
    csv::{
        CsvColumn, CsvError, CsvFacts, CsvHeader, CsvProgress, CsvRows, CsvSent, CsvSettings,
        Expected, OnBadLine, put_value,
    },
    kind::{ColumnKind, ColumnSpec, SqlType},
    range::{RowRange, RowSet},
    table::{
        Bound, ColumnFacts, Condition, Distribution, Limit, Limits, Maker, Reach, TableError,
        TableRows, TypeFacts, TypeShape, conditions,
    },
};

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
    /// Values of any type.
    Binary(BinaryColumn),
}

/// Values in PostgreSQL's binary format, back to back.
#[derive(Clone, Debug)]
pub struct BinaryColumn {
    kind: Arc<ColumnKind>,
    bytes: Vec<u8>,
    /// One end a value, in bytes.
    ends: Vec<u32>,
    /// One bit a value, set if it is NULL; none if no value is.
    nulls: Vec<u64>,
}

impl BinaryColumn {
    /// Creates a column without values.
    pub fn new(kind: Arc<ColumnKind>) -> BinaryColumn {
        BinaryColumn { kind, bytes: Vec::new(), ends: Vec::new(), nulls: Vec::new() }
    }

    fn with_capacity(kind: Arc<ColumnKind>, rows: usize) -> BinaryColumn {
        BinaryColumn { ends: Vec::with_capacity(rows), ..BinaryColumn::new(kind) }
    }

    /// Returns what the values look like.
    pub fn kind(&self) -> &ColumnKind {
        &self.kind
    }

    /// Appends the value that `write` appends to the bytes, or nothing if it cannot.
    fn try_push<E>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        let start = self.bytes.len();
        if let Err(error) = write(&mut self.bytes) {
            self.bytes.truncate(start);
            return Err(error);
        }
        self.push(|_| true);
        Ok(())
    }

    /// Takes values off until there are so many.
    fn truncate(&mut self, rows: usize) {
        if rows < self.ends.len() {
            self.ends.truncate(rows);
            self.bytes.truncate(self.ends.last().map_or(0, |&end| end as usize));
            self.nulls.truncate(rows.div_ceil(64));
            if let (true, Some(last)) = (self.nulls.len() * 64 > rows, self.nulls.last_mut()) {
                *last &= (1 << (rows % 64)) - 1;
            }
        }
    }

    /// Appends the value that `write` appends to the bytes, or NULL if it returns `false`.
    pub fn push(&mut self, write: impl FnOnce(&mut Vec<u8>) -> bool) {
        let row = self.ends.len();
        let is_null = !write(&mut self.bytes);
        self.ends.push(u32::try_from(self.bytes.len()).expect("a chunk holds less than 4 GiB"));
        if is_null {
            self.nulls.resize(self.nulls.len().max(row / 64 + 1), 0);
            self.nulls[row / 64] |= 1 << (row % 64);
        }
    }

    fn get(&self, row: usize) -> Option<&[u8]> {
        if self.nulls.get(row / 64).is_some_and(|word| word >> (row % 64) & 1 == 1) {
            return None;
        }
        let start = if row == 0 { 0 } else { self.ends[row - 1] as usize };
        Some(&self.bytes[start..self.ends[row] as usize])
    }
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
    /// A value of this kind, in binary format.
    Binary(&'a ColumnKind, &'a [u8]),
    /// No value.
    Null,
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
            Column::Binary(column) => match column.get(row) {
                Some(bytes) => Value::Binary(&column.kind, bytes),
                None => Value::Null,
            },
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

/// Makes rows. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Generator {
    seed: u64,
    rows: Rows,
}

#[derive(Clone, Debug)]
enum Rows {
    Article,
    Table(Arc<TableRows>),
    Csv(CsvRows),
}

/// Bytes of a CSV file that become one chunk, at most.
const CHUNK_BYTES_MAX: usize = 4 * 1_024 * 1_024;

impl Generator {
    /// Creates a generator of the article's users.
    pub fn article_user(seed: u64) -> Generator {
        Generator { seed, rows: Rows::Article }
    }

    /// Creates a generator of the rows of a table.
    pub fn table(seed: u64, rows: TableRows) -> Generator {
        Generator { seed, rows: Rows::Table(Arc::new(rows)) }
    }

    /// Creates a generator of the lines of a file, which know of no seed.
    pub fn csv(rows: CsvRows) -> Generator {
        Generator { seed: 0, rows: Rows::Csv(rows) }
    }

    /// Leaves columns out of what is compared: those that a trigger changes.
    #[must_use]
    pub fn without_comparing(self, columns: &[usize]) -> Generator {
        let rows = match self.rows {
            Rows::Article => Rows::Article,
            Rows::Table(rows) => {
                Rows::Table(Arc::new(TableRows::clone(&rows).without_comparing(columns)))
            }
            Rows::Csv(rows) => Rows::Csv(rows.without_comparing(columns)),
        };
        Generator { rows, ..self }
    }

    /// Returns what the user's own file was found to hold, if rows are its lines.
    pub fn csv_facts(&self) -> Option<&CsvFacts> {
        match &self.rows {
            Rows::Csv(rows) => Some(rows.facts()),
            Rows::Article | Rows::Table(_) => None,
        }
    }

    /// Says what is wrong with the user's own file since the run began, if anything is.
    pub fn fault(&self) -> Option<String> {
        match &self.rows {
            Rows::Csv(rows) => rows.fault(),
            Rows::Article | Rows::Table(_) => None,
        }
    }

    /// Names a row for people: by its line, if it has one.
    pub fn name_of(&self, index: u64) -> String {
        match &self.rows {
            Rows::Csv(rows) => rows.name_of(index),
            Rows::Article | Rows::Table(_) => format!("row {index}"),
        }
    }

    /// Returns the columns that are sent with every row.
    pub fn columns(&self) -> &Arc<[ColumnSpec]> {
        match &self.rows {
            Rows::Article => article::columns(),
            Rows::Table(rows) => rows.specs(),
            Rows::Csv(rows) => rows.specs(),
        }
    }

    /// Returns a generator of the same columns, with another seed.
    #[must_use]
    pub fn with_seed(&self, seed: u64) -> Generator {
        Generator { seed, ..self.clone() }
    }

    /// Returns how many rows there can be, if UNIQUE columns or the end of a file set a limit.
    pub fn rows_max(&self) -> Option<u64> {
        match &self.rows {
            Rows::Article => None,
            Rows::Table(rows) => rows.rows_max(),
            Rows::Csv(rows) => Some(rows.rows()),
        }
    }

    /// Returns between which bounds the values of a column are made up, if that can be said in a
    /// `range` or a `length`.
    pub fn reach(&self, column: usize) -> Option<Reach> {
        match &self.rows {
            Rows::Table(rows) => rows.reach(column),
            Rows::Article | Rows::Csv(_) => None,
        }
    }

    /// Returns which columns are compared when a table is read back.
    pub fn compared(&self) -> &[usize] {
        match &self.rows {
            Rows::Article => &[0, 1, 2, 3],
            Rows::Table(rows) => rows.compared(),
            Rows::Csv(rows) => rows.compared(),
        }
    }

    /// Appends the value of a column in row `index`, in binary format; `false` if it is NULL.
    pub fn write_value(&self, index: u64, column: usize, out: &mut Vec<u8>) -> bool {
        match &self.rows {
            Rows::Article => {
                article::write_value(self.seed, index, column, out);
                true
            }
            Rows::Table(rows) => rows.write_value(self.seed, index, column, out),
            Rows::Csv(rows) => rows.write_value(index, column, out),
        }
    }

    /// Builds the rows of `range`. Costs about 60 bytes of memory a row of the article's users.
    pub fn build(&self, range: RowRange) -> Chunk {
        match &self.rows {
            Rows::Article => article::build(self.seed, range),
            Rows::Table(rows) => rows.build(self.seed, range),
            Rows::Csv(rows) => rows.build(range, usize::MAX),
        }
    }

    /// Builds the rows of `range`, or of its beginning where lines are long: at least one row.
    pub fn build_some(&self, range: RowRange) -> Chunk {
        match &self.rows {
            Rows::Csv(rows) => rows.build(range, CHUNK_BYTES_MAX),
            Rows::Article | Rows::Table(_) => self.build(range),
        }
    }

    /// Returns where, among the columns compared, one stands that names its row.
    fn key(&self) -> Option<usize> {
        match &self.rows {
            Rows::Article => Some(article::KEY_COLUMN),
            Rows::Table(rows) => rows.key(),
            // That no two of them are the same is not known, and an index over them would grow.
            Rows::Csv(_) => None,
        }
    }

    /// Returns the key of a row as it was read back.
    fn key_of<'a>(&self, fields: &[Option<&'a [u8]>]) -> Option<&'a [u8]> {
        fields.get(self.key()?).copied().flatten()
    }

    /// Returns the row that the key names, whether or not the row exists.
    fn index_of(&self, fields: &[Option<&[u8]>]) -> Option<u64> {
        let key = self.key_of(fields)?;
        match &self.rows {
            Rows::Article => article::index_of_email(key),
            Rows::Table(rows) => rows.index_of(key),
            Rows::Csv(_) => None,
        }
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
