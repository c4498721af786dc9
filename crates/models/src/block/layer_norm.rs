//! Layer normalisation.
use burn::{
    module::{Module, Param},
    tensor::Tensor,
};
use kiln_activations::Init;

use crate::kernel::layer_norm;

/// The usual constant under the root.
const EPS: f64 = 1e-5;

/// Layer normalisation over the last axis.
/// ```text
/// y = (x − mean x) / √(var x + 1e-5) · weight + bias        (biased variance)
/// ```
/// # References
/// Ba et al. 2016, arXiv:1607.06450.
#[derive(Module, Debug)]
pub struct LayerNorm {
    /// `[d_model]`, first 1.
    pub weight: Param<Tensor<1>>,
    /// `[d_model]`, first 0.
    pub bias: Param<Tensor<1>>,
}

impl LayerNorm {
    /// A layer for vectors of `d_model` entries.
    pub fn new(init: &Init, d_model: usize) -> Self {
        Self { weight: init.constant([d_model], 1.0), bias: init.constant([d_model], 0.0) }
    }

    /// The normalised vectors, in the shape of `x`.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        layer_norm(x, self.weight.val(), self.bias.val(), EPS)
    }
}
