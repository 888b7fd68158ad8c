//! The numbers of each cell in each record, and whether the last ones are worse.

use super::{Finding, Options, Row};
use crate::{
    gate::{Bounds, Judgement, Metric},
    measure::Kind,
    plan::{CellPlan, Pace},
    record::{BlockRecord, EncodedHistogram, Record},
    stats::{CONFIDENCE, Estimate, Prediction, deviation, quantile_of_t},
};

/// Collects what was measured in the cells of the last record.
pub(super) fn rows(records: &[&Record]) -> Vec<Row> {
    let last = records.last().expect("there are two at least");
    let steady = last.plan.cells.iter().filter(|cell| cell.controller.is_none());
    let rows = steady.flat_map(|cell| {
        metrics(cell).map(|metric| Row {
            cell: cell.name.clone(),
            metric,
            measured: records.iter().map(|it| measured(it, &cell.name, metric)).collect(),
            finding: None,
        })
    });
    rows.collect()
}

/// The rate of an open loop is what was asked for.
fn metrics(cell: &CellPlan) -> impl Iterator<Item = Metric> + use<> {
    let rate = (cell.pace == Pace::Closed).then_some(Metric::RowsPerS);
    rate.into_iter().chain([Metric::LatencyP95])
}

fn measured(record: &Record, cell: &str, metric: Metric) -> Option<Estimate> {
    let index = record.plan.cells.iter().position(|it| it.name == cell)?;
    let kind = match record.plan.cells[index].pace {
        Pace::Closed => Kind::Service,
        Pace::Open { .. } => Kind::Response,
    };
    let blocks = record.valid_blocks_of(index);
    let numbers: Option<Vec<f64>> = match metric {
        Metric::RowsPerS => Some(blocks.map(BlockRecord::rows_per_s).collect()),
        _ => blocks.map(|block| latency_s_p95(block, kind)).collect(),
    };
    Estimate::of(&numbers?)
}

fn latency_s_p95(block: &BlockRecord, kind: Kind) -> Option<f64> {
    let latency = block.latency.get(kind.name()).and_then(EncodedHistogram::decode)?;
    (!latency.is_empty()).then(|| latency.value_at_quantile(0.95) as f64 / 1e9)
}

/// Judges every number that both sides have. The level is divided by them: each is one more chance
/// to fail.
pub(super) fn judge(rows: &mut [Row], options: &Options) {
    let sides = rows.iter().map(|row| sides(row, options)).collect::<Vec<_>>();
    let chances = sides.iter().flatten().count().max(1);
    let alpha = options.fail_alpha / chances as f64;
    for (row, sides) in rows.iter_mut().zip(sides) {
        row.finding = sides.map(|(next, last)| finding(row.metric, next, last, alpha, options));
    }
}

/// What the earlier records predict, and what the last one measured, as logarithms.
fn sides(row: &Row, options: &Options) -> Option<(Prediction, f64)> {
    let (last, earlier) = row.measured.split_last().expect("one a record");
    let last = (*last)?;
    let earlier: Vec<Estimate> = earlier.iter().copied().flatten().collect();
    let logs: Vec<f64> = earlier.iter().map(|it| it.value.ln()).collect();
    let next = if options.sessions_min.max(2) <= logs.len() {
        Prediction::of(&logs, options.session_noise_min)
    } else {
        // Their own spread counts where it is larger than what is assumed. Blocks spread, too.
        let sessions = options.session_noise.max(deviation(&logs).unwrap_or(0.0));
        let blocks = earlier.iter().chain([&last]).map(|it| error(*it)).fold(0.0, f64::max);
        Prediction::with_deviation(&logs, sessions.hypot(blocks))
    };
    Some((next?, last.value.ln()))
}

/// Standard error of an estimate's logarithm, of which its interval is Student's. 0 where one block
/// gives no interval; what sessions differ by has to do then.
fn error(estimate: Estimate) -> f64 {
    let half = |(low, high): (f64, f64)| (high / low).ln() / 2.0;
    let standard_errors = quantile_of_t(estimate.n.saturating_sub(1));
    estimate.low.zip(estimate.high).map_or(0.0, |ends| half(ends) / standard_errors)
}

fn finding(metric: Metric, next: Prediction, last: f64, alpha: f64, options: &Options) -> Finding {
    let Bounds { margin, tolerance } = match metric {
        Metric::RowsPerS => options.rows_per_s,
        Metric::LatencyP95 | Metric::LatencyP99 => options.latency_p95,
    };
    let gain = if metric.is_latency() { next.mean - last } else { last - next.mean };
    let (fail_below, pass_above) = (metric.gain_of_worse(margin), metric.gain_of_worse(tolerance));
    let ratio = |gain: f64| metric.ratio_of_gain(gain);
    let half = next.reach((1.0 - CONFIDENCE) / 2.0);
    let ends = [ratio(gain - half), ratio(gain + half)];
    Finding {
        ratio: Estimate {
            value: ratio(gain),
            low: Some(ends[0].min(ends[1])),
            high: Some(ends[0].max(ends[1])),
            n: next.observations,
        },
        detectable: metric.worse_of_gain(fail_below - next.reach(alpha)),
        judgement: if gain + next.reach(alpha) < fail_below {
            Judgement::Fail
        } else if pass_above < gain - next.reach(options.pass_alpha) {
            Judgement::Pass
        } else {
            Judgement::Open
        },
    }
}
