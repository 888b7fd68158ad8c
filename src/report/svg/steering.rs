//! `steering.svg`: what controllers did over time: rows a second, batch rows, workers and p99 in each
//! window, with what the controller was about, and what disturbed it; and what a search has lost
//! against the best that was confirmed after it.

use jiff::Timestamp;
use plotters::style::RGBColor;

use super::{
    axis::{Axis, short, short_ns},
    canvas::{
        Align, Canvas, Font, GRID, INK, MUTED, Point, SMALL, Stroke, TEXT, WIDTH, draw, top_below,
    },
    marker::{AUTOVACUUM, CLAIMED, CLIENT_BOUND, MEASURED, legend_entry},
};
use crate::{
    record::{JournalRow, Record, WindowRow},
    stats::Estimate,
    verdict::{Tuning, Verdict},
};

const LEFT: f64 = 110.0;
const RIGHT: f64 = WIDTH - 20.0;
const PANEL_HEIGHT: f64 = 110.0;
const PANEL_GAP: f64 = 22.0;
const HEAD: f64 = 40.0;
const FOOT: f64 = 44.0;
/// Height above a panel, clear of its points, at which a line in it is named.
const LABEL_ABOVE: f64 = 13.0;
/// A rate over less time says little: an operation ends in it or not.
const TELLING_MS: f64 = 50.0;
/// More blocks would make the plot too long to take in.
const BLOCKS_MAX: usize = 6;
const LOOKING: RGBColor = RGBColor(0xe8, 0xf1, 0xf8);
const ALARMED: RGBColor = RGBColor(0xfb, 0xe9, 0xd9);
const ERRORS: RGBColor = RGBColor(0xc0, 0x1f, 0x2e);
/// States in which nothing is looked for, and those in which something is wrong.
const CALM: [&str; 2] = ["cruise", "hold"];
const WORRIED: [&str; 3] = ["guard", "brace", "backoff"];

/// A block that a controller steered, or those of one that follows the server from table to table.
/// Times are since the first one's start.
struct Block {
    name: String,
    windows: Vec<WindowRow>,
    decisions: Vec<JournalRow>,
    p99_limit_ns: Option<f64>,
    /// Rows a second of the best that was confirmed, for a block of the search.
    best: Option<Estimate>,
}

impl Block {
    fn panels(&self) -> usize {
        PANELS.len() + usize::from(self.best.is_some())
    }

    fn height(&self) -> f64 {
        HEAD + self.panels() as f64 * (PANEL_HEIGHT + PANEL_GAP) + FOOT
    }

    /// Whether it is of more than one table.
    fn is_joined(&self) -> bool {
        self.windows.windows(2).any(|it| it[0].block != it[1].block)
    }

    /// Until when each decision was in force: the next one, or the end of its table.
    fn decision_ends_s(&self) -> impl Iterator<Item = f64> {
        let next = self.decisions.iter().skip(1).map(Some).chain([None]);
        self.decisions.iter().zip(next).map(|(decision, next)| {
            let next = next.filter(|it| it.block == decision.block);
            let end_s = next.map_or_else(|| self.end_of_s(decision.block), |it| it.at_s);
            end_s.max(decision.at_s)
        })
    }

    fn end_of_s(&self, block: usize) -> f64 {
        let last = self.windows.iter().rfind(|it| it.block == block);
        last.map_or(0.0, |it| (it.start_ms + it.length_ms) / 1e3)
    }

    fn end_s(&self) -> f64 {
        let last = self.windows.last();
        last.map_or(1e-3, |it| (it.start_ms + it.length_ms) / 1e3).max(1e-3)
    }
}

/// Draws what controllers did, or nothing if none ran.
pub fn steering(
    record: &Record,
    verdict: &Verdict,
    windows: &[WindowRow],
    journal: &[JournalRow],
) -> Option<String> {
    let (blocks, left_out) = blocks(record, verdict.tuning.as_ref(), windows, journal);
    if blocks.is_empty() {
        return None;
    }
    let mut description = vec![
        "A point a window, against the time since the block's start; grey: windows in which \
         operations of two settings ended, or below 50 ms; grey triangles at an edge: beyond the \
         scale. p99: service latency."
            .to_owned(),
    ];
    if blocks.iter().any(|it| it.best.is_some()) {
        description.push(
            "Regret: what was not inserted from the start until then, for a part of what the best \
             setting that was confirmed after the search would have inserted; below 0: the server \
             took more than it did later."
                .to_owned(),
        );
    }
    if blocks.iter().any(Block::is_joined) {
        description.push(
            "Gaps between blocks: what was inserted is read back, and the next table is made."
                .to_owned(),
        );
    }
    if 0 < left_out {
        description.push(format!(
            "Shown: the first {BLOCKS_MAX} blocks; windows.csv and journal.jsonl hold {left_out} more."
        ));
    }
    let top = top_below(&description) + 40.0;
    let title = format!("{}: what the controller did", record.plan.heading());
    let size = (WIDTH, top + blocks.iter().map(Block::height).sum::<f64>());
    Some(draw(size, &title, &description, |canvas| {
        paint_legend(canvas, top - 24.0);
        let mut block_top = top;
        for block in &blocks {
            paint_block(canvas, block, block_top);
            block_top += block.height();
        }
    }))
}

fn blocks(
    record: &Record,
    tuning: Option<&Tuning>,
    windows: &[WindowRow],
    journal: &[JournalRow],
) -> (Vec<Block>, usize) {
    let mut numbers: Vec<usize> = journal.iter().map(|row| row.block).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let (following, others): (Vec<usize>, Vec<usize>) =
        numbers.into_iter().partition(|it| is_of_follow(record, *it));
    let mut drawn: Vec<Vec<usize>> = others.into_iter().map(|it| vec![it]).collect();
    let left_out = drawn.len().saturating_sub(BLOCKS_MAX);
    drawn.truncate(BLOCKS_MAX);
    drawn.push(following);
    let block = |numbers: &Vec<usize>| {
        let number = *numbers.first()?;
        let (windows, decisions) = joined(&starts(record, numbers), windows, journal);
        let first = decisions.first()?;
        let cell = record.plan.cells.iter().find(|cell| cell.name == first.cell)?;
        let limit_ms = cell.controller.and_then(|it| it.p99_limit_ms);
        let blocks = match numbers.last() {
            Some(last) if number < *last => format!("blocks {number} to {last}"),
            _ => format!("block {number}"),
        };
        let name = format!("{}, {blocks}: {}", first.cell, first.policy.name());
        let p99_limit_ns = limit_ms.map(|it| it * 1e6);
        let best = tuning.filter(|_| is_of_search(record, number)).and_then(Tuning::best_rate);
        (!windows.is_empty()).then_some(Block { name, windows, decisions, p99_limit_ns, best })
    };
    (drawn.iter().filter_map(block).collect(), left_out)
}

/// When blocks began, by their number.
fn starts(record: &Record, numbers: &[usize]) -> Vec<(usize, Option<Timestamp>)> {
    let of = |number: usize| record.blocks.iter().find(|it| it.number == number);
    let started_at = |number: usize| of(number).and_then(|it| it.started_at.parse().ok());
    numbers.iter().map(|it| (*it, started_at(*it))).collect()
}

/// Windows and decisions of blocks that began at some time, with their times since the first one's
/// start. None begins before the end of the last: a simulated server has no clock on the wall.
fn joined(
    blocks: &[(usize, Option<Timestamp>)],
    windows: &[WindowRow],
    journal: &[JournalRow],
) -> (Vec<WindowRow>, Vec<JournalRow>) {
    let first = blocks.first().and_then(|it| it.1);
    let (mut of_windows, mut of_decisions) = (Vec::new(), Vec::new());
    let mut end_s = 0.0_f64;
    for (number, started_at) in blocks {
        let since = first.zip(*started_at).map(|(first, own)| own.duration_since(first));
        let shift_s = since.map_or(0.0, |it| it.as_secs_f64()).max(end_s);
        for window in windows.iter().filter(|it| it.block == *number) {
            end_s = end_s.max(shift_s + (window.start_ms + window.length_ms) / 1e3);
            of_windows
                .push(WindowRow { start_ms: window.start_ms + shift_s * 1e3, ..window.clone() });
        }
        let decisions = journal.iter().filter(|it| it.block == *number);
        of_decisions
            .extend(decisions.map(|it| JournalRow { at_s: it.at_s + shift_s, ..it.clone() }));
    }
    (of_windows, of_decisions)
}

fn is_of_follow(record: &Record, block: usize) -> bool {
    let cell = record.plan.blocks.get(block).map(|it| it.cell);
    let follows = record.plan.tuning.as_ref().and_then(|it| it.follow);
    cell.is_some() && cell == follows
}

fn is_of_search(record: &Record, block: usize) -> bool {
    let cell = record.plan.blocks.get(block).map(|it| it.cell);
    let searches = record.plan.tuning.iter().flat_map(|it| &it.searches);
    cell.is_some_and(|cell| searches.copied().any(|it| it == cell))
}

fn paint_legend(canvas: &Canvas<'_>, y: f64) {
    let band = |color: RGBColor| {
        move |(x, y): Point| canvas.rectangle((x - 11.0, y - 6.0), (x + 11.0, y + 6.0), color, 1.0)
    };
    let next = legend_entry(canvas, (16.0, y), "it looks for a better setting", band(LOOKING));
    let next = legend_entry(canvas, (next, y), "it doubts the server", band(ALARMED));
    let next = legend_entry(canvas, (next, y), "a checkpoint began", |(x, y)| {
        paint_checkpoint(canvas, x, y - 6.0, y + 7.0);
    });
    let next = legend_entry(canvas, (next, y), "autovacuum ran", |(x, y)| {
        canvas.rectangle((x - 11.0, y - 2.0), (x + 11.0, y + 2.0), AUTOVACUUM, 1.0);
    });
    let next = legend_entry(canvas, (next, y), "pushed back or errors", |(x, y)| {
        canvas.line(&[(x, y - 6.0), (x, y + 6.0)], Stroke::new(ERRORS, 2.0));
    });
    legend_entry(canvas, (next, y), "client bound", |(x, y)| {
        canvas.rectangle((x - 11.0, y - 6.0), (x + 11.0, y + 6.0), CLIENT_BOUND, 0.45);
    });
}

fn paint_checkpoint(canvas: &Canvas<'_>, x: f64, top: f64, bottom: f64) {
    canvas.line(&[(x, top), (x, bottom)], Stroke { alpha: 0.4, ..Stroke::new(CLAIMED, 1.0) });
    canvas.polygon(&[(x - 4.5, top), (x + 4.5, top), (x, top + 7.0)], CLAIMED);
}

/// One quantity over time.
struct Panel {
    name: &'static str,
    /// What it shows of a window, if there is anything to show.
    of: fn(&WindowRow) -> Option<f64>,
    label: fn(f64) -> String,
}

const PANELS: [Panel; 4] = [
    Panel { name: "rows/s", of: |it| (0 < it.rows).then_some(it.rows_per_s), label: short },
    Panel { name: "batch rows", of: |it| Some(it.batch_rows as f64), label: short },
    Panel { name: "workers", of: |it| Some(f64::from(it.workers)), label: short },
    Panel {
        name: "p99",
        of: |it| (0 < it.operations).then_some(it.service_ns_p99 as f64),
        label: short_ns,
    },
];

fn paint_block(canvas: &Canvas<'_>, block: &Block, top: f64) {
    canvas.text((16.0, top + 10.0), &block.name, Font::new(TEXT, INK).bold(), Align::Left);
    let x = Axis::linear((0.0, block.end_s()), (LEFT, RIGHT));
    let mut panel_top = top + HEAD;
    for (index, panel) in PANELS.iter().enumerate() {
        let bottom = panel_top + PANEL_HEIGHT;
        paint_states(canvas, block, &x, panel_top, bottom);
        let limit = block.p99_limit_ns.filter(|_| panel.name == "p99");
        // A mixed window may hold what many operations did before it: it must not press the rest.
        let is_telling = |it: &&WindowRow| index != 0 || (!it.mixed && TELLING_MS <= it.length_ms);
        let windows = block.windows.iter().filter(is_telling);
        let best = block.best.filter(|_| index == 0);
        let values = windows.filter_map(|it| (panel.of)(it)).chain(limit);
        let of_best = best.into_iter().flat_map(|it| [Some(it.value), it.high]).flatten();
        let y = value_axis(values.chain(of_best), index == 0, (bottom, panel_top));
        if let Some((low, high)) = best.and_then(|it| it.low.zip(it.high)) {
            let (low, high) = (y.at(low), y.at(high));
            canvas.rectangle((LEFT, high), (RIGHT, low), CLAIMED, 0.2);
        }
        paint_value_axis(canvas, &y, (panel.name, panel.label), panel_top, bottom);
        if let Some(limit) = limit {
            let at = y.at(limit);
            canvas.dashed(&[(LEFT, at), (RIGHT, at)], Stroke::new(ERRORS, 1.5));
            let font = Font::new(SMALL, ERRORS);
            canvas.text((RIGHT, panel_top - LABEL_ABOVE), "- - limit", font, Align::Right);
        }
        paint_windows(canvas, block, panel, (&x, &y));
        if index == 0 {
            paint_disturbances(canvas, block, &x, panel_top, bottom);
        }
        if let Some(best) = best {
            let at = y.at(best.value);
            canvas.dashed(&[(LEFT, at), (RIGHT, at)], Stroke::new(CLAIMED, 1.5));
            let font = Font::new(SMALL, CLAIMED);
            canvas.text(
                (RIGHT, panel_top - LABEL_ABOVE),
                "- - best, confirmed",
                font,
                Align::Right,
            );
        }
        panel_top = bottom + PANEL_GAP;
    }
    if let Some(best) = block.best {
        paint_regret(canvas, block, best.value, &x, panel_top);
        panel_top += PANEL_HEIGHT + PANEL_GAP;
    }
    let first = if block.is_joined() { "first block" } else { "block" };
    paint_time_axis(
        canvas,
        &x,
        panel_top - PANEL_GAP,
        &format!("time since the {first}'s start, s"),
    );
}

/// Rates from 0; all else is compared by its ratio.
fn value_axis(values: impl Iterator<Item = f64>, is_rate: bool, pixels: (f64, f64)) -> Axis {
    let (least, most) = values.fold((f64::MAX, 0.0_f64), |(a, b), it| (a.min(it), b.max(it)));
    if most <= 0.0 {
        return Axis::linear((0.0, 1.0), pixels);
    }
    if is_rate {
        Axis::linear((0.0, most * 1.1), pixels)
    } else {
        Axis::log((least / 1.5, most * 1.5), pixels)
    }
}

fn paint_regret(canvas: &Canvas<'_>, block: &Block, best: f64, x: &Axis, top: f64) {
    let bottom = top + PANEL_HEIGHT;
    paint_states(canvas, block, x, top, bottom);
    let regret = regret(&block.windows, best);
    let values = || regret.iter().map(|(_, share)| *share);
    let (least, most) = (values().fold(0.0, f64::min), values().fold(0.01, f64::max));
    let y = Axis::linear((least * 1.1, most * 1.1), (bottom, top));
    paint_value_axis(canvas, &y, ("regret", percent), top, bottom);
    let line: Vec<Point> = regret.iter().map(|(at_s, share)| (x.at(*at_s), y.at(*share))).collect();
    canvas.line(&line, Stroke::new(MEASURED, 1.5));
    if let (Some(end), Some((_, share))) = (line.last(), regret.last()) {
        let above = if end.1 - 10.0 < top { end.1 + 10.0 } else { end.1 - 10.0 };
        let text = percent(*share);
        canvas.text((RIGHT - 4.0, above), &text, Font::new(SMALL, MEASURED), Align::Right);
    }
}

/// At each window's end, in seconds: the part that is missing of what the best would have inserted.
fn regret(windows: &[WindowRow], best: f64) -> Vec<(f64, f64)> {
    let mut rows = 0.0;
    let end_s = |it: &WindowRow| (it.start_ms + it.length_ms) / 1e3;
    let until = |it: &WindowRow| {
        rows += it.rows as f64;
        (end_s(it), 1.0 - rows / (best * end_s(it)))
    };
    windows.iter().filter(|it| 0.0 < end_s(it)).map(until).collect()
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

fn paint_value_axis(
    canvas: &Canvas<'_>,
    y: &Axis,
    (name, label): (&str, fn(f64) -> String),
    top: f64,
    bottom: f64,
) {
    let mut last = f64::MAX;
    let ticks = if y.is_log() { y.ticks(label) } else { y.round_ticks(label) };
    for tick in ticks {
        let at = y.at(tick.value);
        let Some(text) = tick.label.filter(|_| 16.0 <= last - at) else { continue };
        canvas.line(&[(LEFT, at), (RIGHT, at)], Stroke::new(GRID, 1.0));
        canvas.text((LEFT - 6.0, at), &text, Font::new(SMALL, INK), Align::Right);
        last = at;
    }
    canvas.line(&[(LEFT, top), (LEFT, bottom), (RIGHT, bottom)], Stroke::new(MUTED, 1.0));
    canvas.text_upwards((24.0, f64::midpoint(top, bottom)), name, Font::new(TEXT, INK));
}

fn paint_states(canvas: &Canvas<'_>, block: &Block, x: &Axis, top: f64, bottom: f64) {
    for (decision, end_s) in block.decisions.iter().zip(block.decision_ends_s()) {
        let state = decision.state.as_str();
        if CALM.contains(&state) {
            continue;
        }
        let color = if WORRIED.contains(&state) { ALARMED } else { LOOKING };
        canvas.rectangle((x.at(decision.at_s), top), (x.at(end_s), bottom), color, 1.0);
    }
}

fn paint_windows(canvas: &Canvas<'_>, block: &Block, panel: &Panel, (x, y): (&Axis, &Axis)) {
    for part in block.windows.chunk_by(|a, b| a.block == b.block) {
        paint_part(canvas, part, panel, (x, y));
    }
}

/// The windows of one block, joined by a line.
fn paint_part(canvas: &Canvas<'_>, windows: &[WindowRow], panel: &Panel, (x, y): (&Axis, &Axis)) {
    let middle = |it: &WindowRow| x.at((it.start_ms + it.length_ms / 2.0) / 1e3);
    let mut line: Vec<Point> = Vec::new();
    for window in windows {
        let Some(value) = (panel.of)(window) else { continue };
        let point = (middle(window), y.at(value));
        if !y.holds(value) {
            paint_beyond(canvas, point, y.at(0.0) > point.1);
        } else if window.mixed || window.length_ms < TELLING_MS {
            canvas.circle(point, 1.5, MUTED, 0.5);
        } else {
            line.push(point);
        }
    }
    if 1 < line.len() {
        canvas.line(&line, Stroke { alpha: 0.5, ..Stroke::new(MEASURED, 1.25) });
    }
    line.iter().for_each(|point| canvas.circle(*point, 1.75, MEASURED, 1.0));
}

/// A value beyond the axis: a triangle at its edge that points there.
fn paint_beyond(canvas: &Canvas<'_>, (x, y): Point, is_above: bool) {
    let tip = if is_above { y - 5.0 } else { y + 5.0 };
    canvas.polygon(&[(x - 3.0, y), (x + 3.0, y), (x, tip)], MUTED);
}

fn paint_disturbances(canvas: &Canvas<'_>, block: &Block, x: &Axis, top: f64, bottom: f64) {
    for window in &block.windows {
        let (from, to) =
            (x.at(window.start_ms / 1e3), x.at((window.start_ms + window.length_ms) / 1e3));
        if window.client_bound {
            canvas.rectangle((from, top), (to, bottom), CLIENT_BOUND, 0.45);
        }
        if 0 < window.autovacuum_workers.unwrap_or(0) {
            canvas.rectangle((from, top - 5.0), (to, top - 1.5), AUTOVACUUM, 1.0);
        }
        if 0 < window.pushed_back + window.errors {
            let at = f64::midpoint(from, to);
            canvas.line(&[(at, bottom - 9.0), (at, bottom)], Stroke::new(ERRORS, 1.5));
        }
        if 0 < window.checkpoints.unwrap_or(0) {
            paint_checkpoint(canvas, f64::midpoint(from, to), top, bottom);
        }
    }
}

fn paint_time_axis(canvas: &Canvas<'_>, x: &Axis, bottom: f64, text: &str) {
    let mut last = f64::MIN;
    for tick in x.ticks(short) {
        let at = x.at(tick.value);
        canvas.line(&[(at, bottom), (at, bottom + 4.0)], Stroke::new(MUTED, 1.0));
        if let Some(label) = tick.label.filter(|_| 40.0 <= at - last) {
            canvas.text((at, bottom + 13.0), &label, Font::new(SMALL, INK), Align::Center);
            last = at;
        }
    }
    let center = (f64::midpoint(LEFT, RIGHT), bottom + 30.0);
    canvas.text(center, text, Font::new(TEXT, INK), Align::Center);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::measure::WindowSummary;

    #[test]
    fn rates_begin_at_zero_and_all_else_is_compared_by_its_ratio() {
        let rates = value_axis([500.0, 1_000.0].into_iter(), true, (100.0, 0.0));
        assert!(!rates.is_log() && rates.holds(0.0) && rates.holds(1_000.0));
        let batches = value_axis([1.0, 65_535.0].into_iter(), false, (100.0, 0.0));
        assert!(batches.is_log() && batches.holds(1.0) && batches.holds(65_535.0));
        let nothing = value_axis(std::iter::empty(), true, (100.0, 0.0));
        assert!(nothing.holds(0.5), "a block without a telling window still has an axis");
    }

    /// A follow of minutes goes from table to table: its plot once ended with the sixth.
    #[test]
    fn blocks_of_one_follow_are_joined_by_the_clock() {
        let window = |block: usize, start_ms: u64| {
            let (start, length) = (Duration::from_millis(start_ms), Duration::from_millis(500));
            let window = WindowSummary { start, length, ..WindowSummary::default() };
            WindowRow::new(block, "follow", 0, &window)
        };
        let windows = [window(2, 0), window(2, 500), window(3, 0), window(4, 250), window(5, 0)];
        let at = |text: &str| text.parse().ok();
        // The third began, by its clock, before the second had ended.
        let blocks = [
            (2, at("2026-11-24T03:00:00Z")),
            (3, at("2026-11-24T03:00:07.5Z")),
            (4, at("2026-11-24T03:00:07.6Z")),
        ];
        let (joined, _) = joined(&blocks, &windows, &[]);
        let starts: Vec<f64> = joined.iter().map(|it| it.start_ms).collect();
        assert_eq!(starts, [0.0, 500.0, 7_500.0, 8_250.0]);
    }

    /// Nothing is measured while a table is read back: no state runs on into that.
    #[test]
    fn a_state_ends_with_its_table() {
        let length = Duration::from_millis(500);
        let window = |block: usize, start_ms: u64| {
            let start = Duration::from_millis(start_ms);
            let window = WindowSummary { start, length, ..WindowSummary::default() };
            WindowRow::new(block, "follow", 0, &window)
        };
        let setting = json!({ "batch_rows": 16, "workers": 4 });
        let decision = |block: usize, at_s: f64| -> JournalRow {
            let line = json!({
                "block": block, "cell": "follow", "window": null, "at_s": at_s, "policy": "pilot",
                "state": "search", "before": setting, "after": setting, "incumbent": setting,
                "reason": "hold", "grounds": {},
            });
            serde_json::from_value(line).unwrap()
        };
        let block = Block {
            name: "follow".to_owned(),
            windows: vec![window(2, 0), window(2, 500), window(3, 9_000), window(3, 9_500)],
            decisions: vec![decision(2, 0.0), decision(2, 0.5), decision(3, 9.0)],
            p99_limit_ns: None,
            best: None,
        };
        let ends_s: Vec<f64> = block.decision_ends_s().collect();
        assert_eq!(ends_s, [0.5, 1.0, 10.0]);
    }

    #[test]
    fn regret_is_the_part_that_is_missing_until_then() {
        let window = |start_ms: u64, rows: u64| {
            let (start, length) = (Duration::from_millis(start_ms), Duration::from_millis(500));
            let window = WindowSummary { start, length, rows, ..WindowSummary::default() };
            WindowRow::new(0, "search", 0, &window)
        };
        let windows = [window(0, 25), window(500, 75), window(1_000, 50)];
        let regret = regret(&windows, 100.0);
        assert_eq!(regret, [(0.5, 0.5), (1.0, 0.0), (1.5, 0.0)]);
    }
}
