//! The legend: which label has which colour, and where the entries go.

use super::canvas::{Align, Canvas, Color, Point, Type, fitted, text_width};
use super::{Figure, Series, Stroke, band, palette};

const ROW: f64 = 17.0;
const SAMPLE: f64 = 22.0;
const GAP: f64 = 6.0;
const BETWEEN: f64 = 18.0;
/// More rows would leave no room for the curves.
const MOST_ROWS: usize = 4;
const LOOK: Type = Type { size: 11.0, bold: false, color: palette::INK };

struct Entry {
    label: String,
    color: Color,
    stroke: Stroke,
    width: f64,
    index: usize,
    band_only: bool,
}

/// The labels of one figure, or of several that share their colours, in order of appearance.
pub(super) struct Legend {
    entries: Vec<Entry>,
}

impl Legend {
    pub fn of<'a>(figures: impl IntoIterator<Item = &'a Figure>) -> Self {
        let mut entries: Vec<Entry> = Vec::new();
        for series in figures.into_iter().flat_map(|figure| &figure.series) {
            if !series.label.is_empty() && !entries.iter().any(|entry| entry.label == series.label) {
                let index = series.style.color.unwrap_or(entries.len());
                entries.push(Entry {
                    label: series.label.clone(),
                    color: palette::hue(index),
                    stroke: palette::stroke(series, index),
                    width: series.style.width,
                    index,
                    band_only: series.is_band_only(),
                });
            }
        }
        Self { entries }
    }

    /// Colour and pattern of a series.
    pub fn look(&self, series: &Series) -> (Color, Stroke) {
        let by_label = || self.entries.iter().find(|entry| entry.label == series.label).map(|entry| entry.index);
        let index = series.style.color.or_else(by_label).unwrap_or(0);
        (palette::hue(index), palette::stroke(series, index))
    }

    /// Height in pixels when laid out over `width`.
    pub fn height(&self, width: f64) -> f64 {
        self.rows(width).last().map_or(0.0, |&(row, _, _)| (row + 1) as f64 * ROW + 4.0)
    }

    /// Draws the entries from the upper left corner `at`, over `width`.
    pub fn draw(&self, canvas: &mut Canvas<'_>, at: Point, width: f64) {
        let rows = self.rows(width);
        for (entry, (row, x, label)) in self.entries.iter().zip(&rows) {
            let (x, y) = (at.0 + x, at.1 + (*row as f64 + 0.5) * ROW);
            if entry.band_only {
                band::sample(canvas, (x, y), SAMPLE, entry.color);
            } else {
                canvas.line(&[(x, y), (x + SAMPLE, y)], entry.color, entry.width.max(1.6), entry.stroke);
            }
            canvas.text(label, (x + SAMPLE + GAP, y), Align::Left, LOOK);
        }
        let hidden = self.entries.len() - rows.len();
        if hidden > 0 {
            let y = at.1 + (MOST_ROWS as f64 - 0.5) * ROW;
            canvas.text(&format!("and {hidden} more"), (at.0 + width, y), Align::Right, LOOK);
        }
    }

    /// Row, x and shown label of each entry that finds room.
    fn rows(&self, width: f64) -> Vec<(usize, f64, String)> {
        let mut placed = Vec::new();
        let (mut row, mut x) = (0, 0.0);
        for entry in &self.entries {
            let label = fitted(&entry.label, LOOK.size, width - SAMPLE - GAP);
            let length = SAMPLE + GAP + text_width(&label, LOOK.size);
            if x > 0.0 && x + length > width {
                (row, x) = (row + 1, 0.0);
            }
            // The last row leaves room for "and n more".
            if row >= MOST_ROWS || (row + 1 == MOST_ROWS && x > 0.0 && x + length > width - 90.0) {
                break;
            }
            placed.push((row, x, label));
            x += length + BETWEEN;
        }
        placed
    }
}
