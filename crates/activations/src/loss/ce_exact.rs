//! Collapse-free softmax cross entropy.
use std::sync::Arc;

use burn::{module::Module, tensor::Tensor};
use kiln_registry::Entry;
use num_traits::Float;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{LossDtype, LossOutput, Objective, SumOrder, Target, TargetKind, by_rows, composed as parts, softmax};
use crate::{
    Init,
    kernel::{NllBack, NllRow, Precision, Real, RowNll, lanes},
    normalizer::{SoftmaxNll, composed},
};

/// Parameters of [`CeExact`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CeExactConfig {
    /// The precision of the loss, chosen apart from the model's.
    pub dtype: LossDtype,
}

impl Entry for CeExactConfig {
    const SUMMARY: &'static str = "softmax cross entropy in a form that never rounds to 0";
}

impl CeExactConfig {
    /// The loss.
    pub fn init(&self, _: &Init) -> CeExact {
        CeExact { dtype: self.dtype }
    }
}

/// Softmax cross entropy in a form that does not collapse.
/// ```text
/// L = softplus(d),   d = ln Σ_{j≠y} exp z_j − z_y
/// ∂L/∂z_y = −σ(d),   ∂L/∂z_j = σ(d) softmax_{j≠y}(z)_j
/// ```
/// The rivals are summed without the target, so nothing is absorbed: in `f32` the loss is first 0 at a margin of about
/// 103, where exp(−margin) underflows, against about 20 for the plain form.
///
/// # Shapes
/// - logits: `[rows, classes]`; target: [`Target::Classes`]
#[derive(Module, Debug)]
pub struct CeExact {
    /// The precision.
    #[module(skip)]
    pub dtype: LossDtype,
}

impl Objective for CeExact {
    fn forward(&self, logits: Tensor<2>, target: &Target) -> LossOutput {
        by_rows(self, logits, None, target, Arc::new(ExactNll))
    }

    fn dtype(&self) -> LossDtype {
        self.dtype
    }

    fn targets(&self) -> &'static [TargetKind] {
        &[TargetKind::Classes]
    }

    fn probabilities(&self, logits: Tensor<2>) -> Option<Tensor<2>> {
        Some(softmax(logits))
    }

    fn composed(&self, logits: Tensor<2>, target: &Target) -> Tensor<1> {
        let (lead, alone) = parts::lead(logits, target.classes());
        composed::softplus(lead).mask_fill(alone, 0.0).squeeze_dim(1)
    }
}

/// The row maths of [`CeExact`]. Its row sum is the one a softmax loss would divide by.
#[derive(Clone, Copy, Debug)]
pub struct ExactNll;

impl ExactNll {
    /// d, and the sum of exp(z_j − m) over the rivals, which are left in `exp` (0 at the target); m is the rivals' maximum.
    #[inline(always)]
    fn margin<P: Precision>(row: NllRow<'_, P::T>, exp: &mut [P::T]) -> (P::T, P::T) {
        exp.copy_from_slice(row.x);
        exp[row.target] = P::T::neg_infinity();
        let max = lanes::max(exp);
        for exp in exp.iter_mut() {
            *exp = P::round(P::round(*exp - max).exp_exact());
        }
        exp[row.target] = P::T::of(0.0);
        let sum = P::round(lanes::lane_sum(exp));
        (P::round(P::round(max - row.x[row.target]) + P::round(sum.ln_exact())), sum)
    }
}

impl RowNll for ExactNll {
    #[inline(always)]
    fn forward<P: Precision>(&self, row: NllRow<'_, P::T>, scratch: &mut [P::T]) -> (P::T, P::T) {
        let (d, _) = Self::margin::<P>(row, scratch);
        let zero = P::T::of(0.0);
        let above = if d > zero { d } else { zero };
        let loss = P::round(above + P::round(P::round((-d.abs()).exp_exact()).ln_1p_exact()));
        let (_, row_sum) = SoftmaxNll { sum: SumOrder::Lanes }.forward::<P>(row, scratch);
        (loss, row_sum)
    }

    #[inline(always)]
    fn vjp<P: Precision>(&self, row: NllRow<'_, P::T>, back: NllBack<P::T>, dx: &mut [P::T], _: &mut [P::T]) {
        let g = back.g;
        let (d, sum) = Self::margin::<P>(row, dx);
        // σ(d) without overflow: exp of minus the size of d, in the numerator or not.
        let (one, small) = (P::T::of(1.0), P::round((-d.abs()).exp_exact()));
        let sigmoid = P::round(if d > P::T::of(0.0) { one } else { small } / (one + small));
        let scale = sigmoid * g / sum;
        for dx in dx.iter_mut() {
            *dx = P::round(*dx * scale);
        }
        dx[row.target] = P::round(-(sigmoid * g));
    }
}
