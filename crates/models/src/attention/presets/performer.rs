//! Softmax attention by random features.
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Preset;
use crate::attention::{
    AttentionConfig, CoreConfig,
    core::KernelConfig,
    features::{FavorConfig, FeaturesConfig},
};

/// Softmax attention approximated by positive random features (FAVOR+).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PerformerConfig {
    /// Query heads.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub n_heads: usize,
    /// Number of random features.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub m: usize,
    /// Training steps after which the directions are drawn anew; 0 keeps the first ones.
    pub redraw: u64,
}

impl Default for PerformerConfig {
    /// The paper's number of features; directions that stay, so that decoding is exact.
    fn default() -> Self {
        Self { n_heads: 4, m: 256, redraw: 0 }
    }
}

impl Entry for PerformerConfig {
    const SUMMARY: &'static str = "softmax attention approximated by positive orthogonal random features";
    const PAPER: &'static str = "Choromanski et al. 2020, arXiv:2009.14794";
}

impl Preset for PerformerConfig {
    fn slots(&self) -> AttentionConfig {
        let favor = FavorConfig { m: self.m, redraw: self.redraw, ..Default::default() };
        let core = KernelConfig { features: FeaturesConfig::Favor(favor), ..Default::default() };
        AttentionConfig { n_heads: self.n_heads, core: CoreConfig::Kernel(core), ..Default::default() }
    }
}
