//! The hyperbolic tangent.
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

/// Parameters of [`Tanh`]: none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TanhConfig {}

impl Entry for TanhConfig {
    const SUMMARY: &'static str = "(e^x − e^−x)/(e^x + e^−x)";
}

impl TanhConfig {
    /// The function.
    pub fn init(&self, _: &Init) -> Tanh {
        Tanh
    }
}

/// The hyperbolic tangent.
/// ```text
/// y = tanh x,   y′ = 1 − y² = 4 e^−2|x| / (1 + e^−2|x|)²
/// ```
/// # Numerics
/// The slope comes from x, so it stays above 0 where y has rounded to ±1.
#[derive(Module, Debug)]
pub struct Tanh;

impl PointwiseFn for Tanh {
    fn kernel(&self) -> Arc<dyn PointwiseKernel> {
        Arc::new(TanhMap)
    }

    fn composed(&self, x: Tensor<1>) -> Tensor<1> {
        x.tanh()
    }
}

/// y = tanh x.
#[derive(Clone, Copy, Debug)]
pub struct TanhMap;

impl PointwiseMap for TanhMap {
    #[inline(always)]
    fn forward<T: Elementary>(&self, x: T) -> T {
        x.tanh_exact()
    }

    #[inline(always)]
    fn vjp<T: Elementary>(&self, x: T, g: T) -> T {
        let (e, above) = (x + x).logistic();
        g * (T::of(4.0) * e * above * above)
    }
}
