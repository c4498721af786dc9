//! The mean of a document's segments.
use burn::{module::Module, tensor::Tensor};
use kiln_activations::Ctx;
use kiln_registry::Entry;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Aggregate, Joins, Segments};

/// Parameters of [`SegmentMean`]: none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SegmentMeanConfig {}

impl Entry for SegmentMeanConfig {
    const SUMMARY: &'static str = "the mean of the segments, whatever their order";
}

impl Joins for SegmentMeanConfig {}

impl SegmentMeanConfig {
    /// The aggregator.
    pub fn init(&self, _: &Segments<'_>) -> SegmentMean {
        SegmentMean {}
    }
}

/// The mean of the segments.
#[derive(Module, Debug)]
pub struct SegmentMean {}

impl Aggregate for SegmentMean {
    fn join(&self, segments: Tensor<3>, _: &Ctx) -> Tensor<2> {
        let [rows, _, d_model] = segments.dims();
        segments.mean_dim(1).reshape([rows, d_model])
    }
}
