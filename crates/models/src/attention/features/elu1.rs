//! The shifted exponential linear unit.
use burn::{module::Module, tensor::Tensor};
use kiln_activations::Ctx;
use kiln_registry::Entry;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FeatureMap, FeatureSetting, Role, Scaled};
use crate::attention::{Scope, core::CoreInit};

/// Parameters of [`Elu1`]: none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Elu1Config {}

impl Entry for Elu1Config {
    const SUMMARY: &'static str = "elu(x) + 1: never 0, linear above";
    const PAPER: &'static str = "Katharopoulos et al. 2020, arXiv:2006.16236";
}

impl Elu1Config {
    /// The map.
    pub fn init(&self, _: &CoreInit<'_>) -> Elu1 {
        Elu1
    }
}

impl FeatureSetting for Elu1Config {}

/// `φ(x) = x + 1` for x > 0, `eˣ` else.
#[derive(Module, Debug)]
pub struct Elu1;

impl FeatureMap for Elu1 {
    fn apply(&self, x: Tensor<4>, _: Role, _: &Scope, _: &Ctx) -> Scaled {
        // Each branch gets the arguments that are its own, so that no infinity meets a slope of 0.
        Scaled::plain(x.clone().clamp_max(0.0).exp() + x.clamp_min(0.0))
    }
}
