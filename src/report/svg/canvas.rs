//! What the plots draw on: plotters' SVG backend, with coordinates in pixels.
//!
//! Plotters' own charts measure labels with a font; without one they guess, and guess too little
//! for long names. So the plots place everything themselves, with [`text_width`] as an upper bound.

use plotters::{
    coord::Shift,
    element::DashedPathElement,
    prelude::*,
    style::{
        FontDesc, FontFamily, FontStyle, FontTransform, TextStyle,
        text_anchor::{HPos, Pos, VPos},
    },
};

/// Plotters places at whole units; with this many to the pixel, curves are smooth.
const UNITS: f64 = 4.0;

/// Plotters divides a font's size by this before it writes it down.
const FONT_FACTOR: f64 = 1.24;

/// Arial where there is one; its replacements elsewhere are wider, and [`text_width`] knows.
const FONT: &str = "Arial, Helvetica, sans-serif";

/// Size of most text, in pixels. None is below 11.
pub(super) const TEXT: f64 = 12.0;
/// Size of what stands under a title, and of ticks.
pub(super) const SMALL: f64 = 11.5;
const TITLE: f64 = 17.0;

pub(super) const INK: RGBColor = RGBColor(0x1f, 0x24, 0x2b);
pub(super) const MUTED: RGBColor = RGBColor(0x5b, 0x63, 0x70);
pub(super) const GRID: RGBColor = RGBColor(0xdd, 0xe1, 0xe6);
pub(super) const GRID_MINOR: RGBColor = RGBColor(0xf0, 0xf2, 0xf4);
pub(super) const PAPER: RGBColor = RGBColor(0xff, 0xff, 0xff);

/// Where a text stands from its point: left means that it begins there.
#[derive(Clone, Copy, Debug)]
pub(super) enum Align {
    Left,
    Center,
    Right,
}

/// The way a text is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Font {
    pub(super) size: f64,
    pub(super) bold: bool,
    pub(super) color: RGBColor,
}

impl Font {
    pub(super) const fn new(size: f64, color: RGBColor) -> Font {
        Font { size, bold: false, color }
    }

    pub(super) const fn bold(self) -> Font {
        Font { bold: true, ..self }
    }
}

/// The way a line is drawn: its colour and its width in pixels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stroke {
    pub(super) color: RGBColor,
    pub(super) alpha: f64,
    pub(super) width: f64,
}

impl Stroke {
    pub(super) const fn new(color: RGBColor, width: f64) -> Stroke {
        Stroke { color, alpha: 1.0, width }
    }

    fn style(self) -> ShapeStyle {
        self.color.mix(self.alpha).stroke_width(to_units(self.width).unsigned_abs().max(1))
    }
}

/// A point, in pixels from the upper left corner.
pub(super) type Point = (f64, f64);

/// Width of a plot, in pixels.
pub(super) const WIDTH: f64 = 1100.0;

/// A sheet to draw on.
pub(super) struct Canvas<'a> {
    area: DrawingArea<SVGBackend<'a>, Shift>,
}

/// Draws a plot of this size, in pixels: its title, then what `paint` adds.
///
/// `title` and `description` also go where a screen reader finds them.
pub(super) fn draw(
    (width, height): (f64, f64),
    title: &str,
    description: &[String],
    paint: impl FnOnce(&Canvas<'_>),
) -> String {
    let mut body = String::new();
    let size = (to_units(width).unsigned_abs(), to_units(height).unsigned_abs());
    let canvas = Canvas { area: SVGBackend::with_string(&mut body, size).into_drawing_area() };
    canvas.rectangle((0.0, 0.0), (width, height), PAPER, 1.0);
    canvas.text((16.0, 24.0), title, Font::new(TITLE, INK).bold(), Align::Left);
    for (index, line) in in_lines(description).iter().enumerate() {
        let y = 46.0 + 16.0 * index as f64;
        canvas.text((16.0, y), line, Font::new(SMALL, MUTED), Align::Left);
    }
    paint(&canvas);
    canvas.area.present().expect("draws into memory");
    drop(canvas);
    // The backend's own first line gives the size in units; a page wants it in pixels.
    let shapes = body.split_once('\n').map_or("", |(_, rest)| rest);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {} {}\" role=\"img\">\n<title>{}</title>\n<desc>{}</desc>\n{shapes}",
        size.0,
        size.1,
        escape(title),
        escape(&description.join(" ")),
    )
}

/// Returns where the plot may begin below its description.
pub(super) fn top_below(description: &[String]) -> f64 {
    46.0 + 16.0 * in_lines(description).len() as f64
}

/// Breaks a description into lines; each of its texts begins one.
fn in_lines(description: &[String]) -> Vec<String> {
    description.iter().flat_map(|it| wrap(it, WIDTH - 32.0, SMALL)).collect()
}

impl Canvas<'_> {
    pub(super) fn line(&self, points: &[Point], stroke: Stroke) {
        let points: Vec<(i32, i32)> = points.iter().map(|&point| at(point)).collect();
        self.area.draw(&PathElement::new(points, stroke.style())).expect("draws into memory");
    }

    pub(super) fn dashed(&self, points: &[Point], stroke: Stroke) {
        let points: Vec<(i32, i32)> = points.iter().map(|&point| at(point)).collect();
        let (dash, gap) = (to_units(5.0), to_units(3.5));
        let path = DashedPathElement::new(points, dash, gap, stroke.style());
        self.area.draw(&path).expect("draws into memory");
    }

    pub(super) fn rectangle(&self, from: Point, to: Point, color: RGBColor, alpha: f64) {
        let style = color.mix(alpha).filled();
        self.area.draw(&Rectangle::new([at(from), at(to)], style)).expect("draws into memory");
    }

    pub(super) fn circle(&self, center: Point, radius: f64, color: RGBColor, alpha: f64) {
        let circle = Circle::new(at(center), to_units(radius), color.mix(alpha).filled());
        self.area.draw(&circle).expect("draws into memory");
    }

    pub(super) fn polygon(&self, points: &[Point], color: RGBColor) {
        let points: Vec<(i32, i32)> = points.iter().map(|&point| at(point)).collect();
        self.area.draw(&Polygon::new(points, color.filled())).expect("draws into memory");
    }

    /// Writes a line of text, its middle at the point's height.
    pub(super) fn text(&self, point: Point, text: &str, font: Font, align: Align) {
        self.write(point, text, font, align, FontTransform::None);
    }

    /// Writes a line of text upwards, centred on the point.
    pub(super) fn text_upwards(&self, point: Point, text: &str, font: Font) {
        self.write(point, text, font, Align::Center, FontTransform::Rotate270);
    }

    fn write(&self, point: Point, text: &str, font: Font, align: Align, turn: FontTransform) {
        let style = if font.bold { FontStyle::Bold } else { FontStyle::Normal };
        let size = font.size * UNITS * FONT_FACTOR;
        let desc = FontDesc::new(FontFamily::Name(FONT), size, style).transform(turn);
        let side = match align {
            Align::Left => HPos::Left,
            Align::Center => HPos::Center,
            Align::Right => HPos::Right,
        };
        let style = TextStyle::from(desc).color(&font.color).pos(Pos::new(side, VPos::Center));
        self.area.draw(&Text::new(text.to_owned(), at(point), style)).expect("draws into memory");
    }
}

/// Returns how wide a text is at most, in pixels, in any of the usual fonts.
///
/// Measured on DejaVu Sans, the widest of them: letters and digits 0.64 em at most on average over
/// a name, Chinese, Japanese and Korean ones 1 em.
pub(super) fn text_width(text: &str, size: f64) -> f64 {
    let em = |character: char| match character {
        '\u{1100}'.. => 1.0,
        'm' | 'w' | 'M' | 'W' | '%' | '@' => 0.95,
        'A'..='Z' => 0.72,
        'i' | 'j' | 'l' | '.' | ',' | ':' | ' ' | '|' | '\'' => 0.36,
        _ => 0.63,
    };
    text.chars().map(em).sum::<f64>() * size
}

/// Breaks a text into lines of at most `width` pixels; between words where it can.
pub(super) fn wrap(text: &str, width: f64, size: f64) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && width < text_width(&format!("{line} {word}"), size) {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        for character in word.chars() {
            if !line.is_empty() && width < text_width(&format!("{line}{character}"), size) {
                lines.push(std::mem::take(&mut line));
            }
            line.push(character);
        }
    }
    lines.push(line);
    lines
}

fn at((x, y): Point) -> (i32, i32) {
    (to_units(x), to_units(y))
}

#[expect(clippy::cast_possible_truncation, reason = "a plot is far smaller than 2^31 units")]
fn to_units(pixels: f64) -> i32 {
    (pixels * UNITS).round() as i32
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_break_between_words_and_long_words_anywhere() {
        let lines = wrap("best: concurrent batches, 5 workers", 120.0, 12.0);
        assert_eq!(lines, ["best: concurrent", "batches, 5", "workers"]);
        let lines = wrap("aaaaaaaaaaaaaaaaaaaaaaaaa", 100.0, 12.0);
        assert!(1 < lines.len() && lines.concat().len() == 25, "{lines:?}");
        assert_eq!(wrap("", 100.0, 12.0), [""]);
    }

    /// In a font as wide as DejaVu Sans they once ran out of the plot.
    #[test]
    fn long_descriptions_break_and_the_plot_begins_below_them() {
        let short = ["One.".to_owned(), "Two.".to_owned()];
        let long = ["a word ".repeat(60), "Two.".to_owned()];
        assert_eq!(in_lines(&short), short);
        let lines = in_lines(&long);
        assert_eq!((lines.len(), lines.last()), (4, long.last()));
        assert!(lines.iter().all(|it| text_width(it, SMALL) <= WIDTH - 32.0), "{lines:?}");
        assert!(top_below(&short) < top_below(&long));
        let svg = draw((WIDTH, 50.0), "title", &long, |_| {});
        assert_eq!(svg.matches("<text").count(), 1 + lines.len(), "{svg}");
    }

    #[test]
    fn a_plot_is_escaped_and_sized_in_pixels() {
        let svg = draw((100.0, 50.0), "a < b & c", &[], |canvas| {
            canvas.text((5.0, 5.0), "<script>", Font::new(TEXT, INK), Align::Left);
        });
        assert!(svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"100\" "));
        assert!(svg.contains("viewBox=\"0 0 400 200\""), "{svg}");
        assert!(svg.contains("<title>a &lt; b &amp; c</title>"), "{svg}");
        assert!(svg.contains("&lt;script&gt;") && !svg.contains("<script>"), "{svg}");
        assert!(svg.trim_end().ends_with("</svg>"), "{svg}");
    }
}
