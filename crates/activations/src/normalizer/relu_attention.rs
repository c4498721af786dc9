//! ReLU attention and its regularizer.
use std::sync::Arc;

use burn::{
    module::Module,
    tensor::{Tensor, activation},
};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Gradient, Keep, Laws, Normalize, Rows, composed};
use crate::{
    Ctx, Init,
    kernel::{Real, RowKernel, RowMap, VjpRow},
};

/// Parameters of [`ReluAttention`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReluAttentionConfig {
    /// What the positive scores are divided by.
    pub scale: ReluScale,
    /// A further divisor, above 0. The paper's value is not published; 1 keeps the variance of the output at 1.
    #[serde(deserialize_with = "range::positive")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub gamma: f64,
}

/// What [`ReluAttention`] divides by; n is the number of kept entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReluScale {
    /// √(n/2): for standard normal scores and values the output has variance 1 at any length.
    #[default]
    Sqrt,
    /// n.
    N,
    /// 1: the output grows with the length.
    None,
}

impl Default for ReluAttentionConfig {
    /// The variance-keeping form.
    fn default() -> Self {
        Self { scale: ReluScale::Sqrt, gamma: 1.0 }
    }
}

impl Entry for ReluAttentionConfig {
    const SUMMARY: &'static str = "the positive part of each score, scaled by the row's length";
    const PAPER: &'static str = "Shen et al. 2023, A Study on ReLU and Softmax in Transformer, arXiv:2302.06461";
}

impl ReluAttentionConfig {
    /// The map.
    pub fn init(&self, _: &Init) -> ReluAttention {
        ReluAttention { scale: self.scale, gamma: self.gamma }
    }
}

/// ReLU attention: the positive part of each score by itself.
/// ```text
/// y_i = max(x_i, 0) / (gamma √(n/2)),   n = number of kept entries
/// dx_i = g_i 1[x_i > 0] / (gamma √(n/2))
/// ```
/// With `scale = "n"` or `"none"` the root is replaced by n or 1. A row without a positive score is all zeros and gets no
/// gradient: where all queries share it, it stays dead.
///
/// # Numerics
/// A score of +∞ makes its row NaN.
/// # References
/// Shen et al. 2023, arXiv:2302.06461. The scale is derived from the variance; gamma and the exact form of
/// [`relu_attention_regularizer`] are not published.
#[derive(Module, Debug)]
pub struct ReluAttention {
    /// What the positive scores are divided by.
    #[module(skip)]
    pub scale: ReluScale,
    /// A further divisor.
    #[module(skip)]
    pub gamma: f64,
}

impl Normalize for ReluAttention {
    fn laws(&self) -> Laws {
        Laws {
            sums_to_one: false,
            non_negative: true,
            removes_masked: true,
            shift_invariant: false,
            order_preserving: true,
            can_be_zero: true,
            row_can_be_zero: true,
            needs_n: self.scale != ReluScale::None,
            stochastic: false,
            gradient: Gradient::Exact,
        }
    }

    fn kernel(&self, _: &Ctx) -> Arc<dyn RowKernel> {
        Arc::new(ReluAttentionRow { scale: self.scale, gamma: self.gamma })
    }

    fn composed(&self, rows: &Rows<'_>, _: &Ctx) -> Tensor<2> {
        let positive = activation::relu(composed::fill(rows.scores.clone(), rows.removed(), 0.0));
        let n = rows.count().clamp_min(1.0);
        let size = match self.scale {
            ReluScale::Sqrt => n.div_scalar(2.0).sqrt(),
            ReluScale::N => n,
            ReluScale::None => rows.column(1.0),
        };
        positive / size.mul_scalar(self.gamma)
    }
}

/// y = c max(x, 0);  dx = c g 1[x > 0].
#[derive(Clone, Copy, Debug)]
pub struct ReluAttentionRow {
    /// What the positive scores are divided by.
    pub scale: ReluScale,
    /// A further divisor.
    pub gamma: f64,
}

impl ReluAttentionRow {
    /// The factor c of a row of n entries.
    #[inline(always)]
    fn factor<T: Real>(&self, n: usize) -> T {
        let size = match self.scale {
            ReluScale::Sqrt => (0.5 * n as f64).sqrt(),
            ReluScale::N => n as f64,
            ReluScale::None => 1.0,
        };
        T::of(1.0 / (self.gamma * size))
    }
}

impl RowMap for ReluAttentionRow {
    #[inline(always)]
    fn forward<T: Real>(&self, x: &[T], _: &[T], y: &mut [T]) {
        let factor = self.factor::<T>(x.len());
        for (y, &x) in y.iter_mut().zip(x) {
            let positive = if x > T::zero() { x } else { T::zero() };
            *y = positive * factor;
        }
    }

    #[inline(always)]
    fn vjp<T: Real>(&self, row: VjpRow<'_, T>, dx: &mut [T], _: &mut [T]) {
        let factor = self.factor::<T>(row.x.len());
        for ((dx, &x), &g) in dx.iter_mut().zip(row.x).zip(row.g) {
            *dx = if x > T::zero() { g * factor } else { T::zero() };
        }
    }
}

/// Keeps the weights of ReLU attention near a distribution that is not too flat: added to a training loss, customarily
/// with a weight of 0.01.
/// ```text
/// R = mean |ln(Σ_i w_i + 1e-6)| + mean max(H(w / Σ w) − 0.7 ln n, 0)
/// ```
/// The means run over the rows that keep at least one entry, H is the entropy in nats, n the number of kept entries. A row
/// whose weights are all 0 has entropy 0.
///
/// # Shapes
/// - `weights`: `[rows, n]`, not negative; result: `[1]`
/// # References
/// Shen et al. 2023, arXiv:2302.06461, who describe a loss on the normalization and a control of the entropy without
/// publishing their form.
pub fn relu_attention_regularizer(weights: Tensor<2>, keep: &Keep) -> Tensor<1> {
    /// Keeps the logarithm of an empty sum finite.
    const EPS: f64 = 1e-6;
    /// The share of the largest possible entropy that is left alone.
    const ENTROPY: f64 = 0.7;
    let rows = Rows { scores: weights.clone().detach(), params: None, keep };
    let weights = composed::fill(weights, rows.removed(), 0.0);
    let taking_part = rows.count().clamp_max(1.0);
    let sum = weights.clone().sum_dim(1);
    let normalization = sum.add_scalar(EPS).log().abs();
    let share = weights.clone() / composed::sum_or_one(weights);
    let zero = share.clone().detach().equal_elem(0.0);
    // x ln x goes to 0 with x.
    let entropy = (share.clone() * share.mask_fill(zero, 1.0).log()).sum_dim(1).neg();
    let excess = activation::relu(entropy - rows.log_count().mul_scalar(ENTROPY));
    let rows = taking_part.clone().sum().clamp_min(1.0);
    ((normalization + excess) * taking_part).sum() / rows
}
