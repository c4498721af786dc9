//! Learning from a teacher.
use burn::tensor::{DType, Device, activation::softmax};
use kiln_activations::{
    Ctx, Init,
    loss::{self, Loss, LossConfig, LossDtype, Target, TargetKind},
};
use kiln_models::{Io, Model};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Forward, Misfit, Pass, Task, TaskParams, TeacherConfig};
use crate::{config::schema::Experiment, train::feed::DeviceBatch};

/// Parameters of [`Distillation`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DistillationConfig {
    /// The run to learn from.
    pub teacher: TeacherConfig,
    /// What the logits of teacher and student are divided by before they are compared.
    #[serde(default = "four", deserialize_with = "range::positive")]
    #[schemars(range(min = 0.0))]
    pub temperature: f64,
    /// The teacher's share of the training loss; 1 leaves out the data's own answers.
    #[serde(default = "most", deserialize_with = "range::positive")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub weight: f64,
}

/// In the range that small students of trained teachers want.
fn four() -> f64 {
    4.0
}

/// The answers keep a tenth.
fn most() -> f64 {
    0.9
}

impl Entry for DistillationConfig {
    const SUMMARY: &'static str =
        "the loss, mixed with the divergence from a trained run's distribution at a temperature";
    const PAPER: &'static str =
        "Hinton, Vinyals and Dean 2015, Distilling the Knowledge in a Neural Network, arXiv:1503.02531";
}

impl TaskParams for DistillationConfig {
    fn pin(&mut self) -> Result<(), Misfit> {
        self.teacher.pin()
    }

    fn check(&self, experiment: &Experiment, _: &Io) -> Result<(), Misfit> {
        let refuse = |key, message| Err(Misfit { key, message });
        if self.weight > 1.0 {
            return refuse(
                "weight",
                format!("{} is out of range; expected a share above 0 and at most 1", self.weight),
            );
        }
        let head = experiment.model.head();
        if let Some(head) = head.filter(|head| head.laws().needs_classes) {
            let message = format!(
                "the head \"{}\" moves or leaves out the logits that a teacher's are compared with; take another head, such as \
                 \"linear\" or \"normalised\"",
                head.name()
            );
            return refuse("name", message);
        }
        match experiment.model.trains(&self.loss(LossDtype::F32), TargetKind::Soft) {
            Ok(()) => Ok(()),
            Err(message) => refuse("name", message),
        }
    }

    fn init(&self, experiment: &Experiment, io: &Io, device: &Device) -> Result<Box<dyn Task>, Misfit> {
        let teacher = self.teacher.load(io, device)?;
        let seed = experiment.run.seed;
        let init = Init::new(seed, device, experiment.model.dtype());
        let dtype = experiment.loss.init(&init).dtype();
        let divergence = self.loss(dtype).init(&init);
        Ok(Box::new(Distillation { teacher, divergence, temperature: self.temperature, weight: self.weight, seed }))
    }
}

impl DistillationConfig {
    /// The student's loss against the teacher.
    fn loss(&self, dtype: LossDtype) -> LossConfig {
        LossConfig::Distillation(loss::DistillationConfig { temperature: self.temperature, squared: true, dtype })
    }
}

/// A step towards the answers of the data and those of a teacher.
/// ```text
/// (1 − weight) · loss(z, y) + weight · T² KL(softmax(z_teacher/T) ‖ softmax(z/T))
/// ```
/// The second summand is the term `distillation`; the logged loss is the first without its factor. The teacher does not learn and
/// runs as in an evaluation.
///
/// # References
/// Hinton, Vinyals and Dean 2015, arXiv:1503.02531.
pub struct Distillation {
    teacher: Model,
    divergence: Loss,
    temperature: f64,
    weight: f64,
    seed: u64,
}

impl Task for Distillation {
    fn pass(&self, model: &Model, loss: &Loss, batch: &DeviceBatch, ctx: &Ctx) -> Pass {
        let mut forward = Forward::new(model, loss, batch, ctx);
        let taught = self.teacher.forward(&batch.input, &batch.ask, &Ctx::eval(self.seed, ctx.step));
        // In f32 at least, whatever the teacher's own precision.
        let taught = if matches!(taught.dtype(), DType::F16 | DType::BF16) { taught.cast(DType::F32) } else { taught };
        let soft = Target::Soft(softmax(taught.mul_scalar(1.0 / self.temperature), 1));
        let divergence = self.divergence.forward(forward.logits.clone(), &soft).mean;
        forward.add("distillation", divergence.mul_scalar(self.weight));
        forward.backward(model, 1.0 - self.weight)
    }
}
