//! Gradient transforms: what happens to the gradients before the rule sees them.
//!
//! They act in the order of the list. The usual order is clip, then project: a projection that keeps the norm
//! (`perp_grad` with `rescale`) commutes with clipping only up to rounding.
use std::fmt::Debug;

use burn::tensor::Tensor;
use kiln_registry::registry;

use crate::Invalid;

mod clip_norm;
mod leaf;
mod perp_grad;

pub use clip_norm::ClipNormConfig;
pub use leaf::Leaf;
pub use perp_grad::PerpGradConfig;

registry! {
    /// A change of the gradients before the rule, by name.
    config TransformConfig("gradient transform"): dyn Transform;
    "perp_grad" => PerpGrad(PerpGradConfig),
    "clip_norm" => ClipNorm(ClipNormConfig),
}

/// The contract of a gradient transform.
pub trait Transform: Debug + Send + Sync {
    /// Changes the gradients of one step, which come all together and in the model's order. A transform that
    /// measures their common norm on the way returns it (`[1]`), still on the device.
    fn apply(&self, leaves: &mut [Leaf]) -> Option<Tensor<1>>;

    /// Whether the keys go together.
    ///
    /// # Errors
    /// If two of them do not.
    fn check(&self) -> Result<(), Invalid> {
        Ok(())
    }
}
