//! Dice semimetric losses.
use burn::{
    module::Module,
    tensor::{Tensor, activation::sigmoid},
};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{LossDtype, LossOutput, Objective, Scores, Target, TargetKind, by_parts, composed as parts};
use crate::{Init, normalizer::composed::fill};

/// A class is absent from hard targets that do not exceed this.
const ABSENT: f64 = 0.01;

/// Parameters of [`Dice`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DiceConfig {
    /// Which distance.
    pub form: DiceForm,
    /// What is compared as one set.
    pub over: DiceOver,
    /// How logits become memberships between 0 and 1.
    pub activation: DiceActivation,
    /// Weight of what is predicted and not there; ½ with `beta` is Dice, 1 with `beta` Jaccard.
    #[serde(deserialize_with = "range::non_negative")]
    #[schemars(range(min = 0.0))]
    pub alpha: f64,
    /// Weight of what is there and not predicted.
    #[serde(deserialize_with = "range::non_negative")]
    #[schemars(range(min = 0.0))]
    pub beta: f64,
    /// Added above and below the line, so that two empty sets are equal.
    #[serde(deserialize_with = "range::non_negative")]
    #[schemars(range(min = 0.0))]
    pub eps: f64,
    /// The precision of the loss, chosen apart from the model's.
    pub dtype: LossDtype,
}

impl Default for DiceConfig {
    /// Dice of a row's outputs, with the authors' ε.
    fn default() -> Self {
        Self {
            form: DiceForm::default(),
            over: DiceOver::default(),
            activation: DiceActivation::default(),
            alpha: 0.5,
            beta: 0.5,
            eps: 1e-3,
            dtype: LossDtype::default(),
        }
    }
}

/// Which of the Dice distances; on hard targets they are equal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DiceForm {
    /// The first semimetric: what two sets share is half of what remains of both sums without their difference.
    #[default]
    Dml1,
    /// The second semimetric: what two sets share is their product.
    Dml2,
    /// The soft Dice loss, which is not least where prediction and soft target are equal.
    SoftDice,
}

/// What [`Dice`] compares as one set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DiceOver {
    /// The outputs of each row, such as the pixels of an image.
    #[default]
    Outputs,
    /// The rows of the batch, such as pixels, for each class; then the mean over the classes. The loss is not a sum over rows.
    Batch,
}

/// How logits become memberships.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DiceActivation {
    /// The logistic function of each.
    #[default]
    Sigmoid,
    /// Softmax over the row.
    Softmax,
}

impl Entry for DiceConfig {
    const SUMMARY: &'static str = "Dice distance that is 0 at soft targets too; also Jaccard, Tversky and soft Dice";
    const PAPER: &'static str = "Wang et al. 2023, Dice Semimetric Losses: Optimizing the Dice Score with Soft Labels, \
                                 arXiv:2303.16296";
}

impl DiceConfig {
    /// The loss.
    pub fn init(&self, _: &Init) -> Dice {
        Dice { config: self.clone() }
    }
}

/// A Dice distance of memberships x and targets t, both between 0 and 1.
/// ```text
/// dml1:      tp = (Σx + Σt − Σ|x − t|)/2, fp = Σx − tp, fn = Σt − tp
/// dml2:      tp = Σ x t, fp + fn = Σ|x − t|, in equal parts
/// soft_dice: tp = Σ x t, fp = Σx − tp, fn = Σt − tp
/// L = 1 − (tp + ε)/(tp + α fp + β fn + ε)
/// ```
/// At α = β = ½ and ε = 0: `dml1 = Σ|x−t|/(Σx+Σt)`, `dml2 = 1 − 2Σxt/(2Σxt + Σ|x−t|)`, `soft_dice = 1 − 2Σxt/(Σx+Σt)`. On hard
/// targets all are the soft Dice loss; with soft targets the first two are 0 at x = t and nowhere else.
///
/// Over the batch, classes that are absent from hard targets are left out of the mean; every row is given the one value.
///
/// # Shapes
/// - logits: `[rows, outputs]`; target: [`Target::Labels`] (hard or soft memberships), [`Target::Soft`] or [`Target::Classes`]
/// # References
/// Wang et al. 2023, arXiv:2303.16296.
#[derive(Module, Debug)]
pub struct Dice {
    #[module(skip)]
    config: DiceConfig,
}

impl Dice {
    /// The distance of memberships along axis `dim`: 1 wide there.
    fn distance(&self, x: Tensor<2>, t: Tensor<2>, dim: usize) -> Tensor<2> {
        let DiceConfig { form, alpha, beta, eps, .. } = self.config;
        let sum = |x: Tensor<2>| x.sum_dim(dim);
        let apart = || sum((x.clone() - t.clone()).abs());
        let (tp, missed) = match form {
            DiceForm::Dml1 => {
                let (sum_x, sum_t) = (sum(x.clone()), sum(t.clone()));
                let tp = (sum_x.clone() + sum_t.clone() - apart()).mul_scalar(0.5);
                let missed = (sum_x - tp.clone()).mul_scalar(alpha) + (sum_t - tp.clone()).mul_scalar(beta);
                (tp, missed)
            }
            DiceForm::Dml2 => (sum(x.clone() * t.clone()), apart().mul_scalar(0.5 * (alpha + beta))),
            DiceForm::SoftDice => {
                let tp = sum(x.clone() * t.clone());
                let missed = (sum(x) - tp.clone()).mul_scalar(alpha) + (sum(t) - tp.clone()).mul_scalar(beta);
                (tp, missed)
            }
        };
        let whole = (tp + missed.clone()).add_scalar(eps);
        // 1 − (tp + ε)/whole; two empty sets are equal, with or without ε.
        let empty = whole.clone().detach().equal_elem(0.0);
        missed / whole.mask_fill(empty, 1.0)
    }

    fn memberships(&self, logits: Tensor<2>) -> Tensor<2> {
        let removed = parts::removed(&logits);
        let x = match self.config.activation {
            DiceActivation::Softmax => parts::log_softmax(logits).exp(),
            DiceActivation::Sigmoid => sigmoid(logits.mask_fill(removed.clone(), 0.0)),
        };
        fill(x, removed, 0.0)
    }
}

impl Objective for Dice {
    fn forward(&self, logits: Tensor<2>, target: &Target) -> LossOutput {
        let takes = self.targets();
        assert!(takes.contains(&target.kind()), "the loss {}", parts::refuse(target.kind(), takes));
        by_parts(self.composed(logits.cast(self.config.dtype.dtype()), target))
    }

    fn dtype(&self) -> LossDtype {
        self.config.dtype
    }

    fn targets(&self) -> &'static [TargetKind] {
        &[TargetKind::Labels, TargetKind::Soft, TargetKind::Classes]
    }

    fn check_scores(&self, scores: Scores) -> Result<(), String> {
        scores.only_logits("it turns them into memberships")
    }

    fn composed(&self, logits: Tensor<2>, target: &Target) -> Tensor<1> {
        let (t, rows) = (target.matrix(&logits), logits.dims()[0]);
        let t = fill(t, parts::removed(&logits), 0.0);
        let x = self.memberships(logits);
        match self.config.over {
            DiceOver::Outputs => self.distance(x, t, 1).squeeze_dim(1),
            DiceOver::Batch => {
                let present = t.clone().max_dim(0).greater_elem(ABSENT);
                let counts = if target.kind() == TargetKind::Soft { present.full_like(true) } else { present };
                let each = self.distance(x, t, 0);
                let counted = each.clone().detach().ones_like().mask_fill(counts.clone().bool_not(), 0.0);
                let mean = each.mask_fill(counts.bool_not(), 0.0).sum() / counted.sum().clamp_min(1.0);
                mean.expand([rows])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::DType;

    use super::*;
    use crate::{
        loss::law_tests::loss,
        testing::{assert_close, assert_gradient, classes, device, normal, tensor, values},
    };

    fn dice(form: DiceForm, eps: f64) -> Dice {
        let config = DiceConfig { form, eps, dtype: LossDtype::F64, ..Default::default() };
        config.init(&Init::new(0, &device(), DType::F64))
    }

    const FORMS: [DiceForm; 3] = [DiceForm::Dml1, DiceForm::Dml2, DiceForm::SoftDice];

    #[test]
    fn golden_values() {
        let row = |values: &[f64]| tensor(values, 4, DType::F64);
        let x = [0.9, 0.6, 0.2, 0.1];
        let soft = [1.0, 0.75, 0.25, 0.0];
        let at = |form, x: &[f64], t: &[f64], eps| values(dice(form, eps).distance(row(x), row(t), 1))[0];
        let wants = [0.1052631579, 0.125, 0.2631578947];
        for (form, want) in FORMS.into_iter().zip(wants) {
            assert_close("soft", &[at(form, &x, &soft, 0.0)], &[want], 1e-9, 0.0);
            assert_close("hard", &[at(form, &x, &[1.0, 1.0, 0.0, 0.0], 0.0)], &[0.2105263158], 1e-9, 0.0);
        }
        assert_close("hard with ε", &[at(DiceForm::Dml1, &x, &[1.0, 1.0, 0.0, 0.0], 1e-3)], &[0.2104155708], 1e-9, 0.0);
        let equal: Vec<f64> = FORMS.iter().map(|form| at(*form, &soft, &soft, 0.0)).collect();
        assert_close("at the target", &equal, &[0.0, 0.0, 0.1875], 1e-9, 1e-15);
        assert_eq!(FORMS.map(|form| at(form, &[0.0; 4], &[0.0; 4], 0.0)), [0.0; 3]);

        for (form, want) in [
            (DiceForm::Dml1, [-0.2908587258, -0.2908587258, -0.2908587258, 0.2354570637]),
            (DiceForm::Dml2, [-0.3515625, -0.33203125, -0.29296875, 0.2734375]),
        ] {
            let x = row(&x).require_grad();
            let gradients = dice(form, 0.0).distance(x.clone(), row(&soft), 1).sum().backward();
            assert_close("gradient", &values(x.grad(&gradients).expect("it takes part")), &want, 1e-9, 0.0);
        }
    }

    #[test]
    fn gradients_agree_with_central_differences() {
        for json in [
            r#"{ "name": "dice", "dtype": "f64" }"#,
            r#"{ "name": "dice", "form": "dml2", "activation": "softmax", "dtype": "f64" }"#,
            r#"{ "name": "dice", "form": "soft_dice", "alpha": 0.3, "beta": 0.7, "dtype": "f64" }"#,
            r#"{ "name": "dice", "over": "batch", "activation": "softmax", "alpha": 1, "beta": 1, "dtype": "f64" }"#,
        ] {
            let dice = loss(json);
            let soft: Vec<f64> = normal(5, 15, 1.0).iter().map(|x| 1.0 / (1.0 + x.exp())).collect();
            for target in [Target::Labels(tensor(&soft, 5, DType::F64)), Target::Classes(classes(&[3, 0, 3]))] {
                // The rows of a batch have one value together.
                assert_gradient(json, &normal(3, 15, 1.0), &[1.0; 15], 15, |x| {
                    dice.forward(x.reshape([3, 5]), &target).mean.reshape([1, 1]).expand([1, 15]) / 15.0
                });
            }
        }
    }

    #[test]
    fn over_a_batch_absent_classes_are_left_out() {
        let dice = loss(r#"{ "name": "dice", "over": "batch", "activation": "softmax", "eps": 0, "dtype": "f64" }"#);
        // Every membership is ½: class 0 holds 1 of 2 rows, class 1 the other one.
        let x = tensor(&[0.0; 4], 2, DType::F64);
        let output = dice.forward(x.clone(), &Target::Classes(classes(&[0, 1])));
        assert_close("rows", &values(output.rows), &[0.5; 2], 1e-12, 0.0);
        // Class 1 is absent: class 0 alone, 1 − 2/(1 + 2).
        let output = dice.forward(x.clone(), &Target::Classes(classes(&[0, 0])));
        assert_close("mean", &values(output.mean), &[1.0 / 3.0], 1e-12, 0.0);
        let soft = Target::Soft(tensor(&[1.0, 0.0, 1.0, 0.0], 2, DType::F64));
        assert_close("soft", &values(dice.forward(x, &soft).mean), &[(1.0 / 3.0 + 1.0) / 2.0], 1e-12, 0.0);
    }
}
