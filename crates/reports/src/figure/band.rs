//! Bands around curves: the area between two heights, and its sample in the legend.

use super::canvas::{Canvas, Color, Point};
use super::draw::Area;
use super::{Series, clip, thin};

const OPACITY: f64 = 0.16;
/// A sample is small and alone, so it needs more colour than an area under curves.
const SAMPLE_OPACITY: f64 = 0.45;
/// Half the height of a sample in pixels.
const HALF: f64 = 4.5;
/// Index into the palette of the colour of [`Series::band_key`]: grey.
const KEY_COLOR: usize = 7;

impl Series {
    /// A legend entry without a curve that says what the bands of a figure mean, such as "band: lowest to highest seed".
    /// Its sample is a grey area.
    pub fn band_key(meaning: impl Into<String>) -> Self {
        let mut key = Self::new(meaning, Vec::new()).band(Vec::new());
        key.style.color = Some(KEY_COLOR);
        key
    }

    /// Whether the series is an area without a line.
    pub(super) fn is_band_only(&self) -> bool {
        self.points.is_empty() && self.band.is_some()
    }
}

/// Fills the band of a series, cut at the frame. A point without a place on its axis is a gap.
pub(super) fn draw(
    canvas: &mut Canvas<'_>,
    frame: Area,
    series: &Series,
    color: Color,
    place: &impl Fn(f64, f64) -> clip::Fraction,
) {
    let Some(band) = &series.band else { return };
    let edges: Vec<(clip::Fraction, clip::Fraction)> =
        band.iter().map(|&(x, low, high)| (place(x, low), place(x, high))).collect();
    let gap = |&(low, high): &(clip::Fraction, clip::Fraction)| !(low.0.is_finite() && (low.1 + high.1).is_finite());
    let heights = |i: usize, y: f64| if gap(&edges[i]) { f64::NAN } else { y };
    let kept = thin::kept(edges.len(), |i| heights(i, edges[i].0.1), |i| heights(i, edges[i].1.1));
    let kept: Vec<_> = kept.into_iter().map(|i| edges[i]).collect();
    for run in kept.split(gap) {
        let outline: Vec<_> = run.iter().map(|e| e.0).chain(run.iter().rev().map(|e| e.1)).collect();
        let outline: Vec<Point> = clip::polygon(&outline).into_iter().map(|p| frame.point(p)).collect();
        canvas.area(&outline, color, OPACITY);
    }
}

/// The sample of a legend entry without a line, `width` pixels from its left middle `at`.
pub(super) fn sample(canvas: &mut Canvas<'_>, (x, y): Point, width: f64, color: Color) {
    canvas.rectangle((x, y - HALF), (x + width, y + HALF), color, SAMPLE_OPACITY);
}
