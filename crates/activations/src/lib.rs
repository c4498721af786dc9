//! The softmax family for Burn: maps of scores to weights, their losses, and the kernels below them.
//!
//! | room | what stands there |
//! |---|---|
//! | [`normalizer`] | maps of a row of scores to a row of weights, by name |
//! | [`pointwise`] | functions of single elements, by name |
//! | [`pooling`] | a window of a feature map to one value, by name |
//! | [`loss`] | losses of logits and targets, by name, at a precision of their own |
//! | [`kernel`] | the operations that carry them all, with hand-written backward passes |
//! | [`check`] | whether all of them compute what they say, on a device and in a dtype |
//! | [`ctx`], [`init`] | what a forward pass, and a newly built part, know about their surroundings |
//!
//! # Example
//! ```
//! use burn::tensor::{Device, DType, Tensor};
//! use kiln_activations::{Ctx, Init, normalizer::NormalizerConfig};
//!
//! let device = Device::flex();
//! let map = NormalizerConfig::default().init(&Init::new(0, &device, DType::F32));
//! let scores = Tensor::<2>::from_floats([[1.0, 2.0, -1.0]], &device);
//! let weights = map.weights(scores, -1, None, &Ctx::eval(0, 0));
//! assert!((weights.sum().into_scalar::<f32>() - 1.0).abs() < 1e-6);
//! ```
#![warn(missing_docs)]

pub mod check;
pub mod ctx;
pub mod init;
pub mod kernel;
pub mod loss;
mod loss_terms;
pub mod normalizer;
pub mod pointwise;
pub mod pooling;
mod probe;
#[cfg(test)]
mod testing;

pub use ctx::Ctx;
pub use init::Init;
pub use kernel::Keep;
pub use loss_terms::{LossTerm, LossTerms};
pub use probe::{Probe, Record};
