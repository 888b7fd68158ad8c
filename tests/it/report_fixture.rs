//! A plausible record, made without a server: 15 cells of known rates, with noise from a seed.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "numbers made up here are small and positive"
)]

use std::{collections::BTreeMap, sync::LazyLock, time::Duration};

use batchpilot::{
    measure::{Histograms, Kind},
    plan::{Pace, Plan},
    record::{
        BlockEnd, BlockRecord, EncodedHistogram, Environment, Host, Record, SCHEMA_VERSION,
        WindowRow,
    },
    rows::Verification,
    scenario::Scenario,
    target::{Probe, ServerInfo},
};
use rand::{RngCore, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// Name, keys of the cell, rows a second.
pub(crate) const CELLS: [(&str, &str, f64); 15] = [
    (
        "gorm: single row",
        "strategy = 'single_row'\ntransaction = 'explicit'\nreturning = true",
        1_630.0,
    ),
    (
        "gorm: batches of 1,000, one transaction",
        "strategy = 'multi_row'\ntransaction = 'whole'\nreturning = true",
        38_400.0,
    ),
    (
        "gorm: concurrent batches, 5 workers",
        "strategy = 'multi_row'\ntransaction = 'explicit'\nreturning = true\nworkers = 5",
        61_200.0,
    ),
    ("best: single row", "strategy = 'single_row'", 2_890.0),
    ("best: serial batches of 1,000", "strategy = 'multi_row'", 47_300.0),
    ("best: concurrent batches, 5 workers", "strategy = 'multi_row'\nworkers = 5", 88_700.0),
    ("pipelined, 1 worker", "strategy = 'pipelined'\ntransaction = 'explicit'", 31_000.0),
    (
        "pipelined, 5 workers",
        "strategy = 'pipelined'\ntransaction = 'explicit'\nworkers = 5",
        54_000.0,
    ),
    ("unnest, 1 worker", "strategy = 'unnest'", 96_000.0),
    ("unnest, 5 workers", "strategy = 'unnest'\nworkers = 5", 171_000.0),
    ("copy_text, 1 worker", "strategy = 'copy_text'", 158_000.0),
    ("copy_text, 5 workers", "strategy = 'copy_text'\nworkers = 5", 262_000.0),
    ("copy_binary, 1 worker", "strategy = 'copy_binary'", 183_000.0),
    ("copy_binary, 5 workers", "strategy = 'copy_binary'\nworkers = 5", 291_000.0),
    (
        "open loop: 1,500 single rows a second",
        "strategy = 'single_row'\nworkers = 4\npace = { rate = 1500.0 }",
        1_500.0,
    ),
];

const HEAD: &str = "name = 'documented-table'
title = 'The documented table, measured here'
seed = 42
repetitions = 5
stop = { rows = 100_000, seconds = 4.0 }
";

const CLAIMS: &str = "
[[claims]]
cell = 'gorm: single row'
value = 781
unit = 'rows/s'
source = 'an article, chapter 1'
[[claims]]
cell = 'gorm: batches of 1,000, one transaction'
value = 3125
unit = 'rows/s'
source = 'an article, chapter 1'
[[claims]]
cell = 'gorm: concurrent batches, 5 workers'
value = 6250
unit = 'rows/s'
source = 'an article, chapter 1'
[[claims]]
cell = 'gorm: concurrent batches, 5 workers'
value = 8
unit = 'speedup'
baseline = 'gorm: single row'
source = 'an article, chapter 1'
";

/// Returns a record of [`CELLS`] and its windows.
pub(crate) fn record() -> (Record, Vec<WindowRow>) {
    static RECORD: LazyLock<(Record, Vec<WindowRow>)> =
        LazyLock::new(|| measured(plan(HEAD, &CELLS, CLAIMS)));
    RECORD.clone()
}

/// Returns a plan of cells (name, keys, rate).
pub(crate) fn plan(head: &str, cells: &[(&str, &str, f64)], claims: &str) -> Plan {
    let mut text = head.to_owned();
    for (name, keys, _) in cells {
        text.push_str(&format!("[[cells]]\nname = '{name}'\n{keys}\n"));
    }
    text.push_str(claims);
    let scenario: Scenario = toml::from_str(&text).unwrap();
    Plan::resolve(&scenario).unwrap()
}

/// Returns a plan of nine repetitions, as many as the documented table has by default.
pub(crate) fn nine_plan() -> Plan {
    plan(&HEAD.replace("repetitions = 5", "repetitions = 9"), &CELLS, CLAIMS)
}

/// Returns a plan of one repetition of two cells, without claims.
pub(crate) fn short_plan() -> Plan {
    plan("name = 'short'\nrepetitions = 1\n", &CELLS[3..5], "")
}

/// Measures a plan's blocks, as [`CELLS`] says how fast.
pub(crate) fn measured(plan: Plan) -> (Record, Vec<WindowRow>) {
    let mut random = Pcg64Mcg::seed_from_u64(7);
    let (mut blocks, mut windows) = (Vec::new(), Vec::new());
    for number in 0..plan.blocks.len() {
        let block = block(&plan, number, &mut random);
        windows.extend(windows_of(&plan, &block, &mut random));
        blocks.push(block);
    }
    let record = Record {
        schema_version: SCHEMA_VERSION,
        batchpilot: "0.1.0 (abcdef0)".to_owned(),
        command: "batchpilot reproduce".to_owned(),
        started_at: "2026-11-22T13:05:09.123Z".to_owned(),
        finished_at: Some("2026-11-22T13:10:51.004Z".to_owned()),
        client_memory_peak_bytes: Some(11_000_000),
        complete: true,
        plan,
        environment: environment(),
        blocks,
        notes: vec!["a note for the reader".to_owned()],
    };
    (record, windows)
}

fn block(plan: &Plan, number: usize, random: &mut Pcg64Mcg) -> BlockRecord {
    let planned = plan.blocks[number];
    let cell = &plan.cells[planned.cell];
    let rate = CELLS.iter().find(|it| it.0 == cell.name).map_or(5_000.0, |it| it.2);
    let rate = rate * (0.06 * normal(random)).exp();
    let rows = ((rate * 4.0) as u64).min(100_000).div_ceil(cell.batch_rows) * cell.batch_rows;
    let operations = rows / cell.batch_rows;
    let service_ns = cell.batch_rows as f64 * f64::from(cell.workers) / rate * 1e9;
    let exact = "00000000deadbeef".to_owned();
    BlockRecord {
        number,
        cell: planned.cell,
        repetition: planned.repetition,
        started_at: "2026-11-22T13:05:10.000Z".to_owned(),
        ended: BlockEnd::Done,
        elapsed_ns: (rows as f64 / rate * 1e9) as u64,
        steady: None,
        operations,
        operations_rolled_back: 0,
        rows_confirmed: rows,
        rows_failed: 0,
        rows_in_doubt: 0,
        verification: Some(Verification {
            rows_expected: rows,
            rows_found: rows,
            checksum_expected: exact.clone(),
            checksum_found: exact,
            ..Verification::default()
        }),
        verification_error: None,
        pushed_back: 0,
        errors: BTreeMap::new(),
        error: None,
        never_started: 0,
        overloaded: false,
        client_cpu_ns: rows * 900,
        rows_wait_ns: 0,
        windows: (rows as f64 / rate * 4.0).ceil() as u64,
        windows_client_bound: 1,
        wal_bytes: Some(rows * 190),
        wal_full_page_images: Some(rows / 250),
        checkpoints: Some(0),
        wait_events: [("CPU", 14), ("IO:WALSync", 5), ("LWLock:WALWrite", 1)]
            .map(|(event, count)| (event.to_owned(), count))
            .into(),
        latency: latencies(operations, service_ns, cell.pace, random),
    }
}

/// Latencies around a centre, with a tail: one in 200 waits for 10 times as long.
fn latencies(
    operations: u64,
    service_ns: f64,
    pace: Pace,
    random: &mut Pcg64Mcg,
) -> BTreeMap<String, EncodedHistogram> {
    let mut histograms = Histograms::default();
    for _ in 0..operations {
        let tail = if random.next_u32().is_multiple_of(200) { 10.0 } else { 1.0 };
        let service = service_ns * 0.9 * (0.25 * normal(random)).exp() * tail;
        let queue = if pace == Pace::Closed { 0.0 } else { service_ns * 0.1 * tail * tail };
        let nanos = |nanos: f64| Duration::from_nanos(nanos as u64);
        histograms.record(Kind::Service, nanos(service));
        histograms.record(Kind::Response, nanos(service + queue));
        histograms.record(Kind::Encode, nanos(service * 0.04));
        histograms.record(Kind::Commit, nanos(service * 0.4));
    }
    let encode = |kind: Kind| {
        let histogram = histograms.of(kind);
        (kind.name().to_owned(), EncodedHistogram::encode(histogram))
    };
    Kind::ALL.into_iter().map(encode).collect()
}

fn windows_of(plan: &Plan, block: &BlockRecord, random: &mut Pcg64Mcg) -> Vec<WindowRow> {
    let cell = &plan.cells[block.cell];
    let length_ms = plan.window_ms as f64;
    let elapsed_ms = block.elapsed_ns as f64 / 1e6;
    let mut windows = Vec::new();
    let mut start_ms = 0.0;
    while start_ms < elapsed_ms {
        let own_ms = (elapsed_ms - start_ms).min(length_ms);
        let has_checkpoint = block.number % 9 == 4 && windows.len() == 5;
        let slow = if has_checkpoint { 0.4 } else { 1.0 };
        // The last, short window: a whole batch ends in a few milliseconds.
        let spike = if own_ms < length_ms * 0.1 { 40.0 } else { 1.0 };
        let rate = block.rows_per_s() * slow * spike * (0.08 * normal(random)).exp();
        let rows = (rate * own_ms / 1e3) as u64;
        windows.push(WindowRow {
            block: block.number,
            cell: cell.name.clone(),
            repetition: block.repetition,
            window: windows.len() as u64,
            start_ms,
            length_ms: own_ms,
            epoch: 0,
            mixed: false,
            batch_rows: cell.batch_rows,
            workers: cell.workers,
            operations: rows / cell.batch_rows,
            rows,
            rows_per_s: rows as f64 * 1e3 / own_ms,
            pushed_back: 0,
            errors: 0,
            service_ns_mean: 1e6,
            service_ns_stddev: 1e5,
            service_ns_p50: 1_000_000,
            service_ns_p99: 2_000_000,
            service_ns_max: 3_000_000,
            response_ns_p50: 1_000_000,
            response_ns_p99: 2_000_000,
            response_ns_max: 3_000_000,
            pool_wait_ns_mean: 0.0,
            backlog: 0,
            client_cpu_ns: 1_000,
            client_bound: cell.name.starts_with("copy_binary, 5") && windows.len() == 1,
            wal_bytes: Some(1_000),
            checkpoints: Some(u64::from(has_checkpoint)),
            autovacuum_workers: Some(u64::from(block.number % 7 == 3 && windows.len() > 8)),
        });
        start_ms += length_ms;
    }
    windows
}

fn environment() -> Environment {
    let settings = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    Environment {
        server: ServerInfo {
            version: "PostgreSQL 15.18 (Debian 15.18-0+deb12u1) on x86_64-pc-linux-gnu, compiled \
                      by gcc (Debian 12.2.0-14) 12.2.0, 64-bit"
                .to_owned(),
            version_num: 150_018,
            address: "a socket of this run".to_owned(),
            instance: Some("7446109530151234567 1767225600.123456".to_owned()),
            unix_socket: true,
            tls: None,
            may_checkpoint: true,
            sessions_free: None,
            durability: settings(&[
                ("fsync", "on"),
                ("full_page_writes", "on"),
                ("synchronous_commit", "on"),
                ("wal_level", "replica"),
            ]),
            settings: settings(&[("max_connections", "200"), ("shared_buffers", "128MB")]),
            round_trip: Probe { n: 300, latency_ns_p50: 61_000, latency_ns_p99: 140_000 },
            commit: Probe { n: 100, latency_ns_p50: 372_000, latency_ns_p99: 1_900_000 },
        },
        private_server: true,
        client: Host {
            cpu: "Some Processor 9000".to_owned(),
            cpus: 2,
            memory_bytes: 8 << 30,
            system: "Linux 12 Debian".to_owned(),
            kernel: "6.1.0".to_owned(),
            architecture: "x86_64".to_owned(),
            virtualization: Some("none".to_owned()),
        },
        storage: Some("ext4 on a disk".to_owned()),
        load_before: 0.08,
        cpu_busy_before: Some(0.02),
        steal: Some(0.001),
    }
}

fn normal(random: &mut Pcg64Mcg) -> f64 {
    (0..12).map(|_| f64::from(random.next_u32()) / f64::from(u32::MAX)).sum::<f64>() - 6.0
}
