//! Scores that grow with the logarithm of the row.
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Preset;
use crate::attention::{AttentionConfig, LognConfig};

/// Attention whose scores grow with the logarithm of the number of keys, so that weights do not fade over long rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LognScaleAttentionConfig {
    /// Query heads.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub n_heads: usize,
    /// Keys of a row in training: where the factor is 1.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 2))]
    pub n_train: usize,
    /// Whether shorter rows keep the factor 1.
    pub clamp: bool,
}

impl Default for LognScaleAttentionConfig {
    fn default() -> Self {
        Self { n_heads: 4, n_train: 512, clamp: true }
    }
}

impl Entry for LognScaleAttentionConfig {
    const SUMMARY: &'static str = "scores times ln n / ln n_train, so that weights do not fade over longer rows";
    const PAPER: &'static str = "Chiang and Cholak 2022, arXiv:2202.12172";
}

impl Preset for LognScaleAttentionConfig {
    fn slots(&self) -> AttentionConfig {
        AttentionConfig {
            n_heads: self.n_heads,
            logn: Some(LognConfig { n_train: self.n_train, clamp: self.clamp }),
            ..Default::default()
        }
    }
}
