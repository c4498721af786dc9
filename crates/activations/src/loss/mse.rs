//! The mean squared error.
use std::sync::Arc;

use burn::{module::Module, tensor::Tensor};
use kiln_registry::Entry;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    LossDtype, LossOutput, Objective, Scores, Target, TargetKind, by_rows, composed as parts,
    wide::{Wide, WideNll, sum},
};
use crate::Init;

/// Parameters of [`Mse`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MseConfig {
    /// The precision of the loss, chosen apart from the model's.
    pub dtype: LossDtype,
}

impl Entry for MseConfig {
    const SUMMARY: &'static str =
        "mean squared difference between outputs and values; a class counts as its one-hot row";
}

impl MseConfig {
    /// The loss.
    pub fn init(&self, _: &Init) -> Mse {
        Mse { dtype: self.dtype }
    }
}

/// The mean squared error.
/// ```text
/// L = mean_k (o_k − v_k)²,   ∂L/∂o_k = 2 (o_k − v_k)/n
/// ```
///
/// # Shapes
/// - logits: `[rows, outputs]`; target: [`Target::Values`], or [`Target::Classes`], [`Target::Soft`], [`Target::Labels`] as
///   numbers between 0 and 1
/// # Numerics
/// Against classes computed in f64 and rounded once to the precision of the loss.
#[derive(Module, Debug)]
pub struct Mse {
    #[module(skip)]
    dtype: LossDtype,
}

impl Objective for Mse {
    fn forward(&self, logits: Tensor<2>, target: &Target) -> LossOutput {
        by_rows(self, logits, None, target, Arc::new(Wide(MseRow)))
    }

    fn dtype(&self) -> LossDtype {
        self.dtype
    }

    fn targets(&self) -> &'static [TargetKind] {
        &[TargetKind::Values, TargetKind::Classes, TargetKind::Soft, TargetKind::Labels]
    }

    fn check_scores(&self, scores: Scores) -> Result<(), String> {
        scores.only_logits("it compares them with numbers")
    }

    fn composed(&self, logits: Tensor<2>, target: &Target) -> Tensor<1> {
        let off = logits.clone().mask_fill(parts::removed(&logits), 0.0) - target.matrix(&logits);
        parts::mean_of_classes(off.clone() * off, &logits)
    }
}

#[derive(Clone, Copy, Debug)]
struct MseRow;

impl MseRow {
    #[inline(always)]
    fn off(place: usize, x: f64, target: usize) -> f64 {
        if place == target { x - 1.0 } else { x }
    }
}

impl WideNll for MseRow {
    #[inline(always)]
    fn loss(&self, x: &[f64], target: usize) -> f64 {
        sum(x, |place, x| Self::off(place, x, target) * Self::off(place, x, target)) / x.len() as f64
    }

    #[inline(always)]
    fn slopes(&self, x: &[f64], target: usize, dx: &mut [f64]) {
        let n = x.len() as f64;
        for (place, (dx, &x)) in dx.iter_mut().zip(x).enumerate() {
            *dx = 2.0 * Self::off(place, x, target) / n;
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::DType;

    use super::*;
    use crate::{
        loss::law_tests::{assert_laws, assert_row, loss},
        testing::{assert_close, tensor, values},
    };

    #[test]
    fn by_hand() {
        let mse = loss(r#"{ "name": "mse", "dtype": "f64" }"#);
        assert_row(&mse, &[0.5, -0.5, 2.0, 0.0], 0, 4.5 / 4.0, &[-0.25, -0.25, 1.0, 0.0]);
        assert_laws(&mse);
        let rows = mse.forward(
            tensor(&[0.5, 1.0, -2.0, 0.0], 2, DType::F32),
            &Target::Values(tensor(&[0.0, 3.0, -2.0, 1.0], 2, DType::F32)),
        );
        assert_close("rows", &values(rows.rows), &[(0.25 + 4.0) / 2.0, 0.5], 1e-15, 0.0);
        assert_close("mean", &values(rows.mean), &[(2.125 + 0.5) / 2.0], 1e-15, 0.0);
    }
}
