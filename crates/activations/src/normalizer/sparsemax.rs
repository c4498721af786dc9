//! Sparsemax.
use std::sync::Arc;

use burn::{module::Module, tensor::Tensor};
use kiln_registry::Entry;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Laws, Normalize, Rows, composed,
    threshold::{sparsemax_threshold, support_gradient},
};
use crate::{
    Ctx, Init,
    kernel::{AtInfinity, LossKernel, NllBack, NllRow, Precision, Real, RowKernel, RowMap, RowNll, VjpRow, lanes},
    loss::SumOrder,
};

/// Parameters of [`Sparsemax`]: none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SparsemaxConfig {}

impl Entry for SparsemaxConfig {
    const SUMMARY: &'static str = "the nearest point of the simplex: weights of low scores are exactly 0";
    const PAPER: &'static str = "Martins and Astudillo 2016, From Softmax to Sparsemax: A Sparse Model of Attention and Multi-Label Classification, arXiv:1602.02068";
}

impl SparsemaxConfig {
    /// The map.
    pub fn init(&self, _: &Init) -> Sparsemax {
        Sparsemax
    }
}

/// Sparsemax: the Euclidean projection of the scores on the simplex.
/// ```text
/// y_i = [x_i − τ]₊,   Σ_i y_i = 1
/// ```
/// It maximises ⟨y, x⟩ + (1 − Σ y²)/2 and is entmax at alpha 2.
///
/// # Numerics
/// No sorting: τ is the root of a convex, piecewise linear function, which Newton's method reaches exactly, from below and
/// in a few passes. A score of +∞ takes all the weight; several share it evenly.
/// # References
/// Martins and Astudillo 2016, arXiv:1602.02068.
#[derive(Module, Debug)]
pub struct Sparsemax;

impl Normalize for Sparsemax {
    fn laws(&self) -> Laws {
        Laws { can_be_zero: true, ..Laws::SOFTMAX }
    }

    fn kernel(&self, _: &Ctx) -> Arc<dyn RowKernel> {
        Arc::new(SparsemaxRow)
    }

    fn fenchel_young(&self, sum: SumOrder) -> Option<Arc<dyn LossKernel>> {
        Some(Arc::new(SparsemaxLoss { sum }))
    }

    fn composed(&self, rows: &Rows<'_>, _: &Ctx) -> Tensor<2> {
        let threshold = sorted_threshold(rows);
        let removed = rows.removed();
        let scores = composed::fill(rows.scores.clone(), removed.clone(), 0.0);
        composed::fill((scores - threshold).clamp_min(0.0), removed, 0.0)
    }

    fn entropy(&self, weights: Tensor<2>, _: &Rows<'_>) -> Option<Tensor<2>> {
        Some((weights.clone() * weights.neg().add_scalar(1.0)).sum_dim(1) * 0.5)
    }
}

/// τ by the definition: of the sorted scores, the largest k with 1 + k x_(k) > Σ_{j≤k} x_(j).
fn sorted_threshold(rows: &Rows<'_>) -> Tensor<2> {
    let [count, n] = rows.scores.dims();
    let max = composed::max(rows);
    // Removed entries sort last and are far below any threshold, yet finite, so that sums of them are numbers.
    let shifted = composed::fill(rows.scores.clone() - max.clone(), rows.removed(), -1e4);
    let sorted = shifted.sort_descending(1);
    let sums = sorted.clone().cumsum(1);
    let rank = Tensor::<1>::from_floats((1..=n).map(|k| k as f32).collect::<Vec<_>>().as_slice(), &sorted.device());
    let rank = rank.cast(sorted.dtype()).unsqueeze_dim::<2>(0).expand([count, n]);
    let inside = (sorted * rank + 1.0).greater(sums.clone());
    let size = inside.clone().int().sum_dim(1).clamp_min(1);
    let sum = sums.gather(1, size.clone().sub_scalar(1));
    let dtype = sum.dtype();
    (sum - 1.0) / size.float().cast(dtype) + max
}

/// y = [x − τ]₊;  dx = g − mean of g over the support, 0 outside.
#[derive(Clone, Copy, Debug)]
pub struct SparsemaxRow;

impl RowMap for SparsemaxRow {
    const AT_INFINITY: AtInfinity = AtInfinity::OneHot;

    #[inline(always)]
    fn forward<T: Real>(&self, x: &[T], _: &[T], y: &mut [T]) {
        let max = lanes::max(x);
        let threshold = sparsemax_threshold(x, max, y);
        for (y, &x) in y.iter_mut().zip(x) {
            let above = (x - max) - threshold;
            *y = if above > T::zero() { above } else { T::zero() };
        }
    }

    #[inline(always)]
    fn vjp<T: Real>(&self, row: VjpRow<'_, T>, dx: &mut [T], _: &mut [T]) {
        support_gradient(row, dx, |y| if y > T::zero() { T::one() } else { T::zero() });
    }
}

/// The sparsemax loss: zero once the target leads by 1, like a hinge.
/// ```text
/// L = ⟨p − e_y, x⟩ + (1 − Σ p²)/2,   dx = g (p − e_y)
/// ```
#[derive(Clone, Copy, Debug)]
pub struct SparsemaxLoss {
    /// The order of the sum over the support.
    pub sum: SumOrder,
}

impl SparsemaxLoss {
    /// p of the row, into `weights`.
    #[inline(always)]
    fn weights<P: Precision>(row: NllRow<'_, P::T>, weights: &mut [P::T]) {
        SparsemaxRow.forward(row.x, &[], weights);
        for weight in weights.iter_mut() {
            *weight = P::round(*weight);
        }
    }
}

impl RowNll for SparsemaxLoss {
    #[inline(always)]
    fn forward<P: Precision>(&self, row: NllRow<'_, P::T>, scratch: &mut [P::T]) -> (P::T, P::T) {
        let target = row.x[row.target];
        Self::weights::<P>(row, scratch);
        // ⟨p − e_y, x⟩ = Σ p (x − x_y), as p sums to 1; and 1 − Σ p² = Σ p (1 − p).
        let half = P::T::of(0.5);
        for (term, &x) in scratch.iter_mut().zip(row.x) {
            let p = *term;
            *term = P::round(p * (P::round(x - target) + half * (P::T::of(1.0) - p)));
        }
        (P::round(lanes::sum(scratch, self.sum)), P::T::of(1.0))
    }

    #[inline(always)]
    fn vjp<P: Precision>(&self, row: NllRow<'_, P::T>, back: NllBack<P::T>, dx: &mut [P::T], _: &mut [P::T]) {
        Self::weights::<P>(row, dx);
        dx[row.target] = dx[row.target] - P::T::of(1.0);
        for dx in dx.iter_mut() {
            *dx = P::round(*dx * back.g);
        }
    }
}
