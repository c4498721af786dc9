//! What the contract says of rows for which the composed form says nothing: those with NaN or +∞.
use super::{cases::Case, ulp::Want};
use crate::kernel::AtInfinity;

/// One row, as the contract sorts it.
enum Sort {
    /// The composed form says what it is.
    Finite,
    /// +∞ at these places.
    Infinite(Vec<usize>),
    /// At least one NaN.
    Nan,
}

/// The rows of a case, sorted.
pub(super) struct Expected {
    rows: Vec<Sort>,
    /// Which entries take part (`[rows, n]`).
    kept: Vec<bool>,
    n: usize,
}

impl Expected {
    /// Sorts the rows of `case`, whose scores may have been moved by noise since.
    pub(super) fn new(case: &Case, scores: &[f64]) -> Self {
        let kept: Vec<bool> =
            scores.iter().enumerate().map(|(i, score)| case.keeps(i) && *score != f64::NEG_INFINITY).collect();
        let rows = (0..case.rows)
            .map(|row| {
                let places = (row * case.n..(row + 1) * case.n).filter(|&i| kept[i]);
                let infinite: Vec<usize> = places.clone().filter(|&i| scores[i] == f64::INFINITY).collect();
                match (places.clone().any(|i| scores[i].is_nan()), infinite.is_empty()) {
                    (true, _) => Sort::Nan,
                    (false, false) => Sort::Infinite(infinite),
                    (false, true) => Sort::Finite,
                }
            })
            .collect();
        Self { rows, kept, n: case.n }
    }

    /// Whether the composed form says what row `row` is.
    pub(super) fn is_finite(&self, row: usize) -> bool {
        matches!(self.rows[row], Sort::Finite)
    }

    /// Scores that the composed form takes: 0 where it would meet NaN, +∞ or something removed.
    pub(super) fn composable(&self, scores: &[f64]) -> Vec<f64> {
        scores
            .iter()
            .enumerate()
            .map(|(i, &score)| {
                let takes = self.is_finite(i / self.n) && (self.kept[i] || score == f64::NEG_INFINITY);
                if takes { score } else { 0.0 }
            })
            .collect()
    }

    /// The results of a map.
    pub(super) fn results(&self, want: &mut Want, at_infinity: AtInfinity, is_log: bool) {
        let removed = if is_log { f64::NEG_INFINITY } else { 0.0 };
        for (row, sort) in self.rows.iter().enumerate() {
            let places = row * self.n..(row + 1) * self.n;
            match (sort, at_infinity) {
                (Sort::Finite, _) => {}
                (Sort::Infinite(infinite), AtInfinity::OneHot) => {
                    let share = 1.0 / infinite.len() as f64;
                    places.for_each(|i| want.set(i, removed));
                    infinite.iter().for_each(|&i| want.set(i, if is_log { share.ln() } else { share }));
                }
                _ => places.for_each(|i| want.set(i, if self.kept[i] { f64::NAN } else { removed })),
            }
        }
    }

    /// Entries that are alone in their row, where the law says what they are and the reference may be off by its rounding.
    pub(super) fn lone_entries(&self, want: &mut Want, value: f64) {
        for row in (0..self.rows.len()).filter(|row| self.is_finite(*row)) {
            let mut kept = (row * self.n..(row + 1) * self.n).filter(|&i| self.kept[i]);
            if let (Some(lone), None) = (kept.next(), kept.next()) {
                want.set(lone, value);
            }
        }
    }

    /// The gradients at the scores of a map: its limit is constant around a row with +∞.
    pub(super) fn gradients(&self, want: &mut Want, at_infinity: AtInfinity) {
        for (row, sort) in self.rows.iter().enumerate() {
            let nan = !matches!((sort, at_infinity), (Sort::Infinite(_), AtInfinity::OneHot));
            if !self.is_finite(row) {
                let value = |i| if nan && self.kept[i] { f64::NAN } else { 0.0 };
                (row * self.n..(row + 1) * self.n).for_each(|i| want.set(i, value(i)));
            }
        }
    }

    /// The losses of rows with these targets, and their gradients at the logits.
    pub(super) fn losses(&self, loss: &mut Want, gradient: &mut Want, targets: &[usize]) {
        for (row, target) in targets.iter().enumerate() {
            let places = row * self.n..(row + 1) * self.n;
            let target_kept = self.kept[places.start + target];
            if self.is_finite(row) && target_kept {
                continue;
            }
            // A target that is removed has weight 0.
            loss.set(row, if self.is_finite(row) { f64::INFINITY } else { f64::NAN });
            places.for_each(|i| gradient.set(i, if self.kept[i] { f64::NAN } else { 0.0 }));
        }
    }

    /// Whether the composed form says what the loss of row `row` is.
    pub(super) fn has_loss(&self, row: usize, target: usize) -> bool {
        self.is_finite(row) && self.kept[row * self.n + target]
    }
}
