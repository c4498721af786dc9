//! A decay per channel and token.
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

/// Parameters of [`Vector`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct VectorConfig {
    /// Width between the two matrices that the factors come from.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub rank: usize,
    /// The root that is taken of a sigmoid: the larger, the longer the memory.
    #[serde(deserialize_with = "range::positive")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub tau: f64,
}

impl Default for VectorConfig {
    /// Rank 16 and tau 16, as in the paper.
    fn default() -> Self {
        Self { rank: 16, tau: 16.0 }
    }
}

impl Entry for VectorConfig {
    const SUMMARY: &'static str = "a factor per channel that each token decides: gated linear attention";
    const PAPER: &'static str = "Yang et al. 2023, arXiv:2312.06635";
}

impl VectorConfig {
    /// The decay; its weights are drawn from `N(0, 1/inputs)`, bias 0.
    pub fn init(&self, place: &CoreInit<'_>) -> Vector {
        let outputs = place.n_heads * place.d_head;
        let layer = |name, sizes, bias| Linear::new(&place.init.child(name), sizes, bias, Draw::Normal);
        Vector {
            down: layer("down", [place.d_model, self.rank], false),
            up: layer("up", [self.rank, outputs], true),
            n_heads: place.n_heads,
            tau: self.tau,
        }
    }
}

/// `log α_t = log sigmoid(x_t W₁ W₂ + b) / tau`, an entry per channel of a key.
#[derive(Module, Debug)]
pub struct Vector {
    /// `[d_model, rank]`
    pub down: Linear,
    /// `[rank, n_heads · d_head]`
    pub up: Linear,
    n_heads: usize,
    tau: f64,
}

impl Fade for Vector {
    fn log_decay(&self, x: &Tensor<3>) -> Tensor<4> {
        let narrow = self.down.forward(x.clone(), Epilogue::None);
        log_factor(self.up.forward(narrow, Epilogue::None), self.n_heads, self.tau)
    }
}
