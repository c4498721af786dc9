//! `[model.attention]`: the slots of attention.
use kiln_activations::normalizer::NormalizerConfig;
use kiln_registry::range;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CoreConfig, GateConfig, LocalConvConfig, LognConfig, PatternConfig, QkNorm};
use crate::position::PositionConfig;

/// `[model.attention]`: the slots of attention.
///
/// A config may name a preset instead, `attention = "mala"` or `{ name = "gla", n_heads = 4 }`, which stands for such slots;
/// name and slots are never mixed. A resolved config shows the slots.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, remote = "Self")]
#[schemars(rename = "AttentionSlots")]
pub struct AttentionConfig {
    /// Query heads.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub n_heads: usize,
    /// Key and value heads; query heads share them in groups. As many as query heads if left out. Ainslie et al. 2023,
    /// arXiv:2305.13245.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub kv_heads: Option<usize>,
    /// Width of a query and of a key of one head; the heads share the model's width evenly if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub d_head: Option<usize>,
    /// Width of a value of one head; the heads share the model's width evenly if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub d_value: Option<usize>,
    /// What is done with queries, keys and values.
    pub core: CoreConfig,
    /// The map from a row of scores to a row of weights, for the core that has weights.
    pub normalizer: NormalizerConfig,
    /// How queries and keys, or their scores, know their places.
    pub position: PositionConfig,
    /// Which keys a query sees; what the network sees if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pattern: Option<PatternConfig>,
    /// Factor on the products of queries and keys; 1/√d_head if left out, and √d_head for queries and keys of length 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub scale: Option<f64>,
    /// Whether the factor is learned, one per head, from there. That of queries and keys of length 1 always is.
    pub learn_scale: bool,
    /// A factor that grows with the number of keys a query sees.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logn: Option<LognConfig>,
    /// Normalisation of queries and keys in front of everything else.
    pub qk_norm: QkNorm,
    /// A gate on what the heads give.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gate: Option<GateConfig>,
    /// A convolution over the values of near tokens that is added to what the heads give.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_conv: Option<LocalConvConfig>,
    /// Whether queries and keys are one projection.
    pub shared_qk: bool,
    /// Rank of the query and of the key projection; full if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub rank_qk: Option<usize>,
    /// Rank of the value projection; full if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub rank_v: Option<usize>,
    /// Biases of the four projections.
    pub bias: bool,
}

impl Default for AttentionConfig {
    /// 4 heads of softmax attention without biases, as in the one-layer transformers of the grokking literature.
    fn default() -> Self {
        Self {
            n_heads: 4,
            kv_heads: None,
            d_head: None,
            d_value: None,
            core: CoreConfig::default(),
            normalizer: NormalizerConfig::default(),
            position: PositionConfig::default(),
            pattern: None,
            scale: None,
            learn_scale: false,
            logn: None,
            qk_norm: QkNorm::None,
            gate: None,
            local_conv: None,
            shared_qk: false,
            rank_qk: None,
            rank_v: None,
            bias: false,
        }
    }
}

impl AttentionConfig {
    /// The pattern of a layer in a network that looks ahead or not.
    pub fn pattern_in(&self, causal: bool) -> PatternConfig {
        self.pattern.clone().unwrap_or_else(|| PatternConfig::whole(causal))
    }

    /// Key and value heads.
    pub fn kv_heads(&self) -> usize {
        self.kv_heads.unwrap_or(self.n_heads)
    }

    /// Width of a query of one head, and of a value.
    pub fn widths(&self, d_model: usize) -> [usize; 2] {
        let even = d_model / self.n_heads;
        [self.d_head.unwrap_or(even), self.d_value.unwrap_or(even)]
    }

    /// Whether a layer built from this attends by weights that a probe can see.
    pub fn has_weights(&self) -> bool {
        self.core.properties().normalizer
    }
}
