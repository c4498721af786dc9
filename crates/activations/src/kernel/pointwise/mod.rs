//! One operation for every function of single elements.
//!
//! A function is a [`PointwiseMap`]: its value and its vector-Jacobian product at one element, written once for `f32`
//! and `f64`. The driver cuts the tensor into fixed blocks, converts half types, chooses the instruction set and spreads
//! the blocks over the threads. Such functions run at the speed of memory, so it writes where the argument stood if
//! nothing else needs that, and otherwise to memory that is touched for the first time.
use std::sync::Arc;

use burn::{backend::Dispatch, tensor::Tensor};

mod map;
mod on_host;
mod ops;
#[cfg(test)]
mod tests;

pub use map::{PointwiseKernel, PointwiseKernelOf, PointwiseMap, Saves};
pub use on_host::PointwiseSaved;
pub use ops::{PointwiseOps, PointwiseVjps};

/// Applies a function to every element of `x`, a tensor of any shape in `f32`, `f64`, `f16` or `bf16`; half types are
/// computed in `f32`.
///
/// # Panics
/// If the device is not [supported](super::supports).
pub fn pointwise<const D: usize>(x: Tensor<D>, kernel: Arc<dyn PointwiseKernel>) -> Tensor<D> {
    Tensor::from_dispatch(<Dispatch as PointwiseOps>::pointwise(x.into_dispatch(), kernel))
}
