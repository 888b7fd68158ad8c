//! The first pass over a CSV file: every line is looked at, and some places are kept.

use std::{
    fs::File,
    sync::{Arc, Mutex, OnceLock},
    time::SystemTime,
};

use serde::{Deserialize, Serialize};

use super::{
    BadRecord, CsvColumn, CsvHeader, CsvRows, CsvSent, CsvSettings, OnBadLine, ParsedColumn,
    Parser, Source,
    reader::{Mark, ReadError, Reader},
    value::is_readable,
};
use crate::rows::ColumnSpec;

/// Lines that are named of those that cannot be read.
const EXAMPLES_MAX: usize = 5;
/// Characters of a value that are shown.
const SHOWN_MAX: usize = 60;
/// Places kept, at most: 1 MiB. Beyond, every second one is forgotten.
const MARKS_MAX: usize = 1 << 16;
/// Rows from one place to the next, at first.
const STRIDE: u64 = 1_024;

/// What a CSV file was found to hold.
///
/// Every line is of one kind: `lines = lines_header + lines_blank + lines_bad + lines_rows`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct CsvFacts {
    /// The file, as it was named.
    pub file: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// XXH3 (128 bits) of its bytes, in hexadecimal.
    pub xxh3: String,
    /// Lines; a quoted field may hold several.
    pub lines: u64,
    /// Lines of the header.
    pub lines_header: u64,
    /// Blank lines.
    pub lines_blank: u64,
    /// Lines of records that cannot be read, and are left out.
    pub lines_bad: u64,
    /// Lines of rows.
    pub lines_rows: u64,
    /// Records that can be read: the rows.
    pub rows: u64,
    /// Records that cannot.
    pub records_bad: u64,
    /// The first few of them, in words.
    pub bad_examples: Vec<String>,
}

/// Why the rows of a file cannot be had.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CsvError {
    /// What is wrong, and the way out.
    #[error("{0}")]
    Problem(String),
    /// Nothing that is known: the first pass was told to stop. Names the file.
    #[error("stopped while {0} was looked through")]
    Stopped(String),
}

fn error<T>(problem: impl Into<String>) -> Result<T, CsvError> {
    Err(CsvError::Problem(problem.into()))
}

fn unreadable(file: &str, why: &ReadError) -> CsvError {
    match why {
        ReadError::Stopped => CsvError::Stopped(file.to_owned()),
        why => CsvError::Problem(format!("cannot read {file}: {why}")),
    }
}

/// Places of rows: every so many rows one.
#[derive(Clone, Debug)]
pub(super) struct Index {
    stride: u64,
    marks: Vec<Mark>,
}

impl Index {
    pub(super) fn add(&mut self, row: u64, mark: Mark) {
        if row != self.stride * self.marks.len() as u64 {
            return;
        }
        if self.marks.len() == MARKS_MAX {
            let mut place = 0;
            self.marks.retain(|_| {
                place += 1;
                place % 2 == 1
            });
            self.stride *= 2;
            // What was number 2^16 is number 2^15 now, and has its place next.
        }
        self.marks.push(mark);
    }

    /// Returns the last place at or before a row, and the row there.
    pub(super) fn before(&self, row: u64) -> (u64, Mark) {
        let place = usize::try_from(row / self.stride).unwrap_or(usize::MAX);
        let place = place.min(self.marks.len() - 1);
        (place as u64 * self.stride, self.marks[place])
    }
}

pub(super) fn identity(file: &File) -> Option<(u64, SystemTime)> {
    let metadata = file.metadata().ok()?;
    Some((metadata.len(), metadata.modified().ok()?))
}

/// The plan lets only ASCII pass.
pub(super) fn delimiter(settings: &CsvSettings) -> u8 {
    u8::try_from(settings.delimiter).expect("a delimiter is one byte")
}

impl CsvRows {
    /// Looks through a file whose lines are to become rows of these columns.
    ///
    /// # Errors
    ///
    /// What cannot be read, by line; a column that the table does not have, or whose type cannot be read;
    /// that it was told to stop.
    pub fn open(settings: &CsvSettings, columns: &[CsvColumn]) -> Result<CsvRows, CsvError> {
        let name = &settings.file;
        let file =
            File::open(&settings.path).or_else(|it| error(format!("cannot read {name}: {it}")))?;
        let is_file = file.metadata().is_ok_and(|metadata| metadata.is_file());
        if !is_file {
            return error(format!(
                "{name} is no regular file; its lines are read more than once, so copy a stream into \
                 a file first"
            ));
        }
        let file = Arc::new(file);
        let identity = identity(&file);
        let bytes = identity.map_or(0, |(bytes, _)| bytes);
        settings.progress.begin(bytes);
        let mut reader = Reader::first_pass(&file, delimiter(settings), &settings.progress)
            .map_err(|it| unreadable(name, &it))?;
        let (parser, lines_header) = parser(settings, columns, &mut reader)?;
        let mut survey = Survey::new(settings, &parser);
        survey.facts.lines_header = lines_header;
        survey.facts.bytes = bytes;
        survey.read(&mut reader)?;
        let Survey { facts, index, .. } = survey;
        check(settings, &facts)?;
        let specs = parser.columns.iter().map(|column| ColumnSpec {
            name: column.name.clone(),
            sql_type: column.facts.sql_type.clone(),
        });
        let specs: Arc<[ColumnSpec]> = specs.collect();
        let compared = (0..specs.len()).collect();
        let source = Source {
            file,
            identity,
            settings: settings.clone(),
            facts,
            index,
            parser,
            cursors: Mutex::default(),
            fault: OnceLock::new(),
        };
        Ok(CsvRows { source: Arc::new(source), specs, compared })
    }
}

/// Refuses a file that has no row, or lines that cannot be read.
fn check(settings: &CsvSettings, facts: &CsvFacts) -> Result<(), CsvError> {
    let name = &settings.file;
    if 0 < facts.records_bad && settings.on_bad_line == OnBadLine::Error {
        let count = facts.records_bad;
        let records = facts.records_bad + facts.rows;
        let more = if facts.bad_examples.len() as u64 == count { "" } else { "\n  …" };
        return error(format!(
            "{count} of {records} records of {name} cannot be read; mend them, or leave them out with \
             `rows.on_bad_line = \"skip\"`:\n  {}{more}",
            facts.bad_examples.join("\n  "),
        ));
    }
    if facts.rows == 0 {
        let bad = facts.bad_examples.first().map(|it| format!(": {it}")).unwrap_or_default();
        return error(format!("{name} has no row{bad}"));
    }
    Ok(())
}

/// The pass over the records.
struct Survey<'a> {
    settings: &'a CsvSettings,
    parser: &'a Parser,
    facts: CsvFacts,
    index: Index,
}

impl<'a> Survey<'a> {
    fn new(settings: &'a CsvSettings, parser: &'a Parser) -> Survey<'a> {
        let facts = CsvFacts { file: settings.file.clone(), ..CsvFacts::default() };
        Survey { settings, parser, facts, index: Index { stride: STRIDE, marks: Vec::new() } }
    }

    fn read(&mut self, reader: &mut Reader) -> Result<(), CsvError> {
        let name = &self.settings.file;
        let mut columns = self.parser.columns(1);
        while reader.next().map_err(|it| unreadable(name, &it))? {
            columns.iter_mut().for_each(|column| column.truncate(0));
            match self.parser.append(reader, &mut columns, 0) {
                Ok(()) => {
                    self.index.add(self.facts.rows, reader.mark());
                    self.facts.rows += 1;
                    self.facts.lines_rows += reader.line_count();
                }
                Err(bad) => {
                    self.facts.records_bad += 1;
                    self.facts.lines_bad += reader.line_count();
                    if self.facts.bad_examples.len() < EXAMPLES_MAX {
                        self.facts.bad_examples.push(self.words(reader, &bad));
                    }
                }
            }
        }
        self.facts.lines = reader.lines_read();
        self.facts.lines_blank = reader.lines_blank();
        self.facts.xxh3 = format!("{:032x}", reader.hash());
        let facts = &self.facts;
        assert_eq!(
            facts.lines,
            facts.lines_header + facts.lines_blank + facts.lines_bad + facts.lines_rows,
            "every line is of one kind"
        );
        Ok(())
    }

    fn words(&self, reader: &Reader, bad: &BadRecord) -> String {
        let place = format!("{}:{}", self.settings.file, reader.mark().line);
        match bad {
            BadRecord::FieldCount { found } => {
                let (expected, found) = (fields(self.parser.field_count), fields(*found));
                format!("{place}: {found}; expected {expected}")
            }
            BadRecord::InnerQuote => format!(
                "{place}: a quote within a field that does not begin with one; expected the whole field in \
                 quotes, and each quote of its text doubled"
            ),
            BadRecord::Field { column, expected } => {
                let column = &self.parser.columns[*column];
                let (name, sql_type) = (&column.name, &column.facts.sql_type.name);
                let value = shown(reader.field(column.field));
                format!("{place}: column `{name}` ({sql_type}): {value}; expected {expected}")
            }
        }
    }
}

fn fields(count: usize) -> String {
    format!("{count} field{}", if count == 1 { "" } else { "s" })
}

/// The beginning of a value, in quotes.
fn shown(field: &[u8]) -> String {
    let text = String::from_utf8_lossy(field);
    let short: String = text.chars().take(SHOWN_MAX).collect();
    let more = if short.len() < text.len() { "…" } else { "" };
    format!("{short:?}{more}")
}

/// Finds the column of each field; returns how many lines the header has, too.
fn parser(
    settings: &CsvSettings,
    columns: &[CsvColumn],
    reader: &mut Reader,
) -> Result<(Parser, u64), CsvError> {
    let name = &settings.file;
    let mut lines_header = 0;
    let fields: Vec<&CsvColumn> = match settings.header {
        CsvHeader::TableOrder => {
            columns.iter().filter(|column| column.is_sent == CsvSent::IfThere).collect()
        }
        CsvHeader::Names => {
            let is_there = reader.next().map_err(|it| unreadable(name, &it))?;
            if !is_there {
                return error(format!("{name} is empty; its first line is to name columns"));
            }
            lines_header = reader.line_count();
            let named = (0..reader.field_count()).map(|index| named(name, columns, reader, index));
            named.collect::<Result<_, _>>()?
        }
    };
    for (place, column) in fields.iter().enumerate() {
        if fields[..place].contains(column) {
            return error(format!("{name} names column `{}` twice", column.name));
        }
    }
    refuse_missing(name, columns, &fields)?;
    let sent = fields.iter().enumerate().filter(|(_, it)| it.is_sent == CsvSent::IfThere);
    let mut parsed = Vec::new();
    for (field, column) in sent {
        if !is_readable(&column.facts) {
            return error(format!(
                "{name}: values of column `{}`, of type {}, cannot be read; leave it out with \
                 `left_out = true` in [[columns]]",
                column.name, column.facts.sql_type.name
            ));
        }
        parsed.push(ParsedColumn {
            field,
            name: column.name.clone(),
            facts: column.facts.clone(),
            kind: Arc::new(column.facts.sql_type.kind.clone()),
            is_required: column.is_required,
        });
    }
    if parsed.is_empty() {
        return error(format!("{name} has no column that would be sent"));
    }
    let null = settings.null.clone().into_bytes();
    Ok((Parser { columns: parsed, field_count: fields.len(), null }, lines_header))
}

/// Returns the column that a field of the header names.
fn named<'a>(
    file: &str,
    columns: &'a [CsvColumn],
    reader: &Reader,
    index: usize,
) -> Result<&'a CsvColumn, CsvError> {
    let field = String::from_utf8_lossy(reader.field(index));
    let Some(column) = columns.iter().find(|column| column.name == field) else {
        let near = |column: &&CsvColumn| strsim::damerau_levenshtein(&column.name, &field);
        let nearest = columns.iter().min_by_key(near).filter(|it| near(it) <= 3);
        let hint = nearest.map(|it| format!("; did you mean `{}`?", it.name)).unwrap_or_default();
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        let first = if index == 0 && reader.field_count() == 1 && 1 < columns.len() {
            "; is `rows.delimiter` another than `,`?"
        } else {
            ""
        };
        return error(format!(
            "{file}:{}: the table has no column {}{hint}; it has {}{first} (without a header: \
             `rows.header = false`)",
            reader.mark().line,
            shown(reader.field(index)),
            names.join(", ")
        ));
    };
    if column.is_sent == CsvSent::Never {
        return error(format!(
            "{file}: only the server makes values of `{field}`; leave it out with `left_out = true` \
             in [[columns]]"
        ));
    }
    Ok(column)
}

fn refuse_missing(
    file: &str,
    columns: &[CsvColumn],
    fields: &[&CsvColumn],
) -> Result<(), CsvError> {
    let is_needed = |it: &&CsvColumn| {
        let is_there = it.is_sent == CsvSent::IfThere && fields.contains(it);
        it.is_required && !it.has_default && it.is_sent != CsvSent::Never && !is_there
    };
    match columns.iter().find(is_needed) {
        None => Ok(()),
        Some(column) => error(format!(
            "{file} has no column `{}`, which is NOT NULL and has no default",
            column.name
        )),
    }
}
