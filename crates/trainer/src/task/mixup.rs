//! Learning from mixtures of rows.
use burn::tensor::{Device, Int, Tensor, TensorData};
use kiln_activations::{
    Ctx,
    loss::{Loss, LossOutput, Target, TargetKind},
};
use kiln_models::{Input, InputSpec, Io, Model};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Forward, Misfit, Pass, Task, TaskParams};
use crate::{config::schema::Experiment, train::feed::DeviceBatch};

/// Parameters of [`Mixup`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MixupConfig {
    /// Both parameters of the Beta distribution that shares are drawn from: near 0 rows hardly mix, at 1 every share is as
    /// likely as any other.
    #[serde(deserialize_with = "range::positive")]
    #[schemars(range(min = 0.0))]
    pub alpha: f64,
}

impl Default for MixupConfig {
    /// The paper's choice for large sets of natural images; it takes 1 for CIFAR-10.
    fn default() -> Self {
        Self { alpha: 0.2 }
    }
}

impl Entry for MixupConfig {
    const SUMMARY: &'static str = "the loss of rows mixed with other rows of the batch, against both rows' classes";
    const PAPER: &'static str = "Zhang et al. 2018, mixup: Beyond Empirical Risk Minimization, arXiv:1710.09412";
}

impl TaskParams for MixupConfig {
    fn check(&self, experiment: &Experiment, io: &Io) -> Result<(), Misfit> {
        let refuse = |message| Err(Misfit { key: "name", message });
        if !matches!(io.input, InputSpec::Image { .. } | InputSpec::Floats { .. }) {
            return refuse(format!("the data gives {}; only images and vectors of numbers can be mixed", io.input));
        }
        if crate::train::feed::target(&experiment.data.spec()) != TargetKind::Classes {
            return refuse("the data asks for numbers; mixing needs a class for each row".into());
        }
        if let Some(head) = experiment.model.head().filter(|head| head.laws().needs_classes) {
            let message = format!(
                "the head \"{}\" must know each row's one class, and a mixed row has two; take another head, such as \
                 \"linear\" or \"normalised\"",
                head.name()
            );
            return refuse(message);
        }
        Ok(())
    }

    fn init(&self, _: &Experiment, _: &Io, _: &Device) -> Result<Box<dyn Task>, Misfit> {
        Ok(Box::new(Mixup { alpha: self.alpha }))
    }
}

/// A step on mixtures of rows.
/// ```text
/// x'_i = λ x_i + (1 − λ) x_p(i),   loss = λ loss(z(x'_i), y_i) + (1 − λ) loss(z(x'_i), y_p(i))
/// ```
/// λ is drawn from Beta(alpha, alpha) and p, a permutation of the batch, uniformly, once for each step, from the run's stream at
/// that step. Logits and accuracy of the training batch are those of the mixtures, against `y_i`.
///
/// # References
/// Zhang, Cissé, Dauphin and Lopez-Paz 2018, arXiv:1710.09412.
pub struct Mixup {
    alpha: f64,
}

impl Task for Mixup {
    fn pass(&self, model: &Model, loss: &Loss, batch: &DeviceBatch, ctx: &Ctx) -> Pass {
        let mut draws = ctx.child("mixup").draws();
        // A Beta variate is a share of two of the Dirichlet distribution.
        let share = draws.dirichlet(self.alpha, 2)[0];
        let partners = draws.permutation(batch.input.rows());
        let input = mix(&batch.input, share, &partners);
        let mixed = DeviceBatch { input, ..batch.clone() };
        let mut forward = Forward::new(model, loss, &mixed, ctx);

        let classes = batch.target.classes();
        let other = classes.clone().select(0, indices(&partners, &classes.device()));
        let other = loss.forward(forward.logits.clone(), &Target::Classes(other));
        let both = |own: Tensor<1>, other: Tensor<1>| own.mul_scalar(share) + other.mul_scalar(1.0 - share);
        let LossOutput { mean, rows, row_sum } = forward.loss;
        forward.loss = LossOutput { mean: both(mean, other.mean), rows: both(rows, other.rows), row_sum };
        forward.backward(model, 1.0)
    }
}

fn indices(rows: &[usize], device: &Device) -> Tensor<1, Int> {
    let rows: Vec<i64> = rows.iter().map(|row| *row as i64).collect();
    let count = rows.len();
    Tensor::from_data(TensorData::new(rows, [count]), device)
}

/// Each row times its share, and its partner times the rest.
fn mix(input: &Input, share: f64, partners: &[usize]) -> Input {
    fn mixed<const D: usize>(values: &Tensor<D>, share: f64, partners: &[usize]) -> Tensor<D> {
        let others = values.clone().select(0, indices(partners, &values.device()));
        values.clone().mul_scalar(share) + others.mul_scalar(1.0 - share)
    }
    match input {
        Input::Image(images) => Input::Image(mixed(images, share, partners)),
        Input::Floats(values) => Input::Floats(mixed(values, share, partners)),
        other => unreachable!("the check refuses what cannot be mixed: {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(feature = "flex")]
    fn rows_are_mixed_with_their_partners() {
        let values = Tensor::from_data([[0.0, 4.0], [8.0, 0.0], [2.0, 2.0]], &Device::flex());
        let Input::Floats(mixed) = mix(&Input::Floats(values), 0.75, &[1, 2, 0]) else { panic!("no vectors") };
        // 3/4 · [0, 4] + 1/4 · [8, 0], and so on.
        assert_eq!(mixed.to_data().iter::<f32>().collect::<Vec<_>>(), [2.0, 3.0, 6.5, 0.5, 1.5, 2.5]);
    }
}
