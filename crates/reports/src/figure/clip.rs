//! Cutting curves and areas at the frame. Coordinates are fractions of the frame, so the frame is the unit square.

/// A position as fractions of the frame, y upwards.
pub(super) type Fraction = (f64, f64);

/// The pieces of an open line that lie inside the frame (Liang–Barsky, segment by segment).
pub(super) fn polyline(points: &[Fraction]) -> Vec<Vec<Fraction>> {
    let mut pieces: Vec<Vec<Fraction>> = Vec::new();
    let mut open = false;
    for pair in points.windows(2) {
        let Some((from, to)) = segment(pair[0], pair[1]) else {
            open = false;
            continue;
        };
        match pieces.last_mut() {
            Some(piece) if open && from == pair[0] => piece.push(to),
            _ => pieces.push(vec![from, to]),
        }
        open = to == pair[1];
    }
    pieces
}

/// The part of a polygon inside the frame (Sutherland–Hodgman, edge by edge).
pub(super) fn polygon(points: &[Fraction]) -> Vec<Fraction> {
    type Edge = (fn(Fraction) -> f64, bool, f64);
    let edges: [Edge; 4] = [(|p| p.0, true, 0.0), (|p| p.0, false, 1.0), (|p| p.1, true, 0.0), (|p| p.1, false, 1.0)];
    let mut polygon = points.to_vec();
    for (coordinate, above, limit) in edges {
        let inside = |p: Fraction| if above { coordinate(p) >= limit } else { coordinate(p) <= limit };
        let mut kept = Vec::with_capacity(polygon.len() + 4);
        for (i, &to) in polygon.iter().enumerate() {
            let from = polygon[(i + polygon.len() - 1) % polygon.len()];
            if inside(from) != inside(to) {
                let share = (limit - coordinate(from)) / (coordinate(to) - coordinate(from));
                kept.push((from.0 + share * (to.0 - from.0), from.1 + share * (to.1 - from.1)));
            }
            if inside(to) {
                kept.push(to);
            }
        }
        polygon = kept;
    }
    polygon
}

/// Whether a position lies inside the frame.
pub(super) fn contains((x, y): Fraction) -> bool {
    (0.0..=1.0).contains(&x) && (0.0..=1.0).contains(&y)
}

fn segment(from: Fraction, to: Fraction) -> Option<(Fraction, Fraction)> {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let (mut enter, mut leave) = (0.0_f64, 1.0_f64);
    for (step, room) in [(-dx, from.0), (dx, 1.0 - from.0), (-dy, from.1), (dy, 1.0 - from.1)] {
        if step == 0.0 {
            if room < 0.0 {
                return None;
            }
        } else if step < 0.0 {
            enter = enter.max(room / step);
        } else {
            leave = leave.min(room / step);
        }
    }
    let along = |t: f64| (from.0 + t * dx, from.1 + t * dy);
    // The untouched ends are returned as they came, so that a caller can compare them.
    let start = if enter == 0.0 { from } else { along(enter) };
    let end = if leave == 1.0 { to } else { along(leave) };
    (enter <= leave).then_some((start, end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_peak_above_the_frame_leaves_two_pieces() {
        let pieces = polyline(&[(0.0, 0.5), (0.5, 1.5), (1.0, 0.5)]);
        assert_eq!(pieces, vec![vec![(0.0, 0.5), (0.25, 1.0)], vec![(0.75, 1.0), (1.0, 0.5)]]);
    }

    #[test]
    fn a_line_inside_stays_one_piece() {
        let line = [(0.1, 0.1), (0.4, 0.9), (0.8, 0.2)];
        assert_eq!(polyline(&line), vec![line.to_vec()]);
    }

    #[test]
    fn a_square_is_cut_to_its_overlap() {
        let mut corners = polygon(&[(0.5, 0.5), (2.0, 0.5), (2.0, 2.0), (0.5, 2.0)]);
        corners.sort_by(|a, b| a.partial_cmp(b).unwrap());
        assert_eq!(corners, vec![(0.5, 0.5), (0.5, 1.0), (1.0, 0.5), (1.0, 1.0)]);
        assert!(polygon(&[(2.0, 2.0), (3.0, 2.0), (3.0, 3.0)]).is_empty());
        assert!(polygon(&[]).is_empty());
    }

    proptest! {
        #[test]
        fn nothing_leaves_the_frame(line in prop::collection::vec((-3.0..4.0, -3.0..4.0), 0..40)) {
            let near = |&(x, y): &Fraction| (-1e-9..=1.0 + 1e-9).contains(&x) && (-1e-9..=1.0 + 1e-9).contains(&y);
            prop_assert!(polyline(&line).iter().flatten().all(near));
            prop_assert!(polygon(&line).iter().all(near));
        }
    }
}
