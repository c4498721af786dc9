//! Comp-sum losses.
use std::sync::Arc;

use burn::{module::Module, tensor::Tensor};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    LossDtype, LossOutput, Objective, Target, TargetKind, by_rows, composed as parts, softmax,
    wide::{Rivals, Wide, WideNll, softplus},
};
use crate::{
    Init,
    kernel::{Elementary as _, Real as _},
    normalizer::composed,
};

/// Beyond this exponent the loss of τ < 1 goes on in a straight line, so that it stays finite in `f32`.
const CAP: f64 = 60.0;

/// Parameters of [`CompSum`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CompSumConfig {
    /// Which member of the family: 0 sum-exponential, 1 cross entropy, between 1 and 2 generalised cross entropy with
    /// q = τ − 1, 2 mean absolute error.
    #[serde(deserialize_with = "range::non_negative")]
    #[schemars(range(min = 0.0))]
    pub tau: f64,
    /// The margin at which a rival's term has fallen to 1/e: logits are divided by it.
    #[serde(deserialize_with = "range::positive")]
    #[schemars(range(min = 0.0))]
    pub rho: f64,
    /// The precision of the loss, chosen apart from the model's.
    pub dtype: LossDtype,
}

impl Default for CompSumConfig {
    /// Cross entropy.
    fn default() -> Self {
        Self { tau: 1.0, rho: 1.0, dtype: LossDtype::default() }
    }
}

impl Entry for CompSumConfig {
    const SUMMARY: &'static str =
        "a power of the target's softmax weight: from sum-exponential over cross entropy to 1 − p";
    const PAPER: &'static str = "Mao, Mohri and Zhong 2023, Cross-Entropy Loss Functions: Theoretical Analysis and Applications, arXiv:2304.07288";
}

impl CompSumConfig {
    /// The loss.
    pub fn init(&self, _: &Init) -> CompSum {
        CompSum { config: self.clone() }
    }
}

/// A comp-sum loss: a composition Φ^τ of the sum-exponential loss.
/// ```text
/// L = Φ^τ(u),   u = Σ_{j≠y} exp((z_j − z_y)/ρ),   1 + u = 1/p_y
/// Φ^τ(u) = ((1 + u)^(1−τ) − 1)/(1 − τ) = (p_y^(τ−1) − 1)/(1 − τ),   Φ^1(u) = ln(1 + u)
/// ∂L/∂z = p_y^(τ−1) (p − e_y)/ρ
/// ```
/// It pulls in the direction of cross entropy, harder on rows that are wrong if τ < 1 and less if τ > 1.
///
/// # Shapes
/// - logits: `[rows, classes]`; target: [`Target::Classes`]
/// # Numerics
/// The rivals are summed without the target, in f64, and the result is rounded once to the precision of the loss. For τ < 1
/// the loss grows exponentially with the rivals' lead; where the exponent passes 60 it goes on in a straight line.
/// # References
/// Mao, Mohri and Zhong 2023, arXiv:2304.07288.
#[derive(Module, Debug)]
pub struct CompSum {
    #[module(skip)]
    config: CompSumConfig,
}

impl CompSum {
    /// 1 − τ, and 0 for what is cross entropy to all digits.
    fn power(&self) -> f64 {
        let power = 1.0 - self.config.tau;
        if power.abs() < 1e-6 { 0.0 } else { power }
    }
}

impl Objective for CompSum {
    fn forward(&self, logits: Tensor<2>, target: &Target) -> LossOutput {
        let kernel = CompSumRow { power: self.power(), scale: 1.0 / self.config.rho };
        by_rows(self, logits, None, target, Arc::new(Wide(kernel)))
    }

    fn dtype(&self) -> LossDtype {
        self.config.dtype
    }

    fn targets(&self) -> &'static [TargetKind] {
        &[TargetKind::Classes]
    }

    fn probabilities(&self, logits: Tensor<2>) -> Option<Tensor<2>> {
        Some(softmax(logits.mul_scalar(1.0 / self.config.rho)))
    }

    fn composed(&self, logits: Tensor<2>, target: &Target) -> Tensor<1> {
        let power = self.power();
        let (lead, alone) = parts::lead(logits.mul_scalar(1.0 / self.config.rho), target.classes());
        let log_loss = composed::softplus(lead);
        let loss = if power == 0.0 {
            log_loss
        } else {
            let exponent = log_loss.mul_scalar(power);
            let beyond = exponent.clone().detach().greater_elem(CAP);
            let curved = composed::exp_m1(exponent.clone().mask_fill(beyond.clone(), 0.0));
            let straight = exponent.sub_scalar(CAP - 1.0).mul_scalar(CAP.exp()).sub_scalar(1.0);
            curved.mask_where(beyond, straight).mul_scalar(1.0 / power)
        };
        loss.mask_fill(alone, 0.0).squeeze_dim(1)
    }
}

/// With s = −ln p_y: L = (e^((1−τ) s) − 1)/(1 − τ), and its slope e^((1−τ) s) times that of s.
#[derive(Clone, Copy, Debug)]
struct CompSumRow {
    /// 1 − τ
    power: f64,
    /// 1/ρ
    scale: f64,
}

impl WideNll for CompSumRow {
    #[inline(always)]
    fn loss(&self, x: &[f64], target: usize) -> f64 {
        let log_loss = softplus(Rivals::of(x, target, self.scale).lead);
        if self.power == 0.0 {
            return log_loss;
        }
        let exponent = self.power * log_loss;
        let rise = exponent.abs().min(CAP).exp_m1_positive();
        let rise = if exponent < 0.0 { -rise / (1.0 + rise) } else { rise };
        let straight = if exponent > CAP { (exponent - CAP) * CAP.exp_exact() } else { 0.0 };
        (rise + straight) / self.power
    }

    #[inline(always)]
    fn slopes(&self, x: &[f64], target: usize, dx: &mut [f64]) {
        let rivals = Rivals::of(x, target, self.scale);
        let factor = (self.power * softplus(rivals.lead)).min(CAP).exp_exact();
        rivals.slopes(x, target, factor, dx);
    }
}

#[cfg(test)]
mod tests {
    use crate::loss::law_tests::{assert_laws, assert_row, loss};

    fn family(tau: f64) -> crate::loss::Loss {
        loss(&format!(r#"{{ "name": "comp_sum", "tau": {tau}, "dtype": "f64" }}"#))
    }

    #[test]
    fn golden_values() {
        for (tau, want, slopes) in [
            (0.0, 2.941411989, [-2.941411989, 0.2231301601, std::f64::consts::E]),
            (0.5, 1.970597934, [-1.481596494, 0.1123912135, 1.36920528]),
            (1.0, 1.371539032, [-0.7462838184, 0.05661173224, 0.6896720861]),
            (1.5, 0.9925950533, [-0.3759050051, 0.02851546955, 0.3473895356]),
            (2.0, 0.7462838184, [-0.1893442808, 0.01436331254, 0.1749809683]),
        ] {
            assert_row(&family(tau), &[1.0, -0.5, 2.0], 0, want, &slopes);
        }
    }

    #[test]
    fn every_member_keeps_the_laws() {
        for tau in [0.0, 0.3, 1.0, 1.0 + 1e-7, 1.7, 2.0, 3.0] {
            assert_laws(&family(tau));
        }
        assert_laws(&loss(r#"{ "name": "comp_sum", "tau": 0.5, "rho": 3, "dtype": "f64" }"#));
    }

    #[test]
    fn far_behind_it_goes_on_in_a_straight_line() {
        // −ln p_y = 80: e^60 − 1 + 20 e^60.
        let want = 21.0 * 60f64.exp() - 1.0;
        assert_row(&family(0.0), &[0.0, 80.0], 0, want, &[-(60f64.exp()), 60f64.exp()]);
    }
}
