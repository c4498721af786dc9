//! How a network knows where a token stands.
//!
//! A scheme acts at one of two stages: on the token vectors in front of the first block (`positions` of a model), or
//! inside every attention layer (`position` of its attention), where it turns queries and keys or adds to their scores.
use std::fmt::Debug;

use burn::tensor::Tensor;
use kiln_activations::Init;
use kiln_registry::registry;

use crate::{
    Invalid,
    attention::{Scope, Side},
};

mod alibi;
mod balanced_alibi;
mod learned;
mod learned_bias;
mod none;
mod rope;
mod rotation;
mod selective_rope;
mod sinusoidal;
#[cfg(test)]
mod tests;

pub use alibi::{Alibi, AlibiConfig, slopes};
pub use balanced_alibi::{BalancedAlibi, BalancedAlibiConfig, SlopeSigns};
pub use learned::{Learned, LearnedConfig, Overflow};
pub use learned_bias::{LearnedBias, LearnedBiasConfig};
pub use none::{Unaware, UnawareConfig};
pub use rope::{Rope, RopeConfig, RopeScaling};
pub use rotation::{Angles, Layout, Rotation};
pub use selective_rope::{SelectiveRope, SelectiveRopeConfig};
pub use sinusoidal::{Sinusoidal, SinusoidalConfig};

/// What a position scheme is built for.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Tokens per row.
    pub length: usize,
    /// Width of the vectors.
    pub d_model: usize,
    /// Query heads of a layer.
    pub n_heads: usize,
    /// Width of a query or key of one head.
    pub d_head: usize,
    /// Standard deviation of the token vectors' first values.
    pub std: f64,
    /// Where parameters are made.
    pub init: &'a Init,
}

impl<'a> Place<'a> {
    /// In front of the first block, where there are no heads yet.
    pub fn in_front(length: usize, d_model: usize, std: f64, init: &'a Init) -> Self {
        Self { length, d_model, n_heads: 0, d_head: 0, std, init }
    }
}

registry! {
    /// A position scheme, by name.
    config PositionConfig("position"): dyn PositionSetting;
    module Position: dyn Positional, init(&Place<'_>);
    "none" => Unaware(UnawareConfig),
    "learned" => Learned(LearnedConfig),
    "sinusoidal" => Sinusoidal(SinusoidalConfig),
    "rope" => Rope(RopeConfig),
    "selective_rope" => SelectiveRope(SelectiveRopeConfig),
    "alibi" => Alibi(AlibiConfig),
    "balanced_alibi" => BalancedAlibi(BalancedAlibiConfig),
    "learned_bias" => LearnedBias(LearnedBiasConfig),
}

impl Default for PositionConfig {
    /// No positions.
    fn default() -> Self {
        Self::Unaware(UnawareConfig::default())
    }
}

/// Where a scheme acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Nowhere: it fits both.
    None,
    /// On token vectors.
    Embedding,
    /// In attention: turns queries and keys.
    Rotation,
    /// In attention: adds to scores.
    Bias,
    /// In attention: both.
    RotationAndBias,
}

/// What the parameters of a position scheme must answer before it is built.
pub trait PositionSetting {
    /// Where it acts.
    fn stage(&self) -> Stage;

    /// Whether the scheme carries sequences of this length and heads of this width (0 in front of the first block).
    ///
    /// # Errors
    /// If it does not; the key is relative to the scheme's own table.
    fn check(&self, length: usize, d_head: usize) -> Result<(), Invalid> {
        let _ = (length, d_head);
        Ok(())
    }
}

/// The contract of a position scheme.
pub trait Positional: Debug {
    /// Token vectors that know their place: `[rows, length, d_model]` to the same shape.
    fn place(&self, x: Tensor<3>, side: &Side) -> Tensor<3> {
        let _ = side;
        x
    }

    /// How queries and keys of a layer are turned, given its input (`[rows, length, d_model]` of the keys' side) and the
    /// angles so far, for a scheme whose angles depend on what came before; with it the angles after these tokens.
    fn rotation(&self, x: &Tensor<3>, scope: &Scope, past: Option<Angles>) -> (Option<Rotation>, Option<Angles>) {
        let _ = (x, scope, past);
        (None, None)
    }

    /// What is added to scores (`[rows, n_heads, queries, keys]`), in a shape that spreads over them; of the device and dtype
    /// of `like`.
    fn bias(&self, scope: &Scope, n_heads: usize, like: &Tensor<4>) -> Option<Tensor<4>> {
        let _ = (scope, n_heads, like);
        None
    }
}
