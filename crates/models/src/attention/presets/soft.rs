//! Softmax-free attention.
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Preset;
use crate::attention::{
    AttentionConfig, CoreConfig, LocalConvConfig,
    core::{LandmarksConfig, NystromConfig},
};

/// A Gaussian kernel of one projection, through a few landmarks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SoftConfig {
    /// Query heads.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub n_heads: usize,
    /// The landmarks.
    pub landmarks: LandmarksConfig,
    /// Whether the inverse is normalised on both sides (SOFT++).
    pub symmetric: bool,
    /// The local part that is added; none if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_conv: Option<LocalConvConfig>,
}

impl Default for SoftConfig {
    /// Means of segments of a sequence.
    fn default() -> Self {
        Self {
            n_heads: 4,
            landmarks: LandmarksConfig::Segments(Default::default()),
            symmetric: false,
            local_conv: None,
        }
    }
}

impl Entry for SoftConfig {
    const SUMMARY: &'static str = "Gaussian weights of one projection through a few landmarks, without a softmax";
    const PAPER: &'static str =
        "Lu et al. 2021, Softmax-free Linear Transformers, arXiv:2110.11945 and arXiv:2207.03341";
}

impl Preset for SoftConfig {
    fn slots(&self) -> AttentionConfig {
        let landmarks = self.landmarks.clone();
        let core = NystromConfig { landmarks, symmetric: self.symmetric, ..Default::default() };
        AttentionConfig {
            n_heads: self.n_heads,
            core: CoreConfig::Nystrom(core),
            shared_qk: true,
            local_conv: self.local_conv.clone(),
            ..Default::default()
        }
    }
}
