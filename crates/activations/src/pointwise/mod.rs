//! Functions of single elements, as they stand between the layers of a network.
//!
//! A function is an entry of the registry below: one file with its parameters, its maths at one element for the kernel
//! and its composed form. What holds for all of them:
//!
//! - the result has the shape and the dtype of the argument; half types are computed in `f32`;
//! - NaN gives NaN; ±∞ gives the limit;
//! - values and slopes are relative to themselves, in the tails too: what the type can hold does not round to 0.
use std::{fmt::Debug, sync::Arc};

use burn::tensor::Tensor;
use kiln_registry::{Tagged, registry};
use serde::de::value::{Error, MapDeserializer};

use crate::{
    Init,
    kernel::{self, PointwiseKernel},
};

mod exp;
mod gelu;
mod leaky_relu;
mod mish;
mod relu;
mod relu_squared;
mod sigmoid;
mod silu;
mod softplus;
mod symlog;
mod tanh;

#[cfg(test)]
mod golden_tests;
#[cfg(test)]
mod law_tests;

pub use exp::{Exp, ExpConfig, ExpMap};
pub use gelu::{Gelu, GeluConfig, GeluForm, GeluMap, GeluTanhMap};
pub use leaky_relu::{LeakyRelu, LeakyReluConfig, LeakyReluMap};
pub use mish::{Mish, MishConfig, MishMap};
pub use relu::{Relu, ReluConfig, ReluMap};
pub use relu_squared::{ReluSquared, ReluSquaredConfig, ReluSquaredMap};
pub use sigmoid::{Sigmoid, SigmoidConfig, SigmoidMap};
pub use silu::{Silu, SiluConfig, SiluMap};
pub use softplus::{Softplus, SoftplusConfig, SoftplusMap};
pub use symlog::{Symlog, SymlogConfig, SymlogMap};
pub use tanh::{Tanh, TanhConfig, TanhMap};

registry! {
    /// A function of single elements, by name.
    config PointwiseConfig("pointwise");
    module Pointwise: dyn PointwiseFn, init(&Init);
    "gelu" => Gelu(GeluConfig),
    "silu" => Silu(SiluConfig),
    "mish" => Mish(MishConfig),
    "softplus" => Softplus(SoftplusConfig),
    "relu" => Relu(ReluConfig),
    "leaky_relu" => LeakyRelu(LeakyReluConfig),
    "relu_squared" => ReluSquared(ReluSquaredConfig),
    "exp" => Exp(ExpConfig),
    "tanh" => Tanh(TanhConfig),
    "sigmoid" => Sigmoid(SigmoidConfig),
    "symlog" => Symlog(SymlogConfig),
}

/// The contract of a pointwise function.
pub trait PointwiseFn: Debug + Send + Sync {
    /// The function's maths.
    fn kernel(&self) -> Arc<dyn PointwiseKernel>;

    /// The function in tensor operations: for devices without the kernel, and as the independent check of its gradient.
    fn composed(&self, x: Tensor<1>) -> Tensor<1>;
}

/// The argument of a composed form that is x times a gate: the gate is 0 at −∞, and −∞ · 0 would be NaN.
fn above_infinity(x: Tensor<1>) -> Tensor<1> {
    let infinite = x.clone().detach().equal_elem(f64::NEG_INFINITY);
    x.mask_fill(infinite, -1e4)
}

impl Pointwise {
    /// The function of every element.
    ///
    /// # Shapes
    /// - `x`, result: any
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        if kernel::supports(&x.device()) {
            return kernel::pointwise(x, self.kernel());
        }
        let shape = x.dims();
        self.composed(x.reshape([shape.iter().product::<usize>()])).reshape(shape)
    }
}

impl Default for PointwiseConfig {
    /// ReLU.
    fn default() -> Self {
        Self::Relu(ReluConfig::default())
    }
}

impl PointwiseConfig {
    /// The entry `name` at its default parameters; `None` if it is unknown.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::load(name, MapDeserializer::<_, Error>::new(std::iter::empty::<(String, String)>())).ok()
    }
}
