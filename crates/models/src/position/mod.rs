//! How a network knows where a token stands.
use std::fmt::Debug;

use burn::tensor::Tensor;
use kiln_activations::Init;
use kiln_registry::registry;

use crate::Invalid;

mod learned;
mod none;

pub use learned::{Learned, LearnedConfig};
pub use none::{Unaware, UnawareConfig};

/// What a position scheme is built for.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Tokens per row.
    pub length: usize,
    /// Width of the vectors.
    pub d_model: usize,
    /// Standard deviation of the token vectors' first values.
    pub std: f64,
    /// Where parameters are made.
    pub init: &'a Init,
}

registry! {
    /// A position scheme, by name.
    config PositionConfig("position"): dyn PositionSetting;
    module Position: dyn Positional, init(&Place<'_>);
    "none" => Unaware(UnawareConfig),
    "learned" => Learned(LearnedConfig),
}

/// What the parameters of a position scheme must answer before it is built.
pub trait PositionSetting {
    /// Whether the scheme carries sequences of this length.
    ///
    /// # Errors
    /// If it does not; the key is relative to the scheme's own table.
    fn check(&self, length: usize) -> Result<(), Invalid>;
}

/// The contract of a position scheme.
pub trait Positional: Debug {
    /// Token vectors that know their place: `[rows, length, d_model]` to the same shape.
    fn place(&self, x: Tensor<3>) -> Tensor<3>;
}
