//! Putting a figure on the canvas.

use super::canvas::{Align, Canvas, Color, Point, Type, fitted, text_width};
use super::legend::Legend;
use super::ruler::{Ruler, Tick};
use super::{Figure, FigureGrid, Orientation, Series, Stroke, band, clip, guides, palette, thin};

const TITLE: Type = Type { size: 13.5, bold: true, color: palette::INK };
const HEADING: Type = Type { size: 16.0, bold: true, color: palette::INK };
const AXIS_LABEL: Type = Type { size: 11.5, bold: false, color: palette::LABEL };
pub(super) const TICK_LABEL: Type = Type { size: 10.5, bold: false, color: palette::LABEL };
const EDGE: f64 = 12.0;
/// Beyond this many points dots would hide the line.
const MOST_MARKERS: usize = 80;

/// A rectangle in pixels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Area {
    pub left: f64,
    pub top: f64,
    pub right: f64,
    pub bottom: f64,
}

impl Area {
    pub fn width(&self) -> f64 {
        self.right - self.left
    }

    pub fn height(&self) -> f64 {
        self.bottom - self.top
    }

    /// The pixel of a position given as fractions, y upwards.
    pub fn point(&self, (x, y): clip::Fraction) -> Point {
        (self.left + x * self.width(), self.bottom - y * self.height())
    }
}

/// One figure as an SVG document.
pub(super) fn figure(figure: &Figure, width: u32, height: u32) -> String {
    let (width, height) = (f64::from(width), f64::from(height));
    let area = Area { left: 0.0, top: 0.0, right: width, bottom: height };
    Canvas::draw(width, height, &figure.title, |canvas| {
        canvas.rectangle((0.0, 0.0), (width, height), palette::PAPER, 1.0);
        panel(canvas, area, figure, &Legend::of([figure]), true);
    })
}

/// Several figures side by side as one SVG document.
pub(super) fn grid(grid: &FigureGrid) -> String {
    let columns = grid.columns.clamp(1, grid.panels.len().max(1));
    let rows = grid.panels.len().div_ceil(columns);
    let (wide, high) = (f64::from(FigureGrid::PANEL_WIDTH), f64::from(FigureGrid::PANEL_HEIGHT));
    let width = columns as f64 * wide;
    let inner = width - 2.0 * EDGE;

    let shared = grid.shared_legend.then(|| Legend::of(&grid.panels));
    let title_height = if grid.title.is_empty() { 0.0 } else { 32.0 };
    let legend_height = shared.as_ref().map_or(0.0, |legend| legend.height(inner));
    let top = title_height + legend_height + 4.0;
    let height = top + rows as f64 * high;

    Canvas::draw(width, height, &grid.title, |canvas| {
        canvas.rectangle((0.0, 0.0), (width, height), palette::PAPER, 1.0);
        if !grid.title.is_empty() {
            canvas.text(&fitted(&grid.title, HEADING.size, inner), (EDGE, 20.0), Align::Left, HEADING);
        }
        if let Some(legend) = &shared {
            legend.draw(canvas, (EDGE, title_height + 2.0), inner);
        }
        for (i, figure) in grid.panels.iter().enumerate() {
            let (left, top) = ((i % columns) as f64 * wide, top + (i / columns) as f64 * high);
            let area = Area { left, top, right: left + wide, bottom: top + high };
            match &shared {
                Some(legend) => panel(canvas, area, figure, legend, false),
                None => panel(canvas, area, figure, &Legend::of([figure]), true),
            }
        }
    })
}

fn panel(canvas: &mut Canvas<'_>, area: Area, figure: &Figure, legend: &Legend, show_legend: bool) {
    let inner = area.width() - 2.0 * EDGE;
    let mut top = area.top + 8.0;
    if !figure.title.is_empty() {
        let title = fitted(&figure.title, TITLE.size * 1.08, inner);
        canvas.text(&title, (area.left + EDGE, top + 10.0), Align::Left, TITLE);
        top += 24.0;
    }
    if show_legend {
        legend.draw(canvas, (area.left + EDGE, top), inner);
        top += legend.height(inner);
    }

    let x_label_height = if figure.x.label.is_empty() { 0.0 } else { 19.0 };
    let bottom = area.bottom - 25.0 - x_label_height;
    let top = (top + 6.0).min(bottom - 60.0);
    let (x, y) = (x_ruler(figure), y_ruler(figure));
    let y_ticks = y.ticks(((bottom - top) / 44.0) as usize);
    let label_width = y_ticks.iter().map(|t| text_width(&t.label, TICK_LABEL.size)).fold(0.0, f64::max);
    let y_label_width = if figure.y.label.is_empty() { 0.0 } else { 18.0 };
    let frame =
        Area { left: area.left + EDGE + y_label_width + label_width + 4.0, top, right: area.right - 20.0, bottom };
    let x_ticks = x.ticks((frame.width() / 75.0) as usize);

    axes(canvas, frame, &x_ticks, &y_ticks);
    if !figure.x.label.is_empty() {
        let label = fitted(&figure.x.label, AXIS_LABEL.size, frame.width());
        canvas.text(&label, ((frame.left + frame.right) / 2.0, area.bottom - 13.0), Align::Center, AXIS_LABEL);
    }
    if !figure.y.label.is_empty() {
        let label = fitted(&figure.y.label, AXIS_LABEL.size, frame.height());
        canvas.text_upwards(&label, (area.left + EDGE + 5.0, (frame.top + frame.bottom) / 2.0), AXIS_LABEL);
    }

    let place = |px: f64, py: f64| (x.fraction(px), y.fraction(py));
    for series in &figure.series {
        band::draw(canvas, frame, series, legend.look(series).0, &place);
    }
    let mut drawn = Drawn::default();
    for series in &figure.series {
        curve(canvas, frame, series, legend.look(series), &place, &mut drawn);
    }
    guides::draw(canvas, frame, figure, (&x, &y), &drawn.lines);
    let has_band = |series: &Series| series.band.as_ref().is_some_and(|band| !band.is_empty());
    if !drawn.any && !figure.series.iter().any(has_band) {
        let middle = ((frame.left + frame.right) / 2.0, (frame.top + frame.bottom) / 2.0);
        canvas.text("no data", middle, Align::Center, Type { color: palette::GUIDE, ..AXIS_LABEL });
    }
}

fn x_ruler(figure: &Figure) -> Ruler {
    let points = figure.series.iter().flat_map(|s| s.points.iter().map(|p| p.0));
    let bands = figure.series.iter().flat_map(|s| s.band.iter().flatten().map(|b| b.0));
    Ruler::fit(&figure.x, points.chain(bands), 0.0)
}

fn y_ruler(figure: &Figure) -> Ruler {
    let points = figure.series.iter().flat_map(|s| s.points.iter().map(|p| p.1));
    let bands = figure.series.iter().flat_map(|s| s.band.iter().flatten().flat_map(|b| [b.1, b.2]));
    let guides = figure.guides.iter().filter(|g| g.orientation == Orientation::Horizontal).map(|g| g.at);
    Ruler::fit(&figure.y, points.chain(bands).chain(guides), 0.05)
}

fn axes(canvas: &mut Canvas<'_>, frame: Area, x_ticks: &[Tick], y_ticks: &[Tick]) {
    for tick in x_ticks {
        let (x, _) = frame.point((tick.fraction, 0.0));
        canvas.line(&[(x, frame.top), (x, frame.bottom)], palette::GRID, 0.8, Stroke::Solid);
        canvas.line(&[(x, frame.bottom), (x, frame.bottom + 4.0)], palette::AXIS, 0.9, Stroke::Solid);
        canvas.text(&tick.label, (x, frame.bottom + 13.0), Align::Center, TICK_LABEL);
    }
    for tick in y_ticks {
        let (_, y) = frame.point((0.0, tick.fraction));
        canvas.line(&[(frame.left, y), (frame.right, y)], palette::GRID, 0.8, Stroke::Solid);
        canvas.text(&tick.label, (frame.left - 6.0, y), Align::Right, TICK_LABEL);
    }
    let corner = [(frame.left, frame.top), (frame.left, frame.bottom), (frame.right, frame.bottom)];
    canvas.line(&corner, palette::AXIS, 0.9, Stroke::Solid);
}

/// What the curves have put on the paper so far.
#[derive(Default)]
struct Drawn {
    /// Whether any point was there, inside the frame or not.
    any: bool,
    /// Lines in pixels, for labels to keep away from.
    lines: Vec<Vec<Point>>,
}

fn curve(
    canvas: &mut Canvas<'_>,
    frame: Area,
    series: &Series,
    (color, stroke): (Color, Stroke),
    place: &impl Fn(f64, f64) -> clip::Fraction,
    drawn: &mut Drawn,
) {
    let places: Vec<clip::Fraction> = series.points.iter().map(|&(x, y)| place(x, y)).collect();
    let height = |i: usize| if places[i].0.is_finite() { places[i].1 } else { f64::NAN };
    let kept: Vec<_> = thin::kept(places.len(), height, height).into_iter().map(|i| places[i]).collect();
    let gap = |&(x, y): &clip::Fraction| !(x.is_finite() && y.is_finite());
    let markers = series.style.markers && kept.len() <= MOST_MARKERS;
    for run in kept.split(gap).filter(|run| !run.is_empty()) {
        drawn.any = true;
        for piece in clip::polyline(run) {
            let piece: Vec<Point> = piece.into_iter().map(|p| frame.point(p)).collect();
            canvas.line(&piece, color, series.style.width, stroke);
            drawn.lines.push(piece);
        }
        // A point between two gaps has no line; without a dot it would be invisible.
        if markers || run.len() == 1 {
            for &at in run.iter().filter(|&&p| clip::contains(p)) {
                canvas.dot(frame.point(at), series.style.width.max(1.0) * 1.5, color);
            }
        }
    }
}
