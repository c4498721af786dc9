//! Multi-head attention, assembled from its slots.
use burn::{
    module::Module,
    tensor::{Int, Tensor},
};
use kiln_activations::{Ctx, Init};

use super::{
    Around, AttentionConfig, Core, CoreInit, Gate, HeadNorm, Heads, LocalConv, Pattern, QkNorm, Scale, Scope, Side,
    State,
    state::{Remember, tensor_bytes},
};
use crate::{
    block::{Draw, Linear},
    kernel::Epilogue,
    position::{Angles, Place, Position},
};

impl AttentionConfig {
    /// Attention for vectors of `d_model` entries in rows of at most `length` tokens. `input` draws query, key and value
    /// projections, `output` the one after the heads; `dropout` acts on the weights.
    ///
    /// # Panics
    /// If [`AttentionConfig::check`] refuses.
    pub fn init(&self, init: &Init, d_model: usize, length: usize, draws: [Draw; 2], dropout: f64) -> Attention {
        let [input, output] = draws;
        let (heads, kv_heads, [d_head, d_value]) = (self.n_heads, self.kv_heads(), self.widths(d_model));
        let project = |name: &str, rank: Option<usize>, outputs: usize| {
            let init = init.child(name);
            let low = rank.map(|rank| Linear::new(&init.child("low"), [d_model, rank], false, input));
            (Linear::new(&init, [rank.unwrap_or(d_model), outputs], self.bias, input), low)
        };
        let (query, query_low) = project("query", self.rank_qk, heads * d_head);
        let key = (!self.shared_qk).then(|| project("key", self.rank_qk, kv_heads * d_head));
        let (key, key_low) = key.map_or((None, None), |(key, low)| (Some(key), low));
        let (value, value_low) = project("value", self.rank_v, kv_heads * d_value);

        let properties = self.core.properties();
        let unit = self.qk_norm == QkNorm::L2;
        let root = (d_head as f64).sqrt();
        let scale = self.scale.unwrap_or(if unit { root } else { 1.0 / root });
        let core =
            CoreInit { init, d_model, n_heads: heads, d_head, d_value, length, normalizer: &self.normalizer, dropout };
        let place = Place { length, d_model, n_heads: heads, d_head, std: 0.02, init: &init.child("position") };
        Attention {
            query,
            query_low,
            key,
            key_low,
            value,
            value_low,
            output: Linear::new(&init.child("output"), [heads * d_value, d_model], self.bias, output),
            query_norm: HeadNorm::new(init, self.qk_norm, d_head),
            key_norm: HeadNorm::new(init, self.qk_norm, d_head),
            scale: properties
                .products
                .then(|| Scale::new(init, heads, scale, self.learn_scale || unit, unit, self.logn)),
            core: self.core.init(&core),
            position: self.position.init(&place),
            local_conv: self
                .local_conv
                .as_ref()
                .map(|conv| conv.init(&init.child("local_conv"), d_model, [heads, d_value])),
            gate: self.gate.map(|gate| Gate::new(&init.child("gate"), gate, d_model, heads, d_value)),
            n_heads: heads,
            kv_heads,
            any_queries: properties.any_queries && self.local_conv.is_none(),
            exact_step: properties.exact_step,
        }
    }
}

/// Multi-head attention.
/// ```text
/// q = x W_q,  k = x W_k,  v = x W_v      norms, positions and scale act on q and k of each head
/// y = [o_1, …, o_H] W_o + b_o            o = gate ⊙ (core(q, k, v) + local_conv(v))
/// ```
/// With the core `scores` that is `o_h = normalizer(q_h k_hᵀ / √d_head) v_h`.
///
/// # References
/// Vaswani et al. 2017, arXiv:1706.03762. The three input projections are separate matrices here, where some
/// implementations pack them into one: a per-matrix rule such as a gradient projection sees three.
#[derive(Module, Debug)]
pub struct Attention {
    /// `[d_model or rank, n_heads · d_head]`
    pub query: Linear,
    /// `[d_model, rank]`, for queries of a low rank.
    pub query_low: Option<Linear>,
    /// `[d_model or rank, kv_heads · d_head]`; `None` where the queries are the keys.
    pub key: Option<Linear>,
    /// `[d_model, rank]`, for keys of a low rank.
    pub key_low: Option<Linear>,
    /// `[d_model or rank, kv_heads · d_value]`
    pub value: Linear,
    /// `[d_model, rank]`, for values of a low rank.
    pub value_low: Option<Linear>,
    /// `[n_heads · d_value, d_model]`
    pub output: Linear,
    /// Normalises queries.
    pub query_norm: Option<HeadNorm>,
    /// Normalises keys.
    pub key_norm: Option<HeadNorm>,
    /// Scales the products of queries and keys.
    pub scale: Option<Scale>,
    /// What is done with queries, keys and values.
    pub core: Core,
    /// How queries and keys, or their scores, know their places.
    pub position: Position,
    /// Adds near values to what the core gives.
    pub local_conv: Option<LocalConv>,
    /// Gates what the heads give.
    pub gate: Option<Gate>,
    n_heads: usize,
    kv_heads: usize,
    any_queries: bool,
    exact_step: bool,
}

/// What one attention layer remembers between tokens.
#[derive(Clone, Debug)]
pub struct LayerState {
    /// The core's memory.
    pub core: State,
    /// Angles that depend on the tokens so far.
    pub angles: Option<Angles>,
    /// The last values, for the local convolution: `[rows, kernel − 1, n_heads · d_value]`.
    pub tail: Option<Tensor<3>>,
}

impl Remember for LayerState {
    fn select(self, rows: &Tensor<1, Int>) -> Self {
        Self {
            core: self.core.select(rows),
            angles: self.angles.map(|angles| angles.select(rows)),
            tail: self.tail.map(|tail| tail.select(0, rows.clone())),
        }
    }

    fn reset(self) -> Self {
        Self { core: self.core.reset(), angles: None, tail: None }
    }

    fn bytes(&self) -> usize {
        let tail = self.tail.as_ref().map_or(0, tensor_bytes);
        self.core.bytes() + self.angles.as_ref().map_or(0, Angles::bytes) + tail
    }
}

impl Attention {
    /// What every token gets from the tokens it sees.
    ///
    /// # Shapes
    /// - x: `[rows, length, d_model]`; output: the same
    pub fn forward(&self, x: Tensor<3>, scope: &Scope, ctx: &Ctx) -> Tensor<3> {
        self.attend(x.clone(), x, scope, ctx)
    }

    /// What the last token gets from the tokens it sees: `[rows, 1, d_model]`.
    pub fn forward_last(&self, x: Tensor<3>, scope: &Scope, ctx: &Ctx) -> Tensor<3> {
        let [_, length, _] = x.dims();
        let last = |x: Tensor<3>| x.narrow(1, length - 1, 1);
        if self.any_queries {
            self.attend(last(x.clone()), x, &scope.last_query(), ctx)
        } else {
            last(self.forward(x, scope, ctx))
        }
    }

    fn attend(&self, queries: Tensor<3>, keys: Tensor<3>, scope: &Scope, ctx: &Ctx) -> Tensor<3> {
        let heads = self.heads(&queries, &keys, scope);
        let (rotation, _) = self.position.rotation(&keys, scope, None);
        let around = Around { scope, rotation: rotation.as_ref(), position: &*self.position, x: &queries };
        let near = self.local_conv.as_ref().map(|conv| conv.forward(heads.clone(), &keys, scope, None).0);
        let mixed = self.core.forward(heads, &around, &ctx.child("core"));
        self.merged(mixed, near, &queries)
    }

    /// Whether tokens may come one after the other, with what all at once would give.
    pub fn core_steps_exactly(&self) -> bool {
        self.exact_step
    }

    /// The state before the first token of `rows` sequences.
    pub fn state(&self, rows: usize) -> LayerState {
        LayerState { core: self.core.state(rows, self.kv_heads), angles: None, tail: None }
    }

    /// What new tokens get that come after `state`, and the state after them: [`Attention::forward`] in pieces.
    ///
    /// # Shapes
    /// - x: `[rows, new, d_model]`; output: the same
    pub fn extend(
        &self,
        x: Tensor<3>,
        state: LayerState,
        side: &Side,
        pattern: Pattern,
        ctx: &Ctx,
    ) -> (Tensor<3>, LayerState) {
        let scope = Scope::of(pattern, side.clone());
        let heads = self.heads(&x, &x, &scope);
        let (rotation, angles) = self.position.rotation(&x, &scope, state.angles);
        let around = Around { scope: &scope, rotation: rotation.as_ref(), position: &*self.position, x: &x };
        let near = self.local_conv.as_ref().map(|conv| conv.forward(heads.clone(), &x, &scope, state.tail));
        let (near, tail) = near.map_or((None, None), |(near, tail)| (Some(near), tail));
        let (mixed, core) = self.core.extend(heads, state.core, &around, &ctx.child("core"));
        (self.merged(mixed, near, &x), LayerState { core, angles, tail })
    }

    fn heads(&self, queries: &Tensor<3>, keys: &Tensor<3>, scope: &Scope) -> Heads {
        let project = |x: &Tensor<3>, low: &Option<Linear>, layer: &Linear, heads: usize| {
            let x = match low {
                Some(low) => low.forward(x.clone(), Epilogue::None),
                None => x.clone(),
            };
            split(layer.forward(x, Epilogue::None), heads)
        };
        let q = project(queries, &self.query_low, &self.query, self.n_heads);
        let k = match &self.key {
            Some(key) => project(keys, &self.key_low, key, self.kv_heads),
            None => project(keys, &self.query_low, &self.query, self.n_heads),
        };
        let v = project(keys, &self.value_low, &self.value, self.kv_heads);
        let normed = |x: Tensor<4>, norm: &Option<HeadNorm>| match norm {
            Some(norm) => norm.forward(x),
            None => x,
        };
        let q = normed(q, &self.query_norm);
        let q = match &self.scale {
            Some(scale) => scale.forward(q, scope),
            None => q,
        };
        Heads { q, k: normed(k, &self.key_norm), v }
    }

    fn merged(&self, mixed: Tensor<4>, near: Option<Tensor<4>>, x: &Tensor<3>) -> Tensor<3> {
        let mixed = match near {
            Some(near) => mixed + near,
            None => mixed,
        };
        let mixed = match &self.gate {
            Some(gate) => gate.forward(mixed, x),
            None => mixed,
        };
        let [rows, heads, queries, d_value] = mixed.dims();
        self.output.forward(mixed.swap_dims(1, 2).reshape([rows, queries, heads * d_value]), Epilogue::None)
    }
}

/// `[rows, length, heads · width]` to `[rows, heads, length, width]`.
fn split(x: Tensor<3>, heads: usize) -> Tensor<4> {
    let [rows, length, width] = x.dims();
    x.reshape([rows, length, heads, width / heads]).swap_dims(1, 2)
}
