//! Attention as it is known: scores, a map to weights, a weighted sum.
use burn::{module::Module, tensor::Tensor};
use kiln_activations::{Ctx, normalizer::Normalizer};
use kiln_registry::Entry;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Around, Attend, CoreInit, CoreSetting, Heads, Properties};
use crate::{
    attention::{KeyValue, Scope, State},
    block::dropout,
    kernel::{attend, attends},
    position::Positional,
};

/// Parameters of [`Scores`]: none; its map is `normalizer` of the attention.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScoresConfig {}

impl Entry for ScoresConfig {
    const SUMMARY: &'static str = "products of queries and keys, any normalizer, a weighted sum of values";
    const PAPER: &'static str = "Vaswani et al. 2017, arXiv:1706.03762";
}

impl CoreSetting for ScoresConfig {
    fn properties(&self) -> Properties {
        Properties {
            causal: true,
            patterns: true,
            bias: true,
            rotation: true,
            exact_step: true,
            any_queries: true,
            products: true,
            normalizer: true,
        }
    }
}

impl ScoresConfig {
    /// The core.
    pub fn init(&self, core: &CoreInit<'_>) -> Scores {
        let init = core.init.child("normalizer").per_head(core.n_heads);
        Scores { normalizer: core.normalizer.init(&init), dropout: core.dropout }
    }
}

/// Score, normalise, mix.
/// ```text
/// z_ij = ⟨q_i, k_j⟩ + b_ij,   w = dropout(normalizer(z)),   o_i = Σ_j w_ij v_j
/// ```
/// Queries come scaled; dropped weights are not made up for in the others.
#[derive(Module, Debug)]
pub struct Scores {
    /// The map from scores to weights.
    pub normalizer: Normalizer,
    dropout: f64,
}

impl Scores {
    fn mix(&self, heads: Heads, scope: &Scope, position: &dyn Positional, ctx: &Ctx) -> Tensor<4> {
        let bias = position.bias(scope, heads.q.dims()[1], &heads.q);
        if let Some(seen) = scope.seen().filter(|_| bias.is_none() && self.goes_in_one_pass(&heads, ctx)) {
            let map = self.normalizer.kernel(&ctx.child("normalizer"));
            return attend(heads.q, heads.k, heads.v, seen, map);
        }
        let scores = biased(pairs(&heads), bias);
        let keep = scope.keep(scores.dims());
        ctx.record("scores", &keep, || scores.clone());
        let weights = self.normalizer.kept_weights(scores, &keep, &ctx.child("normalizer"));
        ctx.record("attention", &keep, || weights.clone());
        weighted(dropout(weights, self.dropout, &ctx.child("dropout")), heads.v)
    }

    /// Whether scores and weights need not exist as tensors: nobody looks at them, drops some of them or adds noise to them,
    /// there are many, and the device has the operation for this map.
    fn goes_in_one_pass(&self, heads: &Heads, ctx: &Ctx) -> bool {
        let ([_, _, queries, _], [_, _, keys, _]) = (heads.q.dims(), heads.k.dims());
        let watched = ctx.wants("scores") || ctx.wants("attention");
        let dropped = ctx.training && self.dropout > 0.0;
        !watched
            && !dropped
            && queries * keys >= MANY
            && !self.normalizer.laws().stochastic
            && attends(&*self.normalizer.kernel(ctx), heads.dtype(), &heads.q.device())
    }
}

/// Scores of a row and head from which on holding them all costs more than blocks do.
const MANY: usize = 1024;

/// `⟨q_i, k_j⟩ + b_ij`: `[rows, n_heads, queries, keys]`.
pub(crate) fn products(heads: &Heads, scope: &Scope, position: &dyn Positional) -> Tensor<4> {
    biased(pairs(heads), position.bias(scope, heads.q.dims()[1], &heads.q))
}

/// `⟨q_i, k_j⟩`.
fn pairs(heads: &Heads) -> Tensor<4> {
    let [rows, n_heads, queries, d_head] = heads.q.dims();
    let [_, kv_heads, keys, _] = heads.k.dims();
    // Queries of one group stand below each other, so that no key is copied.
    let q = heads.q.clone().reshape([rows, kv_heads, n_heads / kv_heads * queries, d_head]);
    q.matmul(heads.k.clone().swap_dims(2, 3)).reshape([rows, n_heads, queries, keys])
}

fn biased(scores: Tensor<4>, bias: Option<Tensor<4>>) -> Tensor<4> {
    match bias {
        Some(bias) => scores + bias,
        None => scores,
    }
}

/// `Σ_j w_ij v_j`, where query heads of a group share their values.
pub(crate) fn weighted(weights: Tensor<4>, v: Tensor<4>) -> Tensor<4> {
    let [rows, n_heads, queries, keys] = weights.dims();
    let [_, kv_heads, _, d_value] = v.dims();
    let weights = weights.reshape([rows, kv_heads, n_heads / kv_heads * queries, keys]);
    weights.matmul(v).reshape([rows, n_heads, queries, d_value])
}

/// Keys and values with zeros in the place of padding, which may hold anything: 0 · NaN is NaN.
pub(crate) fn without_padding(heads: Heads, around: &Around<'_>) -> Heads {
    let Some(kept) = around.scope.keys.kept_heads() else { return heads };
    let blank = |x: Tensor<4>| {
        let hidden = kept.clone().bool_not().expand(x.dims());
        x.mask_fill(hidden, 0.0)
    };
    Heads { k: blank(heads.k), v: blank(heads.v), q: heads.q }
}

/// Queries and keys, turned by the position scheme.
pub(crate) fn turned(heads: Heads, around: &Around<'_>) -> Heads {
    match around.rotation {
        Some(rotation) => Heads { q: rotation.queries(heads.q), k: rotation.keys(heads.k), v: heads.v },
        None => heads,
    }
}

impl Attend for Scores {
    fn forward(&self, heads: Heads, around: &Around<'_>, ctx: &Ctx) -> Tensor<4> {
        let heads = without_padding(turned(heads, around), around);
        self.mix(heads, around.scope, around.position, ctx)
    }

    fn state(&self, _: usize, _: usize) -> State {
        State::KeyValue(KeyValue::default())
    }

    fn extend(&self, heads: Heads, state: State, around: &Around<'_>, ctx: &Ctx) -> (Tensor<4>, State) {
        let State::KeyValue(state) = state else { panic!("scores go on from keys and values") };
        let heads = without_padding(turned(heads, around), around);
        let (k, v, scope, state) = state.extended(heads.k, heads.v, around.scope);
        let mixed = self.mix(Heads { q: heads.q, k, v }, &scope, around.position, ctx);
        (mixed, State::KeyValue(state))
    }
}
