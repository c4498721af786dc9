//! One layer of a transformer: attention, then a position-wise network, each around a residual stream.
use burn::{module::Module, tensor::Tensor};
use kiln_activations::{Ctx, Init};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FeedForward, LayerNorm, dropout};
use crate::attention::{Attention, LayerState, Pattern, Scope, Side};

/// Where layer normalisation stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Norm {
    /// Nowhere.
    #[default]
    None,
    /// On the way into attention and feed-forward network, and once after the last block. Xiong et al. 2020,
    /// arXiv:2002.04745.
    Pre,
    /// After each residual sum. Vaswani et al. 2017, arXiv:1706.03762.
    Post,
}

/// Which positions a block computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// All of them.
    All,
    /// The last one, which still attends to all.
    Last,
}

/// A transformer block.
/// ```text
/// none:  x ← x + drop(attention(x));          x ← x + drop(ff(x))
/// pre:   x ← x + drop(attention(norm x));     x ← x + drop(ff(norm x))
/// post:  x ← norm(x + drop(attention(x)));    x ← norm(x + drop(ff(x)))
/// ```
#[derive(Module, Debug)]
pub struct TransformerBlock {
    /// Mixes positions.
    pub attention: Attention,
    /// The norm that belongs to attention.
    pub attention_norm: Option<LayerNorm>,
    /// Works at each position.
    pub feed_forward: FeedForward,
    /// The norm that belongs to the feed-forward network.
    pub feed_forward_norm: Option<LayerNorm>,
    #[module(skip)]
    norm: Norm,
    dropout: f64,
}

impl TransformerBlock {
    /// A block around its two parts; `dropout` acts on what each adds to the residual stream.
    pub fn new(
        init: &Init,
        attention: Attention,
        feed_forward: FeedForward,
        norm: Norm,
        d_model: usize,
        dropout: f64,
    ) -> Self {
        let layer_norm = || (norm != Norm::None).then(|| LayerNorm::new(init, d_model));
        Self { attention, attention_norm: layer_norm(), feed_forward, feed_forward_norm: layer_norm(), norm, dropout }
    }

    /// The block.
    ///
    /// # Shapes
    /// - x: `[rows, length, d_model]`; output: the same, or `[rows, 1, d_model]` for [`Read::Last`]
    pub fn forward(&self, x: Tensor<3>, read: Read, scope: &Scope, ctx: &Ctx) -> Tensor<3> {
        let input = self.before(&self.attention_norm, x.clone());
        let attention = ctx.child("attention");
        let (x, mixed) = match read {
            Read::All => (x, self.attention.forward(input, scope, &attention)),
            Read::Last => (last(x), self.attention.forward_last(input, scope, &attention)),
        };
        self.finish(x, mixed, ctx)
    }

    /// The block on new tokens that come after `state`, and the state after them.
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
        let input = self.before(&self.attention_norm, x.clone());
        let (mixed, state) = self.attention.extend(input, state, side, pattern, &ctx.child("attention"));
        (self.finish(x, mixed, ctx), state)
    }

    /// What follows attention.
    fn finish(&self, x: Tensor<3>, mixed: Tensor<3>, ctx: &Ctx) -> Tensor<3> {
        let x = self.after(&self.attention_norm, x + dropout(mixed, self.dropout, &ctx.child("attention_dropout")));

        let input = self.before(&self.feed_forward_norm, x.clone());
        let added = self.feed_forward.forward(input, &ctx.child("feed_forward"));
        let added = dropout(added, self.dropout, &ctx.child("feed_forward_dropout"));
        self.after(&self.feed_forward_norm, x + added)
    }

    fn before(&self, norm: &Option<LayerNorm>, x: Tensor<3>) -> Tensor<3> {
        match (self.norm, norm) {
            (Norm::Pre, Some(norm)) => norm.forward(x),
            _ => x,
        }
    }

    fn after(&self, norm: &Option<LayerNorm>, x: Tensor<3>) -> Tensor<3> {
        match (self.norm, norm) {
            (Norm::Post, Some(norm)) => norm.forward(x),
            _ => x,
        }
    }
}

/// The last position: `[rows, length, d_model]` to `[rows, 1, d_model]`.
fn last(x: Tensor<3>) -> Tensor<3> {
    let [_, length, _] = x.dims();
    x.narrow(1, length - 1, 1)
}
