//! Softplus.
use std::sync::Arc;

use burn::{module::Module, tensor::Tensor};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::PointwiseFn;
use crate::{
    Init,
    kernel::{Elementary, PointwiseKernel, PointwiseMap},
    normalizer::composed::log_1p,
};

/// Parameters of [`Softplus`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SoftplusConfig {
    /// β, above 0: how sharply the function bends at 0. It tends to ReLU as β grows.
    #[serde(deserialize_with = "range::positive")]
    #[schemars(range(min = 0.0))]
    pub beta: f64,
}

impl Default for SoftplusConfig {
    fn default() -> Self {
        Self { beta: 1.0 }
    }
}

impl Entry for SoftplusConfig {
    const SUMMARY: &'static str = "ln(1 + e^βx) / β";
    const PAPER: &'static str =
        "Dugas et al. 2001, Incorporating second-order functional knowledge for better option pricing, NeurIPS";
}

impl SoftplusConfig {
    /// The function.
    pub fn init(&self, _: &Init) -> Softplus {
        Softplus { beta: self.beta }
    }
}

/// Softplus: a smooth positive part.
/// ```text
/// y = ln(1 + e^βx) / β = (max(βx, 0) + ln(1 + e^−|βx|)) / β,   y′ = σ(βx)
/// ```
/// # Numerics
/// Relative to the result also where e^βx is tiny. PyTorch's threshold, above which it returns x, has no counterpart:
/// nothing overflows.
/// # References
/// Dugas et al. 2001, Incorporating second-order functional knowledge for better option pricing, NeurIPS.
#[derive(Module, Debug)]
pub struct Softplus {
    /// β.
    #[module(skip)]
    pub beta: f64,
}

impl PointwiseFn for Softplus {
    fn kernel(&self) -> Arc<dyn PointwiseKernel> {
        Arc::new(SoftplusMap { beta: self.beta })
    }

    fn composed(&self, x: Tensor<1>) -> Tensor<1> {
        let x = x.mul_scalar(self.beta);
        (x.clone().clamp_min(0.0) + log_1p(x.abs().neg().exp())).mul_scalar(1.0 / self.beta)
    }
}

/// y = ln(1 + e^βx) / β.
#[derive(Clone, Copy, Debug)]
pub struct SoftplusMap {
    /// β.
    pub beta: f64,
}

impl PointwiseMap for SoftplusMap {
    #[inline(always)]
    fn forward<T: Elementary>(&self, x: T) -> T {
        let scaled = T::of(self.beta) * x;
        let bend = (-scaled.abs()).exp_exact().ln_1p_positive();
        (scaled.positive_part() + bend) * T::of(1.0 / self.beta)
    }

    #[inline(always)]
    fn vjp<T: Elementary>(&self, x: T, g: T) -> T {
        g * (T::of(self.beta) * x).sigmoid_exact()
    }
}
