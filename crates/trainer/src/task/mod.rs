//! Ways to make a training step. The loop knows none of them; anything that is not
//! "loss, backward, optimizer chain" is a task of its own, not a flag in the loop.
use burn::{optim::GradientsParams, tensor::Tensor};
use kiln_activations::{Ctx, loss::Loss};
use kiln_models::Model;
use kiln_registry::registry;

use crate::train::feed::DeviceBatch;

mod supervised;

pub use supervised::SupervisedConfig;

registry! {
    /// A way to train, by name.
    config TaskConfig("task"): dyn Task;
    "supervised" => Supervised(SupervisedConfig),
}

impl Default for TaskConfig {
    fn default() -> Self {
        Self::Supervised(SupervisedConfig {})
    }
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
    /// What parts of the network added to the loss, by name, each `[1]`, detached; not contained in `loss`.
    pub terms: Vec<(String, Tensor<1>)>,
    /// Gradient of every parameter, before any transform.
    pub gradients: GradientsParams,
}

/// A way to make the gradients of a step.
pub trait Task {
    /// One pass over a batch; reads the model, changes nothing.
    fn pass(&self, model: &Model, loss: &Loss, batch: &DeviceBatch, ctx: &Ctx) -> Pass;
}
