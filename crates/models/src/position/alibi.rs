//! Biases that grow with the distance.
use burn::{
    module::{Module, Param},
    tensor::{Tensor, TensorData},
};
use kiln_registry::Entry;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Place, PositionSetting, Positional, Stage};
use crate::attention::Scope;

/// Parameters of [`Alibi`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AlibiConfig {
    /// Whether the logarithms of the slopes are trained, from the fixed ones.
    pub learn_slopes: bool,
}

impl Entry for AlibiConfig {
    const SUMMARY: &'static str = "scores fall linearly with the distance, in each head at another slope";
    const PAPER: &'static str = "Press et al. 2021, arXiv:2108.12409";
}

impl AlibiConfig {
    /// The scheme.
    pub fn init(&self, place: &Place<'_>) -> Alibi {
        let slopes = slopes(place.n_heads);
        let mut next = slopes.iter();
        let log = self.learn_slopes.then(|| {
            place.init.param("log_slopes", [place.n_heads], |_| next.next().map_or(0.0, |slope: &f64| slope.ln()))
        });
        Alibi { log_slopes: log }
    }
}

impl PositionSetting for AlibiConfig {
    fn stage(&self) -> Stage {
        Stage::Bias
    }
}

/// The slopes of `heads` heads: 2^(−8h/H) for h = 1..=H where H is a power of two; else those of the power below, then every
/// second one of the power above.
pub fn slopes(heads: usize) -> Vec<f64> {
    let power = |count: usize| (1..=count).map(move |h| (-8.0 * h as f64 / count as f64).exp2());
    if heads.is_power_of_two() {
        return power(heads).collect();
    }
    let below = heads.next_power_of_two() / 2;
    power(below).chain(power(2 * below).step_by(2)).take(heads).collect()
}

/// `z_ij ← z_ij − m_h |i − j|` in head h.
#[derive(Module, Debug)]
pub struct Alibi {
    /// ln m_h, if trained: `[n_heads]`.
    pub log_slopes: Option<Param<Tensor<1>>>,
}

impl Positional for Alibi {
    fn bias(&self, scope: &Scope, n_heads: usize, like: &Tensor<4>) -> Option<Tensor<4>> {
        let slopes = match &self.log_slopes {
            Some(log) => log.val().exp(),
            None => Tensor::from_data(TensorData::new(slopes(n_heads), [n_heads]), (&like.device(), like.dtype())),
        };
        let distances = scope.distances().abs().float().cast(like.dtype());
        Some(distances * slopes.neg().reshape([1, n_heads, 1, 1]))
    }
}
