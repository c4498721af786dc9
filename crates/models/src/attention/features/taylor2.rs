//! The exponential function's Taylor polynomial of order 2, in features.
use burn::{module::Module, tensor::Tensor};
use kiln_activations::Ctx;
use kiln_registry::Entry;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FeatureLaws, FeatureMap, FeatureSetting, Role, Scaled, half_scale};
use crate::attention::{Scope, core::CoreInit};

/// Parameters of [`Taylor2`]: none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Taylor2Config {}

impl Entry for Taylor2Config {
    const SUMMARY: &'static str =
        "1, x and all products of two entries: exp(q·k/√d) to second order, in 1 + d + d² features";
    const PAPER: &'static str = "Arora et al. 2024, arXiv:2402.18668";
}

impl Taylor2Config {
    /// The map.
    pub fn init(&self, _: &CoreInit<'_>) -> Taylor2 {
        Taylor2
    }
}

impl FeatureSetting for Taylor2Config {
    fn laws(&self) -> FeatureLaws {
        FeatureLaws { non_negative: false, ..FeatureLaws::POSITIVE }
    }

    fn width(&self, d: usize) -> usize {
        1 + d + d * d
    }
}

/// ```text
/// φ(x) = [1, x', vec(x' x'ᵀ) / √2],  x' = x / d^(1/4);     φ(q)·φ(k) = 1 + z + z²/2,  z = q·k / √d
/// ```
/// The polynomial is above 0 everywhere, its features are not.
#[derive(Module, Debug)]
pub struct Taylor2;

impl FeatureMap for Taylor2 {
    fn apply(&self, x: Tensor<4>, _: Role, _: &Scope, _: &Ctx) -> Scaled {
        let [rows, heads, length, d] = x.dims();
        let scale = half_scale(&x);
        let x = x.mul_scalar(scale);
        let one = Tensor::ones([rows, heads, length, 1], (&x.device(), x.dtype()));
        let products = x.clone().unsqueeze_dim::<5>(4) * x.clone().unsqueeze_dim::<5>(3);
        let products = products.reshape([rows, heads, length, d * d]).mul_scalar(0.5f64.sqrt());
        Scaled::plain(Tensor::cat(vec![one, x, products], 3))
    }
}
