//! `run --sim-truth`: what a simulated server can do, as only its maker knows.

use std::io::{self, Write};

use comfy_table::{Cell, CellAlignment, ColumnConstraint, Table, presets};

use super::{UsageError, args::Format};
use crate::{
    controller::{Bounds, Grid, Setting},
    plan::Plan,
    stats::format::{number, time_us},
    target::sim::{Course, SimSettings, Surface},
};

/// A setting and what the server gives there, without noise.
struct Truth {
    name: String,
    setting: Setting,
    rows_per_s: f64,
    p99_s: f64,
    /// Of the best rows/s, within the limit if there is one.
    share: f64,
    keeps_limit: bool,
}

/// Prints the best setting and what the plan's own settings give, before and after a change.
pub(super) fn show(plan: &Plan, format: Format) -> anyhow::Result<()> {
    let Some(sim) = &plan.sim else {
        let problem = "--sim-truth: only a simulated server has a known truth; this scenario has no \
                       [sim]";
        return Err(UsageError(problem.to_owned()).into());
    };
    let in_blocks = sim.changed_blocks.map(|(first, last)| format!("in blocks {first} to {last}"));
    let mut times = vec![("", &sim.before)];
    match sim.course {
        Course::Steady => (),
        Course::At { .. } if in_blocks.is_some() => {
            let when = in_blocks.as_deref().unwrap_or_default();
            times = vec![("in other blocks", &sim.before), (when, &sim.after)];
        }
        Course::At { .. } => {
            times = vec![("before the change", &sim.before), ("after", &sim.after)]
        }
        Course::Drift => times = vec![("at first", &sim.before), ("at last", &sim.after)],
    }
    let out = &mut io::stdout();
    if format == Format::Json {
        let all: Vec<serde_json::Value> =
            times.iter().map(|(when, surface)| json(when, &truths(plan, sim, surface))).collect();
        writeln!(out, "{}", serde_json::to_string_pretty(&all)?)?;
        return Ok(());
    }
    writeln!(out, "{}: the truth of a SIMULATED server, without its noise", plan.name)?;
    if let Some(limit_s) = sim.p99_limit_s {
        writeln!(out, "p99 may be {} at most", time_us(limit_s * 1e6))?;
    }
    for (when, surface) in times {
        writeln!(out)?;
        if !when.is_empty() {
            writeln!(out, "{when}")?;
        }
        writeln!(
            out,
            "{}",
            table(&truths(plan, sim, surface), sim.p99_limit_s.is_some()).trim_fmt()
        )?;
    }
    Ok(())
}

fn truths(plan: &Plan, sim: &SimSettings, surface: &Surface) -> Vec<Truth> {
    let grid = Grid::new(&Bounds::WIDE);
    let best = |limit_s| {
        let (batch_rows, workers, _) = surface.best(grid.batches(), grid.workers(), limit_s)?;
        Some(Setting { batch_rows, workers })
    };
    let mut settings = Vec::new();
    let held = sim.p99_limit_s.and_then(|limit_s| best(Some(limit_s)));
    settings.extend(held.map(|it| ("best within the limit".to_owned(), it)));
    settings.extend(best(None).map(|it| ("best of all".to_owned(), it)));
    let fixed = plan.cells.iter().filter(|cell| cell.controller.is_none());
    settings.extend(fixed.map(|cell| (cell.name.clone(), cell.setting())));
    let rate = |it: Setting| surface.rows_per_s(it.batch_rows, it.workers);
    let most = held.or(best(None)).map_or(f64::NAN, rate);
    let truth = |(name, setting): (String, Setting)| {
        let p99_s = surface.p99_s(setting.batch_rows, setting.workers);
        Truth {
            name,
            setting,
            rows_per_s: rate(setting),
            p99_s,
            share: rate(setting) / most,
            keeps_limit: sim.p99_limit_s.is_none_or(|limit_s| p99_s <= limit_s),
        }
    };
    settings.into_iter().map(truth).collect()
}

fn table(truths: &[Truth], has_limit: bool) -> Table {
    let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    let heads = ["setting", "rows/op", "workers", "rows/s", "share", "p99", "limit"];
    table.set_header(heads.iter().enumerate().map(|(index, head)| match index {
        0 => Cell::new(head),
        _ => right((*head).to_owned()),
    }));
    for truth in truths {
        table.add_row([
            Cell::new(&truth.name),
            right(number(truth.setting.batch_rows as f64)),
            right(truth.setting.workers.to_string()),
            right(number(truth.rows_per_s)),
            right(format!("{:.1} %", truth.share * 100.0)),
            right(time_us(truth.p99_s * 1e6)),
            right(if truth.keeps_limit { "kept" } else { "broken" }.to_owned()),
        ]);
    }
    if !has_limit && let Some(column) = table.column_mut(6) {
        column.set_constraint(ColumnConstraint::Hidden);
    }
    table
}

fn json(when: &str, truths: &[Truth]) -> serde_json::Value {
    let rows = truths.iter().map(|it| {
        serde_json::json!({
            "name": it.name,
            "batch_rows": it.setting.batch_rows,
            "workers": it.setting.workers,
            "rows_per_s": it.rows_per_s,
            "share_of_best": it.share,
            "service_ns_p99": it.p99_s * 1e9,
            "keeps_limit": it.keeps_limit,
        })
    });
    serde_json::json!({ "when": when, "settings": rows.collect::<Vec<_>>() })
}
