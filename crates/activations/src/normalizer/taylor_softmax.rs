//! Taylor softmax.
use std::sync::Arc;

use burn::{module::Module, tensor::Tensor};
use kiln_registry::Entry;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de::Error};

use super::{
    Laws, Normalize, Rows,
    ratio::{self, Growth, LogRatioRow, RatioNll, RatioRow},
};
use crate::{
    Ctx, Init,
    kernel::{LossKernel, Real, RowKernel},
    loss::SumOrder,
};

/// Parameters of [`TaylorSoftmax`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TaylorSoftmaxConfig {
    /// The order of the series: even, so that it is positive everywhere, and at most 12. 2 as in the paper.
    #[serde(deserialize_with = "even_order")]
    #[schemars(range(min = 2, max = 12), extend("multipleOf" = 2))]
    pub order: usize,
}

/// The highest order: at the edge of where a row is computed in units of its largest score, its power is still far from
/// overflow in single precision.
const HIGHEST: usize = 12;

fn even_order<'de, D: Deserializer<'de>>(d: D) -> Result<usize, D::Error> {
    let order = usize::deserialize(d)?;
    if (2..=HIGHEST).contains(&order) && order.is_multiple_of(2) {
        return Ok(order);
    }
    Err(D::Error::custom(format!("{order} is out of range; expected an even order from 2 to {HIGHEST}")))
}

impl Default for TaylorSoftmaxConfig {
    /// The second order.
    fn default() -> Self {
        Self { order: 2 }
    }
}

impl Entry for TaylorSoftmaxConfig {
    const SUMMARY: &'static str = "softmax with the exponential cut off to a polynomial";
    const PAPER: &'static str = "de Brébisson et al. 2015, An Exploration of Softmax Alternatives Belonging to the \
                                 Spherical Loss Family, arXiv:1511.05042";
}

impl TaylorSoftmaxConfig {
    /// The map.
    pub fn init(&self, _: &Init) -> TaylorSoftmax {
        TaylorSoftmax { order: self.order }
    }
}

/// Taylor softmax: a softmax whose exponential is cut off to its series of an even order K.
/// ```text
/// y_i = f(x_i) / Σ_j f(x_j),   f(x) = Σ_{k≤K} x^k / k!
/// f′(x) = Σ_{k<K} x^k / k!,   dx_i = f′(x_i) / S (g_i − ⟨y, g⟩)
/// ```
/// f grows only like a power, so the map is never sharp. It is not monotone: f falls towards its least value (1/2 at
/// x = −1 for K = 2) and rises again below, so predict by the largest weight, not by the largest score.
///
/// # Numerics
/// A score of +∞ takes all the weight; several share it evenly. A score of −∞ is a removed entry, although f is large at
/// large negative scores.
/// # References
/// de Brébisson and Vincent 2015, arXiv:1511.05042; the family: Vincent et al. 2014, Efficient Exact Gradient Update for
/// Training Deep Networks with Very Large Sparse Targets, arXiv:1412.7091.
#[derive(Module, Debug)]
pub struct TaylorSoftmax {
    /// The order K.
    #[module(skip)]
    pub order: usize,
}

impl Normalize for TaylorSoftmax {
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

impl TaylorSoftmax {
    fn growth(&self) -> TaylorGrowth {
        TaylorGrowth { order: self.order }
    }
}

/// f(x) = Σ_{k≤K} x^k / k!.
#[derive(Clone, Copy, Debug)]
pub struct TaylorGrowth {
    /// The order K.
    pub order: usize,
}

/// The coefficient 1/k!.
fn inverse_factorial(k: usize) -> f64 {
    1.0 / (1..=k).map(|i| i as f64).product::<f64>()
}

impl TaylorGrowth {
    /// factor · unit^K Σ_{k≤K} x^k / k!, by Horner's rule in unit · x: one pass over the row for each power, so that a
    /// pass is a plain loop whatever the order.
    #[inline(always)]
    fn series<T: Real>(x: &[T], unit: T, order: usize, factor: T, f: &mut [T]) {
        f.fill(factor * T::of(inverse_factorial(order)));
        let mut power = factor;
        for k in (0..order).rev() {
            power = power * unit;
            let coefficient = power * T::of(inverse_factorial(k));
            for (f, &x) in f.iter_mut().zip(x) {
                *f = f.mul_add(x * unit, coefficient);
            }
        }
    }
}

impl Growth for TaylorGrowth {
    #[inline(always)]
    fn values<T: Real>(&self, x: &[T], unit: T, f: &mut [T]) {
        Self::series(x, unit, self.order, T::one(), f);
    }

    #[inline(always)]
    fn slopes<T: Real>(&self, x: &[T], unit: T, slope: &mut [T]) {
        Self::series(x, unit, self.order - 1, unit, slope);
    }

    fn composed(&self, scores: Tensor<2>) -> Tensor<2> {
        let highest = scores.zeros_like().add_scalar(inverse_factorial(self.order));
        (0..self.order).rev().fold(highest, |f, k| f * scores.clone() + inverse_factorial(k))
    }
}
