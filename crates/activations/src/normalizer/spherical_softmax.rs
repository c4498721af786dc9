//! Spherical softmax.
use std::sync::Arc;

use burn::{module::Module, tensor::Tensor};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Laws, Normalize, Rows,
    ratio::{self, Growth, LogRatioRow, RatioNll, RatioRow},
};
use crate::{
    Ctx, Init,
    kernel::{LossKernel, Real, RowKernel},
    loss::SumOrder,
};

/// Parameters of [`SphericalSoftmax`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SphericalSoftmaxConfig {
    /// What is added to each square, above 0. The paper gives no value: small enough not to be seen among scores of
    /// about 1; an output layer learns better at 1e-3.
    #[serde(deserialize_with = "range::positive")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub eps: f64,
}

impl Default for SphericalSoftmaxConfig {
    /// Almost plain squares.
    fn default() -> Self {
        Self { eps: 1e-6 }
    }
}

impl Entry for SphericalSoftmaxConfig {
    const SUMMARY: &'static str = "squares of the scores over their sum";
    const PAPER: &'static str = "Vincent et al. 2014, Efficient Exact Gradient Update for Training Deep Networks with Very \
                                 Large Sparse Targets, arXiv:1412.7091";
}

impl SphericalSoftmaxConfig {
    /// The map.
    pub fn init(&self, _: &Init) -> SphericalSoftmax {
        SphericalSoftmax { eps: self.eps }
    }
}

/// Spherical softmax: squares over their sum.
/// ```text
/// y_i = f(x_i) / Σ_j f(x_j),   f(x) = x² + eps
/// dx_i = 2 x_i / S (g_i − ⟨y, g⟩)
/// ```
/// Even in the scores, so predict by the largest weight, never by the largest score. Apart from eps, a factor common to
/// all scores changes nothing: their size carries no confidence. All scores 0 is a stationary point, so an output layer
/// must not start from zeros.
///
/// # Numerics
/// A score of +∞ takes all the weight; several share it evenly. A score of −∞ is a removed entry.
/// # References
/// Vincent et al. 2014, arXiv:1412.7091; as an output layer: de Brébisson and Vincent 2015, arXiv:1511.05042.
#[derive(Module, Debug)]
pub struct SphericalSoftmax {
    /// What is added to each square.
    #[module(skip)]
    pub eps: f64,
}

impl Normalize for SphericalSoftmax {
    fn laws(&self) -> Laws {
        Laws { shift_invariant: false, order_preserving: false, ..Laws::SOFTMAX }
    }

    fn kernel(&self, _: &Ctx) -> Arc<dyn RowKernel> {
        Arc::new(RatioRow(self.growth()))
    }

    fn log_kernel(&self, _: &Ctx) -> Option<Arc<dyn RowKernel>> {
        Some(Arc::new(LogRatioRow(self.growth())))
    }

    fn nll(&self, sum: SumOrder) -> Option<Arc<dyn LossKernel>> {
        Some(Arc::new(RatioNll { growth: self.growth(), sum }))
    }

    fn composed(&self, rows: &Rows<'_>, _: &Ctx) -> Tensor<2> {
        ratio::weights(&self.growth(), rows)
    }

    fn composed_log(&self, rows: &Rows<'_>, _: &Ctx) -> Option<Tensor<2>> {
        Some(ratio::log_weights(&self.growth(), rows))
    }
}

impl SphericalSoftmax {
    fn growth(&self) -> SquareGrowth {
        SquareGrowth { eps: self.eps }
    }
}

/// f(x) = x² + eps.
#[derive(Clone, Copy, Debug)]
pub struct SquareGrowth {
    /// What is added to the square.
    pub eps: f64,
}

impl Growth for SquareGrowth {
    #[inline(always)]
    fn values<T: Real>(&self, x: &[T], unit: T, f: &mut [T]) {
        let eps = T::of(self.eps) * unit * unit;
        for (f, &x) in f.iter_mut().zip(x) {
            let x = x * unit;
            *f = x.mul_add(x, eps);
        }
    }

    #[inline(always)]
    fn slopes<T: Real>(&self, x: &[T], unit: T, slope: &mut [T]) {
        let factor = (unit + unit) * unit;
        for (slope, &x) in slope.iter_mut().zip(x) {
            *slope = x * factor;
        }
    }

    fn composed(&self, scores: Tensor<2>) -> Tensor<2> {
        scores.clone() * scores + self.eps
    }
}
