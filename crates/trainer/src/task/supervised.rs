//! The ordinary step: forward, loss, backward.
use burn::optim::GradientsParams;
use kiln_activations::{Ctx, loss::Loss};
use kiln_models::Model;
use kiln_registry::Entry;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Pass, Task};
use crate::train::feed::DeviceBatch;

/// Parameters of the supervised task: none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SupervisedConfig {}

impl Entry for SupervisedConfig {
    const SUMMARY: &'static str = "mean loss of a batch, its gradient, one step of the optimizer chain";
}

impl Task for SupervisedConfig {
    fn pass(&self, model: &Model, loss: &Loss, batch: &DeviceBatch, ctx: &Ctx) -> Pass {
        let logits = model.forward(&batch.input, ctx);
        let detached = logits.clone().detach();
        let output = loss.forward(logits, &batch.target);
        Pass {
            logits: detached,
            loss_rows: output.rows.detach(),
            loss: output.mean.clone().detach(),
            gradients: GradientsParams::from_grads(output.mean.backward(), model),
        }
    }
}
