//! The ordinary step: forward, loss, backward.
use burn::optim::GradientsParams;
use kiln_activations::{Ctx, LossTerms, loss::Loss};
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
    const SUMMARY: &'static str =
        "mean loss of a batch and the terms that its parts add, their gradient, one step of the optimizer chain";
}

impl Task for SupervisedConfig {
    fn pass(&self, model: &Model, loss: &Loss, batch: &DeviceBatch, ctx: &Ctx) -> Pass {
        let terms = LossTerms::default();
        let ask = batch.ask.clone().knowing(batch.target.clone());
        let logits = model.forward(&batch.input, &ask, &ctx.clone().with_loss_terms(&terms));
        let detached = logits.clone().detach();
        let output = loss.forward(logits, &batch.target);
        let terms = terms.take();
        let dtype = output.mean.dtype();
        let objective =
            terms.iter().fold(output.mean.clone(), |sum, term| sum + term.value.clone().cast(dtype).reshape([1]));
        Pass {
            logits: detached,
            loss_rows: output.rows.detach(),
            loss: output.mean.detach(),
            terms: terms.into_iter().map(|term| (term.name, term.value.detach())).collect(),
            gradients: GradientsParams::from_grads(objective.backward(), model),
        }
    }
}
