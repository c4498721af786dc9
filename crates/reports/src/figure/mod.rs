//! Line figures and small multiples, as data.

mod band;
mod canvas;
mod clip;
mod draw;
mod guides;
mod legend;
mod palette;
mod ruler;
mod thin;

use serde::{Deserialize, Serialize};

/// How a coordinate is laid out along an axis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// Equal distances for equal differences.
    #[default]
    Linear,
    /// Equal distances for equal ratios. Zeros and negative values have no place on it and become gaps.
    Log,
}

/// One axis of a figure.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Axis {
    /// What is measured, with its unit; empty for none.
    pub label: String,
    /// Linear or logarithmic.
    pub scale: Scale,
    /// The ends of the axis in data units, in either order; `None` fits the data. Ends that are not finite, or not
    /// positive on a log axis, count as `None`. Curves are cut at the ends.
    pub range: Option<(f64, f64)>,
}

impl Axis {
    /// A linear axis that fits its data.
    pub fn new(label: impl Into<String>) -> Self {
        Self { label: label.into(), ..Self::default() }
    }

    /// The same axis on a logarithmic scale.
    pub fn log(mut self) -> Self {
        self.scale = Scale::Log;
        self
    }

    /// The same axis between two fixed ends.
    pub fn range(mut self, low: f64, high: f64) -> Self {
        self.range = Some((low, high));
        self
    }
}

/// The pattern of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stroke {
    /// Unbroken.
    #[default]
    Solid,
    /// Long dashes.
    Dashed,
    /// Dots.
    Dotted,
}

/// The look of a series.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Style {
    /// Index into the colour-blind-safe palette (it wraps around). `None` takes the place of the label in the legend,
    /// so that series of one label share one colour.
    pub color: Option<usize>,
    /// Pattern of the line.
    pub stroke: Stroke,
    /// Width of the line in pixels, above 0.
    pub width: f64,
    /// Whether each point gets a dot as well (left out where more than 80 points would make a caterpillar).
    pub markers: bool,
}

impl Default for Style {
    fn default() -> Self {
        Self { color: None, stroke: Stroke::Solid, width: 1.6, markers: false }
    }
}

/// One curve, with an optional band around it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// Name in the legend. Series of the same label share one legend entry (seeds of one run, say); an empty label
    /// has none.
    pub label: String,
    /// Points `(x, y)` in drawing order. A point with a coordinate that is not finite is a gap.
    pub points: Vec<(f64, f64)>,
    /// `(x, low, high)` in drawing order, filled between low and high.
    pub band: Option<Vec<(f64, f64, f64)>>,
    /// Colour, pattern, width.
    pub style: Style,
}

impl Series {
    /// A solid curve in the next colour.
    pub fn new(label: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self { label: label.into(), points, ..Self::default() }
    }

    /// The same curve with a band `(x, low, high)` around it.
    pub fn band(mut self, band: Vec<(f64, f64, f64)>) -> Self {
        self.band = Some(band);
        self
    }

    /// The same curve in another look.
    pub fn style(mut self, style: Style) -> Self {
        self.style = style;
        self
    }
}

/// Which way a [`Guide`] runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Orientation {
    /// A line at one x, from the bottom to the top.
    Vertical,
    /// A line at one y, from the left to the right.
    Horizontal,
}

/// A thin dashed line across the figure: a threshold, the step of an event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Guide {
    /// Which way it runs.
    pub orientation: Orientation,
    /// Its x (vertical) or y (horizontal) in data units. A horizontal guide widens a fitted y axis to show it; one
    /// outside a fixed range is left out.
    pub at: f64,
    /// A few words beside it; may be empty.
    pub label: String,
    /// Index into the palette; `None` is grey.
    pub color: Option<usize>,
}

impl Guide {
    /// A grey line at one x.
    pub fn vertical(x: f64, label: impl Into<String>) -> Self {
        Self { orientation: Orientation::Vertical, at: x, label: label.into(), color: None }
    }

    /// A grey line at one y.
    pub fn horizontal(y: f64, label: impl Into<String>) -> Self {
        Self { orientation: Orientation::Horizontal, at: y, label: label.into(), color: None }
    }

    /// The same line in a palette colour.
    pub fn color(mut self, color: usize) -> Self {
        self.color = Some(color);
        self
    }
}

/// One picture of curves over a common pair of axes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// Heading; empty for none.
    pub title: String,
    /// Horizontal axis.
    pub x: Axis,
    /// Vertical axis.
    pub y: Axis,
    /// The curves, the later ones on top.
    pub series: Vec<Series>,
    /// Lines across the whole picture.
    pub guides: Vec<Guide>,
}

impl Figure {
    /// Width of [`Figure::to_svg`] in pixels.
    pub const WIDTH: u32 = 720;
    /// Height of [`Figure::to_svg`] in pixels.
    pub const HEIGHT: u32 = 420;

    /// An empty figure over two linear axes.
    pub fn new(title: impl Into<String>, x: impl Into<String>, y: impl Into<String>) -> Self {
        Self { title: title.into(), x: Axis::new(x), y: Axis::new(y), ..Self::default() }
    }

    /// The same figure with one more curve on top.
    pub fn with(mut self, series: Series) -> Self {
        self.series.push(series);
        self
    }

    /// The same figure with one more guide.
    pub fn guide(mut self, guide: Guide) -> Self {
        self.guides.push(guide);
        self
    }

    /// Draws the figure, 720 × 420 pixels on white. No data is an empty frame that says so. A series longer than
    /// 2000 points is thinned for drawing; its extremes and its gaps stay.
    pub fn to_svg(&self) -> String {
        draw::figure(self, Self::WIDTH, Self::HEIGHT)
    }
}

/// Small multiples: figures side by side under one heading.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FigureGrid {
    /// Heading over all panels; empty for none.
    pub title: String,
    /// Panels in a row, at least 1 (0 counts as 1).
    pub columns: usize,
    /// The panels, row by row.
    pub panels: Vec<Figure>,
    /// Whether one legend on top serves all panels, with one colour per label throughout; otherwise each panel has
    /// its own.
    pub shared_legend: bool,
}

impl FigureGrid {
    /// Width of one panel in pixels.
    pub const PANEL_WIDTH: u32 = 380;
    /// Height of one panel in pixels.
    pub const PANEL_HEIGHT: u32 = 270;

    /// Draws the panels, 380 × 270 pixels each, and the heading above them.
    pub fn to_svg(&self) -> String {
        draw::grid(self)
    }
}

/// One picture of a report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Plot {
    /// A single pair of axes.
    Figure(Figure),
    /// Several.
    Grid(FigureGrid),
}

impl Plot {
    /// Draws the picture.
    pub fn to_svg(&self) -> String {
        match self {
            Plot::Figure(figure) => figure.to_svg(),
            Plot::Grid(grid) => grid.to_svg(),
        }
    }

    /// The heading of the picture.
    pub fn title(&self) -> &str {
        match self {
            Plot::Figure(figure) => &figure.title,
            Plot::Grid(grid) => &grid.title,
        }
    }
}

impl From<Figure> for Plot {
    fn from(figure: Figure) -> Self {
        Plot::Figure(figure)
    }
}

impl From<FigureGrid> for Plot {
    fn from(grid: FigureGrid) -> Self {
        Plot::Grid(grid)
    }
}
