//! Sliding window attention training.
use kiln_activations::normalizer::{NormalizerConfig, SigmoidBias, SigmoidConfig};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Preset;
use crate::{
    attention::{AttentionConfig, PatternConfig, WindowConfig},
    position::{BalancedAlibiConfig, PositionConfig, SlopeSigns},
};

/// A sigmoid over a window, with rotary positions and distance biases of both signs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SwatConfig {
    /// Query heads.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub n_heads: usize,
    /// Keys a query sees, its own included.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub width: usize,
    /// Which signs the slopes of the biases have.
    pub slopes: SlopeSigns,
    /// The bias of the sigmoid: 0 as in the paper; −ln width keeps the sum of a fresh row near 1.
    #[serde(deserialize_with = "range::finite")]
    pub sigmoid_bias: f64,
}

impl Default for SwatConfig {
    /// The paper's window ablation.
    fn default() -> Self {
        Self { n_heads: 4, width: 128, slopes: SlopeSigns::Balanced, sigmoid_bias: 0.0 }
    }
}

impl Entry for SwatConfig {
    const SUMMARY: &'static str = "sigmoid weights in a window, rotary positions, distance biases of both signs";
    const PAPER: &'static str =
        "Fu et al. 2025, Sliding Window Attention Training for Efficient Large Language Models, arXiv:2502.18845";
}

impl Preset for SwatConfig {
    fn slots(&self) -> AttentionConfig {
        AttentionConfig {
            n_heads: self.n_heads,
            normalizer: NormalizerConfig::Sigmoid(SigmoidConfig {
                bias: SigmoidBias::Const(self.sigmoid_bias),
                ..Default::default()
            }),
            pattern: Some(PatternConfig::Window(WindowConfig { width: self.width, sinks: 0 })),
            position: PositionConfig::BalancedAlibi(BalancedAlibiConfig { slopes: self.slopes, rope: true }),
            ..Default::default()
        }
    }
}
