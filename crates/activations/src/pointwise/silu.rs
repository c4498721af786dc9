//! SiLU.
use std::sync::Arc;

use burn::{module::Module, tensor::Tensor};
use kiln_registry::Entry;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{PointwiseFn, above_infinity};
use crate::{
    Init,
    kernel::{Elementary, PointwiseKernel, PointwiseMap},
};

/// Parameters of [`Silu`]: none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SiluConfig {}

impl Entry for SiluConfig {
    const SUMMARY: &'static str = "x σ(x), also called swish";
    const PAPER: &'static str = "Elfwing et al. 2018, Sigmoid-weighted linear units, arXiv:1702.03118";
}

impl SiluConfig {
    /// The function.
    pub fn init(&self, _: &Init) -> Silu {
        Silu
    }
}

/// SiLU: the argument times its logistic.
/// ```text
/// y = x σ(x),   y′ = σ(x) + x σ(x) σ(−x),   σ(x) = 1/(1 + e^−x)
/// ```
/// # Numerics
/// Relative to the result also where σ(x) is tiny; −∞ gives −0.
/// # References
/// Elfwing et al. 2018, arXiv:1702.03118; as swish with a factor of 1: Ramachandran et al. 2017, arXiv:1710.05941.
#[derive(Module, Debug)]
pub struct Silu;

impl PointwiseFn for Silu {
    fn kernel(&self) -> Arc<dyn PointwiseKernel> {
        Arc::new(SiluMap)
    }

    fn composed(&self, x: Tensor<1>) -> Tensor<1> {
        let x = above_infinity(x);
        let sigmoid = burn::tensor::activation::sigmoid(x.clone());
        x * sigmoid
    }
}

/// y = max(x, 0) − |x| σ(−|x|).
#[derive(Clone, Copy, Debug)]
pub struct SiluMap;

impl PointwiseMap for SiluMap {
    #[inline(always)]
    fn forward<T: Elementary>(&self, x: T) -> T {
        let (e, above) = x.logistic();
        x.positive_part() - x.abs().within(800.0) * (e * above)
    }

    #[inline(always)]
    fn vjp<T: Elementary>(&self, x: T, g: T) -> T {
        let (e, above) = x.logistic();
        let sigmoid = if x >= T::zero() { above } else { e * above };
        g * (x.within(800.0) * above).mul_add(e * above, sigmoid)
    }
}
