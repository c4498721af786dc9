//! Lines across a figure, and a free place for the words beside each.

use super::canvas::{Align, Canvas, Point, Type, text_width};
use super::draw::{Area, TICK_LABEL};
use super::ruler::Ruler;
use super::{Figure, Guide, Orientation, Stroke, clip, palette};

/// Half the height of a label.
const HALF: f64 = 7.0;
/// Between a line and its label.
const BESIDE: f64 = 4.0;
/// Rows tried for the label of a vertical line.
const ROWS: usize = 5;
/// Covering another label is worse than lying on any number of curves.
const COVERS_LABEL: usize = 1_000_000;

/// Draws the guides of a figure whose curves are `lines` (pixels).
pub(super) fn draw(
    canvas: &mut Canvas<'_>,
    frame: Area,
    figure: &Figure,
    (x, y): (&Ruler, &Ruler),
    lines: &[Vec<Point>],
) {
    let mut labels: Vec<Area> = Vec::new();
    for guide in &figure.guides {
        let fraction = match guide.orientation {
            Orientation::Vertical => x.fraction(guide.at),
            Orientation::Horizontal => y.fraction(guide.at),
        };
        if !(0.0..=1.0).contains(&fraction) {
            continue;
        }
        let color = guide.color.map_or(palette::GUIDE, palette::hue);
        let ends = match guide.orientation {
            Orientation::Vertical => [(fraction, 0.0), (fraction, 1.0)],
            Orientation::Horizontal => [(0.0, fraction), (1.0, fraction)],
        };
        let ends = ends.map(|end| frame.point(end));
        canvas.line(&ends, color, 1.1, Stroke::Dashed);

        let cost = |place: &Area| {
            let covered = labels.iter().filter(|other| overlap(place, other)).count();
            covered * COVERS_LABEL + crossings(place, lines)
        };
        let place = places(guide, ends[0], frame).into_iter().filter(|place| within(place, frame)).min_by_key(cost);
        if let Some(place) = place {
            canvas.rectangle((place.left, place.top), (place.right, place.bottom), palette::PAPER, 0.75);
            let middle = (place.left + 2.0, (place.top + place.bottom) / 2.0);
            canvas.text(&guide.label, middle, Align::Left, Type { color, ..TICK_LABEL });
            labels.push(place);
        }
    }
}

/// Where the label of a guide through `at` may stand, the preferred place first.
fn places(guide: &Guide, at: Point, frame: Area) -> Vec<Area> {
    if guide.label.is_empty() {
        return Vec::new();
    }
    let width = text_width(&guide.label, TICK_LABEL.size) + 4.0;
    let place = |left: f64, middle: f64| Area { left, top: middle - HALF, right: left + width, bottom: middle + HALF };
    match guide.orientation {
        Orientation::Vertical => {
            let sides = [at.0 + BESIDE, at.0 - BESIDE - width];
            let middle = |row: usize| frame.top + HALF + 1.0 + row as f64 * (2.0 * HALF + 1.0);
            (0..ROWS).flat_map(|row| sides.map(|left| place(left, middle(row)))).collect()
        }
        Orientation::Horizontal => {
            let rows = [at.1 - HALF - 1.5, at.1 + HALF + 1.5];
            let lefts = [frame.right - width - 2.0, frame.left + 2.0, (frame.left + frame.right - width) / 2.0];
            lefts.into_iter().flat_map(|left| rows.map(|middle| place(left, middle))).collect()
        }
    }
}

fn within(place: &Area, frame: Area) -> bool {
    place.left >= frame.left && place.right <= frame.right && place.top >= frame.top && place.bottom <= frame.bottom
}

fn overlap(a: &Area, b: &Area) -> bool {
    a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom
}

/// Number of curve pieces that pass through a place.
fn crossings(place: &Area, lines: &[Vec<Point>]) -> usize {
    let unit = |&(x, y): &Point| ((x - place.left) / place.width(), (y - place.top) / place.height());
    lines.iter().map(|line| clip::polyline(&line.iter().map(unit).collect::<Vec<_>>()).len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Area = Area { left: 0.0, top: 0.0, right: 400.0, bottom: 300.0 };

    #[test]
    fn a_label_prefers_its_first_place_and_leaves_it_for_a_curve() {
        let guide = Guide::horizontal(0.5, "bar");
        let places = places(&guide, (0.0, 150.0), FRAME);
        let along_the_right: Vec<Point> = vec![(300.0, 142.0), (400.0, 142.0)];
        assert_eq!(crossings(&places[0], &[]), 0);
        assert_eq!(crossings(&places[0], std::slice::from_ref(&along_the_right)), 1);
        assert_eq!(crossings(&places[1], &[along_the_right]), 0);
    }

    #[test]
    fn neighbouring_labels_find_places_apart() {
        let first = places(&Guide::vertical(0.0, "f16"), (200.0, 300.0), FRAME)[0];
        let next = places(&Guide::vertical(0.0, "f32"), (203.0, 300.0), FRAME);
        assert!(overlap(&first, &next[0]));
        assert!(next.iter().any(|place| !overlap(&first, place) && within(place, FRAME)));
    }
}
