//! Ways to make a training step. The loop knows none of them; anything that is not
//! "loss, backward, optimizer chain" is a task of its own, not a flag in the loop.
use burn::{
    optim::GradientsParams,
    tensor::{Device, Tensor},
};
use kiln_activations::{
    Ctx, LossTerms,
    loss::{Loss, LossOutput},
};
use kiln_models::{Ask, Io, Model};
use kiln_registry::registry;

use crate::{config::schema::Experiment, train::feed::DeviceBatch};

mod adversarial_comp_sum;
pub mod clock;
mod distillation;
mod mixup;
mod supervised;
mod teacher;

pub use adversarial_comp_sum::{AdversarialCompSum, AdversarialCompSumConfig};
pub use distillation::{Distillation, DistillationConfig};
pub use mixup::{Mixup, MixupConfig};
pub use supervised::SupervisedConfig;
pub use teacher::{Checkpoint, TeacherConfig};

registry! {
    /// A way to train, by name.
    config TaskConfig("task"): dyn TaskParams;
    "supervised" => Supervised(SupervisedConfig),
    "distillation" => Distillation(DistillationConfig),
    "adversarial_comp_sum" => AdversarialCompSum(AdversarialCompSumConfig),
    "mixup" => Mixup(MixupConfig),
}

impl Default for TaskConfig {
    fn default() -> Self {
        Self::Supervised(SupervisedConfig {})
    }
}

/// Why a task cannot be done: the key at fault, relative to `[task]`, and a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// Such as `teacher.run`.
    pub key: &'static str,
    /// What came, what was expected and what to do.
    pub message: String,
}

/// What a task's parameters must answer before it begins.
pub trait TaskParams {
    /// Writes into the parameters what they stand for outside of the config, such as the hash of a teacher's weights, so that
    /// the config says it all; called once a config is read. What is written already is held against what is there.
    ///
    /// # Errors
    /// If what they name is not there or has changed.
    fn pin(&mut self) -> Result<(), Misfit> {
        Ok(())
    }

    /// Whether the task fits the other parts of an experiment on data with these two ends.
    ///
    /// # Errors
    /// The first setting that does not fit.
    fn check(&self, experiment: &Experiment, io: &Io) -> Result<(), Misfit> {
        let _ = (experiment, io);
        Ok(())
    }

    /// The task itself, with all it needs beside the data, on `device` (the inference device).
    ///
    /// # Errors
    /// If something it needs is not there.
    fn init(&self, experiment: &Experiment, io: &Io, device: &Device) -> Result<Box<dyn Task>, Misfit>;
}

/// A way to make the gradients of a step.
pub trait Task: Send {
    /// One pass over a batch; reads the model, changes nothing.
    fn pass(&self, model: &Model, loss: &Loss, batch: &DeviceBatch, ctx: &Ctx) -> Pass;
}

/// What one pass through the network and back leaves behind, before the optimizer acts.
#[derive(Debug)]
pub struct Pass {
    /// Logits of the batch, `[rows, classes]`, detached from the graph.
    pub logits: Tensor<2>,
    /// Loss of each row in the loss dtype, `[rows]`, detached.
    pub loss_rows: Tensor<1>,
    /// Mean loss in the loss dtype, `[1]`, detached.
    pub loss: Tensor<1>,
    /// What parts of the network and the task added to the loss, by name, each `[1]`, detached; not contained in `loss`.
    pub terms: Vec<(String, Tensor<1>)>,
    /// Gradient of every parameter, before any transform.
    pub gradients: GradientsParams,
    /// Seconds of the way back. A device that works behind the program's back is waited for only while a profile is
    /// taken, see [`clock::waiting`].
    pub backward_s: f64,
}

/// The forward half of a pass: what the network says, what the loss says of it, and what is added.
struct Forward {
    logits: Tensor<2>,
    loss: LossOutput,
    terms: Vec<(String, Tensor<1>)>,
}

impl Forward {
    /// The network on a batch whose answers it is told, and its loss.
    fn new(model: &Model, loss: &Loss, batch: &DeviceBatch, ctx: &Ctx) -> Self {
        let terms = LossTerms::default();
        let ask: Ask = batch.ask.clone().knowing(batch.target.clone());
        let logits = model.forward(&batch.input, &ask, &ctx.clone().with_loss_terms(&terms));
        let output = loss.forward(logits.clone(), &batch.target);
        let terms = terms.take().into_iter().map(|term| (term.name, term.value)).collect();
        Self { logits, loss: output, terms }
    }

    /// One more term of the training loss.
    fn add(&mut self, name: &str, value: Tensor<1>) {
        self.terms.push((name.into(), value));
    }

    /// Back to the parameters from the loss, times `weight`, and all terms.
    fn backward(self, model: &Model, weight: f64) -> Pass {
        let Self { logits, loss, terms } = self;
        let mean = if weight == 1.0 { loss.mean.clone() } else { loss.mean.clone().mul_scalar(weight) };
        let dtype = mean.dtype();
        let objective = terms.iter().fold(mean, |sum, (_, value)| sum + value.clone().cast(dtype).reshape([1]));
        let (gradients, backward_s) =
            clock::time(&logits.device(), || GradientsParams::from_grads(objective.backward(), model));
        Pass {
            logits: logits.detach(),
            loss_rows: loss.rows.detach(),
            loss: loss.mean.detach(),
            terms: terms.into_iter().map(|(name, value)| (name, value.detach())).collect(),
            gradients,
            backward_s,
        }
    }
}
