//! Magnitude-aware linear attention.
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Preset;
use crate::attention::{
    AttentionConfig, CoreConfig, GateActivation, GateConfig, LocalConvConfig,
    core::{CentredConfig, Centring},
    features::FeaturesConfig,
};

/// Linear attention in which a longer query is a sharper one again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MalaConfig {
    /// Query heads.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub n_heads: usize,
    /// Whether the weights follow the sums of the paper instead of the means of the official code.
    pub sums: bool,
    /// The local part that is added; none if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_conv: Option<LocalConvConfig>,
    /// Whether a linear gate acts on what the heads give, as in the official model.
    pub gate: bool,
}

impl Default for MalaConfig {
    /// The official attention, without what its vision model puts around it.
    fn default() -> Self {
        Self { n_heads: 4, sums: false, local_conv: None, gate: false }
    }
}

impl Entry for MalaConfig {
    const SUMMARY: &'static str = "linear attention that keeps the magnitude of the query";
    const PAPER: &'static str = "Fan et al. 2025, Rectifying Magnitude Neglect in Linear Attention, arXiv:2507.00698";
}

impl Preset for MalaConfig {
    fn slots(&self) -> AttentionConfig {
        let rule = if self.sums { Centring::MalaSums } else { Centring::Mala };
        let features = FeaturesConfig::Elu1(Default::default());
        let gate = GateConfig { activation: GateActivation::Identity, ..Default::default() };
        AttentionConfig {
            n_heads: self.n_heads,
            core: CoreConfig::Centred(CentredConfig { rule, features, ..Default::default() }),
            local_conv: self.local_conv.clone(),
            gate: self.gate.then_some(gate),
            ..Default::default()
        }
    }
}
