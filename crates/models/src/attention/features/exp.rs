//! The exponential function as a feature map.
use burn::{module::Module, tensor::Tensor};
use kiln_activations::Ctx;
use kiln_registry::Entry;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FeatureMap, FeatureSetting, Role, Scaled, half_scale};
use crate::attention::{Scope, core::CoreInit};

/// Parameters of [`Exp`]: none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExpConfig {}

impl Entry for ExpConfig {
    const SUMMARY: &'static str = "the exponential of each entry";
}

impl ExpConfig {
    /// The map.
    pub fn init(&self, _: &CoreInit<'_>) -> Exp {
        Exp
    }
}

impl FeatureSetting for ExpConfig {}

/// `φ(x) = exp(x / d^(1/4))`, entry by entry. The largest entry of each vector stands in the factor apart, so that nothing
/// overflows where the denominator cancels it.
#[derive(Module, Debug)]
pub struct Exp;

impl FeatureMap for Exp {
    fn apply(&self, x: Tensor<4>, _: Role, _: &Scope, _: &Ctx) -> Scaled {
        let scale = half_scale(&x);
        let x = x.mul_scalar(scale);
        let largest = x.clone().detach().max_dim(3);
        Scaled::new((x - largest.clone()).exp(), largest)
    }
}
