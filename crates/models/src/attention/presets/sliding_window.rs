//! Attention to the recent past.
use kiln_activations::normalizer::NormalizerConfig;
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Preset;
use crate::attention::{AttentionConfig, PatternConfig, WindowConfig};

/// Attention to the last few keys, and to the first ones if asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SlidingWindowConfig {
    /// Query heads.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub n_heads: usize,
    /// Keys a query sees, its own included.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub width: usize,
    /// First keys that are always seen.
    pub sinks: usize,
    /// The map from a row of scores to a row of weights.
    pub normalizer: NormalizerConfig,
}

impl Default for SlidingWindowConfig {
    fn default() -> Self {
        Self { n_heads: 4, width: 128, sinks: 0, normalizer: NormalizerConfig::default() }
    }
}

impl Entry for SlidingWindowConfig {
    const SUMMARY: &'static str = "a query sees the last few keys, and the first ones if asked";
    const PAPER: &'static str = "Beltagy et al. 2020, arXiv:2004.05150; Xiao et al. 2023, arXiv:2309.17453";
}

impl Preset for SlidingWindowConfig {
    fn slots(&self) -> AttentionConfig {
        AttentionConfig {
            n_heads: self.n_heads,
            pattern: Some(PatternConfig::Window(WindowConfig { width: self.width, sinks: self.sinks })),
            normalizer: self.normalizer.clone(),
            ..Default::default()
        }
    }
}
