//! Attention with a gate on its output.
use kiln_activations::normalizer::NormalizerConfig;
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Preset;
use crate::attention::{AttentionConfig, GateConfig};

/// Attention whose heads can fall silent by a gate instead of resting on a sink.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GatedAttnConfig {
    /// Query heads.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub n_heads: usize,
    /// Whether each head has one gate instead of one per channel.
    pub per_head: bool,
    /// Where the gate starts: 0 is half open, 2 almost whole.
    #[serde(deserialize_with = "range::finite")]
    pub open: f64,
    /// The map from a row of scores to a row of weights.
    pub normalizer: NormalizerConfig,
}

impl Default for GatedAttnConfig {
    fn default() -> Self {
        Self { n_heads: 4, per_head: false, open: 0.0, normalizer: NormalizerConfig::default() }
    }
}

impl Entry for GatedAttnConfig {
    const SUMMARY: &'static str = "a sigmoid gate on what the heads give";
    const PAPER: &'static str = "Qiu et al. 2025, arXiv:2505.06708";
}

impl Preset for GatedAttnConfig {
    fn slots(&self) -> AttentionConfig {
        AttentionConfig {
            n_heads: self.n_heads,
            gate: Some(GateConfig { per_head: self.per_head, open: self.open, ..Default::default() }),
            normalizer: self.normalizer.clone(),
            ..Default::default()
        }
    }
}
