//! The algorithm with a unified maximum.
use crate::kernel::{AtInfinity, Real, RowMap, VjpRow, lanes};

use super::{OnlineSoftmaxRow, softmax_vjp};

/// Softmax with a constant φ in place of the row's maximum: exact for any φ, and blocks of a row need not know of each other.
/// ```text
/// y_i = exp(x_i − φ) / Σ_j exp(x_j − φ)
/// ```
/// A row with a score outside `−80 < x − φ < 80 − ln n` could overflow or lose its sum to underflow; it is computed
/// by [`OnlineSoftmaxRow`] instead. The range is that of `f32`, whatever the scalar.
/// # References
/// Hong et al. 2024, FlashDecoding++: Faster Large Language Model Inference on GPUs, arXiv:2311.01282.
#[derive(Clone, Copy, Debug)]
pub struct UnifiedMaxSoftmaxRow {
    /// The constant.
    pub phi: f64,
}

impl UnifiedMaxSoftmaxRow {
    /// Whether φ serves the row.
    #[inline(always)]
    pub fn serves<T: Real>(&self, x: &[T]) -> bool {
        let phi = T::of(self.phi);
        let (below, above) = (T::of(-80.0), T::of(80.0) - T::of(x.len() as f64).ln_exact());
        let [outside] = lanes::lane_sums(x, |x| {
            let inside = x - phi > below && x - phi < above;
            [if inside { T::zero() } else { T::one() }]
        });
        outside == T::zero()
    }
}

impl RowMap for UnifiedMaxSoftmaxRow {
    const AT_INFINITY: AtInfinity = AtInfinity::OneHot;

    #[inline(always)]
    fn forward<T: Real>(&self, x: &[T], params: &[T], y: &mut [T]) {
        if !self.serves(x) {
            return OnlineSoftmaxRow.forward(x, params, y);
        }
        let phi = T::of(self.phi);
        for (y, &x) in y.iter_mut().zip(x) {
            *y = (x - phi).exp_exact();
        }
        let scale = T::one() / lanes::lane_sum(y);
        for y in y.iter_mut() {
            *y = *y * scale;
        }
    }

    #[inline(always)]
    fn vjp<T: Real>(&self, row: VjpRow<'_, T>, dx: &mut [T], _: &mut [T]) {
        softmax_vjp(row.y, row.g, dx);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::normal;

    #[test]
    fn phi_serves_the_scores_it_was_made_for_and_no_others() {
        let row = UnifiedMaxSoftmaxRow { phi: 6.0 };
        let x = normal(1, 16_384, 2.0);
        assert!(row.serves(&x));
        let moved: Vec<f64> = x.iter().map(|x| x + 200.0).collect();
        assert!(!row.serves(&moved));
    }
}
