//! InLine attention.
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Preset;
use crate::attention::{
    AttentionConfig, CoreConfig, LocalConvConfig,
    core::{CentredConfig, Centring},
    features::FeaturesConfig,
};

/// Linear attention that is normalised by subtraction, so that different queries have different weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct InlineConfig {
    /// Query heads.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub n_heads: usize,
    /// The feature map of queries and keys.
    pub features: FeaturesConfig,
    /// The local part that is added; none if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_conv: Option<LocalConvConfig>,
}

impl Default for InlineConfig {
    /// The identity, without the local part, which depends on what the tokens are.
    fn default() -> Self {
        Self { n_heads: 4, features: FeaturesConfig::Identity(Default::default()), local_conv: None }
    }
}

impl Entry for InlineConfig {
    const SUMMARY: &'static str = "linear attention normalised by subtraction instead of division, with a local part";
    const PAPER: &'static str =
        "Han et al. 2024, Bridging the Divide: Reconsidering Softmax and Linear Attention, arXiv:2412.06590";
}

impl Preset for InlineConfig {
    fn slots(&self) -> AttentionConfig {
        let core = CentredConfig { rule: Centring::Inline, features: self.features.clone(), ..Default::default() };
        AttentionConfig {
            n_heads: self.n_heads,
            core: CoreConfig::Centred(core),
            local_conv: self.local_conv.clone(),
            ..Default::default()
        }
    }
}
