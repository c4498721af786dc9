//! The loss of the ReLU classifier.
use std::sync::Arc;

use burn::{module::Module, tensor::Tensor};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    LossDtype, LossOutput, Objective, Scores, Target, TargetKind, by_rows, composed as parts,
    wide::{Wide, WideNll, sum},
};
use crate::{Init, kernel::Real as _, normalizer::composed};

/// Weights are clipped to [ε, 1 − ε] before the logarithm.
const CLIP: f64 = 1e-7;

/// Parameters of [`ReluNll`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReluNllConfig {
    /// What the logarithm is taken of.
    pub form: ReluForm,
    /// Added to every positive part; above 0, such as 1e-3, no row is without a gradient.
    #[serde(deserialize_with = "range::non_negative")]
    #[schemars(range(min = 0.0))]
    pub floor: f64,
    /// The precision of the loss, chosen apart from the model's.
    pub dtype: LossDtype,
}

/// What the logarithm of [`ReluNll`] is taken of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReluForm {
    /// The target's share of the sum of positive parts.
    #[default]
    Share,
    /// The target's positive part itself, as the paper prints it: the loss has no lower bound.
    Literal,
}

impl Entry for ReluNllConfig {
    const SUMMARY: &'static str = "minus the log share of the target's positive part";
    const PAPER: &'static str = "Agarap 2018, Deep Learning using Rectified Linear Units (ReLU), arXiv:1803.08375";
}

impl ReluNllConfig {
    /// The loss.
    pub fn init(&self, _: &Init) -> ReluNll {
        ReluNll { config: self.clone() }
    }
}

/// The loss of a classifier whose last function is a ReLU.
/// ```text
/// r = max(0, o) + floor,   p = r_y / Σ_j r_j clipped to [1e-7, 1 − 1e-7],   L = −ln p
/// ∂L/∂o_j = (1/Σr − δ_jy/r_y) [o_j > 0]   where p is not clipped, else 0
/// ```
/// A row whose target has no positive part is dead: its loss is −ln 1e-7 = 16.1 and its gradient 0. Whether the published
/// figures come from this form or the literal `−ln r_y` is not known.
///
/// # Shapes
/// - logits: `[rows, classes]`; target: [`Target::Classes`]
/// # Numerics
/// Computed in f64 and rounded once to the precision of the loss.
/// # References
/// Agarap 2018, arXiv:1803.08375.
#[derive(Module, Debug)]
pub struct ReluNll {
    #[module(skip)]
    config: ReluNllConfig,
}

impl Objective for ReluNll {
    fn forward(&self, logits: Tensor<2>, target: &Target) -> LossOutput {
        let ReluNllConfig { form, floor, .. } = self.config;
        by_rows(self, logits, None, target, Arc::new(Wide(ReluRow { form, floor })))
    }

    fn dtype(&self) -> LossDtype {
        self.config.dtype
    }

    fn targets(&self) -> &'static [TargetKind] {
        &[TargetKind::Classes]
    }

    fn check_scores(&self, scores: Scores) -> Result<(), String> {
        scores.only_logits("it keeps their positive parts")
    }

    /// The shares of the positive parts, whatever the form; a row without any gives every class the same.
    fn probabilities(&self, logits: Tensor<2>) -> Option<Tensor<2>> {
        let [_, classes] = logits.dims();
        let parts = logits.detach().clamp_min(0.0).add_scalar(self.config.floor);
        let sum = parts.clone().sum_dim(1);
        let dead = sum.clone().equal_elem(0.0);
        let shares = parts / sum.mask_fill(dead.clone(), 1.0);
        Some(shares.mask_fill(dead, 1.0 / classes as f64))
    }

    fn composed(&self, logits: Tensor<2>, target: &Target) -> Tensor<1> {
        let removed = parts::removed(&logits);
        let positive = logits.clone().detach().greater_elem(0.0);
        let r = logits.mask_fill(positive.bool_not(), 0.0).add_scalar(self.config.floor).mask_fill(removed, 0.0);
        let own = composed::at_class(r.clone(), target.classes());
        let p = match self.config.form {
            ReluForm::Literal => own,
            ReluForm::Share => {
                let sum = r.sum_dim(1).squeeze_dim::<1>(1);
                let dead = sum.clone().detach().equal_elem(0.0);
                own / sum.mask_fill(dead, 1.0)
            }
        };
        let low = p.clone().detach().lower_elem(CLIP);
        let p = p.mask_fill(low, CLIP);
        let p = match self.config.form {
            ReluForm::Literal => p,
            ReluForm::Share => {
                let high = p.clone().detach().greater_elem(1.0 - CLIP);
                p.mask_fill(high, 1.0 - CLIP)
            }
        };
        p.log().neg()
    }
}

#[derive(Clone, Copy, Debug)]
struct ReluRow {
    form: ReluForm,
    floor: f64,
}

impl ReluRow {
    /// The target's part, what it is divided by, and whether the quotient is clipped.
    #[inline(always)]
    fn share(&self, x: &[f64], target: usize) -> (f64, f64, bool) {
        let own = x[target].max(0.0) + self.floor;
        match self.form {
            ReluForm::Literal => (own, 1.0, own < CLIP),
            ReluForm::Share => {
                let sum = sum(x, |_, x| x.max(0.0) + self.floor);
                let sum = if sum == 0.0 { 1.0 } else { sum };
                (own, sum, !(CLIP..=1.0 - CLIP).contains(&(own / sum)))
            }
        }
    }
}

impl WideNll for ReluRow {
    #[inline(always)]
    fn loss(&self, x: &[f64], target: usize) -> f64 {
        let (own, sum, _) = self.share(x, target);
        let p = (own / sum).max(CLIP);
        -if self.form == ReluForm::Share { p.min(1.0 - CLIP) } else { p }.ln_exact()
    }

    #[inline(always)]
    fn slopes(&self, x: &[f64], target: usize, dx: &mut [f64]) {
        let (own, sum, clipped) = self.share(x, target);
        let common = if self.form == ReluForm::Share { 1.0 / sum } else { 0.0 };
        for (place, (dx, &x)) in dx.iter_mut().zip(x).enumerate() {
            let slope = if place == target { common - 1.0 / own } else { common };
            *dx = if clipped || x <= 0.0 { 0.0 } else { slope };
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::loss::law_tests::{assert_laws, assert_row, loss};

    fn relu(keys: &str) -> crate::loss::Loss {
        loss(&format!(r#"{{ "name": "relu_nll", "dtype": "f64"{keys} }}"#))
    }

    #[test]
    fn golden_values() {
        let x = [1.5, -0.7, 0.25, 3.0];
        assert_row(&relu(""), &x, 0, 1.15267951, &[-0.4561403509, 0.0, 0.2105263158, 0.2105263158]);
        let literal = relu(r#", "form": "literal""#);
        assert_row(&literal, &x, 0, -0.4054651081, &[-0.6666666667, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn a_row_without_the_target_is_dead_unless_there_is_a_floor() {
        let dead = -(1e-7f64.ln());
        for x in [[-1.0, 2.0, 0.5], [-1.0, -2.0, -0.5]] {
            assert_row(&relu(""), &x, 0, dead, &[0.0; 3]);
        }
        // 0.001 of 2.503, and every slope but the dead target's.
        let floor = relu(r#", "floor": 1e-3"#);
        assert_row(&floor, &[-1.0, 2.0, 0.5], 0, 2503f64.ln(), &[0.0, 1.0 / 2.503, 1.0 / 2.503]);
    }

    #[test]
    fn laws() {
        assert_laws(&relu(""));
        assert_laws(&relu(r#", "floor": 0.1"#));
        assert_laws(&relu(r#", "form": "literal""#));
    }
}
