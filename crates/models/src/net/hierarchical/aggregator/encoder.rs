//! A transformer over a document's segments.
use burn::{module::Module, tensor::Tensor};
use kiln_activations::Ctx;
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Aggregate, Joins, Segments};
use crate::{
    attention::{PatternConfig, Side},
    block::{LayerNorm, Norm, Read, TransformerBlock},
    net::stack::{self, Trunk},
    position::{Learned, LearnedConfig, Overflow, Place, Positional},
};

/// Parameters of [`SegmentEncoder`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SegmentEncoderConfig {
    /// Number of blocks, of the same kind as those within a segment.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub n_layers: usize,
}

impl Default for SegmentEncoderConfig {
    /// The paper's.
    fn default() -> Self {
        Self { n_layers: 2 }
    }
}

impl Entry for SegmentEncoderConfig {
    const SUMMARY: &'static str =
        "transformer blocks over the segments with learned positions, the mean of what they give";
    const PAPER: &'static str = "Pappagari et al. 2019, arXiv:1910.10781";
}

impl Joins for SegmentEncoderConfig {}

impl SegmentEncoderConfig {
    /// The aggregator.
    pub fn init(&self, segments: &Segments<'_>) -> SegmentEncoder {
        let Segments { count, trunk, init } = segments;
        let trunk = Trunk { n_layers: self.n_layers, length: *count, ..*trunk };
        let at_positions = init.child("positions");
        let place = Place::in_front(*count, trunk.d_model, trunk.init.embedding_std(trunk.d_model), &at_positions);
        // A document longer than all that the data announces ends in segments at the last position.
        let positions = LearnedConfig { overflow: Overflow::Clamp, ..LearnedConfig::default() };
        SegmentEncoder {
            positions: positions.init(&place),
            blocks: trunk.blocks(init),
            norm: (trunk.norm == Norm::Pre).then(|| LayerNorm::new(init, trunk.d_model)),
            pattern: trunk.attention.pattern_in(false),
        }
    }
}

/// Transformer blocks over the segments.
/// ```text
/// s_t ← s_t + position t,   s ← block(s) for each block,   mean over t of norm(s_t)
/// ```
#[derive(Module, Debug)]
pub struct SegmentEncoder {
    /// A vector per segment, `[segments, d_model]`.
    pub positions: Learned,
    /// The blocks, first to last.
    pub blocks: Vec<TransformerBlock>,
    /// The norm after the last block, with [`Norm::Pre`] only.
    pub norm: Option<LayerNorm>,
    #[module(skip)]
    pattern: PatternConfig,
}

impl Aggregate for SegmentEncoder {
    fn join(&self, segments: Tensor<3>, ctx: &Ctx) -> Tensor<2> {
        let [rows, count, d_model] = segments.dims();
        let side = Side::range(0, count, &segments.device());
        let x = self.positions.place(segments, &side);
        let x = stack::run(&self.blocks, x, Read::All, &stack::scope(&self.pattern, side, None), ctx);
        let x = match &self.norm {
            Some(norm) => norm.forward(x),
            None => x,
        };
        x.mean_dim(1).reshape([rows, d_model])
    }
}
