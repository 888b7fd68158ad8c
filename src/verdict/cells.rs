//! The numbers of each cell, from its valid blocks.

use std::collections::BTreeMap;

use super::CellVerdict;
use crate::{
    measure::Kind,
    plan::{ClaimUnit, Transaction},
    record::{BlockRecord, EncodedHistogram, Record},
    stats::{self, Estimate},
};

pub(super) fn judge(record: &Record, baseline: Option<usize>) -> Vec<CellVerdict> {
    (0..record.plan.cells.len()).map(|cell| judge_one(record, cell, baseline)).collect()
}

/// Estimates the ratio of two cells' rows a second from the repetitions that both have.
pub(super) fn speedup(record: &Record, cell: usize, baseline: usize) -> Option<Estimate> {
    let baseline_in = |repetition: u32| {
        let mut blocks = record.valid_blocks_of(baseline);
        blocks.find(|block| block.repetition == repetition).map(BlockRecord::rows_per_s)
    };
    // Those of a rematch are numbered on from the plan's.
    let paired = record
        .valid_blocks_of(cell)
        .filter_map(|block| Some((block.rows_per_s(), baseline_in(block.repetition)?)));
    let pairs: Vec<(f64, f64)> = paired.collect();
    Estimate::of_ratio(&pairs)
}

fn judge_one(record: &Record, cell: usize, baseline: Option<usize>) -> CellVerdict {
    let plan = &record.plan.cells[cell];
    let blocks: Vec<&BlockRecord> = record.valid_blocks_of(cell).collect();
    let rates: Vec<f64> = blocks.iter().map(|block| block.rows_per_s()).collect();
    let rows: u64 = blocks.iter().map(|block| block.rows_confirmed).sum();
    let is_search = record.plan.tuning.is_some() && plan.controller.is_some();
    let rows_per_s = Estimate::of(&rates).map(|rate| match is_search {
        false => rate,
        // Rounds of a search go on where the last one was: they are no repetitions.
        true => Estimate { low: None, high: None, ..rate },
    });
    let claimed = |unit: ClaimUnit| {
        let mut claims = record.plan.claims.iter();
        claims.find(|claim| claim.cell == cell && claim.unit == unit).map(|claim| claim.value)
    };
    let claimed_rows_per_s = claimed(ClaimUnit::RowsPerSecond);
    let service = record.latency_of(cell, Kind::Service);
    let response = record.latency_of(cell, Kind::Response);
    let commit = record.latency_of(cell, Kind::Commit);
    let a_row = |total: f64| if rows == 0 { 0.0 } else { total / rows as f64 };
    let server = |count: fn(&BlockRecord) -> Option<u64>| {
        let counts: Option<Vec<u64>> = blocks.iter().map(|block| count(block)).collect();
        counts.filter(|_| 0 < rows).map(|counts| a_row(counts.iter().sum::<u64>() as f64))
    };
    let cpu_ns: u64 = blocks.iter().map(|block| block.client_cpu_ns).sum();
    let total = |kind: Kind| total_ns(&blocks, kind);
    let share = |kind: Kind| {
        if total(Kind::Service) > 0.0 { total(kind) / total(Kind::Service) } else { 0.0 }
    };
    let has_commit = matches!(plan.transaction, Transaction::Every(_)) && !commit.is_empty();
    let waits = added_waits(&blocks);
    let operations: u64 = blocks.iter().map(|block| block.operations).sum();
    let rows_an_operation = match plan.controller {
        None => plan.batch_rows as f64,
        // Of all its settings, on average.
        Some(_) => rows.max(1) as f64 / operations.max(1) as f64,
    };
    CellVerdict {
        cell,
        name: plan.name.clone(),
        rows_per_s,
        claimed_rows_per_s,
        ratio_to_claim: rows_per_s
            .zip(claimed_rows_per_s)
            .map(|(rate, claim)| rate.divided_by(claim)),
        speedup: baseline.and_then(|baseline| speedup(record, cell, baseline)),
        claimed_speedup: claimed(ClaimUnit::Speedup),
        service_ns_p50: service.value_at_quantile(0.5),
        service_ns_p99: service.value_at_quantile(0.99),
        response_ns_p50: response.value_at_quantile(0.5),
        response_ns_p99: response.value_at_quantile(0.99),
        commit_ns_p50: (!commit.is_empty()).then(|| commit.value_at_quantile(0.5)),
        round_trips_a_row: plan.round_trips_an_operation() / rows_an_operation,
        encode_share: share(Kind::Encode),
        commit_share: has_commit.then(|| share(Kind::Commit)),
        client_cpu_us_a_row: a_row(cpu_ns as f64 / 1e3),
        wal_bytes_a_row: server(|block| block.wal_bytes),
        full_page_images_a_row: server(|block| block.wal_full_page_images),
        rows,
        operations,
        wait_samples: waits.values().sum(),
        wait_events: shares(&waits),
        outliers: stats::outliers(&rates)
            .into_iter()
            .map(|index| blocks[index].repetition)
            .collect(),
    }
}

fn added_waits(blocks: &[&BlockRecord]) -> BTreeMap<String, u64> {
    let mut sum = BTreeMap::new();
    for (event, count) in blocks.iter().flat_map(|block| &block.wait_events) {
        *sum.entry(event.clone()).or_default() += count;
    }
    sum
}

fn shares(waits: &BTreeMap<String, u64>) -> Vec<(String, f64)> {
    let total: u64 = waits.values().sum();
    let mut shares: Vec<(String, f64)> =
        waits.iter().map(|(event, count)| (event.clone(), *count as f64 / total as f64)).collect();
    shares.sort_by(|a, b| b.1.total_cmp(&a.1));
    shares
}

fn total_ns(blocks: &[&BlockRecord], kind: Kind) -> f64 {
    let histograms = blocks.iter().filter_map(|block| block.latency.get(kind.name()));
    histograms.map(|it: &EncodedHistogram| it.ns_mean * it.count as f64).sum()
}
