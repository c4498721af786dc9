//! Gated linear attention.
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Preset;
use crate::attention::{
    AttentionConfig, CoreConfig, GateActivation, GateConfig,
    core::{DecayConfig, DecayedConfig},
};

/// Linear attention whose state fades by factors that the tokens choose, with a gate on what it gives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GlaConfig {
    /// Query heads.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub n_heads: usize,
    /// How fast keys fade.
    pub decay: DecayConfig,
}

impl Default for GlaConfig {
    /// The paper's: a factor per channel.
    fn default() -> Self {
        Self { n_heads: 4, decay: DecayConfig::Vector(Default::default()) }
    }
}

impl Entry for GlaConfig {
    const SUMMARY: &'static str =
        "linear attention whose state fades by factors the tokens choose; gated, normalised output";
    const PAPER: &'static str = "Yang et al. 2023, arXiv:2312.06635";
}

impl Preset for GlaConfig {
    fn slots(&self) -> AttentionConfig {
        let core = DecayedConfig { decay: self.decay.clone(), ..Default::default() };
        AttentionConfig {
            n_heads: self.n_heads,
            core: CoreConfig::Decayed(core),
            gate: Some(GateConfig { activation: GateActivation::Silu, bias: false, ..Default::default() }),
            ..Default::default()
        }
    }
}
