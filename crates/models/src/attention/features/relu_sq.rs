//! The squared rectifier as a feature map.
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

/// Parameters of [`ReluSq`]: none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReluSqConfig {}

impl Entry for ReluSqConfig {
    const SUMMARY: &'static str = "max(x, 0)², which prefers the largest features";
}

impl ReluSqConfig {
    /// The map.
    pub fn init(&self, _: &CoreInit<'_>) -> ReluSq {
        ReluSq
    }
}

impl FeatureSetting for ReluSqConfig {}

/// `φ(x) = max(x, 0)²`.
#[derive(Module, Debug)]
pub struct ReluSq;

impl FeatureMap for ReluSq {
    fn apply(&self, x: Tensor<4>, _: Role, _: &Scope, _: &Ctx) -> Scaled {
        let x = relu(x);
        Scaled::plain(x.clone() * x)
    }
}
