//! A recurrent network over a document's segments.
use burn::{module::Module, tensor::Tensor};
use kiln_activations::Ctx;
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Aggregate, Joins, Segments};
use crate::block::Lstm;

/// Parameters of [`SegmentRecurrent`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SegmentRecurrentConfig {
    /// Values of the memory.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub width: usize,
}

impl Default for SegmentRecurrentConfig {
    /// The paper's.
    fn default() -> Self {
        Self { width: 100 }
    }
}

impl Entry for SegmentRecurrentConfig {
    const SUMMARY: &'static str = "an LSTM over the segments, its last state";
    const PAPER: &'static str = "Pappagari et al. 2019, arXiv:1910.10781";
}

impl Joins for SegmentRecurrentConfig {
    fn width(&self, _: usize) -> usize {
        self.width
    }
}

impl SegmentRecurrentConfig {
    /// The aggregator.
    pub fn init(&self, segments: &Segments<'_>) -> SegmentRecurrent {
        SegmentRecurrent { lstm: Lstm::new(&segments.init.child("lstm"), segments.trunk.d_model, self.width) }
    }
}

/// An [`Lstm`] that reads the segments in their order; its last state.
#[derive(Module, Debug)]
pub struct SegmentRecurrent {
    /// The memory.
    pub lstm: Lstm,
}

impl Aggregate for SegmentRecurrent {
    fn join(&self, segments: Tensor<3>, _: &Ctx) -> Tensor<2> {
        self.lstm.last(segments)
    }
}
