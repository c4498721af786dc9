//! Squared ReLU.
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

/// Parameters of [`ReluSquared`]: none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReluSquaredConfig {}

impl Entry for ReluSquaredConfig {
    const SUMMARY: &'static str = "max(x, 0)²";
    const PAPER: &'static str = "So et al. 2021, Primer: Searching for Efficient Transformers, arXiv:2109.08668";
}

impl ReluSquaredConfig {
    /// The function.
    pub fn init(&self, _: &Init) -> ReluSquared {
        ReluSquared
    }
}

/// Squared ReLU: the square of the positive part.
/// ```text
/// y = max(x, 0)²,   y′ = 2 max(x, 0)
/// ```
/// # References
/// So et al. 2021, Primer, arXiv:2109.08668.
#[derive(Module, Debug)]
pub struct ReluSquared;

impl PointwiseFn for ReluSquared {
    fn kernel(&self) -> Arc<dyn PointwiseKernel> {
        Arc::new(ReluSquaredMap)
    }

    fn composed(&self, x: Tensor<1>) -> Tensor<1> {
        x.clamp_min(0.0).powi_scalar(2)
    }
}

/// y = max(x, 0)²; NaN stays NaN.
#[derive(Clone, Copy, Debug)]
pub struct ReluSquaredMap;

impl PointwiseMap for ReluSquaredMap {
    #[inline(always)]
    fn forward<T: Elementary>(&self, x: T) -> T {
        let x = if x <= T::zero() { T::zero() } else { x };
        x * x
    }

    #[inline(always)]
    fn vjp<T: Elementary>(&self, x: T, g: T) -> T {
        let x = if x <= T::zero() { T::zero() } else { x };
        g * (x + x)
    }
}
