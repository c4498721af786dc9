//! Attention with normalised queries and keys.
use kiln_activations::normalizer::NormalizerConfig;
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Preset;
use crate::attention::{AttentionConfig, QkNorm};

/// Attention with normalised queries and keys, whose scores cannot grow without bound.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct QkNormConfig {
    /// Query heads.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub n_heads: usize,
    /// How they are normalised.
    pub norm: QkNorm,
    /// The map from a row of scores to a row of weights.
    pub normalizer: NormalizerConfig,
}

impl Default for QkNormConfig {
    /// Root mean square, as in most language models.
    fn default() -> Self {
        Self { n_heads: 4, norm: QkNorm::Rms, normalizer: NormalizerConfig::default() }
    }
}

impl Entry for QkNormConfig {
    const SUMMARY: &'static str = "queries and keys normalised per head, so that scores stay bounded";
    const PAPER: &'static str = "Henry et al. 2020, arXiv:2010.04245; Dehghani et al. 2023, arXiv:2302.05442";
}

impl Preset for QkNormConfig {
    fn slots(&self) -> AttentionConfig {
        AttentionConfig {
            n_heads: self.n_heads,
            qk_norm: self.norm,
            normalizer: self.normalizer.clone(),
            ..Default::default()
        }
    }
}
