//! Linear attention.
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Preset;
use crate::attention::{
    AttentionConfig, CoreConfig, core::KernelConfig, denominator::DenominatorConfig, features::FeaturesConfig,
};

/// Attention whose weights are products of features, linear in the length.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LinearAttnConfig {
    /// Query heads.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub n_heads: usize,
    /// The feature map of queries and keys.
    pub features: FeaturesConfig,
    /// What the weighted values are divided by.
    pub denominator: DenominatorConfig,
}

impl Default for LinearAttnConfig {
    /// elu(x) + 1 over its sum.
    fn default() -> Self {
        Self {
            n_heads: 4,
            features: FeaturesConfig::Elu1(Default::default()),
            denominator: DenominatorConfig::default(),
        }
    }
}

impl Entry for LinearAttnConfig {
    const SUMMARY: &'static str = "weights from products of features over their sum, linear in the length";
    const PAPER: &'static str = "Katharopoulos et al. 2020, arXiv:2006.16236";
}

impl Preset for LinearAttnConfig {
    fn slots(&self) -> AttentionConfig {
        let core = KernelConfig {
            features: self.features.clone(),
            denominator: self.denominator.clone(),
            ..Default::default()
        };
        AttentionConfig { n_heads: self.n_heads, core: CoreConfig::Kernel(core), ..Default::default() }
    }
}
