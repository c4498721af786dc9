//! Rotary positions.
use burn::{module::Module, tensor::Tensor};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Angles, Layout, Place, PositionSetting, Positional, Rotation, Stage};
use crate::{Invalid, attention::Scope};

/// Parameters of [`Rope`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RopeConfig {
    /// Base of the frequencies.
    #[serde(deserialize_with = "range::positive")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub base: f64,
    /// Share of the channels that turn, rounded to whole pairs; the rest passes.
    #[serde(deserialize_with = "range::positive")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub fraction: f64,
    /// Which channels make a pair.
    pub layout: Layout,
    /// How a network is stretched to sequences longer than those it was trained on.
    pub scaling: RopeScaling,
    /// By how much.
    #[serde(deserialize_with = "range::positive")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub factor: f64,
}

/// How rotary positions are stretched to longer sequences.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RopeScaling {
    /// Not at all.
    #[default]
    None,
    /// Places are divided by the factor. Chen et al. 2023, arXiv:2306.15595.
    Linear,
    /// The base is multiplied by `factor^(d_r/(d_r − 2))` for d_r turning channels, so that fast pairs stay as they are.
    Ntk,
}

impl Default for RopeConfig {
    /// The paper's base; all channels turn, channel c with channel c + d/2 as in most language models.
    fn default() -> Self {
        Self { base: 10_000.0, fraction: 1.0, layout: Layout::Half, scaling: RopeScaling::None, factor: 1.0 }
    }
}

impl Entry for RopeConfig {
    const SUMMARY: &'static str = "queries and keys turned by angles that grow with the place";
    const PAPER: &'static str = "Su et al. 2021, arXiv:2104.09864";
}

impl RopeConfig {
    /// The scheme.
    pub fn init(&self, _: &Place<'_>) -> Rope {
        Rope { config: self.clone() }
    }

    /// The rotation of one pass.
    pub(crate) fn rotation(&self, scope: &Scope) -> Rotation {
        let stretch = if self.scaling == RopeScaling::Linear { 1.0 / self.factor } else { 1.0 };
        let places = |side: &crate::attention::Side| {
            side.places.clone().float().cast(burn::tensor::DType::F64).mul_scalar(stretch)
        };
        let factor = if self.scaling == RopeScaling::Ntk { self.factor } else { 1.0 };
        Rotation::Places {
            queries: places(&scope.queries),
            keys: places(&scope.keys),
            base: |base, factor, turning| match turning {
                0..=2 => base,
                _ => base * factor.powf(turning as f64 / (turning as f64 - 2.0)),
            },
            parameters: [self.base, factor],
            fraction: self.fraction,
            layout: self.layout,
        }
    }
}

impl PositionSetting for RopeConfig {
    fn stage(&self) -> Stage {
        Stage::Rotation
    }

    fn check(&self, _: usize, d_head: usize) -> Result<(), Invalid> {
        if self.fraction > 1.0 {
            return Err(Invalid::new("fraction", format!("{} is out of range; expected at most 1", self.fraction)));
        }
        if self.fraction == 1.0 && !d_head.is_multiple_of(2) {
            let message =
                format!("channels turn in pairs, but a head has {d_head}; choose an even width, or a fraction below 1");
            return Err(Invalid::new("fraction", message));
        }
        Ok(())
    }
}

/// Rotary positions: pair c of a query or key at place p turns by `p · base^(−2c/d)`, so that a product of both depends on
/// the distance of their places alone.
#[derive(Module, Debug)]
pub struct Rope {
    #[module(skip)]
    config: RopeConfig,
}

impl Positional for Rope {
    fn rotation(&self, _: &Tensor<3>, scope: &Scope, _: Option<Angles>) -> (Option<Rotation>, Option<Angles>) {
        (Some(self.config.rotation(scope)), None)
    }
}
