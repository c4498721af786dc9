//! A function of each entry, or of random projections, as a feature map.
use burn::{module::Module, tensor::Tensor};
use kiln_activations::{
    Ctx,
    pointwise::{Pointwise, PointwiseConfig},
};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FeatureLaws, FeatureMap, FeatureSetting, Projection, ProjectionConfig, Role, Scaled, half_scale};
use crate::attention::{Scope, core::CoreInit};

/// Parameters of [`FavorGeneralized`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FavorGeneralizedConfig {
    /// The function f.
    pub function: PointwiseConfig,
    /// Random directions that f is applied to; without them it is applied to the entries themselves, as the authors' code does
    /// for reinforcement learning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub projection: Option<ProjectionConfig>,
    /// What is added to each feature, so that no denominator is 0.
    #[serde(deserialize_with = "range::non_negative")]
    #[schemars(range(min = 0.0))]
    pub eps: f64,
}

impl Default for FavorGeneralizedConfig {
    /// ReLU of the entries plus 1e-3, as the authors' code has it.
    fn default() -> Self {
        Self { function: PointwiseConfig::default(), projection: None, eps: 1e-3 }
    }
}

impl Entry for FavorGeneralizedConfig {
    const SUMMARY: &'static str =
        "f(x) + eps for any pointwise f, on the entries or on random projections (Performer's generalized kernel)";
    const PAPER: &'static str = "Choromanski et al. 2020, arXiv:2009.14794";
}

impl FavorGeneralizedConfig {
    /// The map.
    pub fn init(&self, place: &CoreInit<'_>) -> FavorGeneralized {
        FavorGeneralized {
            function: self.function.init(place.init),
            projection: self
                .projection
                .as_ref()
                .map(|config| config.init(&place.init.child("projection"), place.d_head)),
            eps: self.eps,
        }
    }
}

impl FeatureSetting for FavorGeneralizedConfig {
    fn laws(&self) -> FeatureLaws {
        use PointwiseConfig::{Exp, Relu, ReluSquared, Sigmoid, Softplus};
        let positive = matches!(self.function, Exp(_) | Relu(_) | ReluSquared(_) | Sigmoid(_) | Softplus(_));
        let exact_step = self.projection.as_ref().is_none_or(|projection| projection.redraw == 0);
        FeatureLaws { non_negative: positive, exact_step, ..FeatureLaws::POSITIVE }
    }

    fn width(&self, d: usize) -> usize {
        self.projection.as_ref().map_or(d, |projection| projection.m)
    }
}

/// `φ(x) = f(W x / d^(1/4)) + eps`, or without W.
#[derive(Module, Debug)]
pub struct FavorGeneralized {
    /// The function of each element.
    pub function: Pointwise,
    /// The directions, if there are any.
    pub projection: Option<Projection>,
    eps: f64,
}

impl FeatureMap for FavorGeneralized {
    fn apply(&self, x: Tensor<4>, _: Role, _: &Scope, ctx: &Ctx) -> Scaled {
        let scale = half_scale(&x);
        let x = x.mul_scalar(scale);
        let x = match &self.projection {
            None => x,
            Some(projection) => projection.project(x, &ctx.child("projection")),
        };
        Scaled::plain(self.function.forward(x).add_scalar(self.eps))
    }
}
