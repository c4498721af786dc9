//! The trunk of transformers: blocks of one kind on top of each other.
use burn::tensor::{Int, Tensor};
use kiln_activations::{Ctx, Init, Keep, pointwise::PointwiseConfig};

use super::InitScheme;
use crate::{
    Ask, At,
    attention::{AttentionConfig, PatternConfig, Scope, Side},
    block::{Draw, FeedForward, Norm, Read, TransformerBlock},
};

/// What the blocks of a trunk are built from.
pub(crate) struct Trunk<'a> {
    pub d_model: usize,
    pub d_ff: usize,
    pub n_layers: usize,
    pub norm: Norm,
    pub activation: &'a PointwiseConfig,
    pub dropout: f64,
    pub bias: bool,
    pub init: InitScheme,
    pub attention: &'a AttentionConfig,
    pub length: usize,
}

/// The trunk of a config with the keys that all transformers have, for rows of so many tokens.
macro_rules! trunk {
    ($config:expr, $length:expr) => {
        $crate::net::stack::Trunk {
            d_model: $config.d_model,
            d_ff: $config.d_ff,
            n_layers: $config.n_layers,
            norm: $config.norm,
            activation: &$config.activation,
            dropout: $config.dropout,
            bias: $config.bias,
            init: $config.init,
            attention: &$config.attention,
            length: $length,
        }
    };
}
pub(crate) use trunk;

impl Trunk<'_> {
    /// The blocks, first to last, under `blocks` of `init`.
    pub fn blocks(&self, init: &Init) -> Vec<TransformerBlock> {
        let d_model = self.d_model;
        let (draw, projections) = self.init.draws(d_model, self.n_layers);
        let block = |i: usize| {
            let init = init.child("blocks").child(&i.to_string());
            let attention =
                self.attention.init(&init.child("attention"), d_model, self.length, projections, self.dropout);
            let feed_forward = FeedForward::new(
                &init.child("feed_forward"),
                [d_model, self.d_ff],
                self.bias,
                draw,
                self.activation,
                self.dropout,
            );
            TransformerBlock::new(&init, attention, feed_forward, self.norm, d_model, self.dropout)
        };
        (0..self.n_layers).map(block).collect()
    }
}

/// Runs vectors through the blocks; what each gives is recorded as `block`.
pub(crate) fn run(blocks: &[TransformerBlock], x: Tensor<3>, read: Read, scope: &Scope, ctx: &Ctx) -> Tensor<3> {
    let ctx = ctx.child("blocks");
    blocks.iter().enumerate().fold(x, |x, (i, block)| {
        let read = if i + 1 < blocks.len() { Read::All } else { read };
        let ctx = ctx.child(&i.to_string());
        let x = block.forward(x, read, scope, &ctx);
        ctx.record("block", &Keep::All, || x.clone());
        x
    })
}

/// What the tokens of whole rows may see: documents begin at the pattern's separator, if it has one.
pub(crate) fn scope(pattern: &PatternConfig, side: Side, tokens: Option<&Tensor<2, Int>>) -> Scope {
    let side = match (pattern.separator(), tokens) {
        (Some(separator), Some(tokens)) => {
            side.in_documents(tokens.clone().equal_elem(separator as i64).int().cumsum(1))
        }
        _ => side,
    };
    Scope::of(pattern.pattern(), side)
}

/// The vectors that answer `ask`: the last of each row, or those at the places; `[answers, d_model]`.
///
/// `x` is `[rows, length, d_model]`, or `[rows, 1, d_model]` where the last block was asked for the last position only.
pub(crate) fn answers(x: Tensor<3>, ask: &Ask) -> Tensor<2> {
    let [rows, length, d_model] = x.dims();
    match &ask.at {
        At::Row => x.narrow(1, length - 1, 1).reshape([rows, d_model]),
        At::Places(places) => x.reshape([rows * length, d_model]).select(0, places.clone()),
    }
}

/// Which positions the last block computes for `ask`.
pub(crate) fn read_for(ask: &Ask) -> Read {
    match ask.at {
        At::Row => Read::Last,
        At::Places(_) => Read::All,
    }
}

impl InitScheme {
    /// How the layers of a trunk are drawn: the feed-forward network, then attention's input and output projections.
    pub(crate) fn draws(self, d_model: usize, n_layers: usize) -> (Draw, [Draw; 2]) {
        match self {
            Self::Normal => (Draw::Normal, [Draw::Normal, Draw::Normal]),
            Self::Torch => (Draw::Uniform, [Draw::Xavier { packed_outputs: 3 * d_model }, Draw::UniformZeroBias]),
            Self::Gpt => {
                let residual = GPT_STD / (2.0 * n_layers as f64).sqrt();
                (Draw::Std(GPT_STD), [Draw::Std(GPT_STD), Draw::Std(residual)])
            }
        }
    }

    /// Standard deviation of token vectors of this width.
    pub(crate) fn embedding_std(self, d_model: usize) -> f64 {
        match self {
            Self::Normal => 1.0 / (d_model as f64).sqrt(),
            Self::Torch => 1.0,
            Self::Gpt => GPT_STD,
        }
    }
}

/// Standard deviation of all weights of GPT-2.
const GPT_STD: f64 = 0.02;
