//! The rectifier as a feature map.
use burn::{
    module::Module,
    tensor::{Tensor, activation::relu},
};
use kiln_activations::Ctx;
use kiln_registry::Entry;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FeatureMap, FeatureSetting, Role, Scaled};
use crate::attention::{Scope, core::CoreInit};

/// Parameters of [`Relu`]: none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReluConfig {}

impl Entry for ReluConfig {
    const SUMMARY: &'static str = "max(x, 0); a query that shares no active feature with any key gets 0";
}

impl ReluConfig {
    /// The map.
    pub fn init(&self, _: &CoreInit<'_>) -> Relu {
        Relu
    }
}

impl FeatureSetting for ReluConfig {}

/// `φ(x) = max(x, 0)`, with slope 0 at 0.
#[derive(Module, Debug)]
pub struct Relu;

impl FeatureMap for Relu {
    fn apply(&self, x: Tensor<4>, _: Role, _: &Scope, _: &Ctx) -> Scaled {
        Scaled::plain(relu(x))
    }
}
