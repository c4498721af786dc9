//! Decays: how fast past keys fade.
use std::fmt::Debug;

use burn::tensor::{Tensor, activation::log_sigmoid};
use kiln_registry::registry;

use crate::attention::core::CoreInit;

mod retention;
mod scalar;
mod vector;

pub use retention::{Retention, RetentionConfig};
pub use scalar::{Scalar, ScalarConfig};
pub use vector::{Vector, VectorConfig};

registry! {
    /// A decay, by name.
    config DecayConfig("decay");
    module Decay: dyn Fade, init(&CoreInit<'_>);
    "retention" => Retention(RetentionConfig),
    "scalar" => Scalar(ScalarConfig),
    "vector" => Vector(VectorConfig),
}

/// The contract of a decay.
pub trait Fade: Debug {
    /// Logarithms of the factors on the state before each token, at most 0: `[rows or 1, heads, length, 1 or d_head]` for the
    /// layer's input `x: [rows, length, d_model]`.
    fn log_decay(&self, x: &Tensor<3>) -> Tensor<4>;

    /// What −[`log_decay`](Self::log_decay) never exceeds, if that is known.
    fn largest(&self) -> f64 {
        f64::INFINITY
    }
}

/// `log sigmoid(y) / tau`: the logarithm of a factor in (0, 1), from `[rows, length, heads · width]` to
/// `[rows, heads, length, width]`.
fn log_factor(y: Tensor<3>, heads: usize, tau: f64) -> Tensor<4> {
    let [rows, length, outputs] = y.dims();
    log_sigmoid(y).div_scalar(tau).reshape([rows, length, heads, outputs / heads]).swap_dims(1, 2)
}
