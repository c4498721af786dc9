//! How far the target's logit stands above its strongest rival.
use crate::{Matrix, statistics};

/// `m_i = z_iy − max_{j≠y} z_ij` of each row; infinite where there is no rival, NaN where a logit is.
///
/// # Panics
/// If the numbers of rows and targets differ, or a target has no column.
pub fn margins(logits: &Matrix, targets: &[usize]) -> Vec<f64> {
    let margin = |(row, target): (&[f64], usize)| {
        let rivals = row.iter().enumerate().filter(|&(j, _)| j != target).map(|(_, &z)| z);
        if row.len() == 1 {
            return if row[0].is_nan() { f64::NAN } else { f64::INFINITY };
        }
        row[target] - statistics::max(rivals)
    };
    logits.iter_with(targets).map(margin).collect()
}

/// The 0.1, 0.5 and 0.9 quantiles of the [`margins`], interpolated as in [`statistics::quantile`].
pub fn margin_q(margins: &[f64]) -> [f64; 3] {
    statistics::quantiles(margins, [0.1, 0.5, 0.9])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::accuracy::accuracy;

    #[test]
    fn golden() {
        let logits = Matrix::new(vec![20.0, 0.0, -1.0, 2.0, 1.0, 0.5, -3.0, 18.0, 0.0, 0.0, 120.0, 0.0], 3);
        let margins = margins(&logits, &[0, 2, 1, 1]);
        assert_eq!(margins, [20.0, -1.5, 18.0, 120.0]);
        for (quantile, expected) in margin_q(&margins).into_iter().zip([4.35, 19.0, 90.0]) {
            assert!((quantile - expected).abs() < 1e-12, "{quantile} {expected}");
        }
    }

    #[test]
    fn degenerate_rows() {
        assert_eq!(margins(&Matrix::new(vec![3.0], 1), &[0]), [f64::INFINITY]);
        for target in 0..3 {
            assert!(margins(&Matrix::new(vec![1.0, f64::NAN, 2.0], 3), &[target])[0].is_nan());
        }
        assert!(margin_q(&[]).iter().chain(&margin_q(&[1.0, f64::NAN])).all(|q| q.is_nan()));
    }

    proptest! {
        #[test]
        fn a_positive_margin_is_a_hit(values in proptest::collection::vec(-5f64..5.0, 6), target in 0usize..6) {
            let logits = Matrix::new(&values, 6);
            let margin = margins(&logits, &[target])[0];
            prop_assume!(margin != 0.0);
            prop_assert_eq!(margin > 0.0, accuracy(&logits, &[target]) == 1.0);
        }
    }
}
