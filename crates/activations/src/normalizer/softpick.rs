//! Softpick.
use std::sync::Arc;

use burn::{
    module::Module,
    tensor::{Tensor, activation},
};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Laws, Normalize, Rows, composed, series};
use crate::{
    Ctx, Init,
    kernel::{AtInfinity, Real, RowKernel, RowMap, VjpRow, lanes},
};

/// Parameters of [`Softpick`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SoftpickConfig {
    /// What is added to the denominator, above 0, relative to the largest exponential of the row. 1e-6 as in the authors'
    /// training kernel.
    #[serde(deserialize_with = "range::positive")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub eps: f64,
}

impl Default for SoftpickConfig {
    /// The authors' value.
    fn default() -> Self {
        Self { eps: 1e-6 }
    }
}

impl Entry for SoftpickConfig {
    const SUMMARY: &'static str = "a softmax moved down by 1, cut off at 0: exact zeros, and rows that can be silent";
    const PAPER: &'static str = "Zuhri et al. 2025, Softpick: No Attention Sink, No Massive Activations with Rectified \
                                 Softmax, arXiv:2504.20966";
}

impl SoftpickConfig {
    /// The map.
    pub fn init(&self, _: &Init) -> Softpick {
        Softpick { eps: self.eps }
    }
}

/// Softpick: exponentials less 1, cut off at 0, over the sum of their magnitudes.
/// ```text
/// y_i = max(e_i, 0) / D,   D = Σ_j |e_j| + eps,   e_i = exp(x_i − m) − exp(−m),   m = max(0, max_j x_j)
/// dx_i = exp(x_i − m) / D (1[x_i > 0] g_i − sign(x_i) ⟨y, g⟩)
/// ```
/// Scores up to 0 get weight 0, but take part in the denominator and get a gradient through it. A row without a positive
/// score is all zeros and gets no gradient. Since eps stands beside exponentials that were divided by exp m, it also
/// depends on m: the largest score, if above 0, gets −eps/D ⟨y, g⟩ on top.
///
/// # Numerics
/// e is computed without cancellation at small scores. A score of +∞ takes all the weight; several share it evenly.
/// # References
/// Zuhri et al. 2025, arXiv:2504.20966. Their shift is the largest score even below 0, which overflows in rows far below
/// 0; with the 0 the result is the same.
#[derive(Module, Debug)]
pub struct Softpick {
    /// What is added to the denominator.
    #[module(skip)]
    pub eps: f64,
}

impl Normalize for Softpick {
    fn laws(&self) -> Laws {
        Laws { sums_to_one: false, shift_invariant: false, can_be_zero: true, row_can_be_zero: true, ..Laws::SOFTMAX }
    }

    fn kernel(&self, _: &Ctx) -> Arc<dyn RowKernel> {
        Arc::new(SoftpickRow { eps: self.eps })
    }

    fn composed(&self, rows: &Rows<'_>, _: &Ctx) -> Tensor<2> {
        let removed = rows.removed();
        let scores = composed::fill(rows.scores.clone(), removed.clone(), 0.0);
        let max = scores.clone().max_dim(1).clamp_min(0.0);
        // e^(x−m) − e^−m, by the form that does not cancel where that one does.
        let near = scores.clone().detach().abs().lower_elem(0.5);
        let small = composed::exp_m1(scores.clone().mask_fill(near.clone().bool_not(), 0.0)) * max.clone().neg().exp();
        let excess = ((scores - max.clone()).exp() - max.neg().exp()).mask_where(near, small);
        let excess = composed::fill(excess, removed, 0.0);
        activation::relu(excess.clone()) / excess.abs().sum_dim(1).add_scalar(self.eps)
    }
}

/// y = max(e, 0) / D;  dx = exp(x − m) / D (1[x > 0] g − sign(x) ⟨y, g⟩).
#[derive(Clone, Copy, Debug)]
pub struct SoftpickRow {
    /// What is added to the denominator.
    pub eps: f64,
}

/// exp(x − m) − exp(−m), from x, exp(x − m) and exp(−m).
#[inline(always)]
fn excess<T: Real>(x: T, exp: T, one: T) -> T {
    series::below_series(x, series::exp_m1_near(x) * one, exp - one)
}

impl RowMap for SoftpickRow {
    const SHORT_IN_F64: bool = true;
    const AT_INFINITY: AtInfinity = AtInfinity::OneHot;

    #[inline(always)]
    fn forward<T: Real>(&self, x: &[T], _: &[T], y: &mut [T]) {
        let max = lanes::max(x).max(T::zero());
        let one = (-max).exp_exact();
        for (y, &x) in y.iter_mut().zip(x) {
            *y = excess(x, (x - max).exp_exact(), one).abs();
        }
        let inverse = T::one() / (lanes::lane_sum(y) + T::of(self.eps));
        for (y, &x) in y.iter_mut().zip(x) {
            *y = if x > T::zero() { *y * inverse } else { T::zero() };
        }
    }

    #[inline(always)]
    fn vjp<T: Real>(&self, row: VjpRow<'_, T>, dx: &mut [T], _: &mut [T]) {
        let largest = lanes::max(row.x);
        let max = largest.max(T::zero());
        let one = (-max).exp_exact();
        for (dx, &x) in dx.iter_mut().zip(row.x) {
            *dx = (x - max).exp_exact();
        }
        let inverse =
            T::one() / (lanes::lane_sum_of([row.x, dx], |[x, exp]| excess(x, exp, one).abs()) + T::of(self.eps));
        let mean = lanes::lane_dot(row.y, row.g);
        for ((dx, &x), &g) in dx.iter_mut().zip(row.x).zip(row.g) {
            let above = if x > T::zero() { g - mean } else { T::zero() };
            let below = if x < T::zero() { mean } else { T::zero() };
            *dx = *dx * inverse * (above + below);
        }
        if largest > T::zero()
            && let Some(first) = row.x.iter().position(|&x| x == largest)
        {
            dx[first] = dx[first] - T::of(self.eps) * inverse * mean;
        }
    }
}
