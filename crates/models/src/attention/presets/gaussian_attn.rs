//! Gaussian attention.
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Preset;
use crate::attention::{
    AttentionConfig, CoreConfig,
    core::{GaussianConfig, GaussianNormalize},
};

/// Weights that are a Gaussian of the distance of query and key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GaussianAttnConfig {
    /// Query heads.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub n_heads: usize,
    /// What the weights of a query are divided by.
    pub normalize: GaussianNormalize,
}

impl Default for GaussianAttnConfig {
    /// Undivided, as in the paper.
    fn default() -> Self {
        Self { n_heads: 4, normalize: GaussianNormalize::None }
    }
}

impl Entry for GaussianAttnConfig {
    const SUMMARY: &'static str = "weights that are a Gaussian of the distance of query and key";
    const PAPER: &'static str =
        "Song et al. 2024, Unraveling the Gradient Descent Dynamics of Transformers, arXiv:2411.07538";
}

impl Preset for GaussianAttnConfig {
    fn slots(&self) -> AttentionConfig {
        let core = CoreConfig::Gaussian(GaussianConfig { normalize: self.normalize });
        AttentionConfig { n_heads: self.n_heads, core, ..Default::default() }
    }
}
