//! Softmax attention as a recurrence.
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Preset;
use crate::attention::{
    AttentionConfig, CoreConfig, QkNorm,
    core::{Numerator, RatioConfig},
    denominator::DenominatorConfig,
};

/// Softmax attention taken apart: its numerator or the first terms of it, over any denominator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RecurrentSoftmaxConfig {
    /// Query heads.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub n_heads: usize,
    /// The weight of a key before anything divides it.
    pub numerator: Numerator,
    /// Terms of the series beyond 1, for `taylor`.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub order: usize,
    /// What the weighted values are divided by.
    pub denominator: DenominatorConfig,
    /// Normalisation of queries and keys; scores stay small with it, as `gate` and `none` need.
    pub qk_norm: QkNorm,
}

impl Default for RecurrentSoftmaxConfig {
    /// The exponential over the norm of what it gives, the paper's best replacement of the sum.
    fn default() -> Self {
        Self {
            n_heads: 4,
            numerator: Numerator::Exp,
            order: 2,
            denominator: DenominatorConfig::Rms(Default::default()),
            qk_norm: QkNorm::None,
        }
    }
}

impl Entry for RecurrentSoftmaxConfig {
    const SUMMARY: &'static str = "the exponential or the first terms of its series, over a sum, a norm or a gate";
    const PAPER: &'static str = "Mongaras and Larson 2025, On the Expressiveness of Softmax Attention: A Recurrent Neural Network Perspective, arXiv:2507.23632";
}

impl Preset for RecurrentSoftmaxConfig {
    fn slots(&self) -> AttentionConfig {
        let core = RatioConfig { numerator: self.numerator, order: self.order, denominator: self.denominator.clone() };
        AttentionConfig {
            n_heads: self.n_heads,
            core: CoreConfig::Ratio(core),
            qk_norm: self.qk_norm,
            ..Default::default()
        }
    }
}
