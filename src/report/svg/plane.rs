//! The plane of batch rows and workers: rates in bands of their share of the best, and the ways
//! that controllers took over it.

use plotters::style::RGBColor;

use super::{
    axis::{Axis, short},
    canvas::{
        Align, Canvas, Font, INK, MUTED, PAPER, Point, SMALL, Stroke, TEXT, draw, text_width,
        top_below,
    },
    marker::{legend_entry, series},
};

const WIDTH: f64 = 1100.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = WIDTH - 30.0;
const HEIGHT: f64 = 430.0;
/// Tiles narrower than this have no number in them.
const LABEL_WIDTH_MIN: f64 = 34.0;
const LABEL_HEIGHT_MIN: f64 = 18.0;
/// Least share of the best of each band, and its colour: blue, the paler the slower.
const BANDS: [(f64, RGBColor); 7] = [
    (0.98, RGBColor(0x0b, 0x4f, 0x7d)),
    (0.95, RGBColor(0x23, 0x74, 0xa8)),
    (0.90, RGBColor(0x4f, 0x97, 0xc6)),
    (0.80, RGBColor(0x86, 0xb9, 0xdb)),
    (0.60, RGBColor(0xb5, 0xd4, 0xe9)),
    (0.30, RGBColor(0xda, 0xe9, 0xf4)),
    (0.0, RGBColor(0xf3, 0xf7, 0xfb)),
];

/// A place on the plane.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spot {
    /// Rows an operation carries.
    pub batch_rows: f64,
    /// Operations in flight.
    pub workers: f64,
}

/// The way that one controller took: the settings that were in force, in order.
#[derive(Clone, Debug)]
pub struct Way {
    /// Its name in the legend.
    pub name: String,
    /// At least one.
    pub spots: Vec<Spot>,
}

/// A place that has a name.
#[derive(Clone, Debug)]
pub struct Mark {
    /// What stands beside it.
    pub name: String,
    /// Where.
    pub spot: Spot,
}

/// What is drawn.
#[derive(Clone, Debug, Default)]
pub struct Plane {
    /// The plot's title.
    pub title: String,
    /// What stands under it, a line each.
    pub description: Vec<String>,
    /// Rows a second at places that form a grid, measured or expected.
    pub rates: Vec<(Spot, f64)>,
    /// The ways over it.
    pub ways: Vec<Way>,
    /// Places with names.
    pub marks: Vec<Mark>,
}

/// Draws rates as tiles, each up to half of the way to its neighbours, and ways over them.
pub fn plane(plane: &Plane) -> String {
    let top = top_below(&plane.description) + 62.0;
    let bottom = top + HEIGHT;
    let (x, y) = axes(plane, top, bottom);
    draw((WIDTH, bottom + 60.0), &plane.title, &plane.description, |canvas| {
        paint_legend(canvas, plane, top);
        paint_tiles(canvas, plane, &x, &y);
        paint_axes(canvas, &x, &y, top, bottom);
        for (index, way) in plane.ways.iter().enumerate() {
            paint_way(canvas, index, way, &x, &y);
        }
        paint_marks(canvas, plane, &x, &y);
    })
}

/// Half an octave around all that is drawn.
fn axes(plane: &Plane, top: f64, bottom: f64) -> (Axis, Axis) {
    let ways = plane.ways.iter().flat_map(|way| &way.spots);
    let spots = || {
        let rates = plane.rates.iter().map(|(spot, _)| spot);
        rates.chain(ways.clone()).chain(plane.marks.iter().map(|mark| &mark.spot))
    };
    let ends = |value: fn(&Spot) -> f64| {
        let (low, high) =
            spots().map(value).fold((f64::MAX, 1.0_f64), |(a, b), it| (a.min(it), b.max(it)));
        (low.min(high) / std::f64::consts::SQRT_2, high * std::f64::consts::SQRT_2)
    };
    let x = Axis::log(ends(|spot| spot.batch_rows), (LEFT, RIGHT));
    (x, Axis::log(ends(|spot| spot.workers), (bottom, top)))
}

fn color_of(share: f64) -> RGBColor {
    let band = BANDS.iter().find(|(least, _)| *least <= share);
    band.map_or(BANDS[BANDS.len() - 1].1, |(_, color)| *color)
}

fn paint_legend(canvas: &Canvas<'_>, plane: &Plane, top: f64) {
    let mut next = 16.0;
    if !plane.rates.is_empty() {
        for (least, color) in BANDS {
            let text = match least {
                0.0 => "less".to_owned(),
                least => format!("from {:.0} %", least * 100.0),
            };
            next = legend_entry(canvas, (next, top - 46.0), &text, |(x, y)| {
                canvas.rectangle((x - 11.0, y - 7.0), (x + 11.0, y + 7.0), MUTED, 1.0);
                canvas.rectangle((x - 10.0, y - 6.0), (x + 10.0, y + 6.0), color, 1.0);
            });
        }
        let font = Font::new(SMALL, MUTED);
        canvas.text((next, top - 46.0), "of the highest rate", font, Align::Left);
    }
    let mut next = 16.0;
    for (index, way) in plane.ways.iter().enumerate() {
        next = legend_entry(canvas, (next, top - 22.0), &way.name, |(x, y)| {
            let (color, shape) = series(index + 1);
            canvas.line(&[(x - 11.0, y), (x + 11.0, y)], Stroke::new(color, 1.5));
            shape.draw(canvas, (x, y), 4.0, color);
        });
    }
    if !plane.ways.is_empty() {
        let font = Font::new(SMALL, MUTED);
        canvas.text((next, top - 22.0), "ring: where it ended", font, Align::Left);
    }
}

/// Ends of the tile around each of some values: half of the way, as a ratio, to its neighbours.
fn tiles(values: impl Iterator<Item = f64>) -> Vec<(f64, f64, f64)> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.dedup();
    let step = |a: f64, b: f64| (b / a).sqrt();
    (0..values.len())
        .map(|at| {
            let value = values[at];
            let up = values.get(at + 1).map(|next| step(value, *next));
            let down = at.checked_sub(1).map(|before| step(values[before], value));
            let other = std::f64::consts::SQRT_2;
            let (down, up) = (down.or(up).unwrap_or(other), up.or(down).unwrap_or(other));
            (value, value / down, value * up)
        })
        .collect()
}

fn paint_tiles(canvas: &Canvas<'_>, plane: &Plane, x: &Axis, y: &Axis) {
    let best = plane.rates.iter().map(|it| it.1).fold(0.0, f64::max);
    let columns = tiles(plane.rates.iter().map(|it| it.0.batch_rows));
    let rows = tiles(plane.rates.iter().map(|it| it.0.workers));
    let ends = |tiles: &[(f64, f64, f64)], value: f64| {
        let tile = tiles.iter().find(|tile| tile.0.total_cmp(&value).is_eq());
        tile.map(|tile| (tile.1, tile.2))
    };
    for (spot, rate) in &plane.rates {
        let (Some(wide), Some(high)) = (ends(&columns, spot.batch_rows), ends(&rows, spot.workers))
        else {
            continue;
        };
        let (from, to) = ((x.at(wide.0), y.at(high.1)), (x.at(wide.1), y.at(high.0)));
        let share = if 0.0 < best { rate / best } else { 0.0 };
        let color = color_of(share);
        canvas.rectangle(from, to, color, 1.0);
        if LABEL_WIDTH_MIN <= to.0 - from.0 && LABEL_HEIGHT_MIN <= to.1 - from.1 {
            let ink = if 0.9 <= share { PAPER } else { INK };
            // In a corner: ways and marks go through the middle.
            let point = (to.0 - 4.0, from.1 + 9.0);
            let text = format!("{:.0}", share * 100.0);
            canvas.text(point, &text, Font::new(SMALL, ink), Align::Right);
        }
    }
}

fn paint_axes(canvas: &Canvas<'_>, x: &Axis, y: &Axis, top: f64, bottom: f64) {
    canvas.line(&[(LEFT, top), (LEFT, bottom), (RIGHT, bottom)], Stroke::new(MUTED, 1.0));
    let font = Font::new(SMALL, INK);
    for power in 0..=20 {
        let value = f64::from(1_u32 << power);
        if x.holds(value) {
            let at = x.at(value);
            canvas.line(&[(at, bottom), (at, bottom + 4.0)], Stroke::new(MUTED, 1.0));
            canvas.text((at, bottom + 14.0), &short_power(value), font, Align::Center);
        }
        if y.holds(value) {
            let at = y.at(value);
            canvas.line(&[(LEFT - 4.0, at), (LEFT, at)], Stroke::new(MUTED, 1.0));
            canvas.text((LEFT - 8.0, at), &short_power(value), font, Align::Right);
        }
    }
    let font = Font::new(TEXT, INK);
    let center = (f64::midpoint(LEFT, RIGHT), bottom + 38.0);
    canvas.text(center, "rows an operation carries, log scale", font, Align::Center);
    canvas.text_upwards((24.0, f64::midpoint(top, bottom)), "workers, log scale", font);
}

/// `512`, `4096`, `65536`, `131k`.
fn short_power(value: f64) -> String {
    if value < 1e5 { format!("{value:.0}") } else { short((value / 1e3).round() * 1e3) }
}

fn paint_way(canvas: &Canvas<'_>, index: usize, way: &Way, x: &Axis, y: &Axis) {
    let (color, shape) = series(index + 1);
    let points: Vec<Point> =
        way.spots.iter().map(|spot| (x.at(spot.batch_rows), y.at(spot.workers))).collect();
    // A light edge, so that a line is seen on every band.
    canvas.line(&points, Stroke { alpha: 0.7, ..Stroke::new(PAPER, 3.0) });
    canvas.line(&points, Stroke::new(color, 1.5));
    let mut drawn: Vec<Point> = Vec::new();
    for point in &points {
        let is_drawn = drawn.iter().any(|it| (it.0 - point.0).hypot(it.1 - point.1) < 0.5);
        if !is_drawn {
            canvas.circle(*point, 4.5, PAPER, 1.0);
            shape.draw(canvas, *point, 3.5, color);
            drawn.push(*point);
        }
    }
    if let Some(end) = points.last() {
        canvas.circle(*end, 11.0, color, 1.0);
        canvas.circle(*end, 8.5, PAPER, 1.0);
        shape.draw(canvas, *end, 5.0, color);
    }
}

/// Names beside their places, on paper; moved down where they would lie on another.
fn paint_marks(canvas: &Canvas<'_>, plane: &Plane, x: &Axis, y: &Axis) {
    let mut taken: Vec<(Point, Point)> = Vec::new();
    for mark in &plane.marks {
        let (at_x, at_y) = (x.at(mark.spot.batch_rows), y.at(mark.spot.workers));
        for (radius, color) in [(5.0, PAPER), (4.0, INK)] {
            canvas.line(
                &[(at_x - radius, at_y - radius), (at_x + radius, at_y + radius)],
                Stroke::new(color, if radius < 5.0 { 2.0 } else { 4.0 }),
            );
            canvas.line(
                &[(at_x - radius, at_y + radius), (at_x + radius, at_y - radius)],
                Stroke::new(color, if radius < 5.0 { 2.0 } else { 4.0 }),
            );
        }
        if mark.name.is_empty() {
            continue;
        }
        let width = text_width(&mark.name, SMALL) + 8.0;
        let left = if at_x + 12.0 + width < RIGHT { at_x + 12.0 } else { at_x - 12.0 - width };
        let mut top = at_y + 8.0;
        let overlaps = |top: f64, taken: &[(Point, Point)]| {
            taken.iter().any(|(from, to)| {
                left < to.0 && from.0 < left + width && top < to.1 && from.1 < top + 17.0
            })
        };
        while overlaps(top, &taken) {
            top += 18.0;
        }
        let (from, to) = ((left, top), (left + width, top + 17.0));
        canvas.rectangle(from, to, PAPER, 0.85);
        let point = (left + 4.0, top + 8.5);
        canvas.text(point, &mark.name, Font::new(SMALL, INK), Align::Left);
        taken.push((from, to));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spot(batch_rows: f64, workers: f64) -> Spot {
        Spot { batch_rows, workers }
    }

    #[test]
    fn tiles_meet_half_of_the_way() {
        let tiles = tiles([4.0, 1.0, 16.0, 4.0].into_iter());
        assert_eq!(tiles, [(1.0, 0.5, 2.0), (4.0, 2.0, 8.0), (16.0, 8.0, 32.0)]);
    }

    #[test]
    fn a_share_has_the_color_of_its_band() {
        assert_eq!(color_of(1.0), BANDS[0].1);
        assert_eq!(color_of(0.979), BANDS[1].1);
        assert_eq!(color_of(-1.0), BANDS[6].1);
    }

    #[test]
    fn every_tile_way_and_mark_is_drawn() {
        let rates = [1.0, 4.0, 16.0, 64.0]
            .into_iter()
            .flat_map(|b| [1.0, 4.0].map(|w| (spot(b, w), b * w)))
            .collect();
        let way = Way { name: "tune 1".to_owned(), spots: vec![spot(4.0, 1.0), spot(64.0, 4.0)] };
        let mark = Mark { name: "best".to_owned(), spot: spot(64.0, 4.0) };
        let svg = plane(&Plane {
            title: "a plane".to_owned(),
            rates,
            ways: vec![way],
            marks: vec![mark],
            ..Plane::default()
        });
        for part in ["tune 1", "best", "from 98 %", "rows an operation carries"] {
            assert!(svg.contains(part), "no {part}");
        }
        assert!(2 <= svg.matches("<polyline").count(), "axes and a way");
        assert!(svg.contains("\n100\n"), "the best tile's share");
    }

    #[test]
    fn nothing_measured_is_drawn_too() {
        assert!(plane(&Plane::default()).contains("workers"));
    }
}
