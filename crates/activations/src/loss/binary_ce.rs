//! One class against the rest through the logistic function.
use std::sync::Arc;

use burn::{module::Module, tensor::Tensor};
use kiln_registry::Entry;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    LossDtype, LossOutput, Objective, Scores, Target, TargetKind, by_rows, composed as parts,
    wide::{Wide, WideNll, logistic, softplus, sum},
};
use crate::{Init, normalizer::composed};

/// Parameters of [`BinaryCe`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BinaryCeConfig {
    /// The precision of the loss, chosen apart from the model's.
    pub dtype: LossDtype,
}

impl Entry for BinaryCeConfig {
    const SUMMARY: &'static str = "a binary cross entropy per class whose probability is the logistic function";
}

impl BinaryCeConfig {
    /// The loss.
    pub fn init(&self, _: &Init) -> BinaryCe {
        BinaryCe { dtype: self.dtype }
    }
}

/// Binary cross entropy of every class through the logistic function: any number of labels, or one class against the rest.
/// ```text
/// L = mean_k ln(1 + exp(−t_k o_k)),   t_k = 1 for a label, −1 for the others,   ∂L/∂o_k = (σ(o_k) − [t_k = 1])/n
/// ```
///
/// # Shapes
/// - logits: `[rows, classes]`; target: [`Target::Classes`] or [`Target::Labels`]
/// # Numerics
/// Computed in f64 and rounded once to the precision of the loss.
#[derive(Module, Debug)]
pub struct BinaryCe {
    #[module(skip)]
    dtype: LossDtype,
}

impl Objective for BinaryCe {
    fn forward(&self, logits: Tensor<2>, target: &Target) -> LossOutput {
        by_rows(self, logits, None, target, Arc::new(Wide(BinaryRow)))
    }

    fn dtype(&self) -> LossDtype {
        self.dtype
    }

    fn targets(&self) -> &'static [TargetKind] {
        &[TargetKind::Classes, TargetKind::Labels]
    }

    fn check_scores(&self, scores: Scores) -> Result<(), String> {
        scores.only_logits("it asks of each class whether it is above 0")
    }

    fn composed(&self, logits: Tensor<2>, target: &Target) -> Tensor<1> {
        let share = target.matrix(&logits);
        let x = logits.clone().mask_fill(parts::removed(&logits), 0.0);
        // −ln σ(x) = softplus(−x); the others' is softplus(x).
        let terms =
            share.clone() * composed::softplus(x.clone().neg()) + share.neg().add_scalar(1.0) * composed::softplus(x);
        parts::mean_of_classes(terms, &logits)
    }
}

#[derive(Clone, Copy, Debug)]
struct BinaryRow;

impl WideNll for BinaryRow {
    #[inline(always)]
    fn loss(&self, x: &[f64], target: usize) -> f64 {
        sum(x, |place, x| softplus(if place == target { -x } else { x })) / x.len() as f64
    }

    #[inline(always)]
    fn slopes(&self, x: &[f64], target: usize, dx: &mut [f64]) {
        let n = x.len() as f64;
        for (place, (dx, &x)) in dx.iter_mut().zip(x).enumerate() {
            *dx = if place == target { -logistic(-x) } else { logistic(x) } / n;
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::loss::law_tests::{assert_laws, assert_row, loss};

    #[test]
    fn by_hand() {
        let binary = loss(r#"{ "name": "binary_ce", "dtype": "f64" }"#);
        // Probabilities 3/4 and 1/5: −(ln 3/4 + ln 4/5)/2.
        let x = [3f64.ln(), 0.25f64.ln()];
        assert_row(&binary, &x, 0, -0.5 * 0.6f64.ln(), &[-0.125, 0.1]);
        assert_laws(&binary);
    }
}
