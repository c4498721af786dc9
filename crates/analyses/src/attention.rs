//! How a head spreads its weight over the entries of a row.
use crate::Matrix;

/// Sums over rows of attention weights, from which means are taken; rows may be added in pieces.
///
/// A row in which nothing is kept takes no part. A NaN in a weight makes the means NaN.
///
/// ```
/// use kiln_analyses::{Matrix, attention::Spread};
///
/// let mut spread = Spread::default();
/// spread.add(&Matrix::new(vec![0.75, 0.25, 0.0, 0.0], 4), None);
/// spread.add(&Matrix::new(vec![0.0, 0.0, 9.0], 3), Some(&[true, true, false]));
/// assert_eq!((spread.largest_weight(), spread.zero_share(), spread.dead_rows()), (0.375, 4.0 / 6.0, 0.5));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spread {
    rows: f64,
    kept: f64,
    zeros: f64,
    dead: f64,
    largest: f64,
}

impl Spread {
    /// Adds rows of weights; `kept` says which of the values take part (all of them if left out).
    ///
    /// # Panics
    /// If `kept` has another number of values.
    pub fn add(&mut self, weights: &Matrix, kept: Option<&[bool]>) {
        assert!(
            kept.is_none_or(|kept| kept.len() == weights.values().len()),
            "a mask of another size than its weights"
        );
        for (i, row) in weights.iter_rows().enumerate() {
            let start = i * weights.columns();
            let live = |j: usize| kept.is_none_or(|kept| kept[start + j]);
            let mut count = 0;
            let mut zeros = 0;
            let mut largest = f64::NEG_INFINITY;
            for (_, &weight) in row.iter().enumerate().filter(|(j, _)| live(*j)) {
                count += 1;
                zeros += usize::from(weight == 0.0);
                // Not `f64::max`, which would pass over a NaN.
                largest = if weight.is_nan() || weight > largest { weight } else { largest };
                if weight.is_nan() {
                    break;
                }
            }
            if count > 0 {
                self.rows += 1.0;
                self.kept += if largest.is_nan() { f64::NAN } else { count as f64 };
                self.zeros += zeros as f64;
                self.dead += if largest.is_nan() { f64::NAN } else { f64::from(u8::from(zeros == count)) };
                self.largest += largest;
            }
        }
    }

    /// Mean over rows of the largest weight. Near 1 the head selects, near 1/n it disperses.
    pub fn largest_weight(&self) -> f64 {
        self.largest / self.rows
    }

    /// Share of the kept weights that are exactly 0, underflow included.
    pub fn zero_share(&self) -> f64 {
        self.zeros / self.kept
    }

    /// Share of rows whose kept weights are all exactly 0: the head says nothing there, and no gradient returns.
    pub fn dead_rows(&self) -> f64 {
        self.dead / self.rows
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: Vec<f64>, columns: usize, kept: Option<&[bool]>) -> [f64; 3] {
        let mut spread = Spread::default();
        spread.add(&Matrix::new(values, columns), kept);
        [spread.largest_weight(), spread.zero_share(), spread.dead_rows()]
    }

    #[test]
    fn rows_by_hand() {
        // Largest 1/2, 1 and 0; zeros 1 + 3 + 4 of 12; one dead row of three.
        let rows = vec![0.5, 0.25, 0.25, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, -0.0, 0.0, 0.0];
        assert_eq!(of(rows, 4, None), [0.5, 8.0 / 12.0, 1.0 / 3.0]);
        // Signed weights: the largest, not the largest in size.
        assert_eq!(of(vec![-3.0, 1.0], 2, None), [1.0, 0.0, 0.0]);
    }

    #[test]
    fn what_is_not_kept_does_not_count() {
        let kept = [true, false, false, true, false, false];
        assert_eq!(of(vec![0.0, 7.0, f64::NAN, 0.5, 0.0, 0.0], 3, Some(&kept)), [0.25, 0.5, 0.5]);
        // A row without kept entries is no dead row; without any row there is no mean.
        let kept = [false, false, true, true];
        assert_eq!(of(vec![0.0, 0.0, 0.5, 0.5], 2, Some(&kept)), [0.5, 0.0, 0.0]);
        assert!(of(vec![0.0; 2], 2, Some(&[false; 2])).iter().all(|x| x.is_nan()));
    }

    #[test]
    fn a_nan_is_seen() {
        assert!(of(vec![0.5, f64::NAN, 0.5, 0.5], 2, None).iter().all(|x| x.is_nan()));
    }

    proptest! {
        #[test]
        fn pieces_add_up(values in proptest::collection::vec(-2i8..3, 24), cut in 1usize..6) {
            let values: Vec<f64> = values.iter().map(|&x| f64::from(x)).collect();
            let mut pieces = Spread::default();
            pieces.add(&Matrix::new(&values[..4 * cut], 4), None);
            pieces.add(&Matrix::new(&values[4 * cut..], 4), None);
            let whole = of(values, 4, None);
            prop_assert_eq!([pieces.largest_weight(), pieces.zero_share(), pieces.dead_rows()], whole);
        }
    }
}
