//! Feature maps: functions φ whose products `φ(q)·φ(k)` stand for the weight of a pair.
//!
//! A map is an entry of the registry below. Its features come as [`Scaled`] values, so that a map that grows like an
//! exponential function never leaves the range of its type: what its denominator cancels is not even computed.
use std::fmt::Debug;

use burn::tensor::Tensor;
use kiln_activations::Ctx;
use kiln_registry::registry;

use super::{Scope, Side, core::CoreInit};
use crate::Invalid;

mod cos_reweight;
mod elu1;
mod exp;
mod favor;
mod favor_generalized;
mod identity;
mod projection;
mod relu;
mod relu_sq;
mod softmax;
mod taylor2;
#[cfg(test)]
mod tests;

pub use cos_reweight::{CosReweight, CosReweightConfig};
pub use elu1::{Elu1, Elu1Config};
pub use exp::{Exp, ExpConfig};
pub use favor::{Favor, FavorConfig, FavorVariant, Stabilizer};
pub use favor_generalized::{FavorGeneralized, FavorGeneralizedConfig};
pub use identity::{Identity, IdentityConfig};
pub use projection::{Projection, ProjectionConfig, RowNorm};
pub use relu::{Relu, ReluConfig};
pub use relu_sq::{ReluSq, ReluSqConfig};
pub use softmax::{SoftmaxFeatures, SoftmaxFeaturesConfig};
pub use taylor2::{Taylor2, Taylor2Config};

registry! {
    /// A feature map, by name.
    config FeaturesConfig("features"): dyn FeatureSetting;
    module Features: dyn FeatureMap, init(&CoreInit<'_>);
    "identity" => Identity(IdentityConfig),
    "elu1" => Elu1(Elu1Config),
    "relu" => Relu(ReluConfig),
    "relu_sq" => ReluSq(ReluSqConfig),
    "exp" => Exp(ExpConfig),
    "softmax" => SoftmaxFeatures(SoftmaxFeaturesConfig),
    "taylor2" => Taylor2(Taylor2Config),
    "favor" => Favor(FavorConfig),
    "favor_generalized" => FavorGeneralized(FavorGeneralizedConfig),
    "cos_reweight" => CosReweight(CosReweightConfig),
}

/// What a feature map promises at its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeatureLaws {
    /// Whether no feature is below 0.
    pub non_negative: bool,
    /// Whether the sum over the keys makes a denominator: it is above 0, or is so in the mean.
    pub denominator: bool,
    /// Whether a token's features depend on nothing but the token and its place, so that no query sees a later key through
    /// them.
    pub per_token: bool,
    /// Whether one token after the other gives the features of all at once.
    pub exact_step: bool,
    /// Whether the features depend on places.
    pub places: bool,
}

impl FeatureLaws {
    /// Non-negative functions of single tokens.
    pub const POSITIVE: Self =
        Self { non_negative: true, denominator: true, per_token: true, exact_step: true, places: false };
}

/// What the parameters of a feature map must answer before it is built.
pub trait FeatureSetting {
    /// What the map promises.
    fn laws(&self) -> FeatureLaws {
        FeatureLaws::POSITIVE
    }

    /// Number of features of a vector of `d` entries.
    fn width(&self, d: usize) -> usize {
        d
    }

    /// Whether the map can be used; `causal` says whether no query may see a later key.
    ///
    /// # Errors
    /// If a parameter does not fit; the key is relative to the map's own table.
    fn check(&self, causal: bool) -> Result<(), Invalid> {
        let _ = causal;
        Ok(())
    }
}

/// Which side of the product a vector stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A query.
    Query,
    /// A key.
    Key,
}

impl Role {
    /// The tokens in this role.
    pub fn side(self, scope: &Scope) -> &Side {
        match self {
            Self::Query => &scope.queries,
            Self::Key => &scope.keys,
        }
    }
}

/// Values with a factor apart: what is meant is `values · exp(log_scale)`.
#[derive(Clone, Debug)]
pub struct Scaled {
    /// `[rows, heads, length, width]`
    pub values: Tensor<4>,
    /// `[rows, heads, length, 1]`, a constant for the backward pass; `None` is a factor of 1.
    pub log_scale: Option<Tensor<4>>,
}

impl Scaled {
    /// Values as they are.
    pub fn plain(values: Tensor<4>) -> Self {
        Self { values, log_scale: None }
    }

    /// Values and the logarithm of their factor, which passes no gradient.
    pub fn new(values: Tensor<4>, log_scale: Tensor<4>) -> Self {
        Self { values, log_scale: Some(log_scale.detach()) }
    }

    /// The product of values and factor, which may overflow where the values do not.
    pub fn unscaled(self) -> Tensor<4> {
        match self.log_scale {
            None => self.values,
            Some(log) => self.values * log.exp(),
        }
    }
}

/// The contract of a feature map.
pub trait FeatureMap: Debug {
    /// Features of queries or keys.
    ///
    /// # Shapes
    /// - x: `[rows, heads, length, d]`, finite everywhere, padding included; `scope` says where its tokens stand and
    ///   which of them are padding
    /// - values: `[rows, heads, length, f]`, whatever at padding
    fn apply(&self, x: Tensor<4>, role: Role, scope: &Scope, ctx: &Ctx) -> Scaled;
}

/// The factor on queries and on keys that makes `q·k / √d` of their product.
fn half_scale(x: &Tensor<4>) -> f64 {
    let [_, _, _, d] = x.dims();
    (d as f64).powf(-0.25)
}
