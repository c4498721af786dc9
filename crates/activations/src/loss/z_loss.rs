//! The Z-loss.
use std::sync::Arc;

use burn::{module::Module, tensor::Tensor};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    LossDtype, LossOutput, Objective, Scores, Target, TargetKind, by_rows, composed as parts,
    wide::{Wide, WideNll, logistic, softplus, sum},
};
use crate::{Init, normalizer::composed};

/// Parameters of [`ZLoss`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ZLossConfig {
    /// How sharp the loss falls around the wanted score.
    #[serde(deserialize_with = "range::positive")]
    #[schemars(range(min = 0.0))]
    pub a: f64,
    /// The wanted standard score of the target, tuned per task; no score exceeds √(classes − 1).
    #[serde(deserialize_with = "range::finite")]
    pub b: f64,
    /// The precision of the loss, chosen apart from the model's.
    pub dtype: LossDtype,
}

impl Default for ZLossConfig {
    /// The setting of the authors' timing example.
    fn default() -> Self {
        Self { a: 1.0, b: 0.0, dtype: LossDtype::default() }
    }
}

impl Entry for ZLossConfig {
    const SUMMARY: &'static str = "softplus of what the target's logit lacks as a standard score of its row";
    const PAPER: &'static str =
        "de Brébisson and Vincent 2016, The Z-loss: a shift and scale invariant classification loss, arXiv:1604.08859";
}

impl ZLossConfig {
    /// The loss.
    pub fn init(&self, _: &Init) -> ZLoss {
        ZLoss { config: self.clone() }
    }
}

/// The Z-loss, which neither a shift nor a positive factor of the logits changes.
/// ```text
/// z_j = (o_j − μ)/σ,   L = softplus(a (b − z_y))/a
/// ∂L/∂o_j = −r (δ_jy − 1/n − z_y z_j/n)/σ,   r = 1/(1 + exp(−a (b − z_y)))
/// ```
/// μ and σ are mean and (population) deviation of the row's n logits. The gradient sums to 0 and is orthogonal to o − μ. It is no
/// model of probabilities; the answer is the largest logit.
///
/// # Shapes
/// - logits: `[rows, classes]`; target: [`Target::Classes`]
/// # Numerics
/// σ comes from centred values in f64; the result is rounded once to the precision of the loss. Where all logits are equal,
/// or there is but one, z is 0 and so is the gradient; of two the scores are 1 and −1 and the gradient is 0. The authors add 1e-12 to σ, which breaks the invariance.
/// # References
/// de Brébisson and Vincent 2016, arXiv:1604.08859.
#[derive(Module, Debug)]
pub struct ZLoss {
    #[module(skip)]
    config: ZLossConfig,
}

impl Objective for ZLoss {
    fn forward(&self, logits: Tensor<2>, target: &Target) -> LossOutput {
        let ZLossConfig { a, b, .. } = self.config;
        by_rows(self, logits, None, target, Arc::new(Wide(ZRow { a, b })))
    }

    fn dtype(&self) -> LossDtype {
        self.config.dtype
    }

    fn targets(&self) -> &'static [TargetKind] {
        &[TargetKind::Classes]
    }

    fn check_scores(&self, scores: Scores) -> Result<(), String> {
        scores.only_logits("it standardises each row")
    }

    fn composed(&self, logits: Tensor<2>, target: &Target) -> Tensor<1> {
        let ZLossConfig { a, b, .. } = self.config;
        let (removed, n) = (parts::removed(&logits), parts::count(&logits));
        let own = composed::is_class(target.classes(), &logits);
        // Below the largest, so that a common shift costs no digits and equal logits are 0.
        let max = logits.clone().detach().max_dim(1);
        let max = max.clone().mask_fill(max.equal_elem(f64::NEG_INFINITY), 0.0);
        let x = (logits - max).mask_fill(removed.clone(), 0.0);
        let mean = x.clone().sum_dim(1) / n.clone();
        let centred = (x - mean).mask_fill(removed, 0.0);
        let pair = n.clone().equal_elem(2.0);
        let variance = (centred.clone() * centred.clone()).sum_dim(1) / n;
        let flat = variance.clone().detach().equal_elem(0.0);
        let deviation = variance.mask_fill(flat.clone(), 1.0).sqrt();
        let z = (centred.mask_fill(own.bool_not(), 0.0).sum_dim(1) / deviation).mask_fill(flat, 0.0);
        // Of two classes the scores are 1 and −1, whatever the logits.
        let z = z.clone().mask_where(pair, z.detach());
        composed::softplus(z.mul_scalar(-a).add_scalar(a * b)).mul_scalar(1.0 / a).squeeze_dim(1)
    }
}

#[derive(Clone, Copy, Debug)]
struct ZRow {
    a: f64,
    b: f64,
}

impl ZRow {
    /// The mean of what the entries are above the target, and the variance.
    #[inline(always)]
    fn moments(x: &[f64], own: f64) -> (f64, f64) {
        let n = x.len() as f64;
        // Relative to the target, so that a common shift costs no digits.
        let mean = sum(x, |_, x| x - own) / n;
        let variance = sum(x, |_, x| ((x - own) - mean) * ((x - own) - mean)) / n;
        (mean, variance)
    }

    /// z_y; 0 where all logits are equal.
    #[inline(always)]
    fn own(mean: f64, variance: f64) -> f64 {
        if variance == 0.0 { 0.0 } else { -mean / variance.sqrt() }
    }
}

impl WideNll for ZRow {
    #[inline(always)]
    fn loss(&self, x: &[f64], target: usize) -> f64 {
        let (mean, variance) = Self::moments(x, x[target]);
        softplus(self.a * (self.b - Self::own(mean, variance))) / self.a
    }

    #[inline(always)]
    fn slopes(&self, x: &[f64], target: usize, dx: &mut [f64]) {
        let own = x[target];
        let (mean, variance) = Self::moments(x, own);
        if variance == 0.0 {
            return dx.fill(0.0);
        }
        let r = logistic(self.a * (self.b - Self::own(mean, variance))) / variance.sqrt();
        let n = x.len() as f64;
        for (dx, &x) in dx.iter_mut().zip(x) {
            // z_y z_j as one quotient, which is exact for two classes, where the slopes are 0.
            *dx = r * (1.0 - mean * ((x - own) - mean) / variance) / n;
        }
        dx[target] -= r;
    }
}

#[cfg(test)]
mod tests {
    use crate::loss::law_tests::{assert_laws, assert_row, loss};

    fn z_loss(a: f64, b: f64) -> crate::loss::Loss {
        loss(&format!(r#"{{ "name": "z_loss", "a": {a}, "b": {b}, "dtype": "f64" }}"#))
    }

    #[test]
    fn golden_values() {
        let x = [2.0, -1.0, 0.5, 0.0];
        let slopes = [0.1276713207, 0.09285186962, -0.3249815437, 0.1044583533];
        assert_row(&z_loss(1.0, 0.0), &x, 2, 0.6370778952, &slopes);
        let slopes = [0.2549773094, 0.1854380432, -0.6490331513, 0.2086177986];
        assert_row(&z_loss(2.0, 1.5), &x, 2, 1.414946219, &slopes);
        // Neither factor nor shift counts; the slopes shrink with the factor.
        let moved: Vec<f64> = x.iter().map(|x| 3.0 * x + 1.0).collect();
        assert_row(&z_loss(2.0, 1.5), &moved, 2, 1.414946219, &slopes.map(|slope| slope / 3.0));
    }

    #[test]
    fn laws() {
        for (a, b) in [(1.0, 0.0), (4.0, 2.0), (0.5, -1.0)] {
            assert_laws(&z_loss(a, b));
        }
    }

    #[test]
    fn equal_logits_pull_nowhere() {
        let want = (1.0 + 3f64.exp()).ln() / 2.0;
        assert_row(&z_loss(2.0, 1.5), &[0.1; 5], 2, want, &[0.0; 5]);
        assert_row(&z_loss(2.0, 1.5), &[7.0], 0, want, &[0.0]);
        assert_row(&z_loss(2.0, 1.5), &[7.0, f64::NEG_INFINITY], 0, want, &[0.0; 2]);
    }
}
