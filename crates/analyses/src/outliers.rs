//! Whether a few hidden values are far larger than the rest.
use crate::{Matrix, statistics};

/// Moments of hidden values, and the largest of each row; rows may be added in pieces.
///
/// Outliers are what makes activations hard to round to few bits (Bondarenko et al. 2023, arXiv:2306.12929). A NaN in a value
/// makes both measures NaN.
///
/// ```
/// use kiln_analyses::{Matrix, outliers::Outliers};
///
/// let mut outliers = Outliers::default();
/// outliers.add(&Matrix::new(vec![1.0, -1.0, 1.0, -3.0], 2));
/// outliers.add(&Matrix::new(vec![1.0, 1.0], 2));
/// assert_eq!(outliers.largest(), (1.0 + 3.0 + 1.0) / 3.0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Outliers {
    rows: f64,
    largest: f64,
    count: f64,
    mean: f64,
    /// Sums of (x − mean)², (x − mean)³ and (x − mean)⁴.
    centred: [f64; 3],
}

impl Outliers {
    /// Adds rows of values.
    pub fn add(&mut self, values: &Matrix) {
        for row in values.iter_rows() {
            self.rows += 1.0;
            self.largest += statistics::max(row.iter().map(|x| x.abs()));
        }
        if values.rows() > 0 {
            self.merge(values.values());
        }
    }

    /// Mean over rows of the largest size of a value, max |h|.
    pub fn largest(&self) -> f64 {
        self.largest / self.rows
    }

    /// Kurtosis of all values, `E(h − Eh)⁴ / (E(h − Eh)²)²`: 3 for a normal distribution, large where few values carry most of
    /// the variance; NaN where all are equal.
    pub fn kurtosis(&self) -> f64 {
        let [second, _, fourth] = self.centred;
        self.count * fourth / (second * second)
    }

    /// Joins the centred sums of `values` to those so far (Pébay 2008), which unlike raw power sums does not cancel.
    fn merge(&mut self, values: &[f64]) {
        let (n, m) = (self.count, values.len() as f64);
        let mean = statistics::mean(values);
        let mut own = [0.0; 3];
        for x in values {
            let centred = x - mean;
            let square = centred * centred;
            own[0] += square;
            own[1] += square * centred;
            own[2] += square * square;
        }
        let [a2, a3, a4] = self.centred;
        let [b2, b3, b4] = own;
        let (total, delta) = (n + m, mean - self.mean);
        self.centred = [
            a2 + b2 + delta.powi(2) * n * m / total,
            a3 + b3 + delta.powi(3) * n * m * (n - m) / total.powi(2) + 3.0 * delta * (n * b2 - m * a2) / total,
            a4 + b4
                + delta.powi(4) * n * m * (n * n - n * m + m * m) / total.powi(3)
                + 6.0 * delta.powi(2) * (n * n * b2 + m * m * a2) / total.powi(2)
                + 4.0 * delta * (n * b3 - m * a3) / total,
        ];
        self.mean += delta * m / total;
        self.count = total;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[f64], columns: usize) -> Outliers {
        let mut outliers = Outliers::default();
        outliers.add(&Matrix::new(values, columns));
        outliers
    }

    #[test]
    fn by_hand() {
        // Mean 1, deviations -1, -1, -1, 3: fourth powers 84 / 4 = 21, squares 12 / 4 = 3.
        assert_eq!(of(&[0.0, 0.0, 0.0, 4.0], 4).kurtosis(), 21.0 / 9.0);
        // The least a kurtosis can be: two values.
        assert_eq!(of(&[2.0, -2.0, 2.0, -2.0], 2).kurtosis(), 1.0);
        assert_eq!(of(&[2.0, -5.0, 1.0, 0.0], 2).largest(), 3.0);
    }

    #[test]
    fn nothing_nan_and_equal_values_give_nan() {
        assert!(Outliers::default().kurtosis().is_nan() && Outliers::default().largest().is_nan());
        let nan = of(&[1.0, f64::NAN, 2.0, 3.0], 2);
        assert!(nan.kurtosis().is_nan() && nan.largest().is_nan());
        assert!(of(&[1.0; 4], 2).kurtosis().is_nan());
    }

    proptest! {
        #[test]
        fn pieces_add_up(values in proptest::collection::vec(-3.0f64..9.0, 24), cut in 1usize..6) {
            let mut pieces = of(&values[..4 * cut], 4);
            pieces.add(&Matrix::new(&values[4 * cut..], 4));
            let whole = of(&values, 4);
            prop_assert!((pieces.kurtosis() - whole.kurtosis()).abs() < 1e-9 * whole.kurtosis());
            prop_assert!((pieces.largest() - whole.largest()).abs() < 1e-12);
        }

        #[test]
        fn kurtosis_ignores_shift_and_scale(values in proptest::collection::vec(-1.0f64..1.0, 8..30), shift in -1e3f64..1e3) {
            let moved: Vec<f64> = values.iter().map(|x| 7.0 * x + shift).collect();
            let (plain, moved) = (of(&values, 1).kurtosis(), of(&moved, 1).kurtosis());
            prop_assert!((plain - moved).abs() < 1e-8 * plain, "{} {}", plain, moved);
        }
    }
}
