//! The vectors themselves.
use burn::{module::Module, tensor::Tensor};
use kiln_activations::Ctx;
use kiln_registry::Entry;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FeatureLaws, FeatureMap, FeatureSetting, Role, Scaled};
use crate::attention::{Scope, core::CoreInit};

/// Parameters of [`Identity`]: none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IdentityConfig {}

impl Entry for IdentityConfig {
    const SUMMARY: &'static str = "the vectors themselves; weights have either sign, so no sum makes a denominator";
}

impl IdentityConfig {
    /// The map.
    pub fn init(&self, _: &CoreInit<'_>) -> Identity {
        Identity
    }
}

impl FeatureSetting for IdentityConfig {
    fn laws(&self) -> FeatureLaws {
        FeatureLaws { non_negative: false, denominator: false, ..FeatureLaws::POSITIVE }
    }
}

/// `φ(x) = x`.
#[derive(Module, Debug)]
pub struct Identity;

impl FeatureMap for Identity {
    fn apply(&self, x: Tensor<4>, _: Role, _: &Scope, _: &Ctx) -> Scaled {
        Scaled::plain(x)
    }
}
