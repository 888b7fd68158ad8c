//! The rows of the page's tables: every figure as a reader sees it.

use serde::Serialize;

use super::{Badge, badge};
use crate::{
    plan::ClaimUnit,
    record::Record,
    stats::{
        Estimate,
        format::{number, time_ns},
    },
    verdict::{Verdict, settings},
};

/// A number and its interval.
#[derive(Serialize)]
pub(super) struct Figure {
    value: String,
    /// `[low, high]`, or why there is none.
    interval: String,
    n: usize,
}

/// A row of the first table.
#[derive(Serialize)]
pub(super) struct ResultRow<'a> {
    name: &'a str,
    is_baseline: bool,
    claimed: Option<String>,
    measured: Option<Figure>,
    ratio: Option<Figure>,
    claimed_speedup: Option<String>,
    speedup: Option<Figure>,
    p50: Option<String>,
    p99: Option<String>,
    n: usize,
}

/// What a cell was told to do.
#[derive(Serialize)]
pub(super) struct SettingRow<'a> {
    name: &'a str,
    strategy: String,
    batch_rows: String,
    workers: String,
    sessions: u32,
    transaction: String,
    returning: &'static str,
    prepared: &'static str,
    pace: String,
    stop: String,
}

/// What a row cost in a cell.
#[derive(Serialize)]
pub(super) struct CostRow<'a> {
    name: &'a str,
    round_trips: String,
    encode_share: Option<String>,
    commit_share: Option<String>,
    client_cpu: Option<String>,
    wal_bytes: Option<String>,
    full_page_images: Option<String>,
    response_p99: Option<String>,
    rows: String,
    operations: String,
    n: usize,
}

/// What the server's sessions were seen in.
#[derive(Serialize)]
pub(super) struct WaitRow<'a> {
    name: &'a str,
    events: String,
    samples: String,
}

/// A claim and who made it.
#[derive(Serialize)]
pub(super) struct ClaimRow<'a> {
    cell: &'a str,
    claimed: String,
    measured: Option<Figure>,
    badge: Badge,
    source: &'a str,
}

pub(super) fn results(verdict: &Verdict) -> Vec<ResultRow<'_>> {
    let rows = verdict.cells.iter().map(|cell| {
        let measured = 0 < cell.operations;
        ResultRow {
            name: &cell.name,
            is_baseline: verdict.baseline == Some(cell.cell),
            claimed: cell.claimed_rows_per_s.map(number),
            measured: cell.rows_per_s.map(|it| figure(it, "")),
            ratio: cell.ratio_to_claim.map(|it| figure(it, "x")),
            claimed_speedup: cell.claimed_speedup.map(|it| format!("{}x", number(it))),
            speedup: cell.speedup.map(|it| figure(it, "x")),
            p50: measured.then(|| time_ns(cell.service_ns_p50)),
            p99: measured.then(|| time_ns(cell.service_ns_p99)),
            n: cell.rows_per_s.map_or(0, |it| it.n),
        }
    });
    rows.collect()
}

pub(super) fn setup(record: &Record) -> Vec<SettingRow<'_>> {
    let yes = |it: bool| if it { "yes" } else { "no" };
    let rows = record.plan.cells.iter().map(|cell| SettingRow {
        name: &cell.name,
        strategy: cell.strategy.name().to_owned(),
        batch_rows: settings::batch_rows(cell),
        workers: settings::workers(cell),
        sessions: cell.pool.size_max,
        transaction: settings::transaction(cell.transaction),
        returning: yes(cell.returning),
        prepared: yes(cell.prepared),
        pace: settings::pace(cell.pace),
        stop: settings::stop(cell),
    });
    rows.collect()
}

pub(super) fn costs(verdict: &Verdict) -> Vec<CostRow<'_>> {
    let percent = |share: f64| format!("{} %", number(share * 100.0));
    let rows = verdict.cells.iter().map(|cell| {
        let measured = 0 < cell.operations;
        CostRow {
            name: &cell.name,
            round_trips: number(cell.round_trips_a_row),
            encode_share: measured.then(|| percent(cell.encode_share)),
            commit_share: cell.commit_share.map(percent),
            client_cpu: measured.then(|| number(cell.client_cpu_us_a_row)),
            wal_bytes: cell.wal_bytes_a_row.map(number),
            full_page_images: cell.full_page_images_a_row.map(number),
            response_p99: measured.then(|| time_ns(cell.response_ns_p99)),
            rows: number(cell.rows as f64),
            operations: number(cell.operations as f64),
            n: cell.rows_per_s.map_or(0, |it| it.n),
        }
    });
    rows.collect()
}

/// The cells of which there is a sample, and the five events most often seen.
pub(super) fn waits(verdict: &Verdict) -> Vec<WaitRow<'_>> {
    let sampled = verdict.cells.iter().filter(|cell| 0 < cell.wait_samples);
    let rows = sampled.map(|cell| {
        let shares = cell.wait_events.iter().take(5);
        let events: Vec<String> =
            shares.map(|(event, share)| format!("{event} {:.0} %", share * 100.0)).collect();
        let samples = number(cell.wait_samples as f64);
        WaitRow { name: &cell.name, events: events.join(", "), samples }
    });
    rows.collect()
}

pub(super) fn claims<'a>(record: &'a Record, verdict: &'a Verdict) -> Vec<ClaimRow<'a>> {
    let rows = verdict.claims.iter().zip(&record.plan.claims).map(|(claim, plan)| {
        let (unit, claimed) = match (claim.unit, plan.baseline) {
            (ClaimUnit::Speedup, Some(baseline)) => {
                let baseline = &record.plan.cells[baseline].name;
                ("x", format!("{}x of {baseline}", number(claim.claimed)))
            }
            (ClaimUnit::Speedup, None) => ("x", format!("{}x", number(claim.claimed))),
            (ClaimUnit::RowsPerSecond, _) => {
                (" rows/s", format!("{} rows/s", number(claim.claimed)))
            }
        };
        ClaimRow {
            cell: &record.plan.cells[claim.cell].name,
            claimed,
            measured: claim.measured.map(|it| figure(it, unit)),
            badge: badge(claim.outcome),
            source: &claim.source,
        }
    });
    rows.collect()
}

fn figure(estimate: Estimate, unit: &str) -> Figure {
    let interval = match (estimate.low, estimate.high) {
        (Some(low), Some(high)) => format!("[{}, {}]", number(low), number(high)),
        _ => "one block, no interval".to_owned(),
    };
    Figure { value: format!("{}{unit}", number(estimate.value)), interval, n: estimate.n }
}
