//! The records of a CSV file, one at a time, with the line on which each begins.

use std::{fs::File, io, os::unix::fs::FileExt as _, sync::Arc};

use csv_core::ReadRecordResult;
use xxhash_rust::xxh3::Xxh3;

use super::CsvProgress;

/// Bytes read at once.
const READ_BYTES: usize = 128 * 1_024;
/// Bytes of a record, at most: a quote that nobody closes would swallow the rest of the file.
const RECORD_BYTES_MAX: usize = 64 * 1_024 * 1_024;
const BOM: &[u8; 3] = b"\xef\xbb\xbf";
const QUOTE: u8 = b'"';

/// Why a file cannot be read on.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("line {0}: a quote is opened and not closed")]
    OpenQuote(u64),
    #[error("line {0}: a record of more than 64 MiB; is a quote not closed?")]
    TooLong(u64),
    /// When the file was looked through, every record was one.
    #[error("line {0} is no row any more")]
    NoRow(u64),
    /// Whoever asked for it does not want it any more.
    #[error("stopped")]
    Stopped,
}

/// A place in a file at which a record begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Mark {
    /// Bytes before it.
    pub(super) offset: u64,
    /// Its line, from 1.
    pub(super) line: u64,
}

/// Reads records from a place on. Reading leaves the file's own position alone, so that many may read.
pub(super) struct Reader {
    file: Arc<File>,
    delimiter: u8,
    core: csv_core::Reader,
    buffer: Vec<u8>,
    /// What of the buffer is read, and not yet used.
    start: usize,
    end: usize,
    /// Where in the file the buffer ends.
    offset: u64,
    is_at_end: bool,
    /// The line at `start`.
    line: u64,
    /// The record: its place in the buffer, its first line, its fields without their quotes.
    record: std::ops::Range<usize>,
    record_mark: Mark,
    fields: Vec<u8>,
    ends: Vec<usize>,
    field_count: usize,
    lines_blank: u64,
    /// What is kept of a first pass, if this is one.
    first_pass: Option<Box<FirstPass>>,
}

struct FirstPass {
    /// Of all bytes read.
    hash: Xxh3,
    progress: CsvProgress,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Reader").field("record", &self.record_mark).finish_non_exhaustive()
    }
}

impl Reader {
    /// Begins at a mark.
    pub(super) fn at(file: &Arc<File>, delimiter: u8, mark: Mark) -> Reader {
        let mut core = csv_core::ReaderBuilder::new().delimiter(delimiter).build();
        // The first bytes that it sees may be a byte order mark to it, wherever in the file they stand.
        core.read_record(b"x\n", &mut [0; 8], &mut [0; 8]);
        Reader {
            file: Arc::clone(file),
            delimiter,
            core,
            buffer: vec![0; READ_BYTES],
            start: 0,
            end: 0,
            offset: mark.offset,
            is_at_end: false,
            line: mark.line,
            record: 0..0,
            record_mark: mark,
            fields: vec![0; 1_024],
            ends: vec![0; 32],
            field_count: 0,
            lines_blank: 0,
            first_pass: None,
        }
    }

    /// Begins at the start of the file, behind a byte order mark; hashes what it reads, says how far it
    /// has come, and stops when it is told to.
    pub(super) fn first_pass(
        file: &Arc<File>,
        delimiter: u8,
        progress: &CsvProgress,
    ) -> Result<Reader, ReadError> {
        let mut reader = Reader::at(file, delimiter, Mark { offset: 0, line: 1 });
        let first_pass = FirstPass { hash: Xxh3::new(), progress: progress.clone() };
        reader.first_pass = Some(Box::new(first_pass));
        reader.fill()?;
        if reader.buffer[..reader.end].starts_with(BOM) {
            reader.start = BOM.len();
        }
        Ok(reader)
    }

    /// Goes to the next record; `false` at the end of the file.
    pub(super) fn next(&mut self) -> Result<bool, ReadError> {
        self.skip_blank_lines()?;
        let (mut read, mut written, mut ended) = (0, 0, 0);
        loop {
            if self.start + read == self.end && !self.is_at_end {
                if RECORD_BYTES_MAX < read {
                    return Err(ReadError::TooLong(self.line));
                }
                self.fill()?;
                continue;
            }
            let input = &self.buffer[self.start + read..self.end];
            let (fields, ends) = (&mut self.fields[written..], &mut self.ends[ended..]);
            let (result, bytes_in, bytes_out, ends_out) =
                self.core.read_record(input, fields, ends);
            read += bytes_in;
            written += bytes_out;
            ended += ends_out;
            match result {
                ReadRecordResult::InputEmpty => (),
                ReadRecordResult::OutputFull => self.fields.resize(self.fields.len() * 2, 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                ReadRecordResult::Record => break,
                ReadRecordResult::End => return Ok(false),
            }
        }
        self.field_count = ended;
        self.record_mark = Mark { offset: self.position(), line: self.line };
        self.end_record(read)?;
        Ok(true)
    }

    /// Notes where the record stood, and goes past its end.
    fn end_record(&mut self, read: usize) -> Result<(), ReadError> {
        let raw = &self.buffer[self.start..self.start + read];
        let is_last = self.is_at_end && self.start + read == self.end;
        if is_last && quoting(raw, self.delimiter, usize::MAX).is_open {
            return Err(ReadError::OpenQuote(self.line));
        }
        let mut lines = count(raw, b'\n');
        let mut after = read;
        match raw.last() {
            Some(b'\n') => (),
            Some(b'\r') => {
                lines += 1;
                if self.peek(read)? == Some(b'\n') {
                    after += 1;
                }
            }
            // The end of the file.
            _ => lines += 1,
        }
        self.record = self.start..self.start + read;
        self.start += after;
        self.line += lines;
        Ok(())
    }

    /// Where in the file the unused part of the buffer begins.
    fn position(&self) -> u64 {
        self.offset - (self.end - self.start) as u64
    }

    fn skip_blank_lines(&mut self) -> Result<(), ReadError> {
        loop {
            let bytes = match self.peek(0)? {
                Some(b'\n') => 1,
                Some(b'\r') if self.peek(1)? == Some(b'\n') => 2,
                Some(b'\r') => 1,
                _ => return Ok(()),
            };
            self.start += bytes;
            self.line += 1;
            self.lines_blank += 1;
        }
    }

    /// Returns a byte that is not used yet.
    fn peek(&mut self, ahead: usize) -> Result<Option<u8>, ReadError> {
        while self.end <= self.start + ahead && !self.is_at_end {
            self.fill()?;
        }
        Ok(self.buffer[..self.end].get(self.start + ahead).copied())
    }

    /// Reads more behind what is not used yet.
    fn fill(&mut self) -> Result<(), ReadError> {
        if 0 < self.start {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        let count = loop {
            match self.file.read_at(&mut self.buffer[self.end..], self.offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                other => break other?,
            }
        };
        self.offset += count as u64;
        if let Some(pass) = &mut self.first_pass {
            if pass.progress.is_stopped() {
                return Err(ReadError::Stopped);
            }
            pass.hash.update(&self.buffer[self.end..self.end + count]);
            pass.progress.set_bytes_read(self.offset);
        }
        self.is_at_end = count == 0;
        self.end += count;
        Ok(())
    }

    /// Where the record begins.
    pub(super) fn mark(&self) -> Mark {
        self.record_mark
    }

    /// How many lines the record has.
    pub(super) fn line_count(&self) -> u64 {
        self.line - self.record_mark.line
    }

    /// Lines of the file up to here.
    pub(super) fn lines_read(&self) -> u64 {
        self.line - 1
    }

    /// Blank lines up to here.
    pub(super) fn lines_blank(&self) -> u64 {
        self.lines_blank
    }

    /// Returns the hash of all that a first pass has read.
    pub(super) fn hash(&self) -> u128 {
        self.first_pass.as_ref().map_or(0, |pass| pass.hash.digest128())
    }

    /// Bytes of the record.
    pub(super) fn record_bytes(&self) -> usize {
        self.record.len()
    }

    pub(super) fn field_count(&self) -> usize {
        self.field_count
    }

    /// Returns a field of the record, without its quotes.
    pub(super) fn field(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.fields[start..self.ends[index]]
    }

    /// Returns whether a field stood in quotes: then it is a value, and not NULL.
    pub(super) fn is_quoted(&self, index: usize) -> bool {
        quoting(&self.buffer[self.record.clone()], self.delimiter, index).is_quoted
    }

    /// Returns whether a field that does not begin with a quote has one: to `COPY` it opens a quoted
    /// part, to csv-core it is a character.
    pub(super) fn has_inner_quote(&self) -> bool {
        let raw = &self.buffer[self.record.clone()];
        raw.contains(&QUOTE) && quoting(raw, self.delimiter, usize::MAX).is_inner
    }
}

/// What csv-core does not tell of a record.
struct Quoting {
    /// Whether the field that was asked for begins with a quote.
    is_quoted: bool,
    /// Whether a quote is open at the end; looked for only if there is no such field.
    is_open: bool,
    /// Whether a quote stands within a field that is not in quotes, up to the one that was asked for.
    is_inner: bool,
}

/// Goes through a record as csv-core does.
fn quoting(raw: &[u8], delimiter: u8, wanted: usize) -> Quoting {
    enum State {
        Start,
        Plain,
        Quoted,
        /// Behind a quote within quotes: it is doubled, or the last.
        Quote,
    }
    let (mut state, mut field, mut is_quoted, mut is_inner) = (State::Start, 0, false, false);
    for &byte in raw {
        is_inner |= matches!((&state, byte), (State::Plain, QUOTE));
        state = match (state, byte) {
            (State::Start, QUOTE) => {
                is_quoted = true;
                State::Quoted
            }
            (State::Quoted, QUOTE) => State::Quote,
            (State::Quoted, _) | (State::Quote, QUOTE) => State::Quoted,
            (_, byte) if byte == delimiter => {
                if field == wanted {
                    return Quoting { is_quoted, is_open: false, is_inner };
                }
                (field, is_quoted) = (field + 1, false);
                State::Start
            }
            _ => State::Plain,
        };
    }
    Quoting { is_quoted, is_open: matches!(state, State::Quoted), is_inner }
}

fn count(bytes: &[u8], wanted: u8) -> u64 {
    bytes.iter().map(|&byte| u64::from(byte == wanted)).sum()
}
