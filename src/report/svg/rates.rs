//! `rates.svg`: rows a second of each cell, measured and claimed.

use super::{
    axis::{Axis, short},
    canvas::{
        Align, Canvas, Font, GRID, GRID_MINOR, INK, MUTED, Point, SMALL, Stroke, TEXT, WIDTH, draw,
        top_below, wrap,
    },
    marker::{CLAIMED, MEASURED, Shape, legend_entry},
};
use crate::{
    record::{BlockRecord, Record},
    stats::{
        Estimate,
        format::{interval, number},
    },
    verdict::{CellVerdict, Verdict},
};

const NAME_WIDTH: f64 = 285.0;
const PLOT_LEFT: f64 = 16.0 + NAME_WIDTH + 16.0;
const COLUMNS_WIDTH: f64 = 322.0;
const PLOT_RIGHT: f64 = WIDTH - COLUMNS_WIDTH;
const MEASURED_LEFT: f64 = PLOT_RIGHT + 14.0;
const CLAIMED_RIGHT: f64 = WIDTH - 52.0;
const COUNT_RIGHT: f64 = WIDTH - 16.0;
const LINE_HEIGHT: f64 = 15.0;
const WHISKER: Stroke = Stroke::new(MEASURED, 2.0);
/// Factor beyond all blocks and claims that an interval may widen the axis by.
const BEYOND_MAX: f64 = 2.0;

/// A cell's row of the plot, from its upper edge.
struct Row<'a> {
    cell: &'a CellVerdict,
    name: Vec<String>,
    top: f64,
    height: f64,
    blocks: Vec<f64>,
}

/// Draws rows a second of each cell, measured and claimed.
pub fn rates(record: &Record, verdict: &Verdict) -> String {
    let description =
        ["Dot: geometric mean of n blocks. Whiskers: its 95 % interval (Student's t of the \
         logarithms), with an arrow where it leaves the plot. Small dots: each block."
            .to_owned()];
    let top = top_below(&description) + 56.0;
    let rows = rows(record, verdict, top);
    let bottom = rows.last().map_or(top + 40.0, |row| row.top + row.height);
    let axis = Axis::rates(&values(&rows), (PLOT_LEFT, PLOT_RIGHT));
    let has_claims = verdict.cells.iter().any(|cell| cell.claimed_rows_per_s.is_some());
    let title = format!("{}: rows inserted a second", record.plan.heading());
    draw((WIDTH, bottom + 60.0), &title, &description, |canvas| {
        paint_legend(canvas, top - 46.0, has_claims);
        paint_heads(canvas, top - 14.0, has_claims);
        paint_axis(canvas, &axis, top, bottom);
        for row in &rows {
            paint_row(canvas, &axis, row);
        }
        if rows.is_empty() {
            let center = (f64::midpoint(PLOT_LEFT, PLOT_RIGHT), top + 20.0);
            canvas.text(center, "no cell", Font::new(TEXT, MUTED), Align::Center);
        }
    })
}

fn rows<'a>(record: &Record, verdict: &'a Verdict, top: f64) -> Vec<Row<'a>> {
    let mut top = top;
    let mut rows = Vec::new();
    for cell in &verdict.cells {
        let name = wrap(&cell.name, NAME_WIDTH, TEXT);
        let height = (LINE_HEIGHT * name.len() as f64 + 12.0).max(30.0);
        let blocks = record.valid_blocks_of(cell.cell).map(BlockRecord::rows_per_s).collect();
        rows.push(Row { cell, name, top, height, blocks });
        top += height;
    }
    rows
}

/// Returns what must find a place on the axis.
///
/// Of two blocks that differ, an interval spans many factors of ten. One such cell must not press
/// all others together: an interval far beyond all else leaves the plot, with an arrow.
fn values(rows: &[Row<'_>]) -> Vec<f64> {
    let mut values = Vec::new();
    for row in rows {
        values.extend(&row.blocks);
        values.extend(row.cell.claimed_rows_per_s);
        values.extend(row.cell.rows_per_s.map(|it| it.value));
    }
    let positive = || values.iter().copied().filter(|it| 0.0 < *it);
    let lowest = positive().fold(f64::MAX, f64::min) / BEYOND_MAX;
    let highest = positive().fold(0.0, f64::max) * BEYOND_MAX;
    let ends = rows.iter().filter_map(|row| row.cell.rows_per_s);
    let ends: Vec<f64> = ends
        .flat_map(|Estimate { low, high, .. }| [low, high])
        .flatten()
        .map(|end| end.clamp(lowest.min(highest), highest))
        .collect();
    values.extend(ends);
    values
}

fn paint_legend(canvas: &Canvas<'_>, y: f64, has_claims: bool) {
    let next = legend_entry(canvas, (16.0, y), "measured, 95 % interval", |(x, y)| {
        canvas.line(&[(x - 11.0, y), (x + 11.0, y)], WHISKER);
        paint_cap(canvas, (x - 11.0, y));
        paint_cap(canvas, (x + 11.0, y));
        canvas.circle((x, y), 4.5, MEASURED, 1.0);
    });
    let next = legend_entry(canvas, (next, y), "one block", |point| {
        canvas.circle(point, 2.5, MEASURED, 0.5);
    });
    if has_claims {
        legend_entry(canvas, (next, y), "claimed", |point| paint_claim(canvas, point));
    }
}

fn paint_heads(canvas: &Canvas<'_>, y: f64, has_claims: bool) {
    let font = Font::new(SMALL, MUTED);
    canvas.text((16.0, y), "cell", font, Align::Left);
    canvas.text((MEASURED_LEFT, y), "measured, rows/s [95 %]", font, Align::Left);
    if has_claims {
        canvas.text((CLAIMED_RIGHT, y), "claimed", Font::new(SMALL, CLAIMED), Align::Right);
    }
    canvas.text((COUNT_RIGHT, y), "n", font, Align::Right);
}

fn paint_axis(canvas: &Canvas<'_>, axis: &Axis, top: f64, bottom: f64) {
    let mut label_end = 0.0;
    for tick in axis.ticks(short) {
        let x = axis.at(tick.value);
        let color = if tick.label.is_some() { GRID } else { GRID_MINOR };
        canvas.line(&[(x, top), (x, bottom)], Stroke::new(color, 1.0));
        if let Some(label) = tick.label.filter(|_| label_end < x - 16.0) {
            canvas.text((x, bottom + 14.0), &label, Font::new(SMALL, INK), Align::Center);
            label_end = x + 16.0;
        }
    }
    canvas.line(&[(PLOT_LEFT, bottom), (PLOT_RIGHT, bottom)], Stroke::new(MUTED, 1.0));
    let title = if axis.is_log() { "rows/s, log scale" } else { "rows/s" };
    let center = f64::midpoint(PLOT_LEFT, PLOT_RIGHT);
    canvas.text((center, bottom + 38.0), title, Font::new(TEXT, INK), Align::Center);
}

fn paint_row(canvas: &Canvas<'_>, axis: &Axis, row: &Row<'_>) {
    let middle = row.top + row.height / 2.0;
    canvas.line(&[(16.0, row.top), (COUNT_RIGHT, row.top)], Stroke::new(GRID, 0.75));
    let first = middle - LINE_HEIGHT * (row.name.len() - 1) as f64 / 2.0;
    for (index, line) in row.name.iter().enumerate() {
        let y = first + LINE_HEIGHT * index as f64;
        canvas.text((16.0, y), line, Font::new(TEXT, INK), Align::Left);
    }
    if let Some(claim) = row.cell.claimed_rows_per_s {
        paint_claim(canvas, (axis.at(claim), middle));
        let font = Font::new(TEXT, CLAIMED);
        canvas.text((CLAIMED_RIGHT, middle), &number(claim), font, Align::Right);
    }
    // Below the whiskers, which would hide them.
    for &block in row.blocks.iter().filter(|block| 0.0 < **block) {
        canvas.circle((axis.at(block), middle + 9.0), 2.5, MEASURED, 0.5);
    }
    let Some(rate) = row.cell.rows_per_s else {
        let font = Font::new(TEXT, MUTED);
        canvas.text((MEASURED_LEFT, middle), "no valid block", font, Align::Left);
        canvas.text((COUNT_RIGHT, middle), "0", font, Align::Right);
        return;
    };
    if let (Some(low), Some(high)) = (rate.low, rate.high) {
        canvas.line(&[(axis.at(low), middle), (axis.at(high), middle)], WHISKER);
        for (end, outwards) in [(low, -1.0), (high, 1.0)] {
            let at = (axis.at(end), middle);
            if axis.holds(end) { paint_cap(canvas, at) } else { paint_arrow(canvas, at, outwards) }
        }
    }
    canvas.circle((axis.at(rate.value), middle), 4.5, MEASURED, 1.0);
    let font = Font::new(TEXT, INK);
    canvas.text((MEASURED_LEFT, middle), &interval(rate), font, Align::Left);
    canvas.text((COUNT_RIGHT, middle), &rate.n.to_string(), font, Align::Right);
}

fn paint_claim(canvas: &Canvas<'_>, (x, y): Point) {
    // The line is still seen where the dot of what was measured hides the diamond.
    canvas.line(&[(x, y - 11.0), (x, y + 11.0)], Stroke::new(CLAIMED, 2.0));
    Shape::Diamond.draw(canvas, (x, y), 5.0, CLAIMED);
}

fn paint_cap(canvas: &Canvas<'_>, (x, y): Point) {
    canvas.line(&[(x, y - 5.0), (x, y + 5.0)], WHISKER);
}

fn paint_arrow(canvas: &Canvas<'_>, (x, y): Point, outwards: f64) {
    let back = x - 8.0 * outwards;
    canvas.polygon(&[(x + 2.0 * outwards, y), (back, y - 5.0), (back, y + 5.0)], MEASURED);
}
