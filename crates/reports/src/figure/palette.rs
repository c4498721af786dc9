//! Colours that stay apart for readers with any of the common forms of colour blindness, and in grey print.

use super::canvas::Color;
use super::{Series, Stroke};

/// The eight hues of Okabe and Ito (2008, "Color Universal Design"), their yellow replaced by grey because it vanishes
/// on white paper, reordered so that the first few differ most in lightness.
const HUES: [Color; 8] = [
    Color(0x00, 0x72, 0xB2),
    Color(0xD5, 0x5E, 0x00),
    Color(0x00, 0x9E, 0x73),
    Color(0xCC, 0x79, 0xA7),
    Color(0xE6, 0x9F, 0x00),
    Color(0x56, 0xB4, 0xE9),
    Color(0x22, 0x22, 0x22),
    Color(0x84, 0x84, 0x84),
];

pub(super) const PAPER: Color = Color(0xFF, 0xFF, 0xFF);
pub(super) const INK: Color = Color(0x1A, 0x1A, 0x1A);
pub(super) const LABEL: Color = Color(0x4A, 0x4A, 0x4A);
pub(super) const AXIS: Color = Color(0x70, 0x70, 0x70);
pub(super) const GRID: Color = Color(0xE8, 0xE8, 0xE8);
pub(super) const GUIDE: Color = Color(0x8A, 0x8A, 0x8A);

/// The hue of an index.
pub(super) fn hue(index: usize) -> Color {
    HUES[index % HUES.len()]
}

/// The pattern of a series whose automatic colour is `index`: from the ninth on hues repeat, so a plain line is dashed.
pub(super) fn stroke(series: &Series, index: usize) -> Stroke {
    match series.style.stroke {
        Stroke::Solid if index >= HUES.len() => Stroke::Dashed,
        chosen => chosen,
    }
}
