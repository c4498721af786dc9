//! Self-adjust softmax.
use std::sync::Arc;

use burn::{module::Module, tensor::Tensor};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Laws, Normalize, Rows, Softmax, composed, scaled};
use crate::{
    Ctx, Init,
    kernel::{AtInfinity, Real, RowKernel, RowMap, VjpRow, lanes},
};

/// Parameters of [`SaSoftmax`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SaSoftmaxConfig {
    /// What the softmax is multiplied by.
    pub variant: SaSoftmaxVariant,
    /// What is added to the range of the scores in `norm`, above 0, for rows of zeros. 1e-10 as in the authors' code.
    #[serde(deserialize_with = "range::positive")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub eps: f64,
    /// What is added to every score's height in `norm`, at least 0. 0 as in the paper.
    #[serde(deserialize_with = "range::non_negative")]
    #[schemars(range(min = 0.0))]
    pub offset: f64,
}

/// What [`SaSoftmax`] multiplies the softmax by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SaSoftmaxVariant {
    /// The score itself: weights with a sign.
    X,
    /// Where the score stands between the smallest and the largest of the row: weights of at most softmax's.
    #[default]
    Norm,
}

impl Default for SaSoftmaxConfig {
    /// The normalized form, which the paper recommends.
    fn default() -> Self {
        Self { variant: SaSoftmaxVariant::Norm, eps: 1e-10, offset: 0.0 }
    }
}

impl Entry for SaSoftmaxConfig {
    const SUMMARY: &'static str = "softmax times the score, or times its place in the row's range";
    const PAPER: &'static str = "Zheng et al. 2025, Self-Adjust Softmax, arXiv:2502.18277";
}

impl SaSoftmaxConfig {
    /// The map.
    pub fn init(&self, _: &Init) -> SaSoftmax {
        SaSoftmax { variant: self.variant, eps: self.eps, offset: self.offset }
    }
}

/// Self-adjust softmax: a softmax s whose gradient is meant to survive saturation.
/// ```text
/// x:     y_i = x_i s_i
/// norm:  y_i = w_i s_i,   w_i = (x_i − a + offset) / D,   D = b − a + eps,   a = min(0, min_j x_j),   b = max(0, max_j x_j)
/// ```
/// In `norm` a row of zeros is all zeros. Its gradient vanishes as softmax's does where all scores but the largest stand
/// at the row's smallest; that of `x` does not.
///
/// # Gradient
/// ```text
/// x:     dx = s (g + g x − ⟨y, g⟩)
/// norm:  dx = s (g w − ⟨y, g⟩ + g / D);  at the smallest score, if below 0: + (⟨y, g⟩ − ⟨s, g⟩) / D;
///        at the largest, if above 0: − ⟨y, g⟩ / D
/// ```
/// Of equal scores the first counts as the smallest or the largest.
///
/// # Numerics
/// A score of +∞ takes all the weight in `norm` (several share it evenly); in `x` its row is NaN.
/// # References
/// Zheng et al. 2025, arXiv:2502.18277.
#[derive(Module, Debug)]
pub struct SaSoftmax {
    /// What the softmax is multiplied by.
    #[module(skip)]
    pub variant: SaSoftmaxVariant,
    /// What is added to the range of the scores.
    #[module(skip)]
    pub eps: f64,
    /// What is added to every score's height.
    #[module(skip)]
    pub offset: f64,
}

impl Normalize for SaSoftmax {
    fn laws(&self) -> Laws {
        let signed = self.variant == SaSoftmaxVariant::X;
        let can_be_zero = signed || self.offset == 0.0;
        Laws {
            sums_to_one: false,
            non_negative: !signed,
            shift_invariant: false,
            order_preserving: !signed,
            can_be_zero,
            row_can_be_zero: can_be_zero,
            ..Laws::SOFTMAX
        }
    }

    fn kernel(&self, _: &Ctx) -> Arc<dyn RowKernel> {
        match self.variant {
            SaSoftmaxVariant::X => Arc::new(SaSoftmaxXRow),
            SaSoftmaxVariant::Norm => Arc::new(SaSoftmaxNormRow { eps: self.eps, offset: self.offset }),
        }
    }

    fn composed(&self, rows: &Rows<'_>, ctx: &Ctx) -> Tensor<2> {
        // A minimum below 0 and a maximum above 0 are not changed by zeros at removed entries.
        let scores = composed::fill(rows.scores.clone(), rows.removed(), 0.0);
        let softmax = Softmax::default().composed(rows, ctx);
        match self.variant {
            SaSoftmaxVariant::X => softmax * scores,
            SaSoftmaxVariant::Norm => {
                let low = scores.clone().min_dim(1).clamp_max(0.0);
                let high = scores.clone().max_dim(1).clamp_min(0.0);
                let range = (high - low.clone()).add_scalar(self.eps);
                softmax * (scores - low).add_scalar(self.offset) / range
            }
        }
    }
}

/// y = x s;  dx = s (g + g x − ⟨y, g⟩).
#[derive(Clone, Copy, Debug)]
pub struct SaSoftmaxXRow;

impl RowMap for SaSoftmaxXRow {
    const SHORT_IN_F64: bool = true;
    #[inline(always)]
    fn forward<T: Real>(&self, x: &[T], _: &[T], y: &mut [T]) {
        scaled::forward(x, T::one(), y);
        for (y, &x) in y.iter_mut().zip(x) {
            *y = *y * x;
        }
    }

    #[inline(always)]
    fn vjp<T: Real>(&self, row: VjpRow<'_, T>, dx: &mut [T], _: &mut [T]) {
        scaled::forward(row.x, T::one(), dx);
        let mean = lanes::lane_dot(row.y, row.g);
        for ((dx, &x), &g) in dx.iter_mut().zip(row.x).zip(row.g) {
            *dx = *dx * (g.mul_add(x, g) - mean);
        }
    }
}

/// y = w s, w = (x − a + offset) / D;  dx = s (g w − ⟨y, g⟩ + g / D), and a share for the scores that are a and b.
#[derive(Clone, Copy, Debug)]
pub struct SaSoftmaxNormRow {
    /// What is added to the range of the scores.
    pub eps: f64,
    /// What is added to every score's height.
    pub offset: f64,
}

impl SaSoftmaxNormRow {
    /// −a + offset and 1 / D of a row whose smallest and largest scores are these.
    #[inline(always)]
    fn place<T: Real>(&self, smallest: T, largest: T) -> (T, T) {
        let (low, high) = (smallest.min(T::zero()), largest.max(T::zero()));
        (T::of(self.offset) - low, T::one() / (high - low + T::of(self.eps)))
    }
}

impl RowMap for SaSoftmaxNormRow {
    const SHORT_IN_F64: bool = true;
    const AT_INFINITY: AtInfinity = AtInfinity::OneHot;

    #[inline(always)]
    fn forward<T: Real>(&self, x: &[T], _: &[T], y: &mut [T]) {
        let (lift, inverse) = self.place(lanes::min(x), lanes::max(x));
        scaled::forward(x, T::one(), y);
        for (y, &x) in y.iter_mut().zip(x) {
            *y = *y * ((x + lift) * inverse);
        }
    }

    #[inline(always)]
    fn vjp<T: Real>(&self, row: VjpRow<'_, T>, dx: &mut [T], _: &mut [T]) {
        let (smallest, largest) = (lanes::min(row.x), lanes::max(row.x));
        let (lift, inverse) = self.place(smallest, largest);
        scaled::forward(row.x, T::one(), dx);
        let mean: T = lanes::wide_sum_of([row.y, row.g], |[y, g]| y * g);
        let plain_mean = lanes::wide_sum_of([dx, row.g], |[s, g]| s * g);
        for ((dx, &x), &g) in dx.iter_mut().zip(row.x).zip(row.g) {
            let weight = (x + lift) * inverse;
            *dx = *dx * (g * (weight + inverse) - mean);
        }
        let mut share = |score: T, share: T| {
            if let Some(first) = row.x.iter().position(|&x| x == score) {
                dx[first] = dx[first] + share * inverse;
            }
        };
        if smallest <= T::zero() {
            share(smallest, mean - plain_mean);
        }
        if largest >= T::zero() {
            share(largest, -mean);
        }
    }
}
