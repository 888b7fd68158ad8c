//! `arms.svg`: what the blocks of both arms measured, as distributions.

use plotters::style::RGBColor;

use super::{
    axis::{Axis, short, short_ns},
    canvas::{
        Align, Canvas, Font, GRID, INK, MUTED, Point, SMALL, Stroke, TEXT, WIDTH, draw, top_below,
    },
    marker::{CLAIMED, MEASURED, legend_entry},
    pairs::CELLS_MAX,
};
use crate::{
    gate::{Arm, Metric, Session},
    record::{CellCheck, CheckRecord},
};

const LEFT: f64 = 64.0;
const RIGHT: f64 = WIDTH - 24.0;
const BETWEEN: f64 = 70.0;
const PANEL_HEIGHT: f64 = 190.0;
const HEAD: f64 = 44.0;
const FOOT: f64 = 56.0;
const BASE: RGBColor = MEASURED;
const HEAD_COLOR: RGBColor = CLAIMED;
/// Share of the span that is left free at both ends of the axis.
const ROOM: f64 = 0.04;

/// Draws the distributions of a check, or nothing if there is no pair.
pub fn arms(record: &CheckRecord) -> Option<String> {
    let has_pairs = |cell: &&CellCheck| !last_session(cell).pairs().is_empty();
    let cells: Vec<&CellCheck> = record.cells.iter().filter(has_pairs).take(CELLS_MAX).collect();
    if cells.is_empty() {
        return None;
    }
    let description = [
        "Each step is a block of the last session: the curve says which share of an arm's blocks \
         measured no more than that. Circle: the median."
            .to_owned(),
        "The verdict does not come from here: blocks of a pair share what the machine did, and only \
         their ratio is free of it."
            .to_owned(),
    ];
    let top = top_below(&description) + 34.0;
    let height = HEAD + PANEL_HEIGHT + FOOT;
    let size = (WIDTH, top + height * cells.len() as f64);
    let simulated = if record.is_simulated() { "SIMULATED: " } else { "" };
    let title = format!("{simulated}{}: blocks of both arms", record.name);
    Some(draw(size, &title, &description, |canvas| {
        paint_legend(canvas, top - 20.0);
        for (index, cell) in cells.iter().enumerate() {
            paint_cell(canvas, cell, top + height * index as f64);
        }
    }))
}

fn last_session(cell: &CellCheck) -> &Session {
    cell.check.sessions().last().expect("a check has a session")
}

fn paint_legend(canvas: &Canvas<'_>, y: f64) {
    let step = |color: RGBColor, is_head: bool| {
        move |(x, y): Point| {
            let points = [(x - 11.0, y + 4.0), (x, y + 4.0), (x, y - 4.0), (x + 11.0, y - 4.0)];
            paint_steps(canvas, &points, color, is_head);
        }
    };
    let next = legend_entry(canvas, (16.0, y), "base", step(BASE, false));
    legend_entry(canvas, (next, y), "head", step(HEAD_COLOR, true));
}

/// Head's line is broken, for those who do not see its colour.
fn paint_steps(canvas: &Canvas<'_>, points: &[Point], color: RGBColor, is_head: bool) {
    let stroke = Stroke::new(color, 2.0);
    if is_head { canvas.dashed(points, stroke) } else { canvas.line(points, stroke) }
}

fn paint_cell(canvas: &Canvas<'_>, cell: &CellCheck, top: f64) {
    let session = last_session(cell);
    let font = Font::new(TEXT, INK).bold();
    canvas.text((LEFT, top + 12.0), &cell.name, font, Align::Left);
    let width = (RIGHT - LEFT - BETWEEN) / 2.0;
    for (index, metric) in [Metric::RowsPerS, Metric::LatencyP95].into_iter().enumerate() {
        let left = LEFT + (width + BETWEEN) * index as f64;
        paint_panel(canvas, session, metric, (left, left + width), top + HEAD);
    }
}

fn paint_panel(
    canvas: &Canvas<'_>,
    session: &Session,
    metric: Metric,
    (left, right): (f64, f64),
    top: f64,
) {
    let bottom = top + PANEL_HEIGHT;
    let [base, head] = [Arm::Base, Arm::Head].map(|arm| session.values(metric, arm));
    let least = base.iter().chain(&head).copied().fold(f64::INFINITY, f64::min);
    let most = base.iter().chain(&head).copied().fold(f64::NEG_INFINITY, f64::max);
    let room = ((most - least) * ROOM).max(most * 1e-3).max(f64::MIN_POSITIVE);
    let x = Axis::linear((least - room, most + room), (left, right));
    let y = Axis::linear((0.0, 1.0), (bottom, top));
    for share in [0.0, 0.25, 0.5, 0.75, 1.0] {
        let at = y.at(share);
        canvas.line(&[(left, at), (right, at)], Stroke::new(GRID, 1.0));
        let label = format!("{:.0} %", share * 100.0);
        canvas.text((left - 8.0, at), &label, Font::new(SMALL, INK), Align::Right);
    }
    let label = |value: f64| match metric {
        Metric::RowsPerS => short(value),
        Metric::LatencyP95 | Metric::LatencyP99 => short_ns(value * 1e9),
    };
    let mut label_end = left - 1.0;
    for tick in x.round_ticks(label) {
        let at = x.at(tick.value);
        canvas.line(&[(at, top), (at, bottom)], Stroke::new(GRID, 1.0));
        if let Some(label) = tick.label.filter(|_| label_end < at - 24.0) {
            canvas.text((at, bottom + 14.0), &label, Font::new(SMALL, INK), Align::Center);
            label_end = at + 24.0;
        }
    }
    canvas.line(&[(left, bottom), (right, bottom)], Stroke::new(MUTED, 1.0));
    let title = match metric {
        Metric::RowsPerS => "rows/s of a block",
        Metric::LatencyP95 | Metric::LatencyP99 => "p95 latency of an operation in a block",
    };
    let center = (f64::midpoint(left, right), bottom + 34.0);
    canvas.text(center, title, Font::new(TEXT, INK), Align::Center);
    paint_curve(canvas, base, (&x, &y), BASE, false);
    paint_curve(canvas, head, (&x, &y), HEAD_COLOR, true);
}

/// Share of the values up to each.
fn paint_curve(
    canvas: &Canvas<'_>,
    mut values: Vec<f64>,
    (x, y): (&Axis, &Axis),
    color: RGBColor,
    is_head: bool,
) {
    values.sort_by(f64::total_cmp);
    let count = values.len() as f64;
    let mut points: Vec<Point> = Vec::new();
    for (index, value) in values.iter().enumerate() {
        let (below, upto) = (index as f64 / count, (index + 1) as f64 / count);
        points.extend([(x.at(*value), y.at(below)), (x.at(*value), y.at(upto))]);
    }
    paint_steps(canvas, &points, color, is_head);
    canvas.circle((x.at(crate::stats::median(&values)), y.at(0.5)), 5.0, color, 1.0);
}
