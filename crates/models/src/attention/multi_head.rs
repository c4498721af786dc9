//! Multi-head attention around any normalizer.
use burn::{module::Module, tensor::Tensor};
use kiln_activations::{
    Ctx, Init, Keep,
    normalizer::{Normalizer, NormalizerConfig, SoftmaxConfig},
};
use kiln_registry::range;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Invalid,
    block::{Draw, Linear, dropout},
    kernel::Epilogue,
};

/// `[model.attention]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AttentionConfig {
    /// Heads; they share the model's width evenly.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub n_heads: usize,
    /// The map from a row of scores to a row of weights.
    pub normalizer: NormalizerConfig,
    /// Biases of the four projections.
    pub bias: bool,
}

impl Default for AttentionConfig {
    /// 4 heads without biases, as in the one-layer transformers of the grokking literature.
    fn default() -> Self {
        Self { n_heads: 4, normalizer: NormalizerConfig::Softmax(SoftmaxConfig::default()), bias: false }
    }
}

impl AttentionConfig {
    /// Whether the heads fit the width.
    ///
    /// # Errors
    /// If they do not; the message names the nearest widths that do.
    pub fn check(&self, d_model: usize) -> Result<(), Invalid> {
        let heads = self.n_heads;
        if d_model.is_multiple_of(heads) {
            return Ok(());
        }
        let below = d_model / heads * heads;
        let near = if below == 0 { heads.to_string() } else { format!("{below} or {}", below + heads) };
        Err(Invalid::new(
            "n_heads",
            format!("d_model = {d_model} is not a multiple of n_heads = {heads}; try d_model = {near}"),
        ))
    }

    /// Attention for vectors of `d_model` entries. `input` draws query, key and value projections, `output`
    /// the one after the heads; `dropout` acts on the weights.
    ///
    /// # Panics
    /// If [`AttentionConfig::check`] refuses.
    pub fn init(&self, init: &Init, d_model: usize, [input, output]: [Draw; 2], dropout: f64) -> Attention {
        assert!(d_model.is_multiple_of(self.n_heads), "n_heads = {} does not divide d_model = {d_model}", self.n_heads);
        let projection = |name: &str, draw| Linear::new(&init.child(name), [d_model, d_model], self.bias, draw);
        Attention {
            query: projection("query", input),
            key: projection("key", input),
            value: projection("value", input),
            output: projection("output", output),
            normalizer: self.normalizer.init(&init.child("normalizer").per_head(self.n_heads)),
            n_heads: self.n_heads,
            dropout,
        }
    }
}

/// Multi-head attention.
/// ```text
/// A_h = normalizer(q_h k_hᵀ / √d_head),   y = [A_1 v_1, …, A_H v_H] W_o + b_o
/// ```
/// # References
/// Vaswani et al. 2017, arXiv:1706.03762. The three input projections are separate matrices here, where some
/// implementations pack them into one: a per-matrix rule such as a gradient projection sees three.
#[derive(Module, Debug)]
pub struct Attention {
    /// `[d_model, d_model]`
    pub query: Linear,
    /// `[d_model, d_model]`
    pub key: Linear,
    /// `[d_model, d_model]`
    pub value: Linear,
    /// `[d_model, d_model]`
    pub output: Linear,
    /// The map from scores to weights.
    pub normalizer: Normalizer,
    n_heads: usize,
    dropout: f64,
}

impl Attention {
    /// Every query attends to every key; the keys' vectors are also the values.
    ///
    /// # Shapes
    /// - queries: `[rows, seq_q, d_model]`; keys: `[rows, seq_k, d_model]`; output: as the queries
    pub fn forward(&self, queries: Tensor<3>, keys: Tensor<3>, ctx: &Ctx) -> Tensor<3> {
        let [rows, seq_q, d_model] = queries.dims();
        let q = self.heads(self.query.forward(queries, Epilogue::None));
        let k = self.heads(self.key.forward(keys.clone(), Epilogue::None));
        let v = self.heads(self.value.forward(keys, Epilogue::None));

        let scale = 1.0 / ((d_model / self.n_heads) as f64).sqrt();
        let scores = q.matmul(k.swap_dims(2, 3)).mul_scalar(scale); // [rows, n_heads, seq_q, seq_k]
        let weights = self.normalizer.weights(scores, -1, None, &ctx.child("normalizer"));
        ctx.record("attention", &Keep::All, || weights.clone());
        let weights = dropout(weights, self.dropout, &ctx.child("dropout"));

        let mixed = weights.matmul(v).swap_dims(1, 2).reshape([rows, seq_q, d_model]);
        self.output.forward(mixed, Epilogue::None)
    }

    /// `[rows, seq, d_model]` to `[rows, n_heads, seq, d_head]`.
    fn heads(&self, x: Tensor<3>) -> Tensor<4> {
        let [rows, seq, d_model] = x.dims();
        x.reshape([rows, seq, self.n_heads, d_model / self.n_heads]).swap_dims(1, 2)
    }
}
