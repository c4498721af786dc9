//! Helpers of this crate's tests: tensors from numbers, numbers from tensors, and gradients checked by differences.
mod close;
mod gradcheck;
mod tensors;

pub(crate) use close::{assert_bits, assert_close};
pub(crate) use gradcheck::{assert_gradient, gradient};
pub(crate) use tensors::{classes, device, normal, tensor, values};
