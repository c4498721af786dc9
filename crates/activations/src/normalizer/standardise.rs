//! What the standardising maps share: gain and bias per head, and the moments of a row in tensor operations.
use burn::{
    module::{Module, Param},
    tensor::{Bool, Tensor},
};

use super::{Heads, composed};
use crate::Init;

/// A learned gain and bias, each `[heads]` or `[1]`.
#[derive(Module, Debug)]
pub struct GainBias {
    /// What the standardised scores are multiplied by.
    pub gain: Param<Tensor<1>>,
    /// What is added after that.
    pub bias: Param<Tensor<1>>,
}

impl GainBias {
    /// One pair per head, all starting from these values.
    pub(super) fn new(gain: f64, bias: f64, init: &Init) -> Self {
        Self { gain: init.constant([init.heads], gain), bias: init.constant([init.heads], bias) }
    }

    /// `[rows, 2]`: the gain and the bias of each row.
    pub(super) fn columns(&self, scores: &Tensor<2>, heads: Heads) -> Tensor<2> {
        let column = |param: &Param<Tensor<1>>| heads.column(param.val(), scores);
        Tensor::cat(vec![column(&self.gain), column(&self.bias)], 1)
    }
}

/// `x` minus the mean of its row's entries that are not removed, and the mean square of that (`[rows, 1]`). Removed
/// entries become 0; an empty row is all 0.
pub(super) fn centred(x: Tensor<2>, removed: Tensor<2, Bool>, count: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
    let count = count.clamp_min(1.0);
    let x = composed::fill(x, removed.clone(), 0.0);
    let mean = x.clone().sum_dim(1) / count.clone();
    let centred = composed::fill(x - mean, removed, 0.0);
    let variance = (centred.clone() * centred.clone()).sum_dim(1) / count;
    (centred, variance)
}
