//! The logistic function.
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

/// Parameters of [`Sigmoid`]: none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SigmoidConfig {}

impl Entry for SigmoidConfig {
    const SUMMARY: &'static str = "1/(1 + e^−x)";
}

impl SigmoidConfig {
    /// The function.
    pub fn init(&self, _: &Init) -> Sigmoid {
        Sigmoid
    }
}

/// The logistic function.
/// ```text
/// y = σ(x) = 1/(1 + e^−x),   y′ = σ(x) σ(−x)
/// ```
/// # Numerics
/// The slope comes from x, so it stays above 0 where y has rounded to 1.
#[derive(Module, Debug)]
pub struct Sigmoid;

impl PointwiseFn for Sigmoid {
    fn kernel(&self) -> Arc<dyn PointwiseKernel> {
        Arc::new(SigmoidMap)
    }

    fn composed(&self, x: Tensor<1>) -> Tensor<1> {
        burn::tensor::activation::sigmoid(x)
    }
}

/// y = σ(x).
#[derive(Clone, Copy, Debug)]
pub struct SigmoidMap;

impl PointwiseMap for SigmoidMap {
    #[inline(always)]
    fn forward<T: Elementary>(&self, x: T) -> T {
        x.sigmoid_exact()
    }

    #[inline(always)]
    fn vjp<T: Elementary>(&self, x: T, g: T) -> T {
        let (e, above) = x.logistic();
        g * (e * above * above)
    }
}
