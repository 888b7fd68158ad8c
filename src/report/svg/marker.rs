//! Colours and shapes that tell series apart, with and without colour vision.

use plotters::style::RGBColor;

use super::canvas::{Align, Canvas, Font, MUTED, Point, SMALL, text_width};

pub(super) const MEASURED: RGBColor = RGBColor(0x00, 0x72, 0xb2);
pub(super) const CLAIMED: RGBColor = RGBColor(0xd5, 0x5e, 0x00);
pub(super) const AUTOVACUUM: RGBColor = RGBColor(0x7a, 0x2f, 0x8f);
pub(super) const CLIENT_BOUND: RGBColor = RGBColor(0xf2, 0xc1, 0x4e);

/// Source: Okabe and Ito, "Color Universal Design", 2008, without its yellow, which is too pale
/// for lines on white; sky blue and orange are darkened for the same reason.
const COLORS: [RGBColor; 7] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xb8, 0x5c, 0x93),
    RGBColor(0x2f, 0x9f, 0xd8),
    RGBColor(0xd1, 0x8f, 0x00),
    RGBColor(0x00, 0x00, 0x00),
];

const SHAPES: [Shape; 4] = [Shape::Circle, Shape::Square, Shape::Triangle, Shape::Diamond];

/// The shape of a marker.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Shape {
    Circle,
    Square,
    Triangle,
    Diamond,
}

/// Returns the colour and shape of a series: as 7 and 4 have no common divisor, 28 differ.
pub(super) fn series(index: usize) -> (RGBColor, Shape) {
    (COLORS[index % COLORS.len()], SHAPES[index % SHAPES.len()])
}

impl Shape {
    /// Draws the shape around a point; about `2 * radius` wide.
    pub(super) fn draw(self, canvas: &Canvas<'_>, (x, y): Point, radius: f64, color: RGBColor) {
        let r = radius;
        match self {
            Shape::Circle => canvas.circle((x, y), r, color, 1.0),
            Shape::Square => {
                let r = r * 0.88;
                canvas.rectangle((x - r, y - r), (x + r, y + r), color, 1.0);
            }
            Shape::Triangle => {
                let points = [(x - r, y + r * 0.8), (x + r, y + r * 0.8), (x, y - r)];
                canvas.polygon(&points, color);
            }
            Shape::Diamond => {
                let r = r * 1.2;
                canvas.polygon(&[(x - r, y), (x, y - r), (x + r, y), (x, y + r)], color);
            }
        }
    }
}

/// Draws one entry of a legend that stands in a line, and returns where the next one begins.
///
/// `symbol` draws around the point that it is given, up to 12 pixels to either side.
pub(super) fn legend_entry(
    canvas: &Canvas<'_>,
    (x, y): Point,
    text: &str,
    symbol: impl FnOnce(Point),
) -> f64 {
    symbol((x + 12.0, y));
    canvas.text((x + 30.0, y), text, Font::new(SMALL, MUTED), Align::Left);
    x + 30.0 + text_width(text, SMALL) + 18.0
}
