//! The symmetric logarithm.
use std::sync::Arc;

use burn::{module::Module, tensor::Tensor};
use kiln_registry::Entry;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::PointwiseFn;
use crate::{
    Init,
    kernel::{Elementary, PointwiseKernel, PointwiseMap},
    normalizer::composed::log_1p,
};

/// Parameters of [`Symlog`]: none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SymlogConfig {}

impl Entry for SymlogConfig {
    const SUMMARY: &'static str = "sign(x) ln(1 + |x|)";
    const PAPER: &'static str = "Hafner et al. 2023, Mastering Diverse Domains through World Models, arXiv:2301.04104";
}

impl SymlogConfig {
    /// The function.
    pub fn init(&self, _: &Init) -> Symlog {
        Symlog
    }
}

/// The symmetric logarithm: linear around 0, logarithmic far from it.
/// ```text
/// y = sign(x) ln(1 + |x|),   y′ = 1/(1 + |x|)
/// ```
/// The logarithm of the growth of StableMax.
/// # References
/// Hafner et al. 2023, arXiv:2301.04104.
#[derive(Module, Debug)]
pub struct Symlog;

impl PointwiseFn for Symlog {
    fn kernel(&self) -> Arc<dyn PointwiseKernel> {
        Arc::new(SymlogMap)
    }

    fn composed(&self, x: Tensor<1>) -> Tensor<1> {
        x.clone().sign() * log_1p(x.abs())
    }
}

/// y = sign(x) ln(1 + |x|).
#[derive(Clone, Copy, Debug)]
pub struct SymlogMap;

impl PointwiseMap for SymlogMap {
    #[inline(always)]
    fn forward<T: Elementary>(&self, x: T) -> T {
        x.abs().ln_1p_positive().copysign(x)
    }

    #[inline(always)]
    fn vjp<T: Elementary>(&self, x: T, g: T) -> T {
        g / (T::one() + x.abs())
    }
}
