//! The user's own rows: the lines of a CSV file, streamed in constant memory.
//!
//! A first pass looks at every line, counts, and keeps the places of some records. From then on the row
//! at an index is a function of the index, as rows that are made up are: seek, read, parse. Values go
//! into PostgreSQL's binary format, so that every strategy and the check of what came back work on them
//! as on all others.
//!
//! Read as `COPY … (FORMAT csv)` reads: an empty field without quotes is NULL, `""` an empty text.
//! Blank lines are skipped.

mod compound;
mod json;
mod number;
mod reader;
mod survey;
#[cfg(test)]
mod tests;
mod time;
mod value;

use std::{
    fs::File,
    path::PathBuf,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::SystemTime,
};

use serde::{Deserialize, Serialize};

use self::reader::Reader;
pub use self::{
    survey::{CsvError, CsvFacts},
    value::{Expected, put_value},
};
use super::{BinaryColumn, Chunk, Column, ColumnKind, ColumnSpec, RowRange, TypeFacts};

/// Places in the file that are kept open: the builder's, one for rows built again, the check's.
const CURSORS_MAX: usize = 4;

/// How a CSV file is read.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct CsvSettings {
    /// The file, as it was named.
    pub file: String,
    /// Where it lies.
    #[serde(skip)]
    pub path: PathBuf,
    /// What the fields are.
    pub header: CsvHeader,
    /// What stands between fields.
    pub delimiter: char,
    /// What a field without quotes says that is NULL.
    pub null: String,
    /// What becomes of a line that cannot be read.
    pub on_bad_line: OnBadLine,
    /// How far the first pass has come, and whether it is to go on.
    #[serde(skip)]
    pub progress: CsvProgress,
}

/// What the fields of a CSV file are.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CsvHeader {
    /// The first line names the column of each.
    #[default]
    Names,
    /// The table's columns in their order, those that only the server makes left out.
    TableOrder,
}

/// What becomes of a line that cannot be read.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnBadLine {
    /// The run does not begin.
    #[default]
    Error,
    /// It is counted, named and left out.
    Skip,
}

/// How far the first pass over the file has come, and whether it is to go on. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct CsvProgress(Arc<Pass>);

#[derive(Debug, Default)]
struct Pass {
    bytes_read: AtomicU64,
    bytes: AtomicU64,
    is_stopped: AtomicBool,
}

/// Two plans are the same, however far each has come.
impl PartialEq for CsvProgress {
    fn eq(&self, _: &CsvProgress) -> bool {
        true
    }
}

impl CsvProgress {
    /// Returns the share of the file that was read, while it is.
    pub fn share(&self) -> Option<f64> {
        let read = self.0.bytes_read.load(Ordering::Relaxed);
        let all = self.0.bytes.load(Ordering::Relaxed);
        (0 < read && read < all).then(|| read as f64 / all as f64)
    }

    /// Ends the pass, which leaves off at its next look into the file; and every later one.
    pub fn stop(&self) {
        self.0.is_stopped.store(true, Ordering::Relaxed);
    }

    fn is_stopped(&self) -> bool {
        self.0.is_stopped.load(Ordering::Relaxed)
    }

    fn begin(&self, bytes: u64) {
        self.0.bytes.store(bytes, Ordering::Relaxed);
        self.set_bytes_read(0);
    }

    fn set_bytes_read(&self, bytes: u64) {
        self.0.bytes_read.store(bytes, Ordering::Relaxed);
    }
}

/// A column of the table that a CSV file may fill.
#[derive(Clone, Debug, PartialEq)]
pub struct CsvColumn {
    /// Its name.
    pub name: String,
    /// Its type.
    pub facts: TypeFacts,
    /// Whether a row without a value for it is refused.
    pub is_required: bool,
    /// Whether the server makes a value where the file has no such column.
    pub has_default: bool,
    /// Whether its values are sent.
    pub is_sent: CsvSent,
}

/// Whether the values of a column are sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CsvSent {
    /// If the file has them.
    IfThere,
    /// Not even then: the scenario leaves the column out.
    LeftOut,
    /// Never: only the server makes them.
    Never,
}

/// The rows of a CSV file that was looked through. Cheap to clone.
#[derive(Clone, Debug)]
pub struct CsvRows {
    source: Arc<Source>,
    specs: Arc<[ColumnSpec]>,
    /// The columns that are compared when the table is read back.
    compared: Vec<usize>,
}

/// The file, and what is known of it.
#[derive(Debug)]
struct Source {
    file: Arc<File>,
    /// Its length and its time when it was looked through.
    identity: Option<(u64, SystemTime)>,
    settings: CsvSettings,
    facts: CsvFacts,
    index: survey::Index,
    parser: Parser,
    cursors: Mutex<Vec<Cursor>>,
    /// What went wrong when a line was read again.
    fault: OnceLock<String>,
}

/// How a record becomes a row.
#[derive(Clone, Debug)]
struct Parser {
    /// The columns sent: which field, its type.
    columns: Vec<ParsedColumn>,
    /// How many fields a record has.
    field_count: usize,
    null: Vec<u8>,
}

#[derive(Clone, Debug)]
struct ParsedColumn {
    field: usize,
    name: String,
    facts: TypeFacts,
    kind: Arc<ColumnKind>,
    is_required: bool,
}

/// A place in the file: what comes next is row `next`, or a line before it that is left out.
#[derive(Debug)]
struct Cursor {
    reader: Reader,
    next: u64,
}

impl CsvRows {
    /// Returns the columns that are sent with every row.
    pub(super) fn specs(&self) -> &Arc<[ColumnSpec]> {
        &self.specs
    }

    /// Returns what the file was found to hold.
    pub fn facts(&self) -> &CsvFacts {
        &self.source.facts
    }

    pub(super) fn rows(&self) -> u64 {
        self.source.facts.rows
    }

    pub(super) fn compared(&self) -> &[usize] {
        &self.compared
    }

    /// Leaves columns out of what is compared: those that a trigger changes.
    #[must_use]
    pub(super) fn without_comparing(mut self, columns: &[usize]) -> CsvRows {
        self.compared.retain(|column| !columns.contains(column));
        self
    }

    /// Says what is wrong with the file since it was looked through, if anything is.
    pub(super) fn fault(&self) -> Option<String> {
        self.source.fault()
    }

    /// Builds the rows of `range`, or of its beginning if they have more than about `bytes_max` bytes.
    pub(super) fn build(&self, range: RowRange, bytes_max: usize) -> Chunk {
        self.source.build(range, bytes_max)
    }

    /// Appends the value of a column in a row; `false` if it is NULL.
    pub(super) fn write_value(&self, index: u64, column: usize, out: &mut Vec<u8>) -> bool {
        let chunk = self.build(RowRange { start: index, end: index + 1 }, usize::MAX);
        match chunk.columns[column].value(0) {
            super::Value::Binary(_, bytes) => {
                out.extend_from_slice(bytes);
                true
            }
            _ => false,
        }
    }

    /// Says on which line of the file a row stands.
    pub(super) fn name_of(&self, index: u64) -> String {
        let mut cursor = self.source.cursor_at(index);
        let mut columns = self.source.parser.columns(1);
        let line = match self.source.next_row(&mut cursor, &mut columns, 0) {
            Ok(true) => cursor.reader.mark().line,
            _ => return format!("row {index}"),
        };
        self.source.keep(cursor);
        format!("line {line}")
    }
}

impl Source {
    fn fault(&self) -> Option<String> {
        let now = survey::identity(&self.file);
        let is_changed = now != self.identity;
        let file = &self.settings.file;
        let changed = || format!("{file} was changed while it was being inserted");
        self.fault.get().cloned().or_else(|| is_changed.then(changed))
    }

    fn build(&self, range: RowRange, bytes_max: usize) -> Chunk {
        let rows = usize::try_from(range.row_count()).expect("a chunk fits into memory");
        let mut columns = self.parser.columns(rows);
        let mut cursor = self.cursor_at(range.start);
        let (mut built, mut bytes) = (0, 0);
        while built < rows && bytes < bytes_max {
            match self.next_row(&mut cursor, &mut columns, built) {
                Ok(true) => bytes += cursor.reader.record_bytes(),
                other => {
                    let why = match other {
                        Ok(_) => format!("it ends before line {}", cursor.reader.lines_read() + 1),
                        Err(why) => why.to_string(),
                    };
                    self.give_up(&why, &mut columns, built, rows);
                    built = rows;
                    break;
                }
            }
            built += 1;
        }
        if self.fault.get().is_none() {
            self.keep(cursor);
        }
        let end = range.start + built as u64;
        let columns = columns.into_iter().map(Column::Binary).collect();
        Chunk { range: RowRange { start: range.start, end }, columns }
    }

    /// Rows that are not there any more are NULL in all columns; the run ends with the fault.
    fn give_up(&self, why: &str, columns: &mut [BinaryColumn], built: usize, rows: usize) {
        let file = &self.settings.file;
        let fault = format!("{file} was changed while it was being inserted: {why}");
        // The first fault is the one to tell.
        let _is_first = self.fault.set(fault);
        columns.iter_mut().for_each(|column| (built..rows).for_each(|_| column.push(|_| false)));
    }

    /// Appends the next row that can be read as row `built` of the columns; `false` at the end.
    fn next_row(
        &self,
        cursor: &mut Cursor,
        columns: &mut [BinaryColumn],
        built: usize,
    ) -> Result<bool, reader::ReadError> {
        while cursor.reader.next()? {
            if self.parser.append(&cursor.reader, columns, built).is_ok() {
                cursor.next += 1;
                return Ok(true);
            }
            if self.facts.records_bad == 0 {
                return Err(reader::ReadError::NoRow(cursor.reader.mark().line));
            }
        }
        Ok(false)
    }

    /// Returns a place before row `index`: one that is kept, or that of the nearest mark.
    fn cursor_at(&self, index: u64) -> Cursor {
        let (mark_row, mark) = self.index.before(index);
        let mut cursors = self.cursors.lock().unwrap_or_else(PoisonError::into_inner);
        let usable = |cursor: &Cursor| (mark_row..=index).contains(&cursor.next);
        let best = (0..cursors.len())
            .filter(|&place| usable(&cursors[place]))
            .max_by_key(|&place| cursors[place].next);
        let kept = best.map(|place| cursors.remove(place));
        drop(cursors);
        let mut cursor = kept.unwrap_or_else(|| {
            let reader = Reader::at(&self.file, self.delimiter(), mark);
            Cursor { reader, next: mark_row }
        });
        self.skip_to(&mut cursor, index);
        cursor
    }

    fn skip_to(&self, cursor: &mut Cursor, index: u64) {
        let has_bad_lines = 0 < self.facts.records_bad;
        let mut columns = self.parser.columns(1);
        while cursor.next < index {
            let is_there = if has_bad_lines {
                columns.iter_mut().for_each(|column| column.truncate(0));
                self.next_row(cursor, &mut columns, 0)
            } else {
                cursor.next += 1;
                cursor.reader.next()
            };
            if !is_there.unwrap_or(false) {
                break; // Whoever reads the row will find that it is not there.
            }
        }
    }

    fn keep(&self, cursor: Cursor) {
        let mut cursors = self.cursors.lock().unwrap_or_else(PoisonError::into_inner);
        cursors.push(cursor);
        if CURSORS_MAX < cursors.len() {
            cursors.remove(0);
        }
    }

    fn delimiter(&self) -> u8 {
        survey::delimiter(&self.settings)
    }
}

/// Why a record is no row.
#[derive(Clone, Debug, Eq, PartialEq)]
enum BadRecord {
    FieldCount { found: usize },
    InnerQuote,
    Field { column: usize, expected: Expected },
}

impl Parser {
    /// Columns without values.
    fn columns(&self, rows: usize) -> Vec<BinaryColumn> {
        let new =
            |column: &ParsedColumn| BinaryColumn::with_capacity(Arc::clone(&column.kind), rows);
        self.columns.iter().map(new).collect()
    }

    /// Appends a record as row `row` of the columns, or nothing if it cannot be read.
    fn append(
        &self,
        record: &Reader,
        columns: &mut [BinaryColumn],
        row: usize,
    ) -> Result<(), BadRecord> {
        if record.has_inner_quote() {
            return Err(BadRecord::InnerQuote);
        }
        if record.field_count() != self.field_count {
            return Err(BadRecord::FieldCount { found: record.field_count() });
        }
        for (place, (parsed, column)) in self.columns.iter().zip(columns.iter_mut()).enumerate() {
            let field = record.field(parsed.field);
            if let Err(expected) = self.append_field(parsed, record, field, column) {
                columns.iter_mut().for_each(|column| column.truncate(row));
                return Err(BadRecord::Field { column: place, expected });
            }
        }
        Ok(())
    }

    fn append_field(
        &self,
        parsed: &ParsedColumn,
        record: &Reader,
        field: &[u8],
        column: &mut BinaryColumn,
    ) -> Result<(), Expected> {
        if field == self.null && !record.is_quoted(parsed.field) {
            if parsed.is_required {
                return Err("a value: the column is NOT NULL".into());
            }
            column.push(|_| false);
            return Ok(());
        }
        column.try_push(|out| put_value(&parsed.facts, field, out))
    }
}
