//! Cross entropy with label smoothing.
use std::sync::Arc;

use burn::{module::Module, tensor::Tensor};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    LossDtype, LossOutput, Objective, Target, TargetKind, by_rows, composed as parts, softmax,
    wide::{Wide, WideNll, sum},
};
use crate::{
    Init,
    kernel::{Real as _, lanes},
};

/// Parameters of [`LabelSmoothing`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LabelSmoothingConfig {
    /// The share of the target that is spread evenly over all classes.
    #[serde(deserialize_with = "range::below_one")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub smoothing: f64,
    /// The precision of the loss, chosen apart from the model's.
    pub dtype: LossDtype,
}

impl Default for LabelSmoothingConfig {
    /// The paper's share.
    fn default() -> Self {
        Self { smoothing: 0.1, dtype: LossDtype::default() }
    }
}

impl Entry for LabelSmoothingConfig {
    const SUMMARY: &'static str = "softmax cross entropy against the target mixed with the uniform distribution";
    const PAPER: &'static str =
        "Szegedy et al. 2016, Rethinking the Inception Architecture for Computer Vision, arXiv:1512.00567";
}

impl LabelSmoothingConfig {
    /// The loss.
    pub fn init(&self, _: &Init) -> LabelSmoothing {
        LabelSmoothing { config: self.clone() }
    }
}

/// Softmax cross entropy against a smoothed target.
/// ```text
/// L = −Σ_j t'_j ln p_j,   t' = (1 − ε) t + ε / n,   ∂L/∂z = p − t'
/// ```
/// with the one-hot row (or the distribution) t and the n classes that take part.
///
/// # Shapes
/// - logits: `[rows, classes]`; target: [`Target::Classes`] or [`Target::Soft`]
/// # Numerics
/// Computed in f64 and rounded once to the precision of the loss.
/// # References
/// Szegedy et al. 2016, arXiv:1512.00567.
#[derive(Module, Debug)]
pub struct LabelSmoothing {
    #[module(skip)]
    config: LabelSmoothingConfig,
}

impl Objective for LabelSmoothing {
    fn forward(&self, logits: Tensor<2>, target: &Target) -> LossOutput {
        let kernel = Wide(LabelSmoothingRow { smoothing: self.config.smoothing });
        by_rows(self, logits, None, target, Arc::new(kernel))
    }

    fn dtype(&self) -> LossDtype {
        self.config.dtype
    }

    fn targets(&self) -> &'static [TargetKind] {
        &[TargetKind::Classes, TargetKind::Soft]
    }

    fn probabilities(&self, logits: Tensor<2>) -> Option<Tensor<2>> {
        Some(softmax(logits))
    }

    fn composed(&self, logits: Tensor<2>, target: &Target) -> Tensor<1> {
        let smoothing = self.config.smoothing;
        let even = parts::count(&logits).recip().mul_scalar(smoothing);
        let shares = target.shares(&logits).mul_scalar(1.0 - smoothing) + even;
        // The shares sum to 1, so that neither value nor gradient knows of the shift.
        let removed = parts::removed(&logits);
        let max = logits.clone().detach().max_dim(1);
        let max = max.clone().mask_fill(max.equal_elem(f64::NEG_INFINITY), 0.0);
        let x = (logits - max).mask_fill(removed.clone(), 0.0);
        let (log_sum, _) = parts::log_sum(x.clone(), removed.clone());
        (log_sum - (shares.mask_fill(removed, 0.0) * x).sum_dim(1)).squeeze_dim(1)
    }
}

/// ln S + (1 − ε) (m − x_y) + ε mean(m − x), of terms that are all positive.
#[derive(Clone, Copy, Debug)]
struct LabelSmoothingRow {
    smoothing: f64,
}

impl WideNll for LabelSmoothingRow {
    #[inline(always)]
    fn loss(&self, x: &[f64], target: usize) -> f64 {
        let max = lanes::max(x);
        let log_sum = sum(x, |_, x| (x - max).exp_exact()).ln_exact();
        let below = sum(x, |_, x| max - x) / x.len() as f64;
        log_sum + (1.0 - self.smoothing) * (max - x[target]) + self.smoothing * below
    }

    #[inline(always)]
    fn slopes(&self, x: &[f64], target: usize, dx: &mut [f64]) {
        let max = lanes::max(x);
        let sum = sum(x, |_, x| (x - max).exp_exact());
        let even = self.smoothing / x.len() as f64;
        for (place, (dx, &x)) in dx.iter_mut().zip(x).enumerate() {
            let own = if place == target { 1.0 - self.smoothing } else { 0.0 };
            *dx = (x - max).exp_exact() / sum - own - even;
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::loss::law_tests::{assert_row, loss};

    #[test]
    fn golden_values() {
        // p = [0.7, 0.1, 0.2]: −0.9 ln 0.7 − 0.1/3 (ln 0.7 + ln 0.1 + ln 0.2), p − t'.
        let x = [0.7f64.ln(), 0.1f64.ln(), 0.2f64.ln()];
        let want = -0.9 * x[0] - 0.1 / 3.0 * (x[0] + x[1] + x[2]);
        let third = 0.1 / 3.0;
        let smooth = loss(r#"{ "name": "label_smoothing", "dtype": "f64" }"#);
        assert_row(&smooth, &x, 0, want, &[0.7 - 0.9 - third, 0.1 - third, 0.2 - third]);
    }

    #[test]
    fn without_smoothing_it_is_cross_entropy() {
        let plain = loss(r#"{ "name": "label_smoothing", "smoothing": 0, "dtype": "f64" }"#);
        assert_row(
            &plain,
            &[1.0, 0.5, -0.3, 0.0],
            0,
            0.8095701335,
            &[-0.5549506631, 0.2699360679, 0.1212900938, 0.1637245014],
        );
    }
}
