//! Score, normalise, mix.
use kiln_activations::normalizer::NormalizerConfig;
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Preset;
use crate::attention::AttentionConfig;

/// Attention with any normalizer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AttnConfig {
    /// Query heads.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub n_heads: usize,
    /// The map from a row of scores to a row of weights.
    pub normalizer: NormalizerConfig,
}

impl Default for AttnConfig {
    fn default() -> Self {
        Self { n_heads: 4, normalizer: NormalizerConfig::default() }
    }
}

impl Entry for AttnConfig {
    const SUMMARY: &'static str = "scores, a normalizer, a weighted sum";
    const PAPER: &'static str = "Vaswani et al. 2017, arXiv:1706.03762";
}

impl Preset for AttnConfig {
    fn slots(&self) -> AttentionConfig {
        AttentionConfig { n_heads: self.n_heads, normalizer: self.normalizer.clone(), ..Default::default() }
    }
}
