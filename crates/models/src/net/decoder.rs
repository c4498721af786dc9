//! The decoder transformer: predicts at each token from those before it.
use burn::{
    module::Module,
    tensor::{DType, Tensor},
};
use kiln_activations::{Ctx, Init, pointwise::PointwiseConfig};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Answers, InitScheme, Network, NetworkConfig, stack};
use crate::{
    Ask, Head, HeadConfig, Input, InputSpec, Invalid, Io, Precision,
    attention::{AttentionConfig, Fit, PatternConfig, Side, inside},
    block::{Embedding, LayerNorm, Linear, Norm, TransformerBlock},
    head::{Ends, Site},
    kernel::Epilogue,
    position::{LearnedConfig, Place, Position, PositionConfig, Stage},
};

mod decoding;
#[cfg(test)]
mod tests;

pub use decoding::DecoderState;

/// Parameters of [`Decoder`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DecoderConfig {
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
    /// How token vectors know their place. What acts inside attention stands there, as `position`.
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
    /// How first values are drawn.
    pub init: InitScheme,
    /// Standard deviation of the token vectors' first values; what `init` says if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub embedding_std: Option<f64>,
    /// Attention of every block.
    #[schemars(schema_with = "crate::attention::schema")]
    pub attention: AttentionConfig,
    /// Number format of parameters and hidden states.
    pub dtype: Precision,
}

impl Default for DecoderConfig {
    /// GPT-2's layout (Radford et al. 2019, "Language models are unsupervised multitask learners"): norms in front, GELU,
    /// learned positions, biases everywhere, its initial weights; at the size of synthetic tasks.
    fn default() -> Self {
        Self {
            d_model: 64,
            d_ff: 256,
            n_layers: 2,
            norm: Norm::Pre,
            activation: PointwiseConfig::Gelu(Default::default()),
            positions: PositionConfig::Learned(LearnedConfig::default()),
            dropout: 0.0,
            bias: true,
            output_bias: false,
            head: HeadConfig::default(),
            init: InitScheme::Gpt,
            embedding_std: None,
            attention: AttentionConfig { bias: true, ..AttentionConfig::default() },
            dtype: Precision::F32,
        }
    }
}

impl Entry for DecoderConfig {
    const SUMMARY: &'static str = "decoder transformer: answers at each token from those before it";
    const PAPER: &'static str = "Radford et al. 2019, Language Models are Unsupervised Multitask Learners";
}

impl NetworkConfig for DecoderConfig {
    fn check(&self, io: &Io) -> Result<(), Invalid> {
        let length = match io.input {
            InputSpec::Tokens { length, .. } | InputSpec::TokenSums { length, .. } => length,
            InputSpec::Items { .. } => 0,
            other => {
                let message = format!(
                    "\"decoder\" takes tokens or sequences of vectors, but the data gives {other}; choose other data, \
                     or name = \"mlp\""
                );
                return Err(Invalid::new("name", message));
            }
        };
        let fit = Fit { d_model: self.d_model, length, causal: true };
        self.attention.check(fit).map_err(|invalid| inside("attention", invalid))?;
        check_positions(&self.positions, length)?;
        if self.embedding_std.is_some_and(|std| !(std > 0.0 && std.is_finite())) {
            return Err(Invalid::new("embedding_std", "expected a finite number above 0".into()));
        }
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

/// Whether a scheme acts on token vectors and carries rows of this length.
pub(crate) fn check_positions(positions: &PositionConfig, length: usize) -> Result<(), Invalid> {
    let name = positions.name();
    if !matches!(positions.stage(), Stage::None | Stage::Embedding) {
        let message = format!("\"{name}\" acts inside attention; write position = \"{name}\" in [model.attention]");
        return Err(Invalid::new("positions", message));
    }
    positions.check(length, 0).map_err(|invalid| inside("positions", invalid))
}

impl DecoderConfig {
    /// Where the head stands.
    fn site(&self, io: &Io) -> Site {
        let (draw, _) = self.init.draws(self.d_model, self.n_layers);
        Site { features: self.d_model, outputs: io.outputs, bias: self.output_bias, draw }
    }

    /// The network.
    ///
    /// # Panics
    /// If [`NetworkConfig::check`] refuses.
    pub fn init(&self, (io, init): (&Io, &Init)) -> Decoder {
        let d_model = self.d_model;
        let std = self.embedding_std.unwrap_or(self.init.embedding_std(d_model));
        let (draw, _) = self.init.draws(d_model, self.n_layers);
        let (embedding, items, length) = match io.input {
            InputSpec::Tokens { vocabulary, length } | InputSpec::TokenSums { vocabulary, length, .. } => {
                (Some(Embedding::new(&init.child("embedding"), [vocabulary, d_model], std)), None, length)
            }
            InputSpec::Items { features } => {
                (None, Some(Linear::new(&init.child("items"), [features, d_model], true, draw)), 0)
            }
            other => panic!("the decoder takes no {other}"),
        };
        let trunk = stack::trunk!(self, length);
        let at_positions = init.child("positions");
        let place = Place::in_front(length, d_model, std, &at_positions);
        let (output, head) = self.head.ends(&self.site(io), init, "output");
        Decoder {
            embedding,
            items,
            positions: self.positions.init(&place),
            blocks: trunk.blocks(init),
            norm: (self.norm == Norm::Pre).then(|| LayerNorm::new(init, d_model)),
            output,
            head,
            pattern: self.attention.pattern_in(true),
        }
    }
}

/// A decoder transformer with an untied head.
///
/// # Shapes
/// - input: `Tokens [rows, length]`, `TokenSums` of as many, or `Items [rows, length, features]`; logits: `[answers, outputs]`
#[derive(Module, Debug)]
pub struct Decoder {
    /// `[vocabulary, d_model]`, for tokens.
    pub embedding: Option<Embedding>,
    /// `[features, d_model]`, for sequences of vectors.
    pub items: Option<Linear>,
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
    pattern: PatternConfig,
}

impl Network for Decoder {
    fn forward(&self, input: &Input, ask: &Ask, ctx: &Ctx) -> Tensor<2> {
        let x = self.embed(input);
        let [_, length, _] = x.dims();
        let side = Side::range(0, length, &x.device());
        let x = self.positions.place(x, &side);
        let tokens = match input {
            Input::Tokens(tokens) => Some(tokens),
            _ => None,
        };
        let scope = stack::scope(&self.pattern, side, tokens);
        let x = stack::run(&self.blocks, x, stack::read_for(ask), &scope, ctx);
        self.logits(stack::answers(x, ask), ask, ctx)
    }

    fn embedding(&self) -> Option<Tensor<2>> {
        self.embedding.as_ref().map(|embedding| embedding.weight.val())
    }

    fn unembedding(&self) -> Option<Tensor<2>> {
        self.ends().unembedding()
    }
}

impl Decoder {
    fn embed(&self, input: &Input) -> Tensor<3> {
        match (input, &self.embedding, &self.items) {
            (Input::Tokens(tokens), Some(embedding), _) => embedding.forward(tokens.clone()),
            (Input::TokenSums { ids, parts }, Some(embedding), _) => embedding.forward_sums(ids.clone(), *parts),
            (Input::Items(x), _, Some(items)) => items.forward(x.clone(), Epilogue::None),
            _ => panic!("this decoder was not built for {}", input.kind()),
        }
    }

    fn logits(&self, x: Tensor<2>, ask: &Ask, ctx: &Ctx) -> Tensor<2> {
        let x = match &self.norm {
            Some(norm) => norm.forward(x),
            None => x,
        };
        self.ends().answer(x, ask, ctx)
    }

    fn ends(&self) -> Ends<'_> {
        Ends { output: self.output.as_ref(), head: self.head.as_ref() }
    }
}
