//! Softmax.
use std::sync::Arc;

use burn::{module::Module, tensor::Tensor};
use kiln_registry::Entry;
use num_traits::Float as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Laws, Normalize, Rows, composed};
use crate::{
    Ctx, Init,
    kernel::{AtInfinity, LossKernel, NllBack, NllRow, Precision, Real, RowKernel, RowMap, RowNll, VjpRow, lanes},
    loss::SumOrder,
};

mod online;
mod two_pass;
mod unified_max;

pub use online::OnlineSoftmaxRow;
pub use two_pass::TwoPassSoftmaxRow;
pub use unified_max::UnifiedMaxSoftmaxRow;

/// Parameters of [`Softmax`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SoftmaxConfig {
    /// How the weights are computed; they are the same function.
    pub algorithm: SoftmaxAlgorithm,
}

/// How softmax is computed. The gradient, the log form and the loss are the same for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SoftmaxAlgorithm {
    /// The maximum, then the exponentials and their sum, then the scaling.
    #[default]
    ThreePass,
    /// Maximum and sum in one pass, by rescaling the sum whenever the maximum grows.
    Online,
    /// No maximum: exponentials as mantissa and exponent, which cannot overflow.
    TwoPass,
    /// A constant in place of the maximum; a row that leaves the range where that is safe is computed online.
    UnifiedMax {
        /// The constant, from calibration: the mean of row maxima or a little less.
        #[serde(default)]
        phi: f64,
    },
}

impl Entry for SoftmaxConfig {
    const SUMMARY: &'static str = "exponentials over their sum";
}

impl SoftmaxConfig {
    /// The map.
    pub fn init(&self, _: &Init) -> Softmax {
        Softmax { algorithm: self.algorithm }
    }
}

/// Softmax: exponentials over their sum.
/// ```text
/// y_i = exp(x_i − m) / Σ_j exp(x_j − m),   m = max_j x_j
/// ```
/// # Numerics
/// A score of +∞ takes all the weight; several share it evenly.
/// # References
/// Of the algorithms: online, Milakov and Gimelshein 2018, arXiv:1805.02867; two-pass, Dukhan and Ablavatski 2020,
/// arXiv:2001.04438; unified maximum, Hong et al. 2024, FlashDecoding++, arXiv:2311.01282.
#[derive(Module, Debug, Default)]
pub struct Softmax {
    /// How the weights are computed.
    #[module(skip)]
    pub algorithm: SoftmaxAlgorithm,
}

impl Normalize for Softmax {
    fn laws(&self) -> Laws {
        Laws::SOFTMAX
    }

    fn kernel(&self, _: &Ctx) -> Arc<dyn RowKernel> {
        match self.algorithm {
            SoftmaxAlgorithm::ThreePass => Arc::new(SoftmaxRow),
            SoftmaxAlgorithm::Online => Arc::new(OnlineSoftmaxRow),
            SoftmaxAlgorithm::TwoPass => Arc::new(TwoPassSoftmaxRow),
            SoftmaxAlgorithm::UnifiedMax { phi } => Arc::new(UnifiedMaxSoftmaxRow { phi }),
        }
    }

    fn log_kernel(&self, _: &Ctx) -> Option<Arc<dyn RowKernel>> {
        Some(Arc::new(LogSoftmaxRow))
    }

    fn nll(&self, sum: SumOrder) -> Option<Arc<dyn LossKernel>> {
        Some(Arc::new(SoftmaxNll { sum }))
    }

    fn fenchel_young(&self, sum: SumOrder) -> Option<Arc<dyn LossKernel>> {
        self.nll(sum)
    }

    fn composed(&self, rows: &Rows<'_>, _: &Ctx) -> Tensor<2> {
        let (exp, sum, _) = composed_terms(rows);
        exp / sum
    }

    fn entropy(&self, weights: Tensor<2>, _: &Rows<'_>) -> Option<Tensor<2>> {
        Some(composed::shannon(weights))
    }

    fn composed_log(&self, rows: &Rows<'_>, _: &Ctx) -> Option<Tensor<2>> {
        let removed = rows.removed();
        let (_, sum, shifted) = composed_terms(rows);
        Some(composed::fill(shifted - sum.log(), removed, f64::NEG_INFINITY))
    }
}

/// exp(x − m) with 0 at removed entries, its row sum with 1 for an empty row, and x − m with 0 at removed entries.
fn composed_terms(rows: &Rows<'_>) -> (Tensor<2>, Tensor<2>, Tensor<2>) {
    let (scores, removed) = (rows.scores.clone(), rows.removed());
    let max = composed::fill(scores.clone().detach(), removed.clone(), f64::MIN).max_dim(1);
    let shifted = composed::fill(scores - max, removed.clone(), 0.0);
    let exp = composed::fill(shifted.clone().exp(), removed, 0.0);
    let sum = composed::sum_or_one(exp.clone());
    (exp, sum, shifted)
}

/// y = exp(x − m) / S;  dx = y (g − ⟨y, g⟩).
#[derive(Clone, Copy, Debug)]
pub struct SoftmaxRow;

/// dx = y (g − ⟨y, g⟩): the backward pass of every map whose weights are exponentials over their sum.
#[inline(always)]
pub(super) fn softmax_vjp<T: Real>(y: &[T], g: &[T], dx: &mut [T]) {
    let mean = lanes::lane_dot(y, g);
    for ((dx, &y), &g) in dx.iter_mut().zip(y).zip(g) {
        *dx = y * (g - mean);
    }
}

impl RowMap for SoftmaxRow {
    const AT_INFINITY: AtInfinity = AtInfinity::OneHot;

    #[inline(always)]
    fn forward<T: Real>(&self, x: &[T], _: &[T], y: &mut [T]) {
        let max = lanes::max(x);
        for (y, &x) in y.iter_mut().zip(x) {
            *y = (x - max).exp_exact();
        }
        let scale = T::one() / lanes::row_sum(y);
        for y in y.iter_mut() {
            *y = *y * scale;
        }
    }

    #[inline(always)]
    fn vjp<T: Real>(&self, row: VjpRow<'_, T>, dx: &mut [T], _: &mut [T]) {
        softmax_vjp(row.y, row.g, dx);
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
}
