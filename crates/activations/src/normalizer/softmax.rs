//! Softmax.
use std::sync::Arc;

use burn::{
    module::Module,
    tensor::{Int, Tensor},
};
use kiln_registry::Entry;
use num_traits::Float as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Keep, Laws, Normalize, composed};
use crate::{
    Init,
    kernel::{
        AtInfinity, ComposedNll, LossKernel, NllBack, NllRow, Precision, Real, RowKernel, RowMap, RowNll, VjpRow, lanes,
    },
    loss::SumOrder,
};

/// Parameters of [`Softmax`]: none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SoftmaxConfig {}

impl Entry for SoftmaxConfig {
    const SUMMARY: &'static str = "exponentials over their sum";
}

impl SoftmaxConfig {
    /// The map.
    pub fn init(&self, _: &Init) -> Softmax {
        Softmax
    }
}

/// Softmax: exponentials over their sum.
/// ```text
/// y_i = exp(x_i − m) / Σ_j exp(x_j − m),   m = max_j x_j
/// ```
/// # Numerics
/// A score of +∞ takes all the weight; several share it evenly.
#[derive(Module, Debug)]
pub struct Softmax;

impl Normalize for Softmax {
    fn laws(&self) -> Laws {
        Laws::SOFTMAX
    }

    fn kernel(&self) -> Arc<dyn RowKernel> {
        Arc::new(SoftmaxRow)
    }

    fn log_kernel(&self) -> Option<Arc<dyn RowKernel>> {
        Some(Arc::new(LogSoftmaxRow))
    }

    fn nll(&self, sum: SumOrder) -> Option<Arc<dyn LossKernel>> {
        Some(Arc::new(SoftmaxNll { sum }))
    }

    fn composed(&self, scores: Tensor<2>, keep: &Keep) -> Tensor<2> {
        let (exp, sum, _) = composed_terms(scores, keep);
        exp / sum
    }

    fn composed_log(&self, scores: Tensor<2>, keep: &Keep) -> Option<Tensor<2>> {
        let removed = composed::removed(&scores, keep);
        let (_, sum, shifted) = composed_terms(scores, keep);
        Some(composed::fill(shifted - sum.log(), removed, f64::NEG_INFINITY))
    }
}

/// exp(x − m) with 0 at removed entries, its row sum with 1 for an empty row, and x − m with 0 at removed entries.
fn composed_terms(scores: Tensor<2>, keep: &Keep) -> (Tensor<2>, Tensor<2>, Tensor<2>) {
    let removed = composed::removed(&scores, keep);
    let max = composed::fill(scores.clone().detach(), removed.clone(), f64::MIN).max_dim(1);
    let shifted = composed::fill(scores - max, removed.clone(), 0.0);
    let exp = composed::fill(shifted.clone().exp(), removed, 0.0);
    let sum = composed::sum_or_one(exp.clone());
    (exp, sum, shifted)
}

/// y = exp(x − m) / S;  dx = y (g − ⟨y, g⟩).
#[derive(Clone, Copy, Debug)]
pub struct SoftmaxRow;

impl RowMap for SoftmaxRow {
    const AT_INFINITY: AtInfinity = AtInfinity::OneHot;

    #[inline(always)]
    fn forward<T: Real>(&self, x: &[T], _: &[T], y: &mut [T]) {
        let max = lanes::max(x);
        for (y, &x) in y.iter_mut().zip(x) {
            *y = (x - max).exp_exact();
        }
        let scale = T::one() / lanes::lane_sum(y);
        for y in y.iter_mut() {
            *y = *y * scale;
        }
    }

    #[inline(always)]
    fn vjp<T: Real>(&self, row: VjpRow<'_, T>, dx: &mut [T], _: &mut [T]) {
        let mean = lanes::lane_dot(row.y, row.g);
        for ((dx, &y), &g) in dx.iter_mut().zip(row.y).zip(row.g) {
            *dx = y * (g - mean);
        }
    }

    #[cfg(feature = "cube")]
    fn cube(&self) -> Option<crate::kernel::cube::CubeMap> {
        Some(crate::kernel::cube::CubeMap::ratio::<SoftmaxRow>())
    }
}

/// y = (x − m) − ln S;  dx = g − exp(y) Σ g.
#[derive(Clone, Copy, Debug)]
pub struct LogSoftmaxRow;

impl RowMap for LogSoftmaxRow {
    const IS_LOG: bool = true;
    const AT_INFINITY: AtInfinity = AtInfinity::OneHot;

    #[inline(always)]
    fn forward<T: Real>(&self, x: &[T], _: &[T], y: &mut [T]) {
        let max = lanes::max(x);
        for (y, &x) in y.iter_mut().zip(x) {
            *y = (x - max).exp_exact();
        }
        let log_sum = lanes::lane_sum(y).ln_exact();
        for (y, &x) in y.iter_mut().zip(x) {
            *y = (x - max) - log_sum;
        }
    }

    #[inline(always)]
    fn vjp<T: Real>(&self, row: VjpRow<'_, T>, dx: &mut [T], _: &mut [T]) {
        let sum = lanes::lane_sum(row.g);
        for ((dx, &y), &g) in dx.iter_mut().zip(row.y).zip(row.g) {
            *dx = g - y.exp_exact() * sum;
        }
    }

    #[cfg(feature = "cube")]
    fn cube(&self) -> Option<crate::kernel::cube::CubeMap> {
        Some(crate::kernel::cube::CubeMap::log_ratio::<SoftmaxRow>())
    }
}

/// f = exp(x − m).
#[cfg(feature = "cube")]
mod on_cube {
    use super::SoftmaxRow;
    use crate::kernel::cube::{
        CubeRatio,
        cubecl::{self, prelude::*},
    };

    #[cube]
    impl CubeRatio for SoftmaxRow {
        const SHIFTED: bool = true;

        fn numerator<C: Float>(x: C, shift: C, _params: &Sequence<C>) -> C {
            (x - shift).exp()
        }

        fn log_numerator<C: Float>(x: C, shift: C, _params: &Sequence<C>) -> C {
            x - shift
        }

        fn slope<C: Float>(_x: C, _params: &Sequence<C>) -> C {
            C::new(1.0_f32)
        }

        fn param_slope<C: Float>(_x: C, _params: &Sequence<C>, #[comptime] _which: u32) -> C {
            C::new(0.0_f32)
        }
    }
}

/// The softmax loss with the rounding that makes it collapse: every step is rounded to the precision.
/// ```text
/// q = x − m,   S = Σ exp q,   l = q − ln S,   loss = −l_y
/// dx_j = g exp l_j,   dx_y = g exp l_y − g   (rounded once)
/// ```
/// Once S rounds to 1 with the target on top, l_y = 0: the loss and the target's gradient are exactly 0 while the
/// rivals' gradients survive.
#[derive(Clone, Copy, Debug)]
pub struct SoftmaxNll {
    /// The order of the sum.
    pub sum: SumOrder,
}

impl RowNll for SoftmaxNll {
    #[inline(always)]
    fn forward<P: Precision>(&self, row: NllRow<'_, P::T>, scratch: &mut [P::T]) -> (P::T, P::T) {
        let max = lanes::max(row.x);
        for (exp, &x) in scratch.iter_mut().zip(row.x) {
            *exp = P::round(P::round(x - max).exp_exact());
        }
        let sum = P::round(lanes::sum(scratch, self.sum));
        let log_weight = P::round(P::round(row.x[row.target] - max) - P::round(sum.ln_exact()));
        // 0 − l rather than −l: a collapsed row's loss is +0.
        (P::T::of(0.0) - log_weight, sum)
    }

    #[inline(always)]
    fn vjp<P: Precision>(&self, row: NllRow<'_, P::T>, back: NllBack<P::T>, dx: &mut [P::T], _: &mut [P::T]) {
        let NllBack { row_sum, g } = back;
        let (max, log_sum) = (lanes::max(row.x), P::round(row_sum.ln_exact()));
        for (dx, &x) in dx.iter_mut().zip(row.x) {
            *dx = P::round(P::round(P::round(x - max) - log_sum).exp_exact() * g);
        }
        let log_weight = P::round(P::round(row.x[row.target] - max) - log_sum);
        // One rounding: exp l_y is 1 − 2⁻²³ or so before a row collapses, and a product rounded on its own would
        // lose up to half of what is left of the gradient there.
        dx[row.target] = P::round(log_weight.exp_exact().mul_add(g, -g));
    }

    /// In the order of the device's own sums.
    fn composed(&self) -> Option<ComposedNll> {
        (self.sum == SumOrder::Lanes).then(|| {
            Box::new(|logits: Tensor<2>, target: Tensor<1, Int>| {
                let removed = composed::removed(&logits, &Keep::All);
                let (_, sum, shifted) = composed_terms(logits, &Keep::All);
                let sum = sum.squeeze_dim::<1>(1);
                let of_target = composed::at(composed::fill(shifted, removed, f64::NEG_INFINITY), target);
                (sum.clone().log() - of_target, sum.detach())
            }) as ComposedNll
        })
    }
}
