//! The files of a run: appended and flushed, or replaced as a whole, so that none is ever torn.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use hdrhistogram::serialization::{
    V2DeflateSerializer,
    interval_log::{IntervalLogWriterBuilder, Tag},
};
use serde::{Deserialize, Serialize};

use super::{
    BlockRecord, Record, SCHEMA_VERSION,
    folder::{Folder, at, csv_error, replace},
    journal::{Journal, JournalRow},
};
use crate::{
    measure::{Activity, Histograms, Kind, WindowSummary},
    plan::CellPlan,
};

/// Name of the record's own file.
pub const RECORD: &str = "record.json";
const WINDOWS: &str = "windows.csv";
const BLOCKS: &str = "blocks.csv";
const LATENCY: &str = "latency.hlog";
const DEAD_LETTERS: &str = "dead_letters.jsonl";

/// Why a record cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// A file of it.
    #[error("{}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is a record of another version.
    #[error(
        "{}: has schema version {found}, and this batchpilot reads version {reads}: measure anew \
         with it, or use the one that wrote the record",
        path.display()
    )]
    Version {
        /// Which file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The version that can be read.
        reads: u32,
    },
    /// It is no record, or a damaged one.
    #[error("{}: {problem}", path.display())]
    Format {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it, and what was expected.
        problem: String,
    },
}

/// The directory of a run under way.
#[derive(Debug)]
pub struct Directory {
    folder: Folder,
    windows: csv::Writer<File>,
    blocks: csv::Writer<File>,
    latency: File,
    journal: Journal,
}

/// A row of `windows.csv`. A column's unit is in its name.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct WindowRow {
    /// Number of the block.
    pub block: usize,
    /// Name of the cell.
    pub cell: String,
    /// Repetition of the cell.
    pub repetition: u32,
    /// Number of the window in its block.
    pub window: u64,
    /// Start, from the block's start.
    pub start_ms: f64,
    /// Length.
    pub length_ms: f64,
    /// Epoch of the setting.
    pub epoch: u64,
    /// Whether it mixes settings.
    pub mixed: bool,
    /// Rows an operation carries.
    pub batch_rows: u64,
    /// Workers.
    pub workers: u32,
    /// Operations that ended well.
    pub operations: u64,
    /// Their rows.
    pub rows: u64,
    /// Rows a second, by the part of each operation that lies in the window.
    pub rows_per_s: f64,
    /// Attempts pushed back.
    pub pushed_back: u64,
    /// Operations that ended in an error.
    pub errors: u64,
    /// Mean service latency.
    pub service_ns_mean: f64,
    /// Its standard deviation.
    pub service_ns_stddev: f64,
    /// Its median.
    pub service_ns_p50: u64,
    /// Its 99th percentile.
    pub service_ns_p99: u64,
    /// Its largest.
    pub service_ns_max: u64,
    /// Median response latency.
    pub response_ns_p50: u64,
    /// Its 99th percentile.
    pub response_ns_p99: u64,
    /// Its largest.
    pub response_ns_max: u64,
    /// Mean wait for a session.
    pub pool_wait_ns_mean: f64,
    /// Operations due and not started.
    pub backlog: u64,
    /// CPU time of batchpilot.
    pub client_cpu_ns: u64,
    /// Whether the client was the limit.
    pub client_bound: bool,
    /// WAL of the whole server.
    pub wal_bytes: Option<u64>,
    /// Checkpoints begun.
    pub checkpoints: Option<u64>,
    /// Autovacuum workers at the window's end.
    pub autovacuum_workers: Option<u64>,
}

/// A row of `blocks.csv`.
#[derive(Debug, Serialize)]
struct BlockRow<'a> {
    block: usize,
    cell: &'a str,
    repetition: u32,
    strategy: &'a str,
    batch_rows: u64,
    workers: u32,
    valid: bool,
    rows: u64,
    operations: u64,
    elapsed_ns: u64,
    steady_rows: Option<f64>,
    steady_ns: Option<u64>,
    rows_per_s: f64,
    service_ns_p50: Option<u64>,
    service_ns_p99: Option<u64>,
    response_ns_p50: Option<u64>,
    response_ns_p99: Option<u64>,
    commit_ns_p50: Option<u64>,
    pushed_back: u64,
    rows_failed: u64,
    client_cpu_ns: u64,
    windows_client_bound: u64,
    wal_bytes: Option<u64>,
    wal_full_page_images: Option<u64>,
    checkpoints: Option<u64>,
}

impl Directory {
    /// Makes `<parent>/<UTC time>-<name>/` and starts its files.
    ///
    /// # Errors
    ///
    /// [`RecordError::File`] if that cannot be written to.
    pub fn create(parent: &Path, name: &str) -> Result<Directory, RecordError> {
        let folder = Folder::create(parent, name)?;
        let mut directory = Directory {
            windows: csv::Writer::from_writer(folder.start(WINDOWS)?),
            blocks: csv::Writer::from_writer(folder.start(BLOCKS)?),
            latency: folder.start(LATENCY)?,
            journal: Journal::default(),
            folder,
        };
        directory.start_log()?;
        Ok(directory)
    }

    /// Returns where the files are.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Replaces `record.json`, all of it or nothing.
    ///
    /// # Errors
    ///
    /// [`RecordError::File`].
    pub fn write(&self, record: &Record) -> Result<(), RecordError> {
        let text = serde_json::to_vec_pretty(record).expect("a record is plain data");
        self.replace(RECORD, &text)
    }

    /// Replaces a file of the directory, all of it or nothing; makes folders above it.
    ///
    /// # Errors
    ///
    /// [`RecordError::File`].
    pub fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), RecordError> {
        replace(&self.path().join(name), bytes)
    }

    /// As [`Directory::replace`], in the directory of an earlier run.
    ///
    /// # Errors
    ///
    /// [`RecordError::File`].
    pub fn replace_in(directory: &Path, name: &str, bytes: &[u8]) -> Result<(), RecordError> {
        replace(&directory.join(name), bytes)
    }

    /// Removes the directory of a run that measured nothing, and the one above it if it was made for
    /// this run and holds no other.
    pub fn discard(self) {
        self.folder.discard();
    }

    /// Appends a window.
    ///
    /// # Errors
    ///
    /// [`RecordError::File`].
    pub fn append_window(&mut self, row: &WindowRow) -> Result<(), RecordError> {
        let path = self.path().join(WINDOWS);
        self.windows.serialize(row).map_err(|error| csv_error(&path, error))?;
        self.windows.flush().map_err(at(&path))
    }

    /// Appends a decision.
    ///
    /// # Errors
    ///
    /// [`RecordError::File`].
    pub fn append_decision(&mut self, row: &JournalRow) -> Result<(), RecordError> {
        self.journal.append(self.folder.path(), row)
    }

    /// Returns what the time was, or in virtual time would have been, so long after the directory was
    /// made: in UTC, to the millisecond.
    pub fn utc_at(&self, offset: Duration) -> String {
        self.folder.utc_at(offset)
    }

    /// Appends a block to `blocks.csv`, and its latencies to `latency.hlog`. Its clock started so long
    /// after the directory was made.
    ///
    /// # Errors
    ///
    /// [`RecordError::File`].
    pub fn append_block(
        &mut self,
        block: &BlockRecord,
        cell: &CellPlan,
        histograms: &Histograms,
        start: Duration,
    ) -> Result<(), RecordError> {
        let path = self.path().join(BLOCKS);
        let row = block_row(block, cell, histograms);
        self.blocks.serialize(row).map_err(|error| csv_error(&path, error))?;
        self.blocks.flush().map_err(at(&path))?;
        let length = Duration::from_nanos(block.elapsed_ns);
        self.append_latencies(cell, histograms, start, length)
    }

    /// Appends rows that were rejected, one operation a line.
    ///
    /// # Errors
    ///
    /// [`RecordError::File`].
    pub fn append_dead_letters(&self, lines: &[serde_json::Value]) -> Result<(), RecordError> {
        if lines.is_empty() {
            return Ok(());
        }
        let path = self.path().join(DEAD_LETTERS);
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let file = OpenOptions::new().create(true).append(true).open(&path);
        file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(at(&path))
    }

    fn start_log(&mut self) -> Result<(), RecordError> {
        // In seconds since 1970; the start of the interval log.
        let started = self.folder.created().as_millisecond() as f64 / 1e3;
        let header = format!(
            "#[Latencies of batchpilot, in nanoseconds; a tag for each cell and kind]\n\
             #[Histogram log format version 1.3]\n\
             #[StartTime: {started:.3} (seconds since epoch)]\n\
             #[BaseTime: {started:.3} (seconds since epoch)]\n\
             \"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n"
        );
        let path = self.path().join(LATENCY);
        self.latency.write_all(header.as_bytes()).map_err(at(&path))
    }

    fn append_latencies(
        &mut self,
        cell: &CellPlan,
        histograms: &Histograms,
        start: Duration,
        length: Duration,
    ) -> Result<(), RecordError> {
        let mut lines = Vec::new();
        let mut serializer = V2DeflateSerializer::new();
        let mut log = IntervalLogWriterBuilder::new()
            .begin_log_with(&mut lines, &mut serializer)
            .expect("writes to memory");
        for kind in Kind::ALL {
            let histogram = histograms.of(kind);
            if !histogram.is_empty() {
                let tag = tag(&cell.name, kind);
                let tag = Tag::new(&tag).expect("without comma, space or line break");
                log.write_histogram(histogram, start, length, Some(tag)).expect("writes to memory");
            }
        }
        let path = self.path().join(LATENCY);
        self.latency.write_all(&lines).and_then(|()| self.latency.flush()).map_err(at(&path))
    }
}

/// Returns the tag of a cell's latencies in `latency.hlog`: no comma, no space, and only ASCII. The
/// name is written as in a URL's query, so that two names never share a tag, and any tool can read
/// it back.
///
/// HdrHistogram's own reader takes a file in the encoding of the locale, and in that of many servers,
/// `C`, one byte above 127 makes all of the log unreadable. So those bytes are written as `%E6`.
fn tag(cell: &str, kind: Kind) -> String {
    // Source: https://url.spec.whatwg.org/#concept-urlencoded-serializer
    let encoded = |byte: u8| match byte {
        b' ' => "+".to_owned(),
        b'*' | b'-' | b'.' | b'_' => char::from(byte).to_string(),
        _ if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    format!("{}.{}", cell.bytes().map(encoded).collect::<String>(), kind.name())
}

/// Reads `record.json` of a directory, or the file itself.
///
/// # Errors
///
/// What cannot be read, or is of another version.
pub fn read(path: &Path) -> Result<Record, RecordError> {
    let path = if path.is_dir() { record_in(path)? } else { path.to_path_buf() };
    let text = fs::read(&path).map_err(at(&path))?;
    let bad = |problem: String| RecordError::Format { path: path.clone(), problem };
    #[derive(Deserialize)]
    struct Version {
        schema_version: u32,
    }
    let version: Version = serde_json::from_slice(&text)
        .map_err(|error| bad(format!("not a record of batchpilot: {error}")))?;
    if version.schema_version != SCHEMA_VERSION {
        let (found, reads) = (version.schema_version, SCHEMA_VERSION);
        return Err(RecordError::Version { path, found, reads });
    }
    let record: Record =
        serde_json::from_slice(&text).map_err(|error| bad(format!("damaged record: {error}")))?;
    match record.damaged_histogram() {
        Some(which) => Err(bad(format!("damaged record: {which}"))),
        None => Ok(record),
    }
}

/// The record's own file of a run's directory.
fn record_in(directory: &Path) -> Result<PathBuf, RecordError> {
    let path = directory.join(RECORD);
    if path.exists() {
        return Ok(path);
    }
    let entries = fs::read_dir(directory).map_err(at(directory))?;
    let runs = entries.flatten().map(|it| it.path()).filter(|it| it.join(RECORD).exists());
    let example = runs.max().map_or_else(String::new, |it| format!(", such as {}", it.display()));
    Err(RecordError::Format {
        path: directory.to_path_buf(),
        problem: format!("no {RECORD} in it; expected the directory of a run{example}"),
    })
}

/// Reads `windows.csv` of a directory. A last line that a kill cut short is left out.
///
/// # Errors
///
/// [`RecordError::File`] if there is no such file.
pub fn read_windows(directory: &Path) -> Result<Vec<WindowRow>, RecordError> {
    let path = directory.join(WINDOWS);
    let file = File::open(&path).map_err(at(&path))?;
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(BufReader::new(file));
    Ok(reader.deserialize().map_while(Result::ok).collect())
}

fn block_row<'a>(block: &BlockRecord, cell: &'a CellPlan, histograms: &Histograms) -> BlockRow<'a> {
    // Of nothing there is none: an empty field, and no 0.
    let quantile = |kind, quantile| {
        Some(histograms.of(kind))
            .filter(|it| !it.is_empty())
            .map(|it| it.value_at_quantile(quantile))
    };
    BlockRow {
        block: block.number,
        cell: &cell.name,
        repetition: block.repetition,
        strategy: cell.strategy.name(),
        batch_rows: cell.batch_rows,
        workers: cell.workers,
        valid: block.is_valid(),
        rows: block.rows_confirmed,
        operations: block.operations,
        elapsed_ns: block.elapsed_ns,
        steady_rows: block.steady.map(|it| it.rows),
        steady_ns: block.steady.map(|it| it.elapsed_ns),
        rows_per_s: block.rows_per_s(),
        service_ns_p50: quantile(Kind::Service, 0.5),
        service_ns_p99: quantile(Kind::Service, 0.99),
        response_ns_p50: quantile(Kind::Response, 0.5),
        response_ns_p99: quantile(Kind::Response, 0.99),
        commit_ns_p50: quantile(Kind::Commit, 0.5),
        pushed_back: block.pushed_back,
        rows_failed: block.rows_failed,
        client_cpu_ns: block.client_cpu_ns,
        windows_client_bound: block.windows_client_bound,
        wal_bytes: block.wal_bytes,
        wal_full_page_images: block.wal_full_page_images,
        checkpoints: block.checkpoints,
    }
}

impl WindowRow {
    /// Returns the window as its controller saw it; only the time that workers waited for rows is not
    /// on disk, and what it came to, [`WindowRow::client_bound`], is.
    pub fn summary(&self) -> WindowSummary {
        let of_ms = |ms: f64| Duration::from_secs_f64(ms.max(0.0) / 1e3);
        let activity = self.wal_bytes.zip(self.checkpoints).zip(self.autovacuum_workers);
        WindowSummary {
            index: self.window,
            start: of_ms(self.start_ms),
            length: of_ms(self.length_ms),
            epoch: self.epoch,
            mixed: self.mixed,
            batch_rows: self.batch_rows,
            workers: self.workers,
            operations: self.operations,
            rows: self.rows,
            rows_within: self.rows_per_s * self.length_ms.max(0.0) / 1e3,
            pushed_back: self.pushed_back,
            errors: self.errors,
            service_ns_mean: self.service_ns_mean,
            service_ns2_variance: self.service_ns_stddev * self.service_ns_stddev,
            service_ns_p50: self.service_ns_p50,
            service_ns_p99: self.service_ns_p99,
            service_ns_max: self.service_ns_max,
            response_ns_p50: self.response_ns_p50,
            response_ns_p99: self.response_ns_p99,
            response_ns_max: self.response_ns_max,
            pool_wait_ns_mean: self.pool_wait_ns_mean,
            backlog: self.backlog,
            client_cpu: Duration::from_nanos(self.client_cpu_ns),
            rows_wait: Duration::ZERO,
            client_bound: self.client_bound,
            activity: activity.map(|((wal_bytes, checkpoints), autovacuum_workers)| Activity {
                wal_bytes,
                checkpoints,
                autovacuum_workers,
            }),
        }
    }

    /// Makes the row of a window.
    pub fn new(block: usize, cell: &str, repetition: u32, window: &WindowSummary) -> WindowRow {
        let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
        let activity = window.activity;
        WindowRow {
            block,
            cell: cell.to_owned(),
            repetition,
            window: window.index,
            start_ms: ms(window.start),
            length_ms: ms(window.length),
            epoch: window.epoch,
            mixed: window.mixed,
            batch_rows: window.batch_rows,
            workers: window.workers,
            operations: window.operations,
            rows: window.rows,
            rows_per_s: window.rows_per_s(),
            pushed_back: window.pushed_back,
            errors: window.errors,
            service_ns_mean: window.service_ns_mean,
            service_ns_stddev: window.service_ns2_variance.sqrt(),
            service_ns_p50: window.service_ns_p50,
            service_ns_p99: window.service_ns_p99,
            service_ns_max: window.service_ns_max,
            response_ns_p50: window.response_ns_p50,
            response_ns_p99: window.response_ns_p99,
            response_ns_max: window.response_ns_max,
            pool_wait_ns_mean: window.pool_wait_ns_mean,
            backlog: window.backlog,
            client_cpu_ns: u64::try_from(window.client_cpu.as_nanos()).unwrap_or(u64::MAX),
            client_bound: window.client_bound,
            wal_bytes: activity.map(|it| it.wal_bytes),
            checkpoints: activity.map(|it| it.checkpoints),
            autovacuum_workers: activity.map(|it| it.autovacuum_workers),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_ascii_without_separators() {
        for (cell, expected) in [
            ("plain: serial batches, 5 workers", "plain%3A+serial+batches%2C+5+workers.service"),
            ("批", "%E6%89%B9.service"),
        ] {
            assert_eq!(tag(cell, Kind::Service), expected);
        }
    }

    #[test]
    fn names_that_differ_in_punctuation_have_tags_of_their_own() {
        let printable = || (b' '..=b'~').map(char::from);
        let names = printable().map(|it| format!("a{it}b"));
        let escapes = ["a%2Cb", "a%20b", "a b ", "a  b"].map(str::to_owned);
        let names: std::collections::BTreeSet<String> = names.chain(escapes).collect();
        let tags: std::collections::BTreeSet<String> =
            names.iter().map(|name| tag(name, Kind::Service)).collect();
        assert_eq!(tags.len(), names.len());
        assert!(tags.iter().all(|tag| tag.is_ascii() && !tag.contains([',', ' '])));
    }
}
