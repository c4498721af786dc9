//! From the vectors of a document's segments to one vector.
use std::fmt::Debug;

use burn::tensor::Tensor;
use kiln_activations::{Ctx, Init};
use kiln_registry::registry;

use crate::net::stack::Trunk;

mod encoder;
mod mean;
mod recurrent;

pub use encoder::{SegmentEncoder, SegmentEncoderConfig};
pub use mean::{SegmentMean, SegmentMeanConfig};
pub use recurrent::{SegmentRecurrent, SegmentRecurrentConfig};

/// What an aggregator is built for.
pub struct Segments<'a> {
    /// Most segments of a document.
    pub(crate) count: usize,
    /// What the encoder of segments is built from.
    pub(crate) trunk: Trunk<'a>,
    /// Where parameters are made.
    pub(crate) init: &'a Init,
}

registry! {
    /// A way to join segments, by name.
    config AggregatorConfig("aggregator"): dyn Joins;
    module Aggregator: dyn Aggregate, init(&Segments<'_>);
    "mean" => SegmentMean(SegmentMeanConfig),
    "recurrent" => SegmentRecurrent(SegmentRecurrentConfig),
    "transformer" => SegmentEncoder(SegmentEncoderConfig),
}

impl Default for AggregatorConfig {
    /// The recurrent one, which did best in the paper.
    fn default() -> Self {
        Self::SegmentRecurrent(SegmentRecurrentConfig::default())
    }
}

/// What the parameters of an aggregator say before it is built.
pub trait Joins {
    /// Width of what it gives, for segments of this width.
    fn width(&self, d_model: usize) -> usize {
        d_model
    }
}

/// The contract of an aggregator.
pub trait Aggregate: Debug {
    /// One vector per document: `[rows, segments, d_model]` to `[rows, width]`.
    fn join(&self, segments: Tensor<3>, ctx: &Ctx) -> Tensor<2>;
}
