//! A vector for each token.
use burn::{
    module::{Module, Param},
    tensor::{Int, Tensor},
};
use kiln_activations::Init;

use crate::kernel::{self, Epilogue};

/// A table of token vectors.
#[derive(Module, Debug)]
pub struct Embedding {
    /// `[vocabulary, d_model]`
    pub weight: Param<Tensor<2>>,
}

impl Embedding {
    /// A table of `[vocabulary, d_model]` from `N(0, std²)`, under the name `weight` of `init`.
    pub fn new(init: &Init, [vocabulary, d_model]: [usize; 2], std: f64) -> Self {
        Self { weight: init.normal("weight", [vocabulary, d_model], std) }
    }

    /// The vectors of tokens.
    ///
    /// # Shapes
    /// - tokens: `[rows, length]`; output: `[rows, length, d_model]`
    /// # Panics
    /// If a token is not below `vocabulary` (on the CPU backends).
    pub fn forward(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        let [rows, length] = tokens.dims();
        let weight = self.weight.val();
        let [_, d_model] = weight.dims();
        kernel::gather_sum(weight, tokens.reshape([rows * length, 1]), None, Epilogue::None)
            .reshape([rows, length, d_model])
    }
}
