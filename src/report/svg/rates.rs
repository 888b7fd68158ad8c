//! `rates.svg`: rows a second of each cell, measured and claimed.

use super::{
    axis::{Axis, short},
    canvas::{
        Align, Canvas, Font, GRID, GRID_MINOR, INK, MUTED, SMALL, Stroke, TEXT, draw, top_below,
        wrap,
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

const WIDTH: f64 = 1100.0;
const NAME_WIDTH: f64 = 285.0;
const PLOT_LEFT: f64 = 16.0 + NAME_WIDTH + 16.0;
const COLUMNS_WIDTH: f64 = 322.0;
const PLOT_RIGHT: f64 = WIDTH - COLUMNS_WIDTH;
const MEASURED_LEFT: f64 = PLOT_RIGHT + 14.0;
const CLAIMED_RIGHT: f64 = WIDTH - 52.0;
const COUNT_RIGHT: f64 = WIDTH - 16.0;
const LINE_HEIGHT: f64 = 15.0;

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
         logarithms). Small dots: each block."
            .to_owned()];
    let top = top_below(&description) + 56.0;
    let rows = rows(record, verdict, top);
    let bottom = rows.last().map_or(top + 40.0, |row| row.top + row.height);
    let axis = Axis::rates(&values(&rows), (PLOT_LEFT, PLOT_RIGHT));
    let has_claims = verdict.cells.iter().any(|cell| cell.claimed_rows_per_s.is_some());
    let title = format!("{}: rows inserted a second", record.plan.title);
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

/// Returns all that must find a place on the axis.
fn values(rows: &[Row<'_>]) -> Vec<f64> {
    let mut values = Vec::new();
    for row in rows {
        values.extend(&row.blocks);
        values.extend(row.cell.claimed_rows_per_s);
        if let Some(Estimate { value, low, high, .. }) = row.cell.rows_per_s {
            values.extend([Some(value), low, high].into_iter().flatten());
        }
    }
    values
}

fn paint_legend(canvas: &Canvas<'_>, y: f64, has_claims: bool) {
    let next = legend_entry(canvas, (16.0, y), "measured, 95 % interval", |(x, y)| {
        paint_whiskers(canvas, x - 11.0, x + 11.0, y);
        canvas.circle((x, y), 4.5, MEASURED, 1.0);
    });
    let next = legend_entry(canvas, (next, y), "one block", |point| {
        canvas.circle(point, 2.5, MEASURED, 0.4);
    });
    if has_claims {
        legend_entry(canvas, (next, y), "claimed", |point| {
            Shape::Diamond.draw(canvas, point, 5.0, CLAIMED);
        });
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
    for &block in row.blocks.iter().filter(|block| 0.0 < **block) {
        canvas.circle((axis.at(block), middle), 2.5, MEASURED, 0.4);
    }
    if let Some(claim) = row.cell.claimed_rows_per_s {
        Shape::Diamond.draw(canvas, (axis.at(claim), middle), 5.0, CLAIMED);
        let font = Font::new(TEXT, CLAIMED);
        canvas.text((CLAIMED_RIGHT, middle), &number(claim), font, Align::Right);
    }
    let Some(rate) = row.cell.rows_per_s else {
        let font = Font::new(TEXT, MUTED);
        canvas.text((MEASURED_LEFT, middle), "no valid block", font, Align::Left);
        canvas.text((COUNT_RIGHT, middle), "0", font, Align::Right);
        return;
    };
    if let (Some(low), Some(high)) = (rate.low, rate.high) {
        paint_whiskers(canvas, axis.at(low), axis.at(high), middle);
    }
    canvas.circle((axis.at(rate.value), middle), 4.5, MEASURED, 1.0);
    let font = Font::new(TEXT, INK);
    canvas.text((MEASURED_LEFT, middle), &interval(rate), font, Align::Left);
    canvas.text((COUNT_RIGHT, middle), &rate.n.to_string(), font, Align::Right);
}

fn paint_whiskers(canvas: &Canvas<'_>, low: f64, high: f64, y: f64) {
    let stroke = Stroke::new(MEASURED, 2.0);
    canvas.line(&[(low, y), (high, y)], stroke);
    for end in [low, high] {
        canvas.line(&[(end, y - 5.0), (end, y + 5.0)], stroke);
    }
}
