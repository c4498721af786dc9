//! Landmarks: few vectors that stand for many.
use std::fmt::Debug;

use burn::tensor::{Bool, Tensor};
use kiln_registry::registry;

use crate::{
    Invalid,
    attention::{Side, core::CoreInit},
};

mod patches;
mod segments;

pub use patches::{Patches, PatchesConfig};
pub use segments::{Segments, SegmentsConfig};

registry! {
    /// A choice of landmarks, by name.
    config LandmarksConfig("landmarks"): dyn LandmarkSetting;
    module Landmarks: dyn Summarise, init(&CoreInit<'_>);
    "segments" => Segments(SegmentsConfig),
    "patches" => Patches(PatchesConfig),
}

/// What the parameters of landmarks must answer before they are built.
pub trait LandmarkSetting {
    /// Whether the parameters fit each other.
    ///
    /// # Errors
    /// The first that does not; the key is relative to the landmarks' own table.
    fn check(&self) -> Result<(), Invalid>;
}

/// Landmarks of some tokens.
#[derive(Clone, Debug)]
pub struct Summary {
    /// `[rows, heads, m, d]`
    pub landmarks: Tensor<4>,
    /// Which of them stand for any token, `[rows, 1, m, 1]`; `None` if all do.
    pub used: Option<Tensor<4, Bool>>,
}

/// The contract of landmarks.
pub trait Summarise: Debug {
    /// Landmarks of `x: [rows, heads, length, d]`, which is 0 at padding; `side` says which tokens are padding.
    ///
    /// # Panics
    /// If the tokens do not fit.
    fn summarise(&self, x: &Tensor<4>, side: &Side) -> Summary;
}
