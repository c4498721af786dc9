//! The published example: four rows of three logits under five losses, N = 4, gradients cast to `f32`.
use proptest::prelude::*;

use super::*;

const LOGITS: [[f64; 3]; 4] = [[20.0, 0.0, -1.0], [2.0, 1.0, 0.5], [-3.0, 18.0, 0.0], [0.0, 120.0, 0.0]];
const TARGETS: [usize; 4] = [0, 2, 1, 1];

fn f32_of(x: f64) -> f64 {
    f64::from(x as f32)
}

/// Gradient of the mean of a row loss over the four rows, cast to `f32` as the network receives it.
fn gradient(row_gradient: impl Fn(&[f64; 3], usize) -> [f64; 3]) -> Matrix<'static> {
    let rows = LOGITS.iter().zip(TARGETS).flat_map(|(row, target)| row_gradient(row, target));
    Matrix::new(rows.map(|g| f32_of(g / 4.0)).collect::<Vec<_>>(), 3)
}

/// `softmax(z) − onehot(y)` with every result rounded by `round`.
fn softmax_gradient(z: &[f64; 3], target: usize, round: impl Fn(f64) -> f64) -> [f64; 3] {
    let max = statistics::max(*z);
    let terms = z.map(|z| round((z - max).exp()));
    let sum = terms.iter().fold(0.0, |sum, term| round(sum + term));
    let mut gradient = terms.map(|term| round(term / sum));
    gradient[target] = round(gradient[target] - 1.0);
    gradient
}

/// Rivals' shares `σ(d) softmax_{j≠y}(z)_j` with the target as minus their sum, so that it never rounds away.
fn exact_gradient(z: &[f64; 3], target: usize) -> [f64; 3] {
    let terms = z.map(|other| (other - z[target]).exp());
    let rivals: f64 = (0..3).filter(|&j| j != target).map(|j| terms[j]).sum();
    let mut gradient = terms.map(|term| term / (1.0 + rivals));
    gradient[target] = -rivals / (1.0 + rivals);
    gradient
}

fn stablemax_gradient(z: &[f64; 3], target: usize) -> [f64; 3] {
    let terms = z.map(|z| if z >= 0.0 { z + 1.0 } else { 1.0 / (1.0 - z) });
    let sum: f64 = terms.iter().sum();
    let rivals: f64 = (0..3).filter(|&j| j != target).map(|j| terms[j]).sum();
    let mut gradient = terms.map(|term| term / sum);
    gradient[target] = -rivals / sum;
    [0, 1, 2].map(|j| gradient[j] / (1.0 + z[j].abs()))
}

/// In emulated `f16` only the second row is left.
fn half_gradient() -> Matrix<'static> {
    let mut values = vec![0.0; 12];
    values[3..6].copy_from_slice(&[0.1571044922, 0.05776977539, -0.2149658203]);
    Matrix::new(values, 3)
}

fn assert_close(actual: &[f64], expected: &[f64]) {
    assert_eq!(actual.len(), expected.len());
    for (a, e) in actual.iter().zip(expected) {
        assert!((a - e).abs() <= 1e-7 * e.abs(), "{actual:?} {expected:?}");
    }
}

#[test]
fn losses() {
    assert_eq!(zero_loss(&[2.819409813e-9, 1.964368784, 1.598823572e-8, 0.0]), 0.25);
    assert_eq!(zero_loss(&[-0.0, 1.964368820, 0.0, -0.0]), 0.75);
    assert_eq!(zero_loss(&[0.06899287149, 1.466337069, 0.06371581439, 0.01639380978]), 0.0);
}

#[test]
fn sums() {
    let sum = |round: fn(f64) -> f64| {
        LOGITS.map(|z| z.iter().fold(0.0, |sum, x| round(sum + round((x - statistics::max(z)).exp()))))
    };
    assert_eq!(s_is_one(&sum(|x| x)), 0.25);
    assert_eq!(s_is_one(&sum(f32_of)), 0.75);
}

#[test]
fn f64_softmax() {
    let g = gradient(|z, y| softmax_gradient(z, y, |x| x));
    assert_close(g.row(0), &[-7.048524542e-10, 5.152884230e-10, 1.895640034e-10]);
    assert_eq!((target_grad_zero(&g, &TARGETS), row_grad_zero(&g)), (0.25, 0.25));
    let defect = rowsum_defect(&g);
    assert!(defect.max <= 3e-8 && defect.rows == 3 && defect.above_half == 0.0, "{defect:?}");
}

#[test]
fn f32_softmax() {
    let g = gradient(|z, y| softmax_gradient(z, y, f32_of));
    assert_close(g.row(0), &[0.0, 5.152884230e-10, 1.895640034e-10]);
    assert_close(g.row(1), &[0.1571329236, 0.05780597031, -0.2149389088]);
    assert_eq!((target_grad_zero(&g, &TARGETS), row_grad_zero(&g)), (0.75, 0.25));
    // Rows 1 and 3 have lost their target: exactly 1, also in the median.
    let defect = rowsum_defect(&g);
    assert_eq!((defect.max, defect.median, defect.above_half, defect.rows), (1.0, 1.0, 2.0 / 3.0, 3));
    let healthy = rowsum_defect(&g.row_range(1..2));
    assert!(healthy.max < 1e-7, "{healthy:?}");
}

#[test]
fn f16_softmax() {
    let g = half_gradient();
    assert_eq!((target_grad_zero(&g, &TARGETS), row_grad_zero(&g)), (0.75, 0.75));
    let defect = rowsum_defect(&g);
    assert!((defect.max - 2.13e-4).abs() < 1e-6 && defect.rows == 1, "{defect:?}");
}

#[test]
fn collapse_free_softmax() {
    let g = gradient(exact_gradient);
    assert_eq!((target_grad_zero(&g, &TARGETS), row_grad_zero(&g)), (0.25, 0.25));
    assert!(rowsum_defect(&g).max <= 4e-8);
}

#[test]
fn stablemax() {
    let g = gradient(stablemax_gradient);
    assert_close(g.row(1), &[0.03846153846, 0.03846153846, -0.1282051282]);
    assert_eq!((target_grad_zero(&g, &TARGETS), row_grad_zero(&g)), (0.0, 0.0));
    let logits = Matrix::new(LOGITS.concat(), 3);
    let weighted = rowsum_defect_stablemax(&g, &logits);
    assert!(weighted.max <= 2e-8 && weighted.rows == 4, "{weighted:?}");
    for (row, expected) in [0.89, 0.25, 0.88, 0.98].into_iter().enumerate() {
        let plain = rowsum_defect(&g.row_range(row..row + 1)).max;
        assert!((plain - expected).abs() < 5e-3, "row {row}: {plain}");
    }
}

#[test]
fn nothing_and_nan_give_nan() {
    let nan = f64::NAN;
    assert!(zero_loss(&[]).is_nan() && zero_loss(&[0.0, nan]).is_nan());
    assert!(s_is_one(&[]).is_nan() && s_is_one(&[1.0, nan]).is_nan());
    let broken = Matrix::new(vec![0.0, 0.0, 1.0, nan], 2);
    assert!(row_grad_zero(&broken).is_nan() && target_grad_zero(&broken, &[0, 1]).is_nan());
    for defect in [rowsum_defect(&broken), rowsum_defect(&Matrix::new(vec![0.0; 4], 2))] {
        assert!(defect.max.is_nan() && defect.median.is_nan() && defect.above_half.is_nan());
    }
    assert_eq!(rowsum_defect(&Matrix::new(vec![0.0; 4], 2)).rows, 0);
}

proptest! {
    #[test]
    fn a_defect_is_a_share_and_ignores_scale(
        values in proptest::collection::vec(-1f64..1.0, 12), exponent in -100i32..100,
    ) {
        let g = rowsum_defect(&Matrix::new(&values, 4));
        prop_assert!((0.0..=1.0 + 1e-15).contains(&g.max) && g.median <= g.max);
        // A power of two scales exactly.
        let scaled = values.iter().map(|g| g * 2f64.powi(exponent)).collect::<Vec<_>>();
        prop_assert_eq!(rowsum_defect(&Matrix::new(scaled, 4)), g);
    }

    #[test]
    fn a_dead_row_has_a_dead_target(values in proptest::collection::vec(-1i8..2, 12)) {
        let g = Matrix::new(values.iter().map(|&g| f64::from(g)).collect::<Vec<_>>(), 3);
        prop_assert!(row_grad_zero(&g) <= target_grad_zero(&g, &TARGETS));
    }
}
