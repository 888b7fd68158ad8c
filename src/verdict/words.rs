//! The verdict in sentences: what holds, what is best, why it differs, what to doubt.

use std::collections::{BTreeMap, BTreeSet};

use super::{CellVerdict, Outcome};
use crate::{
    plan::{CellPlan, ClaimPlan, ClaimUnit, Pace, Transaction},
    record::{BlockEnd, BlockRecord, Record},
    stats::{
        self, Estimate,
        format::{interval, number, time_ns, time_us, times},
    },
    verdict::{cells, settings},
};

/// Sightings of sessions below which their shares are not worth a sentence.
const WAIT_SAMPLES_MIN: u64 = 30;
/// Share of CPU time above which somebody else's work may be in the numbers. An idle machine with
/// its daemons stays far below.
const BUSY_MAX: f64 = 0.1;
/// Share of one processor's time above which what batchpilot itself takes is worth a sentence.
const CLIENT_SHARE_MAX: f64 = 0.25;
/// Blocks shorter than this, in seconds, are named a burst.
const SHORT_BLOCK_S: f64 = 1.0;

pub(super) fn claim(
    record: &Record,
    claim: &ClaimPlan,
    measured: Option<Estimate>,
    outcome: Outcome,
) -> String {
    let cell = &record.plan.cells[claim.cell].name;
    let Some(measured) = measured else {
        return format!("{cell}: no valid measurement to hold against the claim.");
    };
    let what = match claim.unit {
        ClaimUnit::RowsPerSecond => format!("{} rows/s", number(claim.value)),
        ClaimUnit::Speedup => format!("{}x", number(claim.value)),
    };
    let here = match claim.unit {
        ClaimUnit::RowsPerSecond => format!("{} rows/s", interval(measured)),
        ClaimUnit::Speedup => times(measured),
    };
    let verb = match outcome {
        Outcome::Holds => "holds",
        Outcome::Refuted => "does not hold",
        Outcome::Inconclusive => "is undecided",
    };
    format!("{what} for {cell} {verb} here: {here}.")
}

pub(super) fn answer(
    record: &Record,
    cells: &[CellVerdict],
    claims: &[super::ClaimVerdict],
    baseline: Option<usize>,
) -> Vec<String> {
    let speedups = claims.iter().filter(|claim| claim.unit == ClaimUnit::Speedup);
    let mut sentences: Vec<String> = speedups.map(|claim| claim.sentence.clone()).collect();
    sentences.extend(best(record, cells, baseline));
    sentences
}

/// The best cell, and which others the blocks cannot tell from it. An invalid run has none.
fn best(record: &Record, cells: &[CellVerdict], baseline: Option<usize>) -> Option<String> {
    if record.invalid_blocks().next().is_some() {
        return None;
    }
    let settled = cells.iter().filter(|cell| is_of_one_setting(&record.plan.cells[cell.cell]));
    let mut measured: Vec<(&CellVerdict, Estimate)> =
        settled.filter_map(|cell| Some((cell, cell.rows_per_s?))).collect();
    measured.sort_by(|a, b| b.1.value.total_cmp(&a.1.value));
    let (&(best, rate), rest) = measured.split_first()?;
    let is_left_out = |cell: &&CellVerdict| {
        cell.rows_per_s.is_some() && !is_of_one_setting(&record.plan.cells[cell.cell])
    };
    let of = match cells.iter().find(is_left_out) {
        Some(_) => ", of closed loops that hold one setting",
        None => "",
    };
    if !rest.is_empty() && measured.iter().all(|(_, rate)| rate.low.is_none()) {
        return Some(format!(
            "Fastest in one block each{of}: {} with {} rows/s; one block tells no cell from another.",
            best.name,
            number(rate.value)
        ));
    }
    let mut sentence = format!("Best here{of}: {} with {} rows/s", best.name, interval(rate));
    match best.speedup.filter(|_| baseline != Some(best.cell)) {
        Some(speedup) if speedup.may_be(1.0) => sentence.push_str(&format!(
            ", which cannot be told apart from the baseline ({})",
            times(speedup)
        )),
        Some(speedup) => sentence.push_str(&format!(", {} the baseline", times(speedup))),
        None => (),
    }
    if !rest.is_empty() {
        sentence.push_str(&relation_to_others(record, best, rest));
        // The highest of many noisy numbers is high by chance, too: the winner's curse.
        sentence.push_str(
            ". It was chosen by the blocks that measured it, and not measured again: its numbers \
             lean high",
        );
    }
    Some(sentence + ".")
}

/// Names every cell that may be as fast as the best, or else the next and how far it is. Rates are
/// over all blocks and ratios over the repetitions that both cells have, so that a cell with fewer
/// blocks may be surely faster in those than what has the highest rate.
fn relation_to_others(
    record: &Record,
    best: &CellVerdict,
    rest: &[(&CellVerdict, Estimate)],
) -> String {
    let ratio_to = |cell: &CellVerdict| cells::speedup(record, best.cell, cell.cell);
    let (mut faster, mut peers) = (Vec::new(), Vec::new());
    for (cell, _) in rest {
        match ratio_to(cell) {
            Some(ratio) if ratio.low.is_some_and(|low| 1.0 < low) => (),
            Some(ratio) if ratio.high.is_some_and(|high| high < 1.0) => {
                faster.push(format!("{} ({})", cell.name, times(ratio)));
            }
            Some(ratio) => peers.push(format!("{} ({})", cell.name, times(ratio))),
            None => peers.push(format!("{} (no repetition has both)", cell.name)),
        }
    }
    let mut text = match rest.first().and_then(|(next, _)| Some((next, ratio_to(next)?))) {
        _ if !peers.is_empty() => format!("; cannot be told apart from it: {}", peers.join("; ")),
        Some((next, ratio)) if faster.is_empty() => format!("; {} {}", times(ratio), next.name),
        _ => String::new(),
    };
    if !faster.is_empty() {
        text.push_str("; slower, in the repetitions that both have, than ");
        text.push_str(&faster.join("; "));
    }
    text
}

pub(super) fn reasons(
    record: &Record,
    cells: &[CellVerdict],
    baseline: Option<usize>,
) -> Vec<String> {
    let mut sentences = Vec::new();
    if let Some(baseline) = baseline {
        sentences.extend(baseline_cost(record, &cells[baseline]));
        sentences.extend(what_a_plain_insert_gains(record, cells, baseline));
    }
    let claimed = cells.iter().filter(|cell| {
        cell.claimed_rows_per_s.is_some() && 1 < record.plan.cells[cell.cell].batch_rows
    });
    sentences.extend(claimed.filter_map(|cell| batch_cost(record, cell)));
    sentences.extend(efficiencies(record, cells));
    let is_claimed = |cell: &&CellVerdict| cell.claimed_rows_per_s.is_some();
    sentences.extend(cells.iter().filter(is_claimed).filter_map(waits));
    sentences
}

/// Takes the baseline's operation apart: round trips, commit, and the rest.
fn baseline_cost(record: &Record, cell: &CellVerdict) -> Option<String> {
    let rate = cell.rows_per_s?;
    let plan = &record.plan.cells[cell.cell];
    let server = &record.environment.server;
    let trips = plan.round_trips_an_operation();
    let trip_us = server.round_trip.latency_ns_p50 as f64 / 1e3;
    let service_us = cell.service_ns_p50 as f64 / 1e3;
    let claimed = cell.claimed_rows_per_s.map_or(String::new(), |claimed| {
        format!(" (the claim's {} rows/s are {})", number(claimed), time_us(1e6 / claimed))
    });
    let commit = cell.commit_ns_p50.map_or(String::new(), |commit| {
        // One COMMIT of many operations is no part of any one's service time.
        let share = cell.commit_share.map_or_else(String::new, |share| {
            format!(" and {:.0} % of all service time", share * 100.0)
        });
        let commit = time_ns(commit);
        format!("; COMMIT, its own round trip included, takes {commit} in the median{share}")
    });
    let share = trips * trip_us / service_us * 100.0;
    Some(format!(
        "{}: one row costs {}{claimed}. Its median operation of {} waits for {} round trip{} of \
         {} each (median of an empty one), {share:.0} % of it{commit}.",
        cell.name,
        time_us(1e6 / rate.value),
        time_us(service_us),
        number(trips),
        if trips > 1.0 { "s" } else { "" },
        time_us(trip_us),
    ))
}

/// The same rows, one at a time, without what the ORM adds.
fn what_a_plain_insert_gains(
    record: &Record,
    cells: &[CellVerdict],
    baseline: usize,
) -> Option<String> {
    let own = &record.plan.cells[baseline];
    let is_plain = |cell: &&CellVerdict| is_plain_of(&record.plan.cells[cell.cell], own);
    let plain = cells.iter().find(is_plain)?;
    let ratio = cells::speedup(record, plain.cell, baseline)?;
    let plan = &record.plan.cells[plain.cell];
    let trips = plan.round_trips_an_operation();
    let (other, times) = (&cells[baseline].name, times(ratio));
    let relation = match ratio.is_at_least(1.0) {
        _ if ratio.may_be(1.0) => format!("cannot be told apart from {other} ({times})"),
        Some(true) => {
            format!("are {times} as fast as {other}; this part of any speed-up is not batching")
        }
        _ => format!("are {times} as fast as {other}"),
    };
    Some(format!(
        "{}: the same rows one at a time with {} round trip{} a row instead of {}{} \
         {relation}.",
        plain.name,
        number(trips),
        if trips > 1.0 { "s" } else { "" },
        number(own.round_trips_an_operation()),
        if own.returning && !plan.returning { " and without RETURNING" } else { "" },
    ))
}

/// Returns whether `cell` is `own` without what an ORM adds: BEGIN and COMMIT around each row, and
/// RETURNING if `own` asks for it. All else is equal.
fn is_plain_of(cell: &CellPlan, own: &CellPlan) -> bool {
    let bare = CellPlan {
        name: cell.name.clone(),
        transaction: Transaction::Autocommit,
        returning: own.returning && cell.returning,
        ..own.clone()
    };
    own.transaction == Transaction::Every(1)
        && own.batch_rows == 1
        && is_of_one_setting(own)
        && *cell == bare
}

fn batch_cost(record: &Record, cell: &CellVerdict) -> Option<String> {
    let rate = cell.rows_per_s?;
    let (claimed, ratio) = (cell.claimed_rows_per_s?, cell.ratio_to_claim?);
    let plan = &record.plan.cells[cell.cell];
    let (rows, workers) = (plan.batch_rows as f64, f64::from(plan.workers));
    Some(format!(
        "{}: a worker's batch of {} rows takes {} (the claim's rate means {}, {} as much); \
         {:.1} % of its service time is encoding on the client.",
        cell.name,
        number(rows),
        time_us(rows * workers / rate.value * 1e6),
        time_us(rows * workers / claimed * 1e6),
        times(ratio),
        cell.encode_share * 100.0,
    ))
}

/// Workers' efficiency: rows/s of N workers over N times those of one, for cells that differ in
/// workers alone (or, for the claim's own cells, in the transaction that the ORM wraps).
fn efficiencies(record: &Record, cells: &[CellVerdict]) -> Vec<String> {
    let mut sentences = Vec::new();
    for many in cells.iter().filter(|cell| 1 < record.plan.cells[cell.cell].workers) {
        let plan = &record.plan.cells[many.cell];
        let twin = |cell: &&CellVerdict| is_twin(plan, &record.plan.cells[cell.cell]);
        let is_alike =
            |cell: &&CellVerdict| record.plan.cells[cell.cell].transaction == plan.transaction;
        let twins = cells.iter().filter(twin);
        let Some(one) = twins.max_by_key(is_alike) else { continue };
        let Some(ratio) = cells::speedup(record, many.cell, one.cell) else { continue };
        let workers = f64::from(plan.workers);
        let percent = ratio.divided_by(workers / 100.0);
        let claimed = match (many.claimed_rows_per_s, one.claimed_rows_per_s) {
            (Some(many), Some(one)) => format!(" (claimed: {:.0} %)", many / one / workers * 100.0),
            _ => String::new(),
        };
        let relation = match ratio.may_be(1.0) {
            true => format!("cannot be told apart from {} ({})", one.name, times(ratio)),
            false => format!("give {} what {} gives", times(ratio), one.name),
        };
        sentences.push(format!(
            "{}: {} workers {relation}, an efficiency of {} %{claimed}{}.",
            many.name,
            plan.workers,
            interval(percent),
            if is_alike(&one) { String::new() } else { other_transactions(record, many, one) },
        ));
    }
    sentences
}

/// What else differs in a pair whose transactions do: fewer commits are not fewer workers.
fn other_transactions(record: &Record, many: &CellVerdict, one: &CellVerdict) -> String {
    let name = |cell: &CellVerdict| settings::transaction(record.plan.cells[cell.cell].transaction);
    format!(
        "; not of workers alone: its transactions are `{}`, those of {} `{}`",
        name(many),
        one.name,
        name(one)
    )
}

/// What the server's side of a cell was busy with, where it was sampled often enough to say so.
fn waits(cell: &CellVerdict) -> Option<String> {
    if cell.wait_samples < WAIT_SAMPLES_MIN {
        return None;
    }
    let shares: Vec<String> = cell
        .wait_events
        .iter()
        .take(3)
        .map(|(event, share)| format!("{event} {:.0} %", share * 100.0))
        .collect();
    Some(format!(
        "{}: sessions at work were seen in {} ({} samples, taken when the client's thread has time \
         for them: they favour ClientRead).",
        cell.name,
        shares.join(", "),
        cell.wait_samples
    ))
}

/// Whether the rate of a cell is what its setting gives: that of an open loop is what was asked for,
/// and where a controller moves the setting it is of many.
fn is_of_one_setting(cell: &CellPlan) -> bool {
    cell.pace == Pace::Closed && cell.controller.is_none()
}

/// Returns whether `one` is `many` with one worker. Its pool may be smaller, as its workers are few.
fn is_twin(many: &CellPlan, one: &CellPlan) -> bool {
    let alone = CellPlan {
        name: one.name.clone(),
        workers: 1,
        pool: one.pool,
        transaction: one.transaction,
        ..many.clone()
    };
    let is_article_pair =
        one.transaction == Transaction::Whole && matches!(many.transaction, Transaction::Every(_));
    is_of_one_setting(one)
        && *one == alone
        && many.workers <= many.pool.size_max
        && (one.transaction == many.transaction || is_article_pair)
}

pub(super) fn caveats(record: &Record, cells: &[CellVerdict]) -> Vec<String> {
    let mut sentences = Vec::new();
    if record.plan.sim.is_some() {
        let simulated = "Simulated: the server, its latencies and its errors are made up from a \
                         seed, and say nothing of any database.";
        sentences.push(simulated.to_owned());
    }
    let environment = &record.environment;
    let setting = |name: &str| environment.server.durability.get(name).map(String::as_str);
    for name in ["fsync", "full_page_writes", "synchronous_commit"] {
        if setting(name) == Some("off") {
            sentences.push(format!("{name} is off: a crash may lose what was confirmed."));
        }
    }
    if environment.storage.as_ref().is_some_and(|it| it.starts_with("tmpfs")) {
        sentences.push("The server's data is in memory (tmpfs): commits cost nothing.".into());
    }
    if record.plan.table.unlogged {
        sentences
            .push("The table is UNLOGGED: far faster than a table that survives a crash.".into());
    }
    if environment.private_server {
        sentences.extend(shared_processors(record));
    }
    // Virtual time does not notice what the machine does besides.
    let is_real = record.plan.sim.is_none();
    if is_real {
        sentences.extend(disturbances(record));
    }
    sentences.extend(warm_ups(record));
    sentences.extend(short_blocks(record, cells));
    for cell in cells {
        sentences.extend(losses_of(record, cell));
        sentences.extend(caveats_of(record, cell));
    }
    if is_real {
        sentences.extend(client_share(record, cells));
    }
    let is_wide = |cell: &&CellVerdict| {
        let wide = cell.rows_per_s.and_then(|rate| Some(rate.high? / rate.low?));
        wide.is_some_and(|wide| 2.0 < wide)
    };
    let wide: Vec<&str> = cells.iter().filter(is_wide).map(|cell| &*cell.name).collect();
    if !wide.is_empty() {
        sentences.push(format!(
            "A wide interval, which more repetitions would narrow: {}.",
            wide.join("; ")
        ));
    }
    sentences
}

/// What else took the machine's CPU time, before the run and during it.
fn disturbances(record: &Record) -> Vec<String> {
    let environment = &record.environment;
    let busy = environment.cpu_busy_before.filter(|busy| BUSY_MAX < *busy).map(|busy| {
        format!("The machine was busy before the run: {:.0} % of its CPU time.", busy * 100.0)
    });
    let steal = environment
        .steal
        .filter(|steal| 0.02 < *steal)
        .map(|steal| format!("The hypervisor took {:.0} % of the CPU time.", steal * 100.0));
    busy.into_iter().chain(steal).collect()
}

/// Cells in which batchpilot itself took much of a processor, which a private server shares.
fn client_share(record: &Record, cells: &[CellVerdict]) -> Option<String> {
    let share = |cell: &CellVerdict| {
        let blocks = record.valid_blocks_of(cell.cell);
        let (cpu_ns, elapsed_ns) = blocks.fold((0, 0), |(cpu, elapsed), block| {
            (cpu + block.client_cpu_ns, elapsed + block.elapsed_ns)
        });
        (0 < elapsed_ns).then(|| cpu_ns as f64 / elapsed_ns as f64)
    };
    let mut busy: Vec<(f64, &str)> =
        cells.iter().filter_map(|it| Some((share(it)?, &*it.name))).collect();
    busy.retain(|(share, _)| CLIENT_SHARE_MAX <= *share);
    busy.sort_by(|a, b| b.0.total_cmp(&a.0));
    let all: Vec<String> =
        busy.iter().map(|(share, name)| format!("{name} {:.0} %", share * 100.0)).collect();
    (!all.is_empty()).then(|| {
        format!(
            "batchpilot itself took much of one processor's time, for rows, statements and answers: \
             {}.",
            all.join("; ")
        )
    })
}

/// What of which blocks does not count, and which ended before that.
fn warm_ups(record: &Record) -> Vec<String> {
    let has_one = |block: &&BlockRecord| 0.0 < record.cell_of(block).warm_up_s;
    let blocks = record.blocks.iter().filter(has_one);
    let (outlasted, ended): (Vec<&BlockRecord>, Vec<&BlockRecord>) =
        blocks.partition(|it| it.steady.is_some());
    let lengths = || outlasted.iter().map(|it| record.cell_of(it).warm_up_s);
    let mut sentences = Vec::new();
    if let (Some(least), Some(most)) = (lengths().reduce(f64::min), lengths().reduce(f64::max)) {
        let span = match least < most {
            true => format!("{} to {}", number(least), number(most)),
            false => number(least),
        };
        let of = match &record.plan.tuning {
            Some(_) => "each block after the search".to_owned(),
            None => format!("each block of {}", names(record, &outlasted)),
        };
        sentences.push(format!(
            "Warm-up: the first {span} s of {of} were inserted and read back, and are in no rate and no \
             latency."
        ));
    }
    if !ended.is_empty() {
        sentences.push(format!(
            "Blocks that inserted nothing after their warm-up, or of which rows were rolled back, count \
             from their start: {}.",
            names(record, &ended)
        ));
    }
    sentences
}

/// The cells of blocks, each once.
fn names(record: &Record, blocks: &[&BlockRecord]) -> String {
    let cells: BTreeSet<usize> = blocks.iter().map(|it| it.cell).collect();
    let names: Vec<&str> = cells.into_iter().map(|it| &*record.plan.cells[it].name).collect();
    names.join("; ")
}

/// Blocks that ended by their time before all rows of the plan were in, and blocks too short to say
/// what the server sustains: a table that was just made, after a CHECKPOINT.
fn short_blocks(record: &Record, cells: &[CellVerdict]) -> Vec<String> {
    let (mut fewer, mut shortest, mut short) = (Vec::new(), f64::MAX, 0);
    for cell in cells {
        let blocks: Vec<_> = record.valid_blocks_of(cell.cell).collect();
        if blocks.is_empty() {
            continue;
        }
        let of = |value: fn(&BlockRecord) -> f64| {
            stats::median(&blocks.iter().map(|block| value(block)).collect::<Vec<_>>())
        };
        let (rows, seconds) =
            (of(|block| block.rows_confirmed as f64), of(|block| block.elapsed_ns as f64 / 1e9));
        let stop = record.plan.cells[cell.cell].stop;
        // Following goes on in the next block.
        let follows = record.plan.tuning.as_ref().and_then(|it| it.follow) == Some(cell.cell);
        if let (Some(planned), Some(limit_s)) = (stop.rows, stop.seconds)
            && !follows
            && rows < planned as f64
            // In an open loop the last confirmation may come a while before its end.
            && 0.9 * limit_s <= seconds
        {
            let (rows, planned) = (number(rows), number(planned as f64));
            let name = &cell.name;
            fewer.push(format!("{name}: {rows} of {planned} rows in {} s", number(seconds)));
        }
        if seconds < SHORT_BLOCK_S {
            short += 1;
            shortest = shortest.min(seconds);
        }
    }
    let mut sentences = Vec::new();
    if 0 < short {
        sentences.push(format!(
            "Blocks of {short} of {} cells took less than {SHORT_BLOCK_S} s, the shortest {shortest:.2} s \
             (medians): a burst into a new table after a CHECKPOINT, which a longer load may not \
             sustain.",
            cells.len()
        ));
    }
    if !fewer.is_empty() {
        let all = if record.plan.name == "reproduce" { "; `--full` inserts all" } else { "" };
        sentences
            .push(format!("Blocks that their time ended (medians): {}{all}.", fewer.join("; ")));
    }
    sentences
}

/// A private server runs on the client's own processors: more workers than the rest of them share.
fn shared_processors(record: &Record) -> Option<String> {
    let processors = record.environment.client.cpus;
    let workers = record.plan.cells.iter().map(|cell| cell.workers).max()?;
    (processors <= workers as usize).then(|| {
        format!(
            "Server and client share {processors} processors: {workers} workers and the server's \
             processes for them take turns, and a server of its own may gain more from workers."
        )
    })
}

/// What did not go in at the first attempt, over all blocks of a cell, also those that failed.
fn losses_of(record: &Record, cell: &CellVerdict) -> Vec<String> {
    let mut sentences = Vec::new();
    let name = &cell.name;
    let blocks: Vec<_> = record.blocks_of(cell.cell).collect();
    let sum = |count: fn(&BlockRecord) -> u64| blocks.iter().map(|block| count(block)).sum::<u64>();
    let absent =
        |block: &BlockRecord| block.verification.as_ref().map_or(0, |it| it.in_doubt_absent);
    let present =
        |block: &BlockRecord| block.verification.as_ref().map_or(0, |it| it.in_doubt_present);
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for (code, count) in blocks.iter().flat_map(|block| &block.errors) {
        *counts.entry(code).or_default() += count;
    }
    let counts: Vec<String> =
        counts.into_iter().map(|(code, count)| format!("{code} x {count}")).collect();
    let counts = counts.join(", ");

    let pushed_back = sum(|block| block.pushed_back);
    let not_inserted = sum(|block| block.rows_failed) + sum(absent);
    if 0 < not_inserted {
        sentences.push(format!(
            "{name}: {} rows were sent and not inserted ({counts}); dead_letters.jsonl names those \
             that the server rejected.",
            number(not_inserted as f64)
        ));
    } else if 0 < pushed_back {
        sentences.push(format!(
            "{name}: {} attempts were pushed back, or found no server ({counts}); {} tried again, \
             and went in.",
            number(pushed_back as f64),
            if blocks.iter().all(|block| block.ended == BlockEnd::Done) {
                "all were"
            } else {
                "those of blocks that ended were"
            },
        ));
    }
    let rolled_back = sum(|block| block.operations_rolled_back);
    if 0 < rolled_back {
        sentences.push(format!(
            "{name}: {} operations ended well and were rolled back with their transaction; windows \
             and latencies have them, rows/s of the block has not.",
            number(rolled_back as f64)
        ));
    }
    let found = sum(present);
    if 0 < found {
        sentences.push(format!(
            "{name}: {} rows whose confirmation was lost were found in the table.",
            number(found as f64)
        ));
    }
    sentences
}

fn caveats_of(record: &Record, cell: &CellVerdict) -> Vec<String> {
    let mut sentences = Vec::new();
    let name = &cell.name;
    let blocks: Vec<_> = record.valid_blocks_of(cell.cell).collect();
    let windows: u64 = blocks.iter().map(|block| block.windows).sum();
    let bound: u64 = blocks.iter().map(|block| block.windows_client_bound).sum();
    if windows < bound * 5 {
        sentences.push(format!(
            "{name}: the client was the limit in {bound} of {windows} windows; the server may take \
             more."
        ));
    }
    if !cell.outliers.is_empty() {
        let list: Vec<String> = cell.outliers.iter().map(ToString::to_string).collect();
        sentences.push(format!(
            "{name}: far from the rest, and in the numbers all the same: repetition {} (counted from \
             0).",
            list.join(", ")
        ));
    }
    let plan = &record.plan.cells[cell.cell];
    if !matches!(plan.transaction, Transaction::Autocommit | Transaction::Every(1)) {
        sentences.push(format!(
            "{name}: latencies are of operations before their COMMIT, which many share; the rate \
             has it in."
        ));
    }
    if blocks.iter().any(|block| block.overloaded)
        && let Pace::Open { rate, .. } = record.plan.cells[cell.cell].pace
    {
        sentences.push(format!(
            "{name}: fell behind {} operations/s; {} never started and are in no percentile.",
            number(rate),
            blocks.iter().map(|block| block.never_started).sum::<u64>()
        ));
    }
    sentences
}
