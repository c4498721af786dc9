//! Leaky ReLU.
use std::sync::Arc;

use burn::{module::Module, tensor::Tensor};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::PointwiseFn;
use crate::{
    Init,
    kernel::{Elementary, PointwiseKernel, PointwiseMap},
};

/// Parameters of [`LeakyRelu`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LeakyReluConfig {
    /// The slope below 0, at least 0.
    #[serde(deserialize_with = "range::non_negative")]
    #[schemars(range(min = 0.0))]
    pub negative_slope: f64,
}

impl Default for LeakyReluConfig {
    /// The paper's slope, which is PyTorch's too.
    fn default() -> Self {
        Self { negative_slope: 0.01 }
    }
}

impl Entry for LeakyReluConfig {
    const SUMMARY: &'static str = "x above 0, a small multiple of x below";
    const PAPER: &'static str =
        "Maas et al. 2013, Rectifier nonlinearities improve neural network acoustic models, ICML";
}

impl LeakyReluConfig {
    /// The function.
    pub fn init(&self, _: &Init) -> LeakyRelu {
        LeakyRelu { negative_slope: self.negative_slope }
    }
}

/// Leaky ReLU: a ReLU that lets a fraction of negative arguments pass.
/// ```text
/// y = x above 0, a x at and below 0;   y′ = 1 above 0, a at and below 0
/// ```
/// # References
/// Maas et al. 2013, Rectifier nonlinearities improve neural network acoustic models, ICML.
#[derive(Module, Debug)]
pub struct LeakyRelu {
    /// a.
    #[module(skip)]
    pub negative_slope: f64,
}

impl PointwiseFn for LeakyRelu {
    fn kernel(&self) -> Arc<dyn PointwiseKernel> {
        Arc::new(LeakyReluMap { negative_slope: self.negative_slope })
    }

    fn composed(&self, x: Tensor<1>) -> Tensor<1> {
        let below = x.clone().mul_scalar(self.negative_slope);
        x.clone().mask_where(x.lower_equal_elem(0.0), below)
    }
}

/// y = x above 0, a x elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct LeakyReluMap {
    /// a.
    pub negative_slope: f64,
}

impl PointwiseMap for LeakyReluMap {
    #[inline(always)]
    fn forward<T: Elementary>(&self, x: T) -> T {
        self.vjp(x, x)
    }

    #[inline(always)]
    fn vjp<T: Elementary>(&self, x: T, g: T) -> T {
        let below = T::of(self.negative_slope) * g;
        if x > T::zero() { g } else { below }
    }
}
