//! The exponential.
use std::sync::Arc;

use burn::{module::Module, tensor::Tensor};
use kiln_registry::Entry;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::PointwiseFn;
use crate::{
    Init,
    kernel::{Elementary, PointwiseKernel, PointwiseMap, Saves},
};

/// Parameters of [`Exp`]: none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExpConfig {}

impl Entry for ExpConfig {
    const SUMMARY: &'static str = "e^x";
}

impl ExpConfig {
    /// The function.
    pub fn init(&self, _: &Init) -> Exp {
        Exp
    }
}

/// The exponential.
/// ```text
/// y = e^x,   y′ = y
/// ```
/// # Numerics
/// Overflows to ∞ above 88.7 in `f32` and above 709.7 in `f64`.
#[derive(Module, Debug)]
pub struct Exp;

impl PointwiseFn for Exp {
    fn kernel(&self) -> Arc<dyn PointwiseKernel> {
        Arc::new(ExpMap)
    }

    fn composed(&self, x: Tensor<1>) -> Tensor<1> {
        x.exp()
    }
}

/// y = e^x.
#[derive(Clone, Copy, Debug)]
pub struct ExpMap;

impl PointwiseMap for ExpMap {
    const SAVES: Saves = Saves::Output;

    #[inline(always)]
    fn forward<T: Elementary>(&self, x: T) -> T {
        x.exp_exact()
    }

    #[inline(always)]
    fn vjp<T: Elementary>(&self, y: T, g: T) -> T {
        g * y
    }
}
