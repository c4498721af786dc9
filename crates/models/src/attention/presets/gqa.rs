//! Query heads that share key and value heads.
use kiln_activations::normalizer::NormalizerConfig;
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Preset;
use crate::attention::AttentionConfig;

/// Grouped-query attention; with one key head, multi-query attention.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GqaConfig {
    /// Query heads.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub n_heads: usize,
    /// Key and value heads; divides the query heads.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub kv_heads: usize,
    /// The map from a row of scores to a row of weights.
    pub normalizer: NormalizerConfig,
}

impl Default for GqaConfig {
    /// Two groups.
    fn default() -> Self {
        Self { n_heads: 4, kv_heads: 2, normalizer: NormalizerConfig::default() }
    }
}

impl Entry for GqaConfig {
    const SUMMARY: &'static str = "query heads share key and value heads in groups";
    const PAPER: &'static str = "Ainslie et al. 2023, arXiv:2305.13245; Shazeer 2019, arXiv:1911.02150";
}

impl Preset for GqaConfig {
    fn slots(&self) -> AttentionConfig {
        AttentionConfig {
            n_heads: self.n_heads,
            kv_heads: Some(self.kv_heads),
            normalizer: self.normalizer.clone(),
            ..Default::default()
        }
    }
}
