//! ReLU.
use std::sync::Arc;

use burn::{module::Module, tensor::Tensor};
use kiln_registry::Entry;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::PointwiseFn;
use crate::{
    Init,
    kernel::{Elementary, PointwiseKernel, PointwiseMap},
};

/// Parameters of [`Relu`]: none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReluConfig {}

impl Entry for ReluConfig {
    const SUMMARY: &'static str = "max(x, 0)";
    const PAPER: &'static str =
        "Nair and Hinton 2010, Rectified linear units improve restricted Boltzmann machines, ICML";
}

impl ReluConfig {
    /// The function.
    pub fn init(&self, _: &Init) -> Relu {
        Relu
    }
}

/// ReLU: the positive part.
/// ```text
/// y = max(x, 0),   y′ = 1 above 0, 0 at and below 0
/// ```
/// # References
/// Nair and Hinton 2010, Rectified linear units improve restricted Boltzmann machines, ICML.
#[derive(Module, Debug)]
pub struct Relu;

impl PointwiseFn for Relu {
    fn kernel(&self) -> Arc<dyn PointwiseKernel> {
        Arc::new(ReluMap)
    }

    fn composed(&self, x: Tensor<1>) -> Tensor<1> {
        x.clamp_min(0.0)
    }
}

/// y = max(x, 0); NaN stays NaN.
#[derive(Clone, Copy, Debug)]
pub struct ReluMap;

impl PointwiseMap for ReluMap {
    #[inline(always)]
    fn forward<T: Elementary>(&self, x: T) -> T {
        if x <= T::zero() { T::zero() } else { x }
    }

    #[inline(always)]
    fn vjp<T: Elementary>(&self, x: T, g: T) -> T {
        if x <= T::zero() { T::zero() } else { g }
    }
}
