//! Retention.
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Preset;
use crate::{
    attention::{
        AttentionConfig, CoreConfig, GateActivation, GateConfig,
        core::{DecayConfig, DecayedConfig},
    },
    position::PositionConfig,
};

/// Linear attention whose state fades by a fixed factor in each head.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RetentionAttnConfig {
    /// Query heads.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub n_heads: usize,
}

impl Default for RetentionAttnConfig {
    fn default() -> Self {
        Self { n_heads: 4 }
    }
}

impl Entry for RetentionAttnConfig {
    const SUMMARY: &'static str =
        "linear attention whose state fades by a fixed factor per head; gated, normalised output";
    const PAPER: &'static str = "Sun et al. 2023, Retentive Network, arXiv:2307.08621";
}

impl Preset for RetentionAttnConfig {
    fn slots(&self) -> AttentionConfig {
        let core = DecayedConfig { decay: DecayConfig::Retention(Default::default()), ..Default::default() };
        AttentionConfig {
            n_heads: self.n_heads,
            core: CoreConfig::Decayed(core),
            gate: Some(GateConfig { activation: GateActivation::Silu, bias: false, ..Default::default() }),
            position: PositionConfig::Rope(Default::default()),
            ..Default::default()
        }
    }
}
