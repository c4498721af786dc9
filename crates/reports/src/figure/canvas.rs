//! The one module that knows the drawing library: lines, areas, dots and text at fractional pixels.

use plotters::backend::{DrawingBackend, SVGBackend};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{
    Color as _, FontDesc, FontFamily, FontStyle, FontTransform, RGBAColor, RGBColor, ShapeStyle, TextStyle,
};

use super::Stroke;

/// The backend counts whole units, so one pixel is ten of them and the view box scales them back: curves stay smooth.
const UNITS: f64 = 10.0;

/// The backend writes font sizes divided by this.
const BACKEND_FONT_FACTOR: f64 = 1.24;

/// DejaVu Sans comes with the PNG renderer; Verdana has the same proportions where a browser lacks it.
const FONT: &str = "DejaVu Sans, Verdana, Helvetica, Arial, sans-serif";

/// Red, green, blue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Color(pub u8, pub u8, pub u8);

impl Color {
    fn opaque(self, opacity: f64) -> RGBAColor {
        RGBColor(self.0, self.1, self.2).mix(opacity)
    }
}

/// A position in pixels, y downwards.
pub(super) type Point = (f64, f64);

/// Which part of a text stands at its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Center,
    Right,
}

/// A look of text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Type {
    pub size: f64,
    pub bold: bool,
    pub color: Color,
}

/// A sheet to draw on. Drawing into a string cannot fail, so no method returns an error.
pub(super) struct Canvas<'a> {
    backend: SVGBackend<'a>,
}

impl Canvas<'_> {
    /// Draws an SVG document of the given size; `label` names it for screen readers.
    pub fn draw(width: f64, height: f64, label: &str, paint: impl FnOnce(&mut Canvas<'_>)) -> String {
        let mut text = String::new();
        let size = ((width * UNITS) as u32, (height * UNITS) as u32);
        let mut canvas = Canvas { backend: SVGBackend::with_string(&mut text, size) };
        paint(&mut canvas);
        let _ = canvas.backend.present();
        drop(canvas);
        with_header(&text, width, height, label)
    }

    /// An open line through the points. `width` in pixels.
    pub fn line(&mut self, points: &[Point], color: Color, width: f64, stroke: Stroke) {
        match stroke {
            Stroke::Solid => self.solid(points, color, width),
            Stroke::Dashed => self.dashes(points, color, width, 6.0, 4.0),
            Stroke::Dotted => self.dashes(points, color, width, 1.6, 2.8),
        }
    }

    /// A filled polygon.
    pub fn area(&mut self, points: &[Point], color: Color, opacity: f64) {
        if points.len() >= 3 {
            let style: ShapeStyle = color.opaque(opacity).filled();
            let _ = self.backend.fill_polygon(points.iter().map(|&p| units(p)), &style);
        }
    }

    /// A filled rectangle between two corners.
    pub fn rectangle(&mut self, from: Point, to: Point, color: Color, opacity: f64) {
        let style: ShapeStyle = color.opaque(opacity).filled();
        let _ = self.backend.draw_rect(units(from), units(to), &style, true);
    }

    /// A filled dot. `radius` in pixels.
    pub fn dot(&mut self, at: Point, radius: f64, color: Color) {
        let style: ShapeStyle = color.opaque(1.0).filled();
        let _ = self.backend.draw_circle(units(at), (radius * UNITS) as u32, &style, true);
    }

    /// One line of text, vertically centred on `at`.
    pub fn text(&mut self, text: &str, at: Point, align: Align, look: Type) {
        self.place(text, at, align, look, FontTransform::None);
    }

    /// One line of text that reads upwards, centred on `at`.
    pub fn text_upwards(&mut self, text: &str, at: Point, look: Type) {
        self.place(text, at, Align::Center, look, FontTransform::Rotate270);
    }

    fn place(&mut self, text: &str, at: Point, align: Align, look: Type, turn: FontTransform) {
        let style = if look.bold { FontStyle::Bold } else { FontStyle::Normal };
        let font =
            FontDesc::new(FontFamily::Name(FONT), look.size * UNITS * BACKEND_FONT_FACTOR, style).transform(turn);
        let horizontal = match align {
            Align::Left => HPos::Left,
            Align::Center => HPos::Center,
            Align::Right => HPos::Right,
        };
        let color = look.color.opaque(1.0);
        let style = TextStyle::from(font).color(&color).pos(Pos::new(horizontal, VPos::Center));
        let _ = self.backend.draw_text(text, &style, units(at));
    }

    fn solid(&mut self, points: &[Point], color: Color, width: f64) {
        if points.len() >= 2 {
            let style = color.opaque(1.0).stroke_width((width * UNITS).max(1.0) as u32);
            let _ = self.backend.draw_path(points.iter().map(|&p| units(p)), &style);
        }
    }

    /// The backend has no dash pattern, so the pieces are cut here. Lengths in pixels.
    fn dashes(&mut self, points: &[Point], color: Color, width: f64, dash: f64, gap: f64) {
        let (mut drawing, mut left) = (true, dash);
        let mut piece: Vec<Point> = points.first().copied().into_iter().collect();
        for pair in points.windows(2) {
            let (mut from, to) = (pair[0], pair[1]);
            let mut length = (to.0 - from.0).hypot(to.1 - from.1);
            while length > left {
                let share = left / length;
                from = (from.0 + share * (to.0 - from.0), from.1 + share * (to.1 - from.1));
                length -= left;
                if drawing {
                    piece.push(from);
                    self.solid(&piece, color, width);
                }
                piece.clear();
                piece.push(from);
                drawing = !drawing;
                left = if drawing { dash } else { gap };
            }
            left -= length;
            piece.push(to);
        }
        if drawing {
            self.solid(&piece, color, width);
        }
    }
}

fn units((x, y): Point) -> (i32, i32) {
    ((x * UNITS).round() as i32, (y * UNITS).round() as i32)
}

/// Replaces the backend's opening tag: size in pixels, a view box in units, rounded joins, a name.
fn with_header(svg: &str, width: f64, height: f64, label: &str) -> String {
    let body = svg.split_once('>').map_or(svg, |(_, body)| body);
    let view = format!("0 0 {} {}", width * UNITS, height * UNITS);
    let label = minijinja::HtmlEscape(label);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"{view}\" \
         role=\"img\" aria-label=\"{label}\" stroke-linejoin=\"round\">{body}"
    )
}

/// Roughly how many pixels a text takes (DejaVu Sans, a little generous).
pub(super) fn text_width(text: &str, size: f64) -> f64 {
    let ems: f64 = text
        .chars()
        .map(|c| match c {
            'i' | 'j' | 'l' | 'I' | '.' | ',' | ':' | ';' | '|' | '!' | '\'' | ' ' => 0.34,
            'f' | 't' | 'r' | '(' | ')' | '[' | ']' | '/' | '⁰'..='⁹' | '⁻' | '¹' | '²' | '³' => 0.44,
            'm' | 'w' | 'M' | 'W' | '@' | '%' | '→' | '≥' | '≤' | '+' | '=' | '−' | '<' | '>' => 0.9,
            c if c.is_uppercase() || !c.is_ascii() => 0.72,
            _ => 0.63,
        })
        .sum();
    ems * size
}

/// The text, or as much of its beginning as fits into `width` pixels, with an ellipsis.
pub(super) fn fitted(text: &str, size: f64, width: f64) -> String {
    if text_width(text, size) <= width {
        return text.to_owned();
    }
    let mut short = text.to_owned();
    while short.pop().is_some() && text_width(&short, size) + size > width {}
    format!("{}…", short.trim_end())
}
