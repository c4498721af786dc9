//! The loss of a student against a teacher.
use burn::{module::Module, tensor::Tensor};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{LossDtype, LossOutput, Objective, Target, TargetKind, by_parts, composed as parts};
use crate::Init;

/// Parameters of [`Distillation`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DistillationConfig {
    /// What the student's logits are divided by; the teacher's distribution is made at the same temperature.
    #[serde(deserialize_with = "range::positive")]
    #[schemars(range(min = 0.0))]
    pub temperature: f64,
    /// Whether the loss is multiplied by the squared temperature, which keeps the size of its gradient.
    pub squared: bool,
    /// The precision of the loss, chosen apart from the model's.
    pub dtype: LossDtype,
}

impl Default for DistillationConfig {
    /// No temperature.
    fn default() -> Self {
        Self { temperature: 1.0, squared: true, dtype: LossDtype::default() }
    }
}

impl Entry for DistillationConfig {
    const SUMMARY: &'static str = "divergence from a teacher's distribution to softmax at a temperature";
    const PAPER: &'static str =
        "Hinton, Vinyals and Dean 2015, Distilling the Knowledge in a Neural Network, arXiv:1503.02531";
}

impl DistillationConfig {
    /// The loss.
    pub fn init(&self, _: &Init) -> Distillation {
        Distillation { config: self.clone() }
    }
}

/// The Kullback-Leibler divergence from a teacher's distribution t to the student's at temperature T.
/// ```text
/// L = T² Σ_j t_j (ln t_j − ln softmax(z/T)_j),   ∂L/∂z = T (softmax(z/T) − t)
/// ```
/// without the factor T² if `squared` is off. A class the teacher gives nothing counts 0.
///
/// # Shapes
/// - logits: `[rows, classes]`; target: [`Target::Soft`], made at the same temperature
/// # References
/// Hinton, Vinyals and Dean 2015, arXiv:1503.02531.
#[derive(Module, Debug)]
pub struct Distillation {
    #[module(skip)]
    config: DistillationConfig,
}

impl Objective for Distillation {
    fn forward(&self, logits: Tensor<2>, target: &Target) -> LossOutput {
        let takes = self.targets();
        assert!(takes.contains(&target.kind()), "the loss {}", parts::refuse(target.kind(), takes));
        by_parts(self.composed(logits.cast(self.config.dtype.dtype()), target))
    }

    fn dtype(&self) -> LossDtype {
        self.config.dtype
    }

    fn targets(&self) -> &'static [TargetKind] {
        &[TargetKind::Soft]
    }

    fn composed(&self, logits: Tensor<2>, target: &Target) -> Tensor<1> {
        let DistillationConfig { temperature, squared, .. } = self.config;
        let shares = target.shares(&logits);
        let nothing = shares.clone().equal_elem(0.0);
        let entropy = parts::cross(shares.clone(), shares.clone().mask_fill(nothing, 1.0).log());
        let rows = parts::cross(shares, parts::log_softmax(logits.mul_scalar(1.0 / temperature))) - entropy;
        if squared { rows.mul_scalar(temperature * temperature) } else { rows }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::DType;

    use super::*;
    use crate::{
        loss::law_tests::{loss, pass},
        testing::{assert_close, assert_gradient, normal, tensor, values},
    };

    #[test]
    fn golden_values() {
        // The teacher [2, 0, 1] and the student [0.5, −0.2, 1] at T = 3.
        let exp = [2.0f64, 0.0, 1.0].map(|z| (z / 3.0).exp());
        let teacher = exp.map(|e| e / exp.iter().sum::<f64>());
        let target = Target::Soft(tensor(&teacher, 3, DType::F64));
        for (squared, factor) in [(false, 1.0), (true, 9.0)] {
            let json =
                format!(r#"{{ "name": "distillation", "temperature": 3, "squared": {squared}, "dtype": "f64" }}"#);
            let distillation = loss(&json);
            let student = tensor(&[0.5, -0.2, 1.0], 3, DType::F64);
            let (rows, gradient) = pass(student, |x| distillation.forward(x, &target).rows);
            assert_close("loss", &rows, &[0.02724674382 * factor], 1e-9, 0.0);
            let want = [-0.03736952171, 0.01203360726, 0.02533591445].map(|g| g * factor);
            assert_close("gradient", &gradient, &want, 1e-9, 0.0);
        }
    }

    #[test]
    fn it_is_0_at_the_teacher_and_differentiable_everywhere() {
        let distillation = loss(r#"{ "name": "distillation", "temperature": 2, "dtype": "f64" }"#);
        let target = Target::Soft(tensor(&[0.5, 0.5, 0.0, 0.25, 0.25, 0.5], 3, DType::F64));
        let at = [0.0, 0.0, f64::NEG_INFINITY, 1.0, 1.0, 1.0 + 2.0 * std::f64::consts::LN_2];
        let rows = values(distillation.forward(tensor(&at, 3, DType::F64), &target).rows);
        assert_close("rows", &rows, &[0.0; 2], 0.0, 1e-14);
        assert_gradient("differences", &normal(3, 6, 2.0), &[1.0; 6], 3, |x| {
            distillation.forward(x, &target).rows.unsqueeze_dim::<2>(1).expand([2, 3]) / 3.0
        });
    }
}
