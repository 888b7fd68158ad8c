//! The plane of batch rows and workers: rates in bands of their share of the best, and the ways
//! that controllers took over it.

use plotters::style::RGBColor;

use super::{
    axis::{Axis, short},
    canvas::{
        Align, Canvas, Font, INK, MUTED, PAPER, Point, SMALL, Stroke, TEXT, WIDTH, draw,
        text_width, top_below,
    },
    marker::{legend_entry, series},
};

const LEFT: f64 = 80.0;
const RIGHT: f64 = WIDTH - 30.0;
const HEIGHT: f64 = 430.0;
/// Tiles narrower than this have no number in them.
const LABEL_WIDTH_MIN: f64 = 34.0;
const LABEL_HEIGHT_MIN: f64 = 18.0;
const NAME_HEIGHT: f64 = 17.0;
/// Radius of the ring around where a way ended.
const RING: f64 = 11.0;
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

/// An area of the plot, from its upper left to its lower right.
type Area = (Point, Point);

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
    /// What stands under it; each begins a line.
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
        let tiles = lay_tiles(plane, &x, &y);
        for tile in &tiles {
            canvas.rectangle(tile.from, tile.to, color_of(tile.share), 1.0);
        }
        paint_axes(canvas, &x, &y, top, bottom);
        for (index, way) in plane.ways.iter().enumerate() {
            paint_lines(canvas, index, way, &x, &y);
        }
        let points = points(plane, &x, &y);
        let names = lay_names(plane, &x, &y, (top, bottom), &points);
        for tile in &tiles {
            paint_share(canvas, tile, &points, &names);
        }
        for (index, way) in plane.ways.iter().enumerate() {
            paint_points(canvas, index, way, &x, &y);
        }
        paint_marks(canvas, plane, &names, &x, &y);
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

/// A rate's place, from its upper left to its lower right, and its share of the highest.
struct Tile {
    from: Point,
    to: Point,
    share: f64,
}

fn lay_tiles(plane: &Plane, x: &Axis, y: &Axis) -> Vec<Tile> {
    let best = plane.rates.iter().map(|it| it.1).fold(0.0, f64::max);
    let columns = tiles(plane.rates.iter().map(|it| it.0.batch_rows));
    let rows = tiles(plane.rates.iter().map(|it| it.0.workers));
    let ends = |tiles: &[(f64, f64, f64)], value: f64| {
        let tile = tiles.iter().find(|tile| tile.0.total_cmp(&value).is_eq());
        tile.map(|tile| (tile.1, tile.2))
    };
    let lay = |(spot, rate): &(Spot, f64)| {
        let (wide, high) = (ends(&columns, spot.batch_rows)?, ends(&rows, spot.workers)?);
        let (from, to) = ((x.at(wide.0), y.at(high.1)), (x.at(wide.1), y.at(high.0)));
        Some(Tile { from, to, share: if 0.0 < best { rate / best } else { 0.0 } })
    };
    plane.rates.iter().filter_map(lay).collect()
}

/// A tile's share in the first of its corners where nothing lies but lines, which it covers; under a
/// point where there is none, but not under a name.
fn paint_share(canvas: &Canvas<'_>, tile: &Tile, points: &[Area], names: &[Area]) {
    let Tile { from, to, share } = *tile;
    if to.0 - from.0 < LABEL_WIDTH_MIN || to.1 - from.1 < LABEL_HEIGHT_MIN {
        return;
    }
    let text = format!("{:.0}", share * 100.0);
    let (width, height) = (text_width(&text, SMALL) + 4.0, 14.0);
    let corner = |is_left: bool, is_top: bool| {
        let left = if is_left { from.0 + 2.0 } else { to.0 - 2.0 - width };
        let top = if is_top { from.1 + 2.0 } else { to.1 - 2.0 - height };
        ((left, top), (left + width, top + height))
    };
    let corners = [(false, true), (true, true), (false, false), (true, false)];
    let corners = corners.map(|(is_left, is_top)| corner(is_left, is_top));
    let is_off = |taken: &[Area], area: &Area| !taken.iter().any(|it| overlap(*it, *area));
    let unnamed: Vec<Area> = corners.into_iter().filter(|it| is_off(names, it)).collect();
    let free = unnamed.iter().find(|it| is_off(points, it));
    let Some(area) = free.or(unnamed.first()) else { return };
    canvas.rectangle(area.0, area.1, color_of(share), 1.0);
    let ink = if 0.9 <= share { PAPER } else { INK };
    let point = (area.1.0 - 2.0, area.0.1 + height / 2.0);
    canvas.text(point, &text, Font::new(SMALL, ink), Align::Right);
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

fn paint_lines(canvas: &Canvas<'_>, index: usize, way: &Way, x: &Axis, y: &Axis) {
    let (color, _) = series(index + 1);
    let points: Vec<Point> = way.spots.iter().map(|spot| at(spot, x, y)).collect();
    // A light edge, so that a line is seen on every band.
    canvas.line(&points, Stroke { alpha: 0.7, ..Stroke::new(PAPER, 3.0) });
    canvas.line(&points, Stroke::new(color, 1.5));
}

fn paint_points(canvas: &Canvas<'_>, index: usize, way: &Way, x: &Axis, y: &Axis) {
    let (color, shape) = series(index + 1);
    let mut drawn: Vec<Point> = Vec::new();
    for point in way.spots.iter().map(|spot| at(spot, x, y)) {
        let is_drawn = drawn.iter().any(|it| (it.0 - point.0).hypot(it.1 - point.1) < 0.5);
        if !is_drawn {
            canvas.circle(point, 4.5, PAPER, 1.0);
            shape.draw(canvas, point, 3.5, color);
            drawn.push(point);
        }
    }
    if let Some(end) = way.spots.last().map(|spot| at(spot, x, y)) {
        canvas.circle(end, RING, color, 1.0);
        canvas.circle(end, 8.5, PAPER, 1.0);
        shape.draw(canvas, end, 5.0, color);
    }
}

fn at(spot: &Spot, x: &Axis, y: &Axis) -> Point {
    (x.at(spot.batch_rows), y.at(spot.workers))
}

/// What points, rings and crosses take of the plot.
fn points(plane: &Plane, x: &Axis, y: &Axis) -> Vec<Area> {
    let around = |spot: &Spot, radius: f64| {
        let (x, y) = at(spot, x, y);
        ((x - radius, y - radius), (x + radius, y + radius))
    };
    let spots = plane.ways.iter().flat_map(|way| &way.spots).map(|it| around(it, 4.5));
    let ends = plane.ways.iter().filter_map(|way| way.spots.last()).map(|it| around(it, RING));
    let marks = plane.marks.iter().map(|it| around(&it.spot, 6.0));
    spots.chain(ends).chain(marks).collect()
}

fn overlap(a: Area, b: Area) -> bool {
    a.0.0 < b.1.0 && b.0.0 < a.1.0 && a.0.1 < b.1.1 && b.0.1 < a.1.1
}

/// Places for the names of marks, in their order: beside them, at the nearest height where nothing lies;
/// an empty one for a mark without a name.
fn lay_names(
    plane: &Plane,
    x: &Axis,
    y: &Axis,
    (top, bottom): (f64, f64),
    points: &[Area],
) -> Vec<Area> {
    let mut taken = points.to_vec();
    let mut lay = |mark: &Mark| {
        let (at_x, at_y) = at(&mark.spot, x, y);
        if mark.name.is_empty() {
            return ((at_x, at_y), (at_x, at_y));
        }
        let width = text_width(&mark.name, SMALL) + 8.0;
        let place = |side: f64, below: f64| {
            let left = if side < 0.0 { at_x - 12.0 - width } else { at_x + 12.0 };
            ((left, at_y + below), (left + width, at_y + below + NAME_HEIGHT))
        };
        let heights = (0..20_u32).map(f64::from).flat_map(|it| {
            let step = it * (NAME_HEIGHT + 1.0) / 2.0;
            [8.0 + step, -8.0 - NAME_HEIGHT - step]
        });
        let places = heights.flat_map(|below| [place(1.0, below), place(-1.0, below)]);
        let fits =
            |it: &Area| LEFT <= it.0.0 && it.1.0 <= RIGHT && top <= it.0.1 && it.1.1 <= bottom;
        let is_free = |it: &Area| !taken.iter().any(|other| overlap(*other, *it));
        let free = places.clone().find(|it| fits(it) && is_free(it));
        let found = free.or_else(|| places.clone().find(fits)).unwrap_or(place(1.0, 8.0));
        taken.push(found);
        found
    };
    plane.marks.iter().map(&mut lay).collect()
}

/// Crosses, and names on paper.
fn paint_marks(canvas: &Canvas<'_>, plane: &Plane, names: &[Area], x: &Axis, y: &Axis) {
    for (mark, (from, to)) in plane.marks.iter().zip(names) {
        let (at_x, at_y) = at(&mark.spot, x, y);
        if !mark.name.is_empty() {
            canvas.rectangle(*from, *to, PAPER, 0.85);
            let point = (from.0 + 4.0, from.1 + NAME_HEIGHT / 2.0);
            canvas.text(point, &mark.name, Font::new(SMALL, INK), Align::Left);
        }
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
