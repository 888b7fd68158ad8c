//! `pairs.svg`: the ratio of each pair of blocks in order, the running estimate with its interval, and
//! what each look said.

use plotters::style::RGBColor;

use super::{
    axis::Axis,
    canvas::{
        Align, Canvas, Font, GRID, INK, MUTED, Point, SMALL, Stroke, TEXT, WIDTH, draw, top_below,
        wrap,
    },
    marker::{CLAIMED, MEASURED, Shape, legend_entry},
};
use crate::{
    gate::{Finding, Judgement, Metric, Session},
    record::{CellCheck, CheckRecord},
    report::ci::{limits, percent},
    stats::Estimate,
    verdict::{CheckVerdict, CheckedMetric},
};

const LEFT: f64 = 74.0;
const RIGHT: f64 = WIDTH - 24.0;
const PANEL_HEIGHT: f64 = 210.0;
const HEAD: f64 = 40.0;
const FOOT: f64 = 46.0;
/// Pairs between two sessions, on the axis.
const GAP: f64 = 2.0;
/// More cells would make the plot too long to take in.
pub(super) const CELLS_MAX: usize = 8;
/// Ratios beyond these shares of all leave the plot, so that a stall does not press the rest flat.
const OUTSIDE: f64 = 0.03;
const BAND: RGBColor = RGBColor(0xcf, 0xe3, 0xf1);
pub(super) const GOOD: RGBColor = RGBColor(0x14, 0x6c, 0x3a);
pub(super) const BAD: RGBColor = RGBColor(0xa1, 0x16, 0x1b);

/// A panel: a gated metric of a cell.
struct Panel<'a> {
    cell: &'a CellCheck,
    metric: &'a CheckedMetric,
    title: Vec<String>,
}

/// Draws the pairs of a check, or nothing if there is none.
pub fn pairs(record: &CheckRecord, verdict: &CheckVerdict) -> Option<String> {
    let panels = panels(record, verdict);
    if panels.is_empty() {
        return None;
    }
    let mut description = vec![
        "Dot: head / base in one pair of neighbouring blocks, an arrow where it lies outside. Line: \
         the running estimate (Hodges-Lehmann), with its 95 % interval."
            .to_owned(),
        "Looks are planned before the first pair. Only they decide: fails where the limit is beyond \
         the dashed red line, passes where the other limit is within the green one."
            .to_owned(),
    ];
    if CELLS_MAX < record.cells.len() {
        description.push(format!("Shown: the first {CELLS_MAX} of {} cells.", record.cells.len()));
    }
    let top = top_below(&description) + 34.0;
    let height = HEAD + PANEL_HEIGHT + FOOT;
    let size = (WIDTH, top + height * panels.len() as f64);
    let simulated = if record.is_simulated() { "SIMULATED: " } else { "" };
    let title = format!("{simulated}{}: pairs of blocks in order", record.name);
    Some(draw(size, &title, &description, |canvas| {
        paint_legend(canvas, top - 20.0);
        for (index, panel) in panels.iter().enumerate() {
            paint_panel(canvas, panel, top + height * index as f64);
        }
    }))
}

fn panels<'a>(record: &'a CheckRecord, verdict: &'a CheckVerdict) -> Vec<Panel<'a>> {
    let cells = record.cells.iter().zip(&verdict.cells).take(CELLS_MAX);
    let panels = cells.flat_map(|(cell, checked)| {
        let gated = checked.metrics.iter().filter(|it| it.bounds.is_some());
        gated.map(move |metric| {
            let title = format!("{}: {}, head / base", checked.name, metric.metric.words());
            Panel { cell, metric, title: wrap(&title, RIGHT - LEFT, TEXT) }
        })
    });
    panels.collect()
}

fn paint_legend(canvas: &Canvas<'_>, y: f64) {
    let next = legend_entry(canvas, (16.0, y), "one pair", |point| {
        canvas.circle(point, 3.0, MEASURED, 0.7);
    });
    let next = legend_entry(canvas, (next, y), "running estimate, 95 %", |(x, y)| {
        canvas.rectangle((x - 11.0, y - 6.0), (x + 11.0, y + 6.0), BAND, 1.0);
        canvas.line(&[(x - 11.0, y), (x + 11.0, y)], Stroke::new(MEASURED, 2.0));
    });
    let next = legend_entry(canvas, (next, y), "look: worse", |point| {
        paint_look(canvas, point, Judgement::Fail);
    });
    let next = legend_entry(canvas, (next, y), "not worse", |point| {
        paint_look(canvas, point, Judgement::Pass);
    });
    let next = legend_entry(canvas, (next, y), "undecided", |point| {
        paint_look(canvas, point, Judgement::Open);
    });
    let next = legend_entry(canvas, (next, y), "fails beyond", |(x, y)| {
        canvas.dashed(&[(x - 11.0, y), (x + 11.0, y)], Stroke::new(BAD, 1.5));
    });
    legend_entry(canvas, (next, y), "passes within", |(x, y)| {
        canvas.dashed(&[(x - 11.0, y), (x + 11.0, y)], Stroke::new(GOOD, 1.5));
    });
}

fn paint_panel(canvas: &Canvas<'_>, panel: &Panel<'_>, top: f64) {
    let first = top + HEAD - 14.0;
    // A name that takes several lines gives its end away.
    canvas.text((LEFT, first), &panel.title[0], Font::new(TEXT, INK).bold(), Align::Left);
    let (top, bottom) = (top + HEAD, top + HEAD + PANEL_HEIGHT);
    let sessions = panel.cell.check.sessions();
    let metric = panel.metric.metric;
    let count: usize = sessions.iter().map(|it| it.pairs().len()).sum();
    let gaps = GAP * (sessions.len() - 1) as f64;
    let x = Axis::linear((0.0, (count as f64 + gaps).max(1.0) + 0.5), (LEFT, RIGHT));
    let y = Axis::linear(range(panel), (bottom, top));
    let mut before = 0.0;
    for session in sessions {
        paint_band(canvas, session, metric, (&x, &y), before);
        before += session.pairs().len() as f64 + GAP;
    }
    paint_grid(canvas, panel, &y);
    let mut before = 0.0;
    for (number, session) in sessions.iter().enumerate() {
        paint_session(canvas, session, metric, (&x, &y), before);
        let label = if number == 0 { "session 1" } else { "session 2, to confirm" };
        if 1 < sessions.len() {
            let at = (x.at(before + 0.5), bottom + 32.0);
            canvas.text(at, label, Font::new(SMALL, MUTED), Align::Left);
        }
        before += session.pairs().len() as f64 + GAP;
    }
    canvas.line(&[(LEFT, bottom), (RIGHT, bottom)], Stroke::new(MUTED, 1.0));
    let at = (RIGHT, bottom + 32.0);
    canvas.text(at, "pairs; labelled: looks", Font::new(SMALL, MUTED), Align::Right);
}

/// What the axis spans: all limits and estimates, and all but the farthest pairs.
fn range(panel: &Panel<'_>) -> (f64, f64) {
    let metric = panel.metric.metric;
    let (mut low, mut high) = (0.95_f64, 1.05_f64);
    let mut hold = |value: f64| (low, high) = (low.min(value), high.max(value));
    if let Some(bounds) = panel.metric.bounds {
        let (fails, passes) = limits(metric, bounds);
        hold(fails);
        hold(passes);
    }
    for session in panel.cell.check.sessions() {
        let mut ratios = session.ratios(metric);
        ratios.sort_by(f64::total_cmp);
        let outside = (0..ratios.len()).filter(|at| (*at as f64) < OUTSIDE * ratios.len() as f64);
        let outside = outside.count();
        ratios.iter().skip(outside).rev().skip(outside).for_each(|ratio| hold(*ratio));
        let running = session.running(metric);
        running.iter().flat_map(|it| [it.low, it.high]).flatten().for_each(&mut hold);
    }
    let room = (high - low) * 0.06;
    ((low - room).max(0.0), high + room)
}

fn paint_grid(canvas: &Canvas<'_>, panel: &Panel<'_>, y: &Axis) {
    let label = |ratio: f64| percent(ratio, 0);
    for tick in y.round_ticks(label) {
        let at = y.at(tick.value);
        let is_equal = (tick.value - 1.0).abs() < 1e-9;
        let (color, width) = if is_equal { (MUTED, 1.2) } else { (GRID, 1.0) };
        canvas.line(&[(LEFT, at), (RIGHT, at)], Stroke::new(color, width));
        let label = if is_equal { "equal".to_owned() } else { label(tick.value) };
        canvas.text((LEFT - 8.0, at), &label, Font::new(SMALL, INK), Align::Right);
    }
    if let Some(bounds) = panel.metric.bounds {
        let (fails, passes) = limits(panel.metric.metric, bounds);
        for (ratio, color) in [(fails, BAD), (passes, GOOD)] {
            let at = y.at(ratio);
            canvas.dashed(&[(LEFT, at), (RIGHT, at)], Stroke::new(color, 1.5));
        }
    }
}

/// The running interval, as a band from pair to pair.
fn paint_band(
    canvas: &Canvas<'_>,
    session: &Session,
    metric: Metric,
    (x, y): (&Axis, &Axis),
    before: f64,
) {
    let ends = (1..=session.pairs().len()).filter_map(|pairs| {
        let Estimate { low, high, .. } = session.running_at(metric, pairs)?;
        Some((x.at(before + pairs as f64), y.at(low?), y.at(high?)))
    });
    let ends: Vec<(f64, f64, f64)> = ends.collect();
    let lower = ends.iter().map(|(x, low, _)| (*x, *low));
    let upper = ends.iter().rev().map(|(x, _, high)| (*x, *high));
    let outline: Vec<Point> = lower.chain(upper).collect();
    if 2 < outline.len() {
        canvas.polygon(&outline, BAND);
    }
}

fn paint_session(
    canvas: &Canvas<'_>,
    session: &Session,
    metric: Metric,
    (x, y): (&Axis, &Axis),
    before: f64,
) {
    for (index, ratio) in session.ratios(metric).into_iter().enumerate() {
        let at = (x.at(before + index as f64 + 1.0), y.at(ratio));
        if y.holds(ratio) {
            canvas.circle(at, 3.0, MEASURED, 0.7);
        } else {
            let outwards = if 1.0 < ratio { -1.0 } else { 1.0 };
            let (x, y) = at;
            let back = y - 7.0 * outwards;
            canvas.polygon(&[(x, y), (x - 4.0, back), (x + 4.0, back)], MEASURED);
        }
    }
    let estimates = (1..=session.pairs().len()).filter_map(|pairs| {
        let estimate = session.running_at(metric, pairs)?;
        Some((x.at(before + pairs as f64), y.at(estimate.value)))
    });
    let line: Vec<Point> = estimates.collect();
    if 1 < line.len() {
        canvas.line(&line, Stroke::new(MEASURED, 2.0));
    }
    for inspection in session.inspections() {
        let Some(finding) = inspection.findings.iter().find(|it| it.metric == metric) else {
            continue;
        };
        let at = x.at(before + inspection.look.pairs as f64);
        paint_finding(canvas, finding, at, y);
        let (bottom, label) = (y.at(f64::NEG_INFINITY), inspection.look.pairs.to_string());
        canvas.line(&[(at, bottom), (at, bottom + 5.0)], Stroke::new(MUTED, 1.0));
        canvas.text((at, bottom + 14.0), &label, Font::new(SMALL, INK), Align::Center);
    }
}

/// The limits at the levels of the look, and what followed.
fn paint_finding(canvas: &Canvas<'_>, finding: &Finding, x: f64, y: &Axis) {
    let color = color(finding.judgement);
    if let (Some(one), Some(two)) = (finding.fail_limit, finding.pass_limit) {
        canvas.line(&[(x, y.at(one)), (x, y.at(two))], Stroke::new(color, 1.5));
        for limit in [one, two] {
            canvas.line(&[(x - 4.0, y.at(limit)), (x + 4.0, y.at(limit))], Stroke::new(color, 1.5));
        }
    }
    paint_look(canvas, (x, y.at(finding.ratio.value)), finding.judgement);
}

fn paint_look(canvas: &Canvas<'_>, at: Point, judgement: Judgement) {
    let shape = match judgement {
        Judgement::Fail => Shape::Triangle,
        Judgement::Pass => Shape::Square,
        Judgement::Open => Shape::Diamond,
    };
    shape.draw(canvas, at, 5.5, color(judgement));
}

fn color(judgement: Judgement) -> RGBColor {
    match judgement {
        Judgement::Fail => BAD,
        Judgement::Pass => GOOD,
        Judgement::Open => CLAIMED,
    }
}
