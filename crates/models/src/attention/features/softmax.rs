//! The softmax as a feature map.
use burn::{
    module::Module,
    tensor::{Tensor, activation::softmax},
};
use kiln_activations::Ctx;
use kiln_registry::Entry;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FeatureLaws, FeatureMap, FeatureSetting, Role, Scaled};
use crate::{
    Invalid,
    attention::{Scope, core::CoreInit},
};

/// Parameters of [`SoftmaxFeatures`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SoftmaxFeaturesConfig {
    /// Whether a key's features are normalised over the keys instead of over its own entries, as in efficient attention: the
    /// weights of a query then sum to one without a denominator, and no causal form exists.
    pub efficient: bool,
}

impl Entry for SoftmaxFeaturesConfig {
    const SUMMARY: &'static str =
        "softmax over the entries of each vector, or over the keys for keys (efficient attention)";
    const PAPER: &'static str = "Shen et al. 2018, arXiv:1812.01243";
}

impl SoftmaxFeaturesConfig {
    /// The map.
    pub fn init(&self, _: &CoreInit<'_>) -> SoftmaxFeatures {
        SoftmaxFeatures { efficient: self.efficient }
    }
}

impl FeatureSetting for SoftmaxFeaturesConfig {
    fn laws(&self) -> FeatureLaws {
        let per_token = !self.efficient;
        FeatureLaws { per_token, exact_step: per_token, ..FeatureLaws::POSITIVE }
    }

    fn check(&self, causal: bool) -> Result<(), Invalid> {
        if self.efficient && causal {
            let message = "a softmax over the keys lets a query see later ones; set efficient = false, or a pattern that \
                           is not causal";
            return Err(Invalid::new("efficient", message.into()));
        }
        Ok(())
    }
}

/// ```text
/// φ(x)_c = exp(x_c) / Σ_c' exp(x_c');     efficient, for keys:  φ(k_j)_c = exp(k_jc) / Σ_j' exp(k_j'c) over kept keys
/// ```
#[derive(Module, Debug)]
pub struct SoftmaxFeatures {
    efficient: bool,
}

impl FeatureMap for SoftmaxFeatures {
    fn apply(&self, x: Tensor<4>, role: Role, scope: &Scope, _: &Ctx) -> Scaled {
        if !self.efficient || role == Role::Query {
            return Scaled::plain(softmax(x, 3));
        }
        Scaled::plain(match role.side(scope).kept_heads() {
            None => softmax(x, 2),
            Some(kept) => {
                // A finite value far below all others: with −∞ a row without kept keys would be NaN.
                let hidden = kept.bool_not().expand(x.dims());
                softmax(x.mask_fill(hidden.clone(), -1e30), 2).mask_fill(hidden, 0.0)
            }
        })
    }
}
