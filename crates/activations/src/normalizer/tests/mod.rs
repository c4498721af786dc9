//! Tests of the maps. Every entry of the registry takes part by being in it: at its default parameters, and at those its
//! file `golden/normalizer/<name>.toml` names.
mod cases;
mod complaints;
mod golden;
mod gradients;
mod laws;
mod ratios;
mod records;
mod refusals;

use burn::tensor::{Bool, Tensor, TensorData};

use super::{Normalizer, NormalizerConfig};
use crate::{Ctx, testing::device};

/// Nothing is drawn.
fn ctx() -> Ctx {
    Ctx::eval(0, 0)
}

/// `true` = keep, `[rows, n]`.
fn mask(bits: &[bool], n: usize) -> Tensor<2, Bool> {
    Tensor::from_data(TensorData::new(bits.to_vec(), [bits.len() / n, n]), &device())
}
