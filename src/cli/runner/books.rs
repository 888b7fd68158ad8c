//! What goes on disk of a block: windows and decisions as they come, what it came to in the end, and the
//! rows that were not inserted.

use std::{io::Write as _, time::Duration};

use crate::{
    cli::{progress::Progress, steering::Teller},
    controller::{Decision, Policy},
    engine::{self, BlockOutcome, Ended},
    measure::{Histograms, Kind, WindowSummary},
    plan::{BlockPlan, Plan},
    record::{
        BlockEnd, BlockRecord, Directory, EncodedHistogram, JournalRow, RecordError, Steady,
        WindowRow,
    },
    rows::Generator,
};

/// Puts windows and decisions on disk as they come, and shows them.
pub(super) struct Notebook<'a> {
    pub(super) directory: &'a mut Directory,
    pub(super) progress: &'a Progress,
    pub(super) plan: &'a Plan,
    /// The block, and its number.
    pub(super) place: (usize, &'a BlockPlan),
    pub(super) policy: Option<Policy>,
    pub(super) teller: Option<&'a mut Teller>,
    /// The last of what could not be written.
    pub(super) lost: Option<RecordError>,
}

impl Notebook<'_> {
    pub(super) fn window(&mut self, window: &WindowSummary, decision: &Decision) {
        let (number, block) = self.place;
        let name = &self.plan.cells[block.cell].name;
        let row = WindowRow::new(number, name, block.repetition, window);
        self.lost = self.directory.append_window(&row).err().or(self.lost.take());
        match self.policy {
            None => self.progress.show(self.plan, block.cell, Some(window.rows_per_s())),
            Some(policy) => {
                self.note(&JournalRow::new((number, name), policy, Some(window), decision));
                self.progress.show_decision(self.plan, block.cell, window, decision);
                if let Some(line) = self.teller.as_mut().and_then(|it| it.take(window, decision)) {
                    // Whoever would read it may be gone; the journal has it.
                    drop(self.progress.suspend(|| writeln!(anstream::stdout(), "{line}")));
                }
            }
        }
    }

    pub(super) fn note(&mut self, row: &JournalRow) {
        self.lost = self.directory.append_decision(row).err().or(self.lost.take());
    }
}

/// Returns what a block came to, but for the rows that were read back, and the latencies that count.
pub(super) fn block_record(
    number: usize,
    block: &BlockPlan,
    started_at: String,
    outcome: &BlockOutcome,
) -> (BlockRecord, Histograms) {
    let measurement = &outcome.measurement;
    let difference = |count: fn(&crate::target::ServerSample) -> Option<u64>| {
        let (before, after) = outcome.samples.as_ref()?;
        Some(count(after)?.saturating_sub(count(before)?))
    };
    let (steady, histograms) = counted(outcome);
    let latency = Kind::ALL.into_iter().filter_map(|kind| {
        let histogram = histograms.of(kind);
        (!histogram.is_empty())
            .then(|| (kind.name().to_owned(), EncodedHistogram::encode(histogram)))
    });
    let record = BlockRecord {
        number,
        cell: block.cell,
        repetition: block.repetition,
        started_at,
        ended: match outcome.ended {
            Ended::Done => BlockEnd::Done,
            Ended::Stopped => BlockEnd::Stopped,
            Ended::Failed => BlockEnd::Failed,
            Ended::Abandoned => BlockEnd::Abandoned,
        },
        elapsed_ns: nanos(outcome.elapsed),
        steady,
        operations: measurement.operations,
        operations_rolled_back: measurement.operations_rolled_back,
        rows_confirmed: outcome.confirmed.row_count(),
        rows_failed: outcome.rows_failed,
        rows_in_doubt: outcome.in_doubt.row_count(),
        verification: None,
        verification_error: None,
        pushed_back: measurement.pushed_back,
        errors: measurement.errors.clone(),
        error: outcome.error.as_ref().map(ToString::to_string),
        never_started: outcome.never_started,
        overloaded: outcome.overloaded,
        client_cpu_ns: nanos(outcome.client_cpu),
        rows_wait_ns: nanos(measurement.rows_wait),
        windows: measurement.windows,
        windows_client_bound: measurement.windows_client_bound,
        wal_bytes: difference(|sample| Some(sample.wal_bytes)),
        wal_full_page_images: difference(|sample| sample.wal_full_page_images),
        checkpoints: difference(|sample| Some(sample.checkpoints)),
        wait_events: outcome.wait_events.clone(),
        latency: latency.collect(),
    };
    (record, histograms)
}

/// What came after the warm-up, if there was one and rows were confirmed after it, and the latencies that
/// count. Where rows were rolled back later, nobody knows which: all of the block counts.
fn counted(outcome: &BlockOutcome) -> (Option<Steady>, Histograms) {
    let measurement = &outcome.measurement;
    let all = &measurement.histograms;
    let Some(kept) = &measurement.kept else { return (None, all.clone()) };
    let length = outcome.elapsed.min(kept.span.to).saturating_sub(kept.span.from);
    if length.is_zero() || kept.rows <= 0.0 || 0 < measurement.operations_rolled_back {
        return (None, all.clone());
    }
    let steady = Steady { rows: kept.rows, elapsed_ns: nanos(length) };
    // COMMITs of several operations are not told apart by their time.
    (Some(steady), kept.histograms.clone().or(all))
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Returns a line of dead_letters.jsonl for each operation that the server rejected.
pub(super) fn dead_letters(
    number: usize,
    cell: &str,
    outcome: &BlockOutcome,
    generator: &Generator,
) -> Vec<serde_json::Value> {
    let letter = |rejection: &engine::Rejection| {
        let first = rejection.rows.first().map(|range| generator.name_of(range.start));
        serde_json::json!({
            "first": first,
            "block": number,
            "cell": cell,
            "rows": rejection.rows,
            "sqlstate": rejection.code,
            "message": rejection.message,
            "in_doubt": rejection.in_doubt,
        })
    };
    outcome.rejections.iter().map(letter).collect()
}
