//! The plain head.
use burn::{module::Module, tensor::Tensor};
use kiln_activations::{Ctx, Init};
use kiln_registry::Entry;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{HeadParams, Laws, Scorer, Site};
use crate::{Ask, block::Linear, kernel::Epilogue};

/// Parameters of [`LinearHead`]: none. Bias and first values are the network's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LinearHeadConfig {}

impl Entry for LinearHeadConfig {
    const SUMMARY: &'static str = "a dense layer";
}

impl HeadParams for LinearHeadConfig {
    fn laws(&self) -> Laws {
        Laws::LINEAR
    }
}

impl LinearHeadConfig {
    /// The head.
    pub fn init(&self, (site, init): (&Site, &Init)) -> LinearHead {
        LinearHead { output: site.linear(&init.child("output")) }
    }
}

/// A dense layer: `z = h W + b`.
///
/// # Shapes
/// - features: `[answers, features]`; logits: `[answers, outputs]`
#[derive(Module, Debug)]
pub struct LinearHead {
    /// `[features, outputs]`
    pub output: Linear,
}

impl Scorer for LinearHead {
    fn forward(&self, features: Tensor<2>, _: &Ask, _: &Ctx) -> Tensor<2> {
        self.output.forward(features, Epilogue::None)
    }

    fn unembedding(&self) -> Option<Tensor<2>> {
        Some(self.output.weight.val().transpose())
    }
}
