//! Attention by distance.
use burn::{module::Module, tensor::Tensor};
use kiln_activations::{Ctx, Keep};
use kiln_registry::Entry;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Around, Attend, CoreInit, CoreSetting, Heads, Properties,
    padding::{accumulator, zeroed},
    scores::{turned, weighted, without_padding},
};
use crate::{
    attention::{KeyValue, Scope, State},
    block::dropout,
    position::Positional,
};

#[cfg(test)]
mod tests;

/// Parameters of [`Gaussian`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GaussianConfig {
    /// What the weights of a query are divided by.
    pub normalize: GaussianNormalize,
}

/// What the weights of a query are divided by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GaussianNormalize {
    /// Nothing: each weight lies in (0, 1].
    #[default]
    None,
    /// The number of keys, for long rows.
    Mean,
    /// Their sum: softmax attention with the bias `−|k_j|² / 2√d` on key j.
    Row,
}

impl Entry for GaussianConfig {
    const SUMMARY: &'static str = "a Gaussian of the distance of query and key as weight";
    const PAPER: &'static str = "Song et al. 2024, arXiv:2411.07538";
}

impl CoreSetting for GaussianConfig {
    fn properties(&self) -> Properties {
        Properties {
            causal: true,
            patterns: true,
            bias: true,
            rotation: true,
            exact_step: true,
            any_queries: true,
            products: false,
            normalizer: false,
        }
    }
}

impl GaussianConfig {
    /// The core.
    pub fn init(&self, place: &CoreInit<'_>) -> Gaussian {
        Gaussian { normalize: self.normalize, dropout: place.dropout }
    }
}

/// Gaussian attention.
/// ```text
/// w_ij = exp(−|q_i − k_j|² / 2√d + b_ij),   o_i = Σ_j w_ij v_j,   or divided by n or Σ_j w_ij
/// ```
/// With entries of variance 1 the exponent is about −√d, so that nothing is weighted but a token itself: queries and keys
/// should start smaller by `d^(−1/4)`.
#[derive(Module, Debug)]
pub struct Gaussian {
    #[module(skip)]
    normalize: GaussianNormalize,
    dropout: f64,
}

impl Gaussian {
    fn mix(&self, heads: Heads, scope: &Scope, position: &dyn Positional, ctx: &Ctx) -> Tensor<4> {
        let dtype = heads.dtype();
        let Heads { q, k, v } = heads.repeated();
        let wide = accumulator(dtype);
        let (q, k, v) = (q.cast(wide), k.cast(wide), v.cast(wide));
        let [rows, n_heads, queries, d] = q.dims();
        let [_, _, keys, _] = k.dims();
        let exponent = square_distances(q, k).mul_scalar(-0.5 / (d as f64).sqrt());
        let exponent = match position.bias(scope, n_heads, &exponent) {
            None => exponent,
            Some(bias) => exponent + bias,
        };
        let dims = [rows, n_heads, queries, keys];
        let hidden = scope.mask().map(|mask| mask.bool_not().expand(dims));
        let exponent = match &hidden {
            None => exponent,
            Some(hidden) => exponent.mask_fill(hidden.clone(), f64::NEG_INFINITY),
        };
        let exponent = match self.normalize {
            GaussianNormalize::Row => {
                let largest = exponent.clone().detach().max_dim(3);
                let none = largest.clone().equal_elem(f64::NEG_INFINITY);
                exponent - largest.mask_fill(none, 0.0)
            }
            GaussianNormalize::None | GaussianNormalize::Mean => exponent,
        };
        // exp(−∞) = 0 with slope 0: nothing reaches a hidden key.
        let weights = exponent.exp();
        let weights = match self.normalize {
            GaussianNormalize::None => weights,
            GaussianNormalize::Mean => {
                let n = match &hidden {
                    None => Tensor::full([1, 1, 1, 1], keys as f64, (&weights.device(), wide)),
                    Some(hidden) => hidden.clone().bool_not().float().cast(wide).sum_dim(3).clamp_min(1.0),
                };
                weights / n
            }
            GaussianNormalize::Row => {
                let sum = weights.clone().sum_dim(3);
                let empty = sum.clone().equal_elem(0.0);
                weights / sum.mask_fill(empty, 1.0)
            }
        };
        ctx.record("attention", &Keep::All, || weights.clone());
        weighted(dropout(weights, self.dropout, &ctx.child("dropout")), v).cast(dtype)
    }
}

/// Queries and keys that are turned, and zeros in the place of padding.
fn prepared(heads: Heads, around: &Around<'_>) -> Heads {
    let Heads { q, k, v } = without_padding(turned(heads, around), around);
    Heads { q: zeroed(q, &around.scope.queries), k, v }
}

/// `|q_i − k_j|²`, which rounding may not push below 0: `[rows, heads, queries, keys]`.
pub(super) fn square_distances(q: Tensor<4>, k: Tensor<4>) -> Tensor<4> {
    let squares = |x: &Tensor<4>| x.clone().square().sum_dim(3);
    let (own, other) = (squares(&q), squares(&k).swap_dims(2, 3));
    (own + other - q.matmul(k.swap_dims(2, 3)).mul_scalar(2.0)).clamp_min(0.0)
}

impl Attend for Gaussian {
    fn forward(&self, heads: Heads, around: &Around<'_>, ctx: &Ctx) -> Tensor<4> {
        self.mix(prepared(heads, around), around.scope, around.position, ctx)
    }

    fn state(&self, _: usize, _: usize) -> State {
        State::KeyValue(KeyValue::default())
    }

    fn extend(&self, heads: Heads, state: State, around: &Around<'_>, ctx: &Ctx) -> (Tensor<4>, State) {
        let State::KeyValue(state) = state else { panic!("Gaussian attention goes on from keys and values") };
        let heads = prepared(heads, around);
        let (k, v, scope, state) = state.extended(heads.k, heads.v, around.scope);
        let mixed = self.mix(Heads { q: heads.q, k, v }, &scope, around.position, ctx);
        (mixed, State::KeyValue(state))
    }
}
