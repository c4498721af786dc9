//! A learned bias for each distance.
use burn::{
    module::{Module, Param},
    tensor::Tensor,
};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Place, PositionSetting, Positional, Stage};
use crate::{
    attention::Scope,
    kernel::{self, Epilogue},
};

/// Parameters of [`LearnedBias`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LearnedBiasConfig {
    /// Distances to either side with a bias of their own; those beyond share the last one.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub distances: usize,
}

impl Default for LearnedBiasConfig {
    /// As many as T5 has buckets to one side of a decoder.
    fn default() -> Self {
        Self { distances: 32 }
    }
}

impl Entry for LearnedBiasConfig {
    const SUMMARY: &'static str = "a learned number per head and distance, added to scores";
    const PAPER: &'static str = "Raffel et al. 2020, arXiv:1910.10683 (there in buckets)";
}

impl LearnedBiasConfig {
    /// The scheme; every bias starts at 0.
    pub fn init(&self, place: &Place<'_>) -> LearnedBias {
        let rows = 2 * self.distances + 1;
        LearnedBias { weight: place.init.constant([rows, place.n_heads], 0.0), distances: self.distances }
    }
}

impl PositionSetting for LearnedBiasConfig {
    fn stage(&self) -> Stage {
        Stage::Bias
    }
}

/// `z_ij ← z_ij + b_h(i − j)`, distances beyond the table clamped to it.
#[derive(Module, Debug)]
pub struct LearnedBias {
    /// b: `[2 · distances + 1, n_heads]`, the row of distance δ at `distances + δ`.
    pub weight: Param<Tensor<2>>,
    distances: usize,
}

impl Positional for LearnedBias {
    fn bias(&self, scope: &Scope, n_heads: usize, _: &Tensor<4>) -> Option<Tensor<4>> {
        let most = self.distances as i64;
        let distances = scope.distances().clamp(-most, most).add_scalar(most);
        let [rows, _, queries, keys] = distances.dims();
        let bias =
            kernel::gather_sum(self.weight.val(), distances.reshape([rows * queries * keys, 1]), None, Epilogue::None);
        Some(bias.reshape([rows, queries, keys, n_heads]).permute([0, 3, 1, 2]))
    }
}
