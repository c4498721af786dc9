//! The encoder transformer that reads its answer at one position.
use burn::{
    module::Module,
    tensor::{DType, Tensor},
};
use kiln_activations::{Ctx, Init, pointwise::PointwiseConfig};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Answers, Network, NetworkConfig, decoder::check_positions, stack};
use crate::{
    Ask, At, Head, HeadConfig, Input, InputSpec, Invalid, Io, Precision,
    attention::{AttentionConfig, Fit, PatternConfig, Side, inside},
    block::{Embedding, LayerNorm, Linear, Norm, Read, TransformerBlock},
    head::{Ends, Site},
    position::{LearnedConfig, Place, Position, PositionConfig, UnawareConfig},
};

/// Parameters of [`Transformer`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TransformerConfig {
    /// Width of the residual stream.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub d_model: usize,
    /// Width of the feed-forward network's hidden layer.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub d_ff: usize,
    /// Number of blocks.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub n_layers: usize,
    /// Where layer normalisation stands.
    pub norm: Norm,
    /// The function of the feed-forward network.
    pub activation: PointwiseConfig,
    /// How tokens know their place.
    pub positions: PositionConfig,
    /// Share of values set to 0 while training: attention weights, hidden layer, and what attention and
    /// feed-forward network add to the residual stream.
    #[serde(deserialize_with = "range::below_one")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub dropout: f64,
    /// Biases of the feed-forward network.
    pub bias: bool,
    /// Bias of the linear head.
    pub output_bias: bool,
    /// What turns the vectors that are read into logits; a linear head is the layer `output`.
    #[serde(skip_serializing_if = "HeadConfig::is_linear")]
    pub head: HeadConfig,
    /// The position whose vector gives the logits.
    pub read_at: ReadAt,
    /// How first values are drawn.
    pub init: InitScheme,
    /// Attention of every block.
    #[schemars(schema_with = "crate::attention::schema")]
    pub attention: AttentionConfig,
    /// Number format of parameters and hidden states.
    pub dtype: Precision,
}

/// The position whose vector gives the logits, where a row has one answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReadAt {
    /// The last one; the last block computes no other.
    #[default]
    Last,
    /// The first one.
    First,
    /// The mean over all, after the last norm.
    Mean,
}

/// How first values are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum InitScheme {
    /// Weights from `N(0, 1/fan_in)`, embeddings and positions from `N(0, 1/d_model)`, biases 0.
    #[default]
    Normal,
    /// As PyTorch's `nn.Embedding`, `nn.TransformerEncoderLayer` and `nn.Linear` do: embeddings and positions
    /// from `N(0, 1)`; query, key and value from the Xavier-uniform range of their packed matrix, with bias 0;
    /// every other weight and bias from `U(−1/√fan_in, 1/√fan_in)`. (One exception there, kept here: the bias
    /// after the heads starts at 0.)
    Torch,
    /// As GPT-2 does: everything from `N(0, 0.02²)`, the projection after the heads divided by √(2 n_layers), biases 0.
    Gpt,
}

impl TransformerConfig {
    /// The one-layer transformer of the mechanistic-interpretability literature on modular addition (Nanda et
    /// al. 2023, arXiv:2301.05217): ReLU, learned positions, no norm, no dropout; biases in the feed-forward
    /// network only (none in attention, none at the untied output).
    pub fn mechanistic() -> Self {
        Self {
            d_model: 128,
            d_ff: 512,
            n_layers: 1,
            norm: Norm::None,
            activation: PointwiseConfig::Relu(Default::default()),
            positions: PositionConfig::Learned(LearnedConfig::default()),
            dropout: 0.0,
            bias: true,
            output_bias: false,
            head: HeadConfig::default(),
            read_at: ReadAt::Last,
            init: InitScheme::Normal,
            attention: AttentionConfig::default(),
            dtype: Precision::F32,
        }
    }

    /// The transformer of Prieto et al. 2025 (arXiv:2501.04697): one post-norm encoder layer as PyTorch builds
    /// it, without positions, biases everywhere.
    pub fn post_norm_encoder() -> Self {
        Self {
            d_ff: 2048,
            norm: Norm::Post,
            positions: PositionConfig::Unaware(UnawareConfig::default()),
            dropout: 0.1,
            output_bias: true,
            init: InitScheme::Torch,
            attention: AttentionConfig { bias: true, ..AttentionConfig::default() },
            ..Self::mechanistic()
        }
    }
}

impl Default for TransformerConfig {
    /// [`TransformerConfig::mechanistic`].
    fn default() -> Self {
        Self::mechanistic()
    }
}

impl Entry for TransformerConfig {
    const SUMMARY: &'static str = "encoder transformer on tokens, read at the last position";
    const PAPER: &'static str = "Nanda et al. 2023, arXiv:2301.05217";
}

impl NetworkConfig for TransformerConfig {
    fn check(&self, io: &Io) -> Result<(), Invalid> {
        let InputSpec::Tokens { length, .. } = io.input else {
            let message = format!(
                "\"transformer\" takes tokens, but the data gives {}; choose the token encoding in [data], \
                 or name = \"mlp\"",
                io.input
            );
            return Err(Invalid::new("name", message));
        };
        self.attention
            .check(Fit { d_model: self.d_model, length, causal: false })
            .map_err(|invalid| inside("attention", invalid))?;
        check_positions(&self.positions, length)?;
        self.head.fits(&self.site(io))
    }

    fn dtype(&self) -> DType {
        self.dtype.dtype()
    }

    fn head(&self) -> Option<&HeadConfig> {
        Some(&self.head)
    }

    fn answers(&self) -> Answers {
        Answers::Places
    }

    fn attends(&self) -> bool {
        self.attention.has_weights()
    }
}

impl TransformerConfig {
    /// Where the head stands.
    fn site(&self, io: &Io) -> Site {
        let (draw, _) = self.init.draws(self.d_model, self.n_layers);
        Site { features: self.d_model, outputs: io.outputs, bias: self.output_bias, draw }
    }

    /// The network.
    ///
    /// # Panics
    /// If [`NetworkConfig::check`] refuses.
    pub fn init(&self, (io, init): (&Io, &Init)) -> Transformer {
        let InputSpec::Tokens { vocabulary, length } = io.input else { panic!("the transformer takes tokens") };
        let d_model = self.d_model;
        let std = self.init.embedding_std(d_model);
        let trunk = stack::trunk!(self, length);
        let (output, head) = self.head.ends(&self.site(io), init, "output");
        Transformer {
            embedding: Embedding::new(&init.child("embedding"), [vocabulary, d_model], std),
            positions: self.positions.init(&Place::in_front(length, d_model, std, &init.child("positions"))),
            blocks: trunk.blocks(init),
            norm: (self.norm == Norm::Pre).then(|| LayerNorm::new(init, d_model)),
            output,
            head,
            read_at: self.read_at,
            pattern: self.attention.pattern_in(false),
        }
    }
}

/// An encoder transformer with an untied head.
///
/// # Shapes
/// - input: `Tokens [rows, length]`; logits: `[rows, outputs]`
#[derive(Module, Debug)]
pub struct Transformer {
    /// `[vocabulary, d_model]`
    pub embedding: Embedding,
    /// The position scheme.
    pub positions: Position,
    /// The blocks, first to last.
    pub blocks: Vec<TransformerBlock>,
    /// The norm after the last block, with [`Norm::Pre`] only.
    pub norm: Option<LayerNorm>,
    /// `[d_model, outputs]`, with the linear head.
    pub output: Option<Linear>,
    /// The head, if it is not linear.
    pub head: Option<Head>,
    #[module(skip)]
    read_at: ReadAt,
    #[module(skip)]
    pattern: PatternConfig,
}

impl Network for Transformer {
    fn forward(&self, input: &Input, ask: &Ask, ctx: &Ctx) -> Tensor<2> {
        let Input::Tokens(tokens) = input else { panic!("the transformer takes tokens, not {}", input.kind()) };
        let [rows, length] = tokens.dims();
        let side = Side::range(0, length, &tokens.device());
        let x = self.positions.place(self.embedding.forward(tokens.clone()), &side);
        let scope = stack::scope(&self.pattern, side, Some(tokens));
        let read = match self.read_at {
            ReadAt::Last => stack::read_for(ask),
            ReadAt::First | ReadAt::Mean => Read::All,
        };
        let x = stack::run(&self.blocks, x, read, &scope, ctx);
        let normed = |x: Tensor<2>| match &self.norm {
            Some(norm) => norm.forward(x),
            None => x,
        };
        let [_, computed, d_model] = x.dims();
        let x = match (self.read_at, &ask.at) {
            (ReadAt::First, At::Row) => normed(x.narrow(1, 0, 1).reshape([rows, d_model])),
            (ReadAt::Mean, At::Row) => {
                let x = normed(x.reshape([rows * computed, d_model]));
                x.reshape([rows, computed, d_model]).mean_dim(1).reshape([rows, d_model])
            }
            _ => normed(stack::answers(x, ask)),
        };
        self.ends().answer(x, ask, ctx)
    }

    fn embedding(&self) -> Option<Tensor<2>> {
        Some(self.embedding.weight.val())
    }

    fn unembedding(&self) -> Option<Tensor<2>> {
        self.ends().unembedding()
    }
}

impl Transformer {
    fn ends(&self) -> Ends<'_> {
        Ends { output: self.output.as_ref(), head: self.head.as_ref() }
    }
}

#[cfg(test)]
pub(crate) mod tests;
