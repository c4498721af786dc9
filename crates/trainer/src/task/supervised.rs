//! The ordinary step: forward, loss, backward.
use burn::tensor::Device;
use kiln_activations::{Ctx, loss::Loss};
use kiln_models::{Io, Model};
use kiln_registry::Entry;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Forward, Misfit, Pass, Task, TaskParams};
use crate::{config::schema::Experiment, train::feed::DeviceBatch};

/// Parameters of the supervised task: none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SupervisedConfig {}

impl Entry for SupervisedConfig {
    const SUMMARY: &'static str =
        "mean loss of a batch and the terms that its parts add, their gradient, one step of the optimizer chain";
}

impl TaskParams for SupervisedConfig {
    fn init(&self, _: &Experiment, _: &Io, _: &Device) -> Result<Box<dyn Task>, Misfit> {
        Ok(Box::new(Supervised))
    }
}

/// The ordinary step.
struct Supervised;

impl Task for Supervised {
    fn pass(&self, model: &Model, loss: &Loss, batch: &DeviceBatch, ctx: &Ctx) -> Pass {
        Forward::new(model, loss, batch, ctx).backward(model, 1.0)
    }
}
