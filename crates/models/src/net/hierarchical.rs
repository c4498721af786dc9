//! The hierarchical transformer for long documents.
use burn::{
    module::Module,
    tensor::{DType, Tensor},
};
use kiln_activations::{Ctx, Init, pointwise::PointwiseConfig};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{InitScheme, Network, NetworkConfig, decoder::check_positions, stack};
use crate::{
    Ask, Head, HeadConfig, Input, InputSpec, Invalid, Io, Precision,
    attention::{AttentionConfig, Fit, PatternConfig, Side, inside},
    block::{Draw, Embedding, LayerNorm, Linear, Norm, Read, TransformerBlock},
    head::{Ends, Site},
    kernel::Epilogue,
    position::{LearnedConfig, Place, Position, PositionConfig},
};

mod aggregator;
mod segments;

pub use aggregator::{
    Aggregate, Aggregator, AggregatorConfig, Joins, SegmentEncoder, SegmentEncoderConfig, SegmentMean,
    SegmentMeanConfig, SegmentRecurrent, SegmentRecurrentConfig, Segments,
};
pub use segments::segments;

/// Parameters of [`Hierarchical`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HierarchicalConfig {
    /// Tokens of a segment.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub size: usize,
    /// Tokens from the beginning of one segment to that of the next, at most `size`.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub stride: usize,
    /// How many tokens are read, from the first on; all if left out. With as many as `size` it is the usual way out: a
    /// truncated document.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub read: Option<usize>,
    /// What stands for a segment.
    pub pool: SegmentPool,
    /// How segments are joined.
    pub aggregator: AggregatorConfig,
    /// Width of the ReLU layer between the joined segments and the output.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub hidden: usize,
    /// Width of the residual stream.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub d_model: usize,
    /// Width of the feed-forward network's hidden layer.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub d_ff: usize,
    /// Number of blocks within a segment.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub n_layers: usize,
    /// Where layer normalisation stands.
    pub norm: Norm,
    /// The function of the feed-forward network.
    pub activation: PointwiseConfig,
    /// How tokens know their place in their segment.
    pub positions: PositionConfig,
    /// Share of values set to 0 while training: attention weights, hidden layer, and what attention and
    /// feed-forward network add to the residual stream.
    #[serde(deserialize_with = "range::below_one")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub dropout: f64,
    /// Biases of the feed-forward network.
    pub bias: bool,
    /// What turns the vector that is read into logits; a linear head is the layer `output`.
    #[serde(skip_serializing_if = "HeadConfig::is_linear")]
    pub head: HeadConfig,
    /// How first values are drawn.
    pub init: InitScheme,
    /// Attention of every block.
    #[schemars(schema_with = "crate::attention::schema")]
    pub attention: AttentionConfig,
    /// Number format of parameters and hidden states.
    pub dtype: Precision,
}

/// What stands for a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SegmentPool {
    /// The mean of its tokens.
    #[default]
    Mean,
    /// Its first token.
    First,
}

impl Default for HierarchicalConfig {
    /// One layer of width 32 on segments of 64 tokens, for synthetic documents of some hundred tokens. Pappagari et al.
    /// have BERT on segments of 200 tokens that move by 50; LSTM and ReLU layer are theirs.
    fn default() -> Self {
        Self {
            size: 64,
            stride: 48,
            read: None,
            pool: SegmentPool::Mean,
            aggregator: AggregatorConfig::default(),
            hidden: 30,
            d_model: 32,
            d_ff: 128,
            n_layers: 1,
            norm: Norm::Pre,
            activation: PointwiseConfig::Gelu(Default::default()),
            positions: PositionConfig::Learned(LearnedConfig::default()),
            dropout: 0.0,
            bias: true,
            head: HeadConfig::default(),
            init: InitScheme::Normal,
            attention: AttentionConfig { bias: true, ..AttentionConfig::default() },
            dtype: Precision::F32,
        }
    }
}

impl Entry for HierarchicalConfig {
    const SUMMARY: &'static str =
        "hierarchical transformer: an encoder on segments of a long document, then one over the segments";
    const PAPER: &'static str = "Pappagari et al. 2019, arXiv:1910.10781";
}

impl HierarchicalConfig {
    /// Tokens that are read of a document.
    fn read(&self, length: usize) -> usize {
        self.read.map_or(length, |read| read.min(length))
    }
}

impl NetworkConfig for HierarchicalConfig {
    fn check(&self, io: &Io) -> Result<(), Invalid> {
        let (InputSpec::Tokens { length, .. } | InputSpec::TokenSums { length, .. }) = io.input else {
            let message = format!(
                "\"hierarchical\" takes tokens, but the data gives {}; choose other data, such as \"long_documents\", or \
                 another network",
                io.input
            );
            return Err(Invalid::new("name", message));
        };
        if self.stride > self.size {
            let message = format!(
                "{} leaves tokens between segments of {1} unread; expected at most {1}",
                self.stride, self.size
            );
            return Err(Invalid::new("stride", message));
        }
        if self.read == Some(0) {
            return Err(Invalid::new("read", "0 tokens tell nothing; expected at least 1".into()));
        }
        let size = self.size.min(self.read(length));
        let fit = Fit { d_model: self.d_model, length: size, causal: false };
        self.attention.check(fit).map_err(|invalid| inside("attention", invalid))?;
        check_positions(&self.positions, size)?;
        self.head.fits(&self.site(io))
    }

    fn dtype(&self) -> DType {
        self.dtype.dtype()
    }

    fn head(&self) -> Option<&HeadConfig> {
        Some(&self.head)
    }

    fn attends(&self) -> bool {
        self.attention.has_weights()
    }
}

impl HierarchicalConfig {
    /// Where the head stands.
    fn site(&self, io: &Io) -> Site {
        Site { features: self.hidden, outputs: io.outputs, bias: true, draw: Draw::Uniform }
    }

    /// The network.
    ///
    /// # Panics
    /// If [`NetworkConfig::check`] refuses.
    pub fn init(&self, (io, init): (&Io, &Init)) -> Hierarchical {
        let (InputSpec::Tokens { vocabulary, length } | InputSpec::TokenSums { vocabulary, length, .. }) = io.input
        else {
            panic!("hierarchical takes no {}", io.input)
        };
        let (d_model, length) = (self.d_model, self.read(length));
        let std = self.init.embedding_std(d_model);
        let trunk = stack::trunk!(self, self.size.min(length));
        let at_positions = init.child("positions");
        let place = Place::in_front(trunk.length, d_model, std, &at_positions);
        let (positions, blocks) = (self.positions.init(&place), trunk.blocks(init));
        let count = segments(length, self.size, self.stride).count();
        let aggregator = self.aggregator.init(&Segments { count, trunk, init: &init.child("aggregator") });
        let width = self.aggregator.width(d_model);
        let (output, head) = self.head.ends(&self.site(io), init, "output");
        Hierarchical {
            embedding: Embedding::new(&init.child("embedding"), [vocabulary, d_model], std),
            positions,
            blocks,
            norm: (self.norm == Norm::Pre).then(|| LayerNorm::new(init, d_model)),
            aggregator,
            hidden: Linear::new(&init.child("hidden"), [width, self.hidden], true, Draw::Uniform),
            output,
            head,
            config: self.clone(),
            pattern: self.attention.pattern_in(false),
        }
    }
}

/// A hierarchical transformer: the document is cut into segments that overlap, an encoder gives a vector for each of them,
/// an aggregator joins them.
/// ```text
/// s_i = pool(norm(blocks(tokens i · stride .. i · stride + size)))
/// z = head(relu(join(s_1, s_2, …) W_h + b_h))
/// ```
/// Attention costs `length / stride · size²` instead of `length²`. A last segment that is shorter is padded, and its
/// padding is neither attended to nor pooled.
///
/// # Shapes
/// - input: `Tokens [rows, length]` or `TokenSums`; logits: `[rows, outputs]`
/// - recorded for a probe: `attention` and `block` of each block within segments, `[rows · segments, …]`
///   (`segments.blocks.<i>`), and of those over them (`aggregator.blocks.<i>`)
#[derive(Module, Debug)]
pub struct Hierarchical {
    /// `[vocabulary, d_model]`
    pub embedding: Embedding,
    /// The position scheme within a segment.
    pub positions: Position,
    /// The blocks within a segment, first to last.
    pub blocks: Vec<TransformerBlock>,
    /// The norm after the last of them, with [`Norm::Pre`] only.
    pub norm: Option<LayerNorm>,
    /// Joins the segments.
    pub aggregator: Aggregator,
    /// `[width, hidden]`
    pub hidden: Linear,
    /// `[hidden, outputs]`, with the linear head.
    pub output: Option<Linear>,
    /// The head, if it is not linear.
    pub head: Option<Head>,
    #[module(skip)]
    config: HierarchicalConfig,
    #[module(skip)]
    pattern: PatternConfig,
}

impl Hierarchical {
    fn ends(&self) -> Ends<'_> {
        Ends { output: self.output.as_ref(), head: self.head.as_ref() }
    }
}

impl Network for Hierarchical {
    fn forward(&self, input: &Input, ask: &Ask, ctx: &Ctx) -> Tensor<2> {
        ask.expect_rows("hierarchical");
        let read = self.config.read(input.length());
        let x = match input {
            Input::Tokens(tokens) => self.embedding.forward(tokens.clone().narrow(1, 0, read)),
            Input::TokenSums { ids, parts } => {
                self.embedding.forward_sums(ids.clone().narrow(1, 0, read * parts), *parts)
            }
            _ => panic!("hierarchical takes tokens, not {}", input.kind()),
        };
        let [rows, _, d_model] = x.dims();
        let cut = segments::Cut::new(read, self.config.size, self.config.stride, &x.device());
        let kept = cut.kept(rows);
        let side = match &kept {
            Some(kept) => Side::padded(kept.clone()),
            None => Side::range(0, cut.size, &x.device()),
        };
        let tokens = match input {
            Input::Tokens(tokens) => Some(cut.ids(tokens.clone())),
            _ => None,
        };
        let x = self.positions.place(cut.vectors(x), &side);
        let scope = stack::scope(&self.pattern, side, tokens.as_ref());
        let x = stack::run(&self.blocks, x, Read::All, &scope, &ctx.child("segments"));
        let x = match &self.norm {
            Some(norm) => norm.forward(x),
            None => x,
        };
        let pooled = match (self.config.pool, kept) {
            (SegmentPool::First, _) => x.narrow(1, 0, 1),
            (SegmentPool::Mean, None) => x.mean_dim(1),
            (SegmentPool::Mean, Some(kept)) => {
                let weights = kept.float().cast(x.dtype()).reshape([rows * cut.count, cut.size, 1]);
                let counts = weights.clone().sum_dim(1);
                (x * weights).sum_dim(1) / counts
            }
        };
        let joined = self.aggregator.join(pooled.reshape([rows, cut.count, d_model]), &ctx.child("aggregator"));
        self.ends().answer(self.hidden.forward(joined, Epilogue::Relu), ask, ctx)
    }

    fn embedding(&self) -> Option<Tensor<2>> {
        Some(self.embedding.weight.val())
    }

    fn unembedding(&self) -> Option<Tensor<2>> {
        self.ends().unembedding()
    }
}

#[cfg(test)]
mod tests;
