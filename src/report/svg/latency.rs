//! `latency.svg`: latency by percentile, on the axis that HdrHistogram's own plots have.

use hdrhistogram::Histogram;
use plotters::style::RGBColor;

use super::{
    axis::{Axis, short_ns},
    canvas::{
        Align, Canvas, Font, GRID, GRID_MINOR, INK, MUTED, PAPER, Point, SMALL, Stroke, TEXT,
        WIDTH, draw, text_width, top_below, wrap,
    },
    marker::{Shape, series},
};
use crate::{
    measure::Kind,
    plan::Pace,
    record::Record,
    stats::format::{number, time_ns},
    verdict::Verdict,
};

const PLOT_LEFT: f64 = 84.0;
const PLOT_RIGHT: f64 = 720.0;
const PLOT_HEIGHT_MIN: f64 = 420.0;
const LEGEND_LEFT: f64 = 744.0;
const LEGEND_TEXT: f64 = LEGEND_LEFT + 52.0;
const LINE_HEIGHT: f64 = 15.0;
/// Room that a number at a curve's end takes.
const END_WIDTH: f64 = 26.0;
const END_HEIGHT: f64 = 13.0;
/// Points of a curve to the factor of ten in operations.
const POINTS_A_DECADE: u32 = 40;

/// One line of the plot.
struct Curve {
    cell: usize,
    kind: Kind,
    color: RGBColor,
    shape: Shape,
    histogram: Histogram<u64>,
}

/// Draws service latency of each cell, and response latency of those with an open loop.
pub fn latency(record: &Record, verdict: &Verdict) -> String {
    let curves = curves(record);
    let mut description = vec![
        "Of one operation, all valid blocks of a cell added up. n: operations. A curve ends at its \
         slowest operation. Numbers: the cells, at right."
            .to_owned(),
    ];
    if curves.iter().any(|curve| curve.kind == Kind::Response) {
        description.push(
            "Solid: service latency. Dashed, and marked r: response latency, which counts from \
             the intended start (cells with an open loop)."
                .to_owned(),
        );
    } else {
        description.push(
            "Solid: service latency, from the operation's first step on its session to the \
             confirmation."
                .to_owned(),
        );
    }
    let top = top_below(&description) + 10.0;
    let legend: Vec<Entry> = entries(verdict, &curves);
    let legend_height: f64 = legend.iter().map(Entry::height).sum();
    let bottom = top + legend_height.max(PLOT_HEIGHT_MIN);
    let x = percentile_axis(&curves);
    let y = latency_axis(&curves, top, bottom);
    let title = format!("{}: latency by percentile", record.plan.heading());
    draw((WIDTH, bottom + 62.0), &title, &description, |canvas| {
        paint_axes(canvas, &x, &y, (top, bottom));
        let lines: Vec<Vec<Point>> = curves.iter().map(|curve| points(curve, &x, &y)).collect();
        for (curve, line) in curves.iter().zip(&lines) {
            paint_curve(canvas, curve, line, &x, &y);
        }
        paint_ends(canvas, &curves, &lines, (top, bottom));
        paint_legend(canvas, &legend, top);
        if curves.is_empty() {
            let center = (f64::midpoint(PLOT_LEFT, PLOT_RIGHT), f64::midpoint(top, bottom));
            canvas.text(center, "no valid block", Font::new(TEXT, MUTED), Align::Center);
        }
    })
}

fn curves(record: &Record) -> Vec<Curve> {
    let mut curves = Vec::new();
    for (cell, plan) in record.plan.cells.iter().enumerate() {
        // In a closed loop the intended start is the start: the lines would lie on each other.
        let kinds: &[Kind] = match plan.pace {
            Pace::Closed => &[Kind::Service],
            Pace::Open { .. } => &[Kind::Service, Kind::Response],
        };
        let (color, shape) = series(cell);
        for &kind in kinds {
            let histogram = record.latency_of(cell, kind);
            if !histogram.is_empty() {
                curves.push(Curve { cell, kind, color, shape, histogram });
            }
        }
    }
    curves
}

/// The axis of percentiles: the value at `x` is that of all but one in `10^x` operations.
fn percentile_axis(curves: &[Curve]) -> Axis {
    let most = curves.iter().map(|curve| decades(&curve.histogram)).fold(2.0, f64::max);
    Axis::linear((0.0, most + 0.1), (PLOT_LEFT, PLOT_RIGHT - END_WIDTH))
}

fn decades(histogram: &Histogram<u64>) -> f64 {
    (histogram.len() as f64).log10()
}

fn latency_axis(curves: &[Curve], top: f64, bottom: f64) -> Axis {
    let least = curves.iter().map(|curve| curve.histogram.min()).min().unwrap_or(1_000);
    let most = curves.iter().map(|curve| curve.histogram.max()).max().unwrap_or(1_000_000);
    let least = least.max(1) as f64 * 0.9;
    Axis::log((least, (most as f64 * 1.15).max(least * 2.0)), (bottom, top))
}

fn points(curve: &Curve, x: &Axis, y: &Axis) -> Vec<Point> {
    let end = decades(&curve.histogram);
    let mut points: Vec<Point> = (0..)
        .map(|index| f64::from(index) / f64::from(POINTS_A_DECADE))
        .take_while(|decades| *decades < end)
        .map(|decades| (x.at(decades), y.at(at(&curve.histogram, decades))))
        .collect();
    points.push((x.at(end), y.at(curve.histogram.max() as f64)));
    points
}

fn at(histogram: &Histogram<u64>, decades: f64) -> f64 {
    histogram.value_at_quantile(1.0 - 10_f64.powf(-decades)) as f64
}

fn paint_axes(canvas: &Canvas<'_>, x: &Axis, y: &Axis, (top, bottom): (f64, f64)) {
    let mut label_end = bottom + 40.0;
    for tick in y.ticks(short_ns) {
        let height = y.at(tick.value);
        let color = if tick.label.is_some() { GRID } else { GRID_MINOR };
        canvas.line(&[(PLOT_LEFT, height), (PLOT_RIGHT, height)], Stroke::new(color, 1.0));
        if let Some(label) = tick.label.filter(|_| height + 12.0 < label_end) {
            let point = (PLOT_LEFT - 8.0, height);
            canvas.text(point, &label, Font::new(SMALL, INK), Align::Right);
            label_end = height;
        }
    }
    for (decades, label) in PERCENTILES {
        // A tick beyond the end would stand at the end.
        if x.at(decades) < x.at(decades + 0.01) {
            let at = x.at(decades);
            canvas.line(&[(at, top), (at, bottom)], Stroke::new(GRID, 1.0));
            canvas.text((at, bottom + 14.0), label, Font::new(SMALL, INK), Align::Center);
        }
    }
    canvas.line(&[(PLOT_LEFT, top), (PLOT_LEFT, bottom)], Stroke::new(MUTED, 1.0));
    canvas.line(&[(PLOT_LEFT, bottom), (PLOT_RIGHT, bottom)], Stroke::new(MUTED, 1.0));
    let font = Font::new(TEXT, INK);
    let center = f64::midpoint(PLOT_LEFT, PLOT_RIGHT);
    canvas.text((center, bottom + 38.0), "percentile of operations", font, Align::Center);
    let middle = f64::midpoint(top, bottom);
    canvas.text_upwards((22.0, middle), "latency of an operation, log scale", font);
}

/// Ticks: decades of operations, and the percentile that they are.
const PERCENTILES: [(f64, &str); 9] = [
    (0.0, "0 %"),
    // log10 2
    (std::f64::consts::LOG10_2, "50 %"),
    (1.0, "90 %"),
    (2.0, "99 %"),
    (3.0, "99.9 %"),
    (4.0, "99.99 %"),
    (5.0, "99.999 %"),
    (6.0, "99.9999 %"),
    (7.0, "99.99999 %"),
];

fn paint_curve(canvas: &Canvas<'_>, curve: &Curve, line: &[Point], x: &Axis, y: &Axis) {
    let stroke = Stroke::new(curve.color, 1.75);
    match curve.kind {
        Kind::Response => canvas.dashed(line, stroke),
        _ => canvas.line(line, stroke),
    }
    for decades in (0..9).map(f64::from).take_while(|it| *it < decades(&curve.histogram)) {
        let point = (x.at(decades), y.at(at(&curve.histogram, decades)));
        curve.shape.draw(canvas, point, 3.5, curve.color);
    }
}

/// Writes each cell's number at the end of its curve. Where ends meet, the numbers are spread.
fn paint_ends(
    canvas: &Canvas<'_>,
    curves: &[Curve],
    lines: &[Vec<Point>],
    (top, bottom): (f64, f64),
) {
    let mut ends: Vec<(&Curve, Point)> =
        curves.iter().zip(lines).filter_map(|(curve, line)| Some((curve, *line.last()?))).collect();
    ends.sort_by(|a, b| a.1.0.total_cmp(&b.1.0));
    for neighbours in ends.chunk_by_mut(|a, b| b.1.0 - a.1.0 < END_WIDTH) {
        neighbours.sort_by(|a, b| a.1.1.total_cmp(&b.1.1));
        let right = neighbours.iter().map(|end| end.1.0).fold(0.0, f64::max) + 6.0;
        let wanted: Vec<f64> = neighbours.iter().map(|end| end.1.1).collect();
        let heights = spread(&wanted, END_HEIGHT, (top + 6.0, bottom - 6.0));
        for ((curve, (x, y)), height) in neighbours.iter().zip(heights) {
            paint_end(canvas, curve, (*x, *y), (right, height));
        }
    }
}

fn paint_end(canvas: &Canvas<'_>, curve: &Curve, end: Point, (left, height): Point) {
    let suffix = if curve.kind == Kind::Response { "r" } else { "" };
    let text = format!("{}{suffix}", curve.cell + 1);
    canvas.line(&[end, (left, height)], Stroke::new(curve.color, 0.75));
    let right = left + 2.0 + text_width(&text, SMALL) * 0.9;
    canvas.rectangle((left, height - 6.0), (right, height + 6.0), PAPER, 0.75);
    let font = Font::new(SMALL, curve.color).bold();
    canvas.text((left + 2.0, height), &text, font, Align::Left);
}

/// Moves sorted heights apart until neighbours have `gap` between them, within bounds if they fit.
fn spread(wanted: &[f64], gap: f64, (top, bottom): (f64, f64)) -> Vec<f64> {
    let mut heights: Vec<f64> = Vec::new();
    for &height in wanted {
        let least = heights.last().map_or(top, |above| above + gap);
        heights.push(height.max(least));
    }
    // Half of what was moved down is moved up again, and what is below the bottom, too.
    let mut most = bottom;
    for (height, wanted) in heights.iter_mut().zip(wanted).rev() {
        *height = f64::midpoint(*height, *wanted).min(most);
        most = *height - gap;
    }
    let mut least = top;
    for height in &mut heights {
        *height = height.max(least);
        least = *height + gap;
    }
    heights
}

/// A cell in the legend.
struct Entry {
    number: String,
    name: Vec<String>,
    figures: String,
    color: RGBColor,
    shape: Shape,
}

impl Entry {
    fn height(&self) -> f64 {
        LINE_HEIGHT * (self.name.len() + 1) as f64 + 6.0
    }
}

fn entries(verdict: &Verdict, curves: &[Curve]) -> Vec<Entry> {
    let entry = |cell: &crate::verdict::CellVerdict| {
        let (color, shape) = series(cell.cell);
        let own = curves.iter().find(|curve| curve.cell == cell.cell);
        let count = own.map_or(0, |curve| curve.histogram.len());
        let figures = if count == 0 {
            "no valid block".to_owned()
        } else {
            let (p50, p99) = (time_ns(cell.service_ns_p50), time_ns(cell.service_ns_p99));
            format!("p50 {p50}, p99 {p99}, n = {}", number(count as f64))
        };
        let name = wrap(&cell.name, WIDTH - LEGEND_TEXT - 16.0, TEXT);
        Entry { number: (cell.cell + 1).to_string(), name, figures, color, shape }
    };
    verdict.cells.iter().map(entry).collect()
}

fn paint_legend(canvas: &Canvas<'_>, entries: &[Entry], top: f64) {
    let mut y = top + 6.0;
    for entry in entries {
        let number = Font::new(TEXT, entry.color).bold();
        canvas.text((LEGEND_LEFT + 16.0, y), &entry.number, number, Align::Right);
        let (from, to) = ((LEGEND_LEFT + 22.0, y), (LEGEND_LEFT + 44.0, y));
        canvas.line(&[from, to], Stroke::new(entry.color, 1.75));
        entry.shape.draw(canvas, (LEGEND_LEFT + 33.0, y), 3.5, entry.color);
        let mut height = y;
        for line in &entry.name {
            canvas.text((LEGEND_TEXT, height), line, Font::new(TEXT, INK), Align::Left);
            height += LINE_HEIGHT;
        }
        canvas.text((LEGEND_TEXT, height), &entry.figures, Font::new(SMALL, MUTED), Align::Left);
        y += entry.height();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_at_curve_ends_never_overlap() {
        let cases: &[&[f64]] = &[
            &[50.0, 50.0, 50.0],
            &[10.0, 12.0, 90.0],
            &[0.0, 1.0, 2.0, 3.0],
            &[99.0, 99.5, 100.0],
            &[40.0],
            &[],
        ];
        for wanted in cases {
            let heights = spread(wanted, 10.0, (5.0, 95.0));
            assert_eq!(heights.len(), wanted.len());
            assert!(heights.windows(2).all(|pair| 10.0 - 1e-9 <= pair[1] - pair[0]), "{heights:?}");
            assert!(heights.iter().all(|it| (5.0..=95.0).contains(it)), "{heights:?}");
        }
    }
}
