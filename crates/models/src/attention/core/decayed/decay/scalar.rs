//! A decay per head and token.
use burn::{module::Module, tensor::Tensor};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Fade, log_factor};
use crate::{
    attention::core::CoreInit,
    block::{Draw, Linear},
    kernel::Epilogue,
};

/// Parameters of [`Scalar`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ScalarConfig {
    /// The root that is taken of a sigmoid: the larger, the longer the memory.
    #[serde(deserialize_with = "range::positive")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub tau: f64,
}

impl Default for ScalarConfig {
    /// 16, as gated linear attention has it.
    fn default() -> Self {
        Self { tau: 16.0 }
    }
}

impl Entry for ScalarConfig {
    const SUMMARY: &'static str = "a factor per head that each token decides";
    const PAPER: &'static str = "Peng et al. 2021, arXiv:2103.02143";
}

impl ScalarConfig {
    /// The decay; its weights are drawn from `N(0, 1/d_model)`, bias 0.
    pub fn init(&self, place: &CoreInit<'_>) -> Scalar {
        let sizes = [place.d_model, place.n_heads];
        let gate = Linear::new(&place.init.child("gate"), sizes, true, Draw::Normal);
        Scalar { gate, n_heads: place.n_heads, tau: self.tau }
    }
}

/// `α_t = sigmoid(x_t w_h + b_h)^(1/tau)` in head h.
#[derive(Module, Debug)]
pub struct Scalar {
    /// `[d_model, n_heads]`
    pub gate: Linear,
    n_heads: usize,
    tau: f64,
}

impl Fade for Scalar {
    fn log_decay(&self, x: &Tensor<3>) -> Tensor<4> {
        log_factor(self.gate.forward(x.clone(), Epilogue::None), self.n_heads, self.tau)
    }
}
