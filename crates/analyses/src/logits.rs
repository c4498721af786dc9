//! How large the logits are.
use crate::{Matrix, statistics};

/// Mean over rows of `‖z_i‖₂`.
pub fn logit_norm(logits: &Matrix) -> f64 {
    mean_of_rows(logits, |row| norm(row.iter().copied()))
}

/// Mean over rows of `‖z_i − mean_j z_ij‖₂`: the part that softmax can see.
pub fn logit_norm_c(logits: &Matrix) -> f64 {
    mean_of_rows(logits, |row| {
        let mean = statistics::mean(row);
        norm(row.iter().map(|z| z - mean))
    })
}

/// `max_ij |z_ij|`.
pub fn logit_max(logits: &Matrix) -> f64 {
    statistics::max(logits.values().iter().map(|z| z.abs()))
}

fn mean_of_rows(logits: &Matrix, of: impl Fn(&[f64]) -> f64) -> f64 {
    statistics::mean(&logits.iter_rows().map(of).collect::<Vec<_>>())
}

fn norm(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|x| x * x).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn golden() {
        let logits = Matrix::new(vec![20.0, 0.0, -1.0, 2.0, 1.0, 0.5, -3.0, 18.0, 0.0, 0.0, 120.0, 0.0], 3);
        assert!((logit_norm(&logits) - 40.14113996).abs() < 5e-9);
        assert_eq!(logit_max(&logits), 120.0);
        // ‖[3, 1] − 2‖ = √2.
        assert_eq!(logit_norm_c(&Matrix::new(vec![3.0, 1.0], 2)), 2f64.sqrt());
    }

    #[test]
    fn nothing_and_nan_give_nan() {
        for logits in [Matrix::new(vec![], 2), Matrix::new(vec![1.0, 2.0, f64::NAN, 4.0], 2)] {
            assert!(logit_norm(&logits).is_nan() && logit_norm_c(&logits).is_nan() && logit_max(&logits).is_nan());
        }
    }

    proptest! {
        #[test]
        fn centring_removes_a_shift_and_never_lengthens(
            values in proptest::collection::vec(-50f64..50.0, 15), shift in -50f64..50.0,
        ) {
            let logits = Matrix::new(&values, 5);
            let shifted = Matrix::new(values.iter().map(|z| z + shift).collect::<Vec<_>>(), 5);
            prop_assert!((logit_norm_c(&logits) - logit_norm_c(&shifted)).abs() < 1e-10);
            prop_assert!(logit_norm_c(&logits) <= logit_norm(&logits) + 1e-12);
        }
    }
}
