//! `over_time.svg`: rows a second in each window, a row of panels a cell, a panel a block.

use super::{
    axis::{Axis, short},
    canvas::{
        Align, Canvas, Font, GRID, INK, MUTED, Point, SMALL, Stroke, TEXT, WIDTH, draw, top_below,
        wrap,
    },
    marker::{AUTOVACUUM, CLAIMED, CLIENT_BOUND, MEASURED, legend_entry},
};
use crate::record::{Record, WindowRow};

const NAME_WIDTH: f64 = 210.0;
const PANELS_LEFT: f64 = 16.0 + NAME_WIDTH + 50.0;
const PANELS_RIGHT: f64 = WIDTH - 20.0;
const PANEL_GAP: f64 = 26.0;
const PANEL_HEIGHT: f64 = 58.0;
const ROW_HEIGHT_MIN: f64 = PANEL_HEIGHT + 34.0;
const LINE_HEIGHT: f64 = 15.0;
/// More would be too narrow to show anything.
const PANELS_MAX: u32 = 10;
/// A window shorter than this share of the nominal length says little: a batch ends in it or not.
const LENGTH_SHARE_MIN: f64 = 0.2;
/// Steps of a panel; of more windows, neighbours are added up.
const STEPS_MAX: usize = 200;

/// What is drawn of a window, or of neighbours added up.
#[derive(Clone, Copy, Debug, Default)]
struct Step {
    start_ms: f64,
    end_ms: f64,
    /// Of the operations that ended in it, so that a panel adds up to what its block inserted.
    rows: u64,
    length_ms: f64,
    has_checkpoint: bool,
    has_autovacuum: bool,
    is_client_bound: bool,
}

/// A block.
struct Panel {
    repetition: u32,
    steps: Vec<Step>,
    is_valid: bool,
}

/// A cell.
struct Row {
    name: Vec<String>,
    panels: Vec<Panel>,
    top: f64,
}

impl Row {
    fn height(&self) -> f64 {
        let least = if self.panels.is_empty() { 0.0 } else { ROW_HEIGHT_MIN };
        (LINE_HEIGHT * self.name.len() as f64 + 18.0).max(least)
    }
}

impl Step {
    fn of(window: &WindowRow) -> Step {
        Step {
            start_ms: window.start_ms,
            end_ms: window.start_ms + window.length_ms,
            rows: window.rows,
            length_ms: window.length_ms,
            has_checkpoint: 0 < window.checkpoints.unwrap_or(0),
            has_autovacuum: 0 < window.autovacuum_workers.unwrap_or(0),
            is_client_bound: window.client_bound,
        }
    }

    fn and(self, next: Step) -> Step {
        Step {
            start_ms: self.start_ms,
            end_ms: next.end_ms,
            rows: self.rows + next.rows,
            length_ms: self.length_ms + next.length_ms,
            has_checkpoint: self.has_checkpoint || next.has_checkpoint,
            has_autovacuum: self.has_autovacuum || next.has_autovacuum,
            is_client_bound: self.is_client_bound || next.is_client_bound,
        }
    }

    fn rows_per_s(self) -> f64 {
        self.rows as f64 * 1e3 / self.length_ms
    }
}

/// Draws rows a second in each window.
pub fn over_time(record: &Record, windows: &[WindowRow]) -> String {
    let description = description(record, windows);
    let top = top_below(&description) + 50.0;
    let panel_count = repetitions(record).clamp(1, PANELS_MAX);
    let rows = rows(record, windows, top);
    let bottom = rows.last().map_or(top + 20.0, |row| row.top + row.height());
    let title = format!("{}: rows a second over time", record.plan.heading());
    draw((WIDTH, bottom + 34.0), &title, &description, |canvas| {
        paint_legend(canvas, top - 40.0);
        for repetition in 0..panel_count {
            let (left, right) = panel_edges(repetition, panel_count);
            let text = format!("repetition {repetition}");
            let center = (f64::midpoint(left, right), top - 12.0);
            canvas.text(center, &text, Font::new(SMALL, MUTED), Align::Center);
        }
        for row in &rows {
            paint_row(canvas, row, panel_count);
        }
        let font = Font::new(TEXT, INK);
        let center = (f64::midpoint(PANELS_LEFT, PANELS_RIGHT), bottom + 12.0);
        canvas.text(center, "time since the block's start, s", font, Align::Center);
        let point = (PANELS_LEFT - 6.0, top - 12.0);
        canvas.text(point, "rows/s", Font::new(SMALL, MUTED), Align::Right);
    })
}

fn description(record: &Record, windows: &[WindowRow]) -> Vec<String> {
    let nominal = record.plan.window_ms;
    let short = windows.iter().filter(|window| is_short(record, window)).count();
    let (least, most) = (record.plan.repetitions, repetitions(record));
    let n = if least < most { format!("up to {most}") } else { format!("n = {most}") };
    let mut description = vec![format!(
        "Rows confirmed in each window of {nominal} ms, over the window's own length. A panel \
             a block, {n} a cell. Each cell has its own scales.",
    )];
    if 0 < short {
        description.push(format!(
            "Left out: {short} of {} windows, shorter than a fifth of {nominal} ms, as the last of \
             a block can be.",
            windows.len()
        ));
    }
    if PANELS_MAX < most {
        description.push(format!(
            "Shown: repetitions 0 to {} of {}; windows.csv holds all.",
            PANELS_MAX - 1,
            most
        ));
    }
    if blocks_of(record, windows).any(|(_, count)| STEPS_MAX < count) {
        description
            .push(format!("In blocks of more than {STEPS_MAX} windows, neighbours are added up."));
    }
    description
}

/// Repetitions of the cell that has the most: what may be the best of a search meets again.
fn repetitions(record: &Record) -> u32 {
    record.plan.blocks.iter().map(|it| it.repetition + 1).max().unwrap_or(0)
}

/// Counts the windows of each block.
fn blocks_of(record: &Record, windows: &[WindowRow]) -> impl Iterator<Item = (usize, usize)> {
    let mut counts = std::collections::BTreeMap::new();
    for window in windows.iter().filter(|window| !is_short(record, window)) {
        *counts.entry(window.block).or_insert(0) += 1;
    }
    counts.into_iter()
}

fn is_short(record: &Record, window: &WindowRow) -> bool {
    window.length_ms < record.plan.window_ms as f64 * LENGTH_SHARE_MIN
}

fn rows(record: &Record, windows: &[WindowRow], top: f64) -> Vec<Row> {
    let mut top = top;
    let mut rows = Vec::new();
    for cell in &record.plan.cells {
        let own: Vec<&WindowRow> = windows
            .iter()
            .filter(|window| window.cell == cell.name && !is_short(record, window))
            .collect();
        let panels = (0..repetitions(record).min(PANELS_MAX))
            .map(|repetition| panel(record, &own, repetition))
            .filter(|panel| !panel.steps.is_empty())
            .collect();
        let row = Row { name: wrap(&cell.name, NAME_WIDTH, TEXT), panels, top };
        top += row.height();
        rows.push(row);
    }
    rows
}

fn panel(record: &Record, windows: &[&WindowRow], repetition: u32) -> Panel {
    let own: Vec<&&WindowRow> =
        windows.iter().filter(|window| window.repetition == repetition).collect();
    let number = own.first().map(|window| window.block);
    let block = record.blocks.iter().find(|block| Some(block.number) == number);
    let neighbours = own.len().div_ceil(STEPS_MAX).max(1);
    let steps = own
        .chunks(neighbours)
        .filter_map(|chunk| chunk.iter().map(|window| Step::of(window)).reduce(Step::and))
        .collect();
    Panel { repetition, steps, is_valid: block.is_some_and(|block| block.is_valid()) }
}

fn panel_edges(repetition: u32, count: u32) -> (f64, f64) {
    let width = (PANELS_RIGHT - PANELS_LEFT + PANEL_GAP) / f64::from(count);
    let left = PANELS_LEFT + width * f64::from(repetition);
    (left, left + width - PANEL_GAP)
}

fn paint_legend(canvas: &Canvas<'_>, y: f64) {
    let next = legend_entry(canvas, (16.0, y), "rows/s", |(x, y)| {
        canvas.line(&[(x - 11.0, y), (x + 11.0, y)], Stroke::new(MEASURED, 1.75));
    });
    let next = legend_entry(canvas, (next, y), "of a block that is not valid", |(x, y)| {
        canvas.dashed(&[(x - 11.0, y), (x + 11.0, y)], Stroke::new(MUTED, 1.75));
    });
    let next = legend_entry(canvas, (next, y), "a checkpoint began", |(x, y)| {
        paint_checkpoint(canvas, x, y - 6.0, y + 7.0);
    });
    let next = legend_entry(canvas, (next, y), "autovacuum ran", |(x, y)| {
        canvas.rectangle((x - 11.0, y - 2.0), (x + 11.0, y + 2.0), AUTOVACUUM, 1.0);
    });
    legend_entry(canvas, (next, y), "the client was the limit", |(x, y)| {
        canvas.rectangle((x - 11.0, y - 6.0), (x + 11.0, y + 6.0), CLIENT_BOUND, 0.45);
    });
}

fn paint_checkpoint(canvas: &Canvas<'_>, x: f64, top: f64, bottom: f64) {
    canvas.line(&[(x, top), (x, bottom)], Stroke { alpha: 0.6, ..Stroke::new(CLAIMED, 1.0) });
    canvas.polygon(&[(x - 4.5, top), (x + 4.5, top), (x, top + 7.0)], CLAIMED);
}

fn paint_row(canvas: &Canvas<'_>, row: &Row, panel_count: u32) {
    for (index, line) in row.name.iter().enumerate() {
        let y = row.top + 10.0 + LINE_HEIGHT * index as f64;
        canvas.text((16.0, y), line, Font::new(TEXT, INK), Align::Left);
    }
    let (top, bottom) = (row.top + 6.0, row.top + 6.0 + PANEL_HEIGHT);
    let steps = || row.panels.iter().flat_map(|panel| &panel.steps);
    let highest = steps().map(|step| step.rows_per_s()).fold(0.0, f64::max);
    let seconds = steps().map(|step| step.end_ms / 1e3).fold(0.0, f64::max);
    if row.panels.is_empty() {
        let point = (PANELS_LEFT, row.top + 10.0);
        canvas.text(point, "no window to draw", Font::new(SMALL, MUTED), Align::Left);
        return;
    }
    // Room above the line for what marks a window.
    let y = Axis::linear((0.0, highest.max(1.0) * 1.2), (bottom, top));
    let ticks = ticks_apart(&y, 20.0);
    for (height, label) in &ticks {
        let point = (PANELS_LEFT - 6.0, *height);
        canvas.text(point, label, Font::new(SMALL, INK), Align::Right);
    }
    for repetition in 0..panel_count {
        let (left, right) = panel_edges(repetition, panel_count);
        let Some(panel) = row.panels.iter().find(|panel| panel.repetition == repetition) else {
            let center = (f64::midpoint(left, right), f64::midpoint(top, bottom));
            canvas.text(center, "no window", Font::new(SMALL, MUTED), Align::Center);
            continue;
        };
        for (height, _) in &ticks {
            canvas.line(&[(left, *height), (right, *height)], Stroke::new(GRID, 1.0));
        }
        let x = Axis::linear((0.0, seconds.max(1e-3)), (left, right));
        paint_time_axis(canvas, &x, (left, right), bottom);
        paint_panel(canvas, panel, &x, &y, (top, bottom));
    }
}

fn paint_time_axis(canvas: &Canvas<'_>, x: &Axis, (left, right): (f64, f64), bottom: f64) {
    canvas.line(&[(left, bottom), (right, bottom)], Stroke::new(MUTED, 1.0));
    for (at, label) in ticks_apart(x, 34.0) {
        canvas.line(&[(at, bottom), (at, bottom + 4.0)], Stroke::new(MUTED, 1.0));
        canvas.text((at, bottom + 12.0), &label, Font::new(SMALL, INK), Align::Center);
    }
}

/// Returns where ticks stand and their labels, those left out that are too near the one before.
fn ticks_apart(axis: &Axis, distance: f64) -> Vec<(f64, String)> {
    let mut ticks: Vec<(f64, String)> = Vec::new();
    for tick in axis.ticks(short) {
        let at = axis.at(tick.value);
        let is_apart = ticks.last().is_none_or(|last| distance <= (at - last.0).abs());
        if let Some(label) = tick.label.filter(|_| is_apart) {
            ticks.push((at, label));
        }
    }
    ticks
}

fn paint_panel(canvas: &Canvas<'_>, panel: &Panel, x: &Axis, y: &Axis, (top, bottom): (f64, f64)) {
    for step in &panel.steps {
        let (from, to) = (x.at(step.start_ms / 1e3), x.at(step.end_ms / 1e3));
        if step.is_client_bound {
            canvas.rectangle((from, top), (to, bottom), CLIENT_BOUND, 0.45);
        }
        if step.has_autovacuum {
            canvas.rectangle((from, top - 4.0), (to, top - 0.5), AUTOVACUUM, 1.0);
        }
    }
    let mut line: Vec<Point> = Vec::new();
    for step in &panel.steps {
        let height = y.at(step.rows_per_s());
        line.push((x.at(step.start_ms / 1e3), height));
        line.push((x.at(step.end_ms / 1e3), height));
    }
    if panel.is_valid {
        canvas.line(&line, Stroke::new(MEASURED, 1.75));
    } else {
        canvas.dashed(&line, Stroke::new(MUTED, 1.75));
    }
    for step in panel.steps.iter().filter(|step| step.has_checkpoint) {
        let middle = x.at(f64::midpoint(step.start_ms, step.end_ms) / 1e3);
        paint_checkpoint(canvas, middle, top, bottom);
    }
}
