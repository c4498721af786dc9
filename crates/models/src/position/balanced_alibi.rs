//! Distance biases of both signs, for windows.
use burn::{
    module::Module,
    tensor::{Tensor, TensorData},
};
use kiln_registry::Entry;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Angles, Place, PositionSetting, Positional, RopeConfig, Rotation, Stage};
use crate::{Invalid, attention::Scope};

/// Parameters of [`BalancedAlibi`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BalancedAlibiConfig {
    /// Which signs the slopes have.
    pub slopes: SlopeSigns,
    /// Whether queries and keys are turned as well, by rotary positions of base 10000.
    pub rope: bool,
}

impl Default for BalancedAlibiConfig {
    /// The paper's: half of the heads look at the recent past, half at the far one, and all are turned.
    fn default() -> Self {
        Self { slopes: SlopeSigns::Balanced, rope: true }
    }
}

/// Which signs the slopes of the heads have; slope k of either sign is 2^−k.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SlopeSigns {
    /// The first half of the heads prefers near keys, the second half far ones.
    #[default]
    Balanced,
    /// All heads prefer near keys.
    Negative,
    /// All heads prefer far keys.
    Positive,
    /// No slopes.
    None,
}

impl Entry for BalancedAlibiConfig {
    const SUMMARY: &'static str =
        "scores fall with the distance in half of the heads and grow in the others; with rotation";
    const PAPER: &'static str = "Fu et al. 2025, Sliding Window Attention Training, arXiv:2502.18845";
}

impl BalancedAlibiConfig {
    /// The scheme.
    pub fn init(&self, _: &Place<'_>) -> BalancedAlibi {
        BalancedAlibi { config: self.clone() }
    }

    /// s_h of each head.
    pub fn slopes(&self, heads: usize) -> Vec<f64> {
        let size = |k: usize| (-(k as f64)).exp2();
        let half = heads.div_ceil(2);
        match self.slopes {
            SlopeSigns::Balanced => (1..=half).map(|k| -size(k)).chain((1..=heads - half).map(size)).collect(),
            SlopeSigns::Negative => (1..=heads).map(|k| -size(k)).collect(),
            SlopeSigns::Positive => (1..=heads).map(size).collect(),
            SlopeSigns::None => vec![0.0; heads],
        }
    }
}

impl PositionSetting for BalancedAlibiConfig {
    fn stage(&self) -> Stage {
        if self.rope { Stage::RotationAndBias } else { Stage::Bias }
    }

    fn check(&self, length: usize, d_head: usize) -> Result<(), Invalid> {
        if !self.rope {
            return Ok(());
        }
        let message = |invalid: Invalid| Invalid::new("rope", invalid.message);
        RopeConfig::default().check(length, d_head).map_err(message)
    }
}

/// `z_ij ← z_ij + s_h (i − j)` in head h, with slopes s_h of both signs.
///
/// Made for windows: the distance is bounded by the window's width. With s_h = 1/2 a key 127 places back gains 63.5, so a
/// sigmoid of it is 1 and carries no gradient.
#[derive(Module, Debug)]
pub struct BalancedAlibi {
    #[module(skip)]
    config: BalancedAlibiConfig,
}

impl Positional for BalancedAlibi {
    fn rotation(&self, _: &Tensor<3>, scope: &Scope, _: Option<Angles>) -> (Option<Rotation>, Option<Angles>) {
        (self.config.rope.then(|| RopeConfig::default().rotation(scope)), None)
    }

    fn bias(&self, scope: &Scope, n_heads: usize, like: &Tensor<4>) -> Option<Tensor<4>> {
        let slopes = TensorData::new(self.config.slopes(n_heads), [1, n_heads, 1, 1]);
        let slopes = Tensor::from_data(slopes, (&like.device(), like.dtype()));
        Some(scope.distances().float().cast(like.dtype()) * slopes)
    }
}
