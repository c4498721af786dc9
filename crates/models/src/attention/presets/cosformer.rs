//! Linear attention that fades with the distance.
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Preset;
use crate::attention::{
    AttentionConfig, CoreConfig,
    core::KernelConfig,
    features::{CosReweightConfig, FeaturesConfig},
};

/// Rectified features, re-weighted by a cosine of the distance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CosformerConfig {
    /// Query heads.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub n_heads: usize,
    /// The distance at which weights reach 0; at least the longest row. The length at hand if left out, as in the official code, and
    /// then nothing can be decoded step by step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_len: Option<usize>,
}

impl Default for CosformerConfig {
    /// A fixed length, so that decoding is exact.
    fn default() -> Self {
        Self { n_heads: 4, max_len: Some(1024) }
    }
}

impl Entry for CosformerConfig {
    const SUMMARY: &'static str = "rectified features, re-weighted by a cosine of the distance";
    const PAPER: &'static str = "Qin et al. 2022, cosFormer: Rethinking Softmax in Attention, arXiv:2202.08791";
}

impl Preset for CosformerConfig {
    fn slots(&self) -> AttentionConfig {
        let features = FeaturesConfig::CosReweight(CosReweightConfig { max_len: self.max_len });
        let core = KernelConfig { features, ..Default::default() };
        AttentionConfig { n_heads: self.n_heads, core: CoreConfig::Kernel(core), ..Default::default() }
    }
}
