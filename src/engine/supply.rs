//! Rows, built ahead of the workers: outside the measured path, in bounded memory.
//!
//! A thread of its own builds chunks into a short queue. Workers first reserve how many rows an
//! operation gets, then take them in slices; a large batch is built while it is being sent.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::Mutex;

use crate::{
    clock::{self, Instant, Time},
    rows::{Chunk, Generator, RowRange, RowSlice},
    target::Batch,
};

/// Rows of a chunk, about: 120 KiB of the article's users. The builder wakes up once a chunk, and a
/// COPY of fewer chunks disturbs the server less.
const CHUNK_ROWS: u64 = 2_048;
/// Chunks built ahead.
const CHUNKS_AHEAD: usize = 2;

/// Hands rows to workers, each row once.
#[derive(Debug)]
pub(crate) struct Supply {
    generator: Generator,
    rows_left: AtomicU64,
    rows_reserved: AtomicU64,
    cursor: Mutex<Cursor>,
}

#[derive(Debug)]
struct Cursor {
    source: Source,
    chunk: Option<Arc<Chunk>>,
    next: u64,
}

#[derive(Debug)]
enum Source {
    Thread(async_channel::Receiver<Arc<Chunk>>),
    Counted,
}

impl Supply {
    /// Starts to build `rows_max` rows from the index `first_row` on; `batch_rows` is a hint for the
    /// size of chunks.
    pub(crate) fn start(
        generator: &Generator,
        time: Time,
        (first_row, rows_max): (u64, Option<u64>),
        batch_rows: u64,
    ) -> Supply {
        let end = rows_max.map_or(u64::MAX, |rows| first_row.saturating_add(rows));
        let rows = RowRange { start: first_row, end };
        let source = match time {
            // A simulated target looks at no row, and virtual time does not wait for threads.
            Time::Virtual => Source::Counted,
            Time::Real => Source::Thread(spawn_builder(generator.clone(), rows, batch_rows)),
        };
        Supply {
            generator: generator.clone(),
            rows_left: AtomicU64::new(rows.row_count()),
            rows_reserved: AtomicU64::new(0),
            cursor: Mutex::new(Cursor { source, chunk: None, next: first_row }),
        }
    }

    /// Reserves up to `rows` rows and returns how many there are for this operation; 0 at the end.
    pub(crate) fn reserve(&self, rows: u64) -> u64 {
        let mut reserved = 0;
        let take = |left: u64| {
            reserved = rows.min(left);
            Some(left - reserved)
        };
        self.rows_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).expect("is Some");
        self.rows_reserved.fetch_add(reserved, Ordering::Relaxed);
        reserved
    }

    /// Returns how many rows were handed out, or promised, to operations.
    pub(crate) fn rows_reserved(&self) -> u64 {
        self.rows_reserved.load(Ordering::Relaxed)
    }

    /// Returns whether every row is reserved.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.rows_left.load(Ordering::Relaxed) == 0
    }

    /// Takes at most `rows` of the rows reserved.
    async fn take(&self, rows: u64) -> RowSlice {
        let mut cursor = self.cursor.lock().await;
        let next = cursor.next;
        if cursor.chunk.as_ref().is_none_or(|chunk| chunk.range.end <= next) {
            cursor.chunk = Some(match &cursor.source {
                Source::Counted => {
                    let range = RowRange { start: next, end: next + rows };
                    Arc::new(Chunk { range, columns: Vec::new() })
                }
                Source::Thread(chunks) => {
                    chunks.recv().await.expect("the builder builds all that can be reserved")
                }
            });
        }
        let chunk = cursor.chunk.clone().expect("was filled above");
        let end = chunk.range.end.min(next + rows);
        cursor.next = end;
        RowSlice::new(chunk, RowRange { start: next, end })
    }
}

fn spawn_builder(
    generator: Generator,
    rows: RowRange,
    batch_rows: u64,
) -> async_channel::Receiver<Arc<Chunk>> {
    let (sender, receiver) = async_channel::bounded(CHUNKS_AHEAD);
    let chunk_rows = match CHUNK_ROWS / batch_rows {
        0 => CHUNK_ROWS,
        batches => batches * batch_rows,
    };
    let build = move || {
        let mut start = rows.start;
        while start < rows.end {
            let end = rows.end.min(start.saturating_add(chunk_rows));
            let chunk = Arc::new(generator.build_some(RowRange { start, end }));
            start = chunk.range.end;
            if sender.send_blocking(chunk).is_err() {
                return; // The block is over.
            }
        }
    };
    let builder = std::thread::Builder::new().name("rows".to_owned()).spawn(build);
    builder.expect("the system can start one more thread");
    receiver
}

/// The rows of one operation, as its session takes them.
#[derive(Debug)]
pub(crate) struct Reserved<'a> {
    supply: &'a Supply,
    rows: u64,
    /// Rows taken for the first time, in order. An operation that is tried again has them built
    /// again: a row is a function of its index.
    taken: Vec<RowRange>,
    taken_rows: u64,
    /// How many of `taken` this attempt has handed out.
    replayed: usize,
    first: Option<RowSlice>,
    /// Time that this attempt waited for rows.
    rows_wait: Duration,
    /// Rows from the first on that this attempt's session had an answer for, one by one.
    rows_acknowledged: u64,
}

impl<'a> Reserved<'a> {
    /// Takes the first slice of `rows` rows that were reserved; waits for it if need be. Returns when
    /// it was there, too.
    pub(crate) async fn new(supply: &'a Supply, rows: u64) -> (Reserved<'a>, Instant) {
        let mut batch = Reserved {
            supply,
            rows,
            taken: Vec::new(),
            taken_rows: 0,
            replayed: 0,
            first: None,
            rows_wait: Duration::ZERO,
            rows_acknowledged: 0,
        };
        let started = clock::now();
        let first = batch.take().await;
        let taken = clock::now();
        batch.rows_wait = taken - started;
        batch.first = Some(first);
        (batch, taken)
    }

    /// Makes ready for another attempt with the same rows. As in the first one, the first slice is
    /// built before the clock of the attempt starts.
    pub(crate) fn rewind(&mut self) {
        self.first = Some(self.build(self.taken[0]));
        self.replayed = 1;
        self.rows_wait = Duration::ZERO;
        self.rows_acknowledged = 0;
    }

    /// Returns the indexes of the rows of this operation; waits for those not taken yet.
    pub(crate) async fn into_ranges(mut self) -> Vec<RowRange> {
        while self.taken_rows < self.rows {
            self.take().await;
        }
        self.taken
    }

    /// Returns the index of the first row: what tells operations apart.
    pub(crate) fn first_row(&self) -> u64 {
        self.taken[0].start
    }

    pub(crate) fn rows_acknowledged(&self) -> u64 {
        self.rows_acknowledged
    }

    pub(crate) fn rows_wait(&self) -> Duration {
        self.rows_wait
    }

    /// Builds rows again that were taken before.
    fn build(&self, range: RowRange) -> RowSlice {
        RowSlice::new(Arc::new(self.supply.generator.build(range)), range)
    }

    async fn take(&mut self) -> RowSlice {
        let slice = self.supply.take(self.rows - self.taken_rows).await;
        self.taken_rows += slice.range().row_count();
        self.taken.push(slice.range());
        self.replayed = self.taken.len();
        slice
    }
}

impl Batch for Reserved<'_> {
    fn row_count(&self) -> u64 {
        self.rows
    }

    async fn next(&mut self) -> Option<RowSlice> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        if let Some(&range) = self.taken.get(self.replayed) {
            self.replayed += 1;
            let started = clock::now();
            let slice = self.build(range);
            self.rows_wait += clock::since(started);
            return Some(slice);
        }
        if self.taken_rows == self.rows {
            return None;
        }
        let started = clock::now();
        let slice = self.take().await;
        self.rows_wait += clock::since(started);
        Some(slice)
    }

    fn acknowledge_row(&mut self) {
        self.rows_acknowledged += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::RowSet;

    /// Batches of every size cover every row once, whatever the remainder.
    #[tokio::test]
    async fn every_row_is_handed_out_once() {
        for time in [Time::Real, Time::Virtual] {
            for (rows, batch_rows) in
                [(1, 1), (10_000, 1_000), (10_007, 1_000), (7, 100), (19_000, 10_000)]
            {
                let generator = Generator::article_user(1);
                let first = rows / 3;
                let supply = Supply::start(&generator, time, (first, Some(rows)), batch_rows);
                let mut all = RowSet::default();
                let mut batches = 0;
                loop {
                    let reserved = supply.reserve(batch_rows);
                    if reserved == 0 {
                        break;
                    }
                    batches += 1;
                    let (batch, _) = Reserved::new(&supply, reserved).await;
                    for range in batch.into_ranges().await {
                        all.insert(range);
                    }
                }
                assert_eq!(
                    all.ranges().collect::<Vec<_>>(),
                    [RowRange { start: first, end: first + rows }]
                );
                assert_eq!(batches, rows.div_ceil(batch_rows), "{rows} {batch_rows}");
            }
        }
    }

    #[tokio::test]
    async fn another_attempt_gets_the_same_rows() {
        let supply = Supply::start(&Generator::article_user(1), Time::Real, (0, None), 10_000);
        let (mut batch, _) = Reserved::new(&supply, supply.reserve(10_000)).await;
        while batch.next().await.is_some() {}
        batch.rewind();
        let mut rows = 0;
        let mut ends = Vec::new();
        while let Some(slice) = batch.next().await {
            // The first slice was built before; the others are built while the attempt is on.
            assert_eq!(batch.rows_wait().is_zero(), ends.is_empty());
            rows += slice.range().row_count();
            ends.push(slice.range().end);
            assert_eq!(slice.columns().0.len(), 4);
        }
        assert_eq!((rows, ends.last()), (10_000, Some(&10_000)));
    }
}
