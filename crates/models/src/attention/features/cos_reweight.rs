//! The rectifier, re-weighted by the cosine of the distance.
use burn::{
    module::Module,
    tensor::{Tensor, activation::relu},
};
use kiln_activations::Ctx;
use kiln_registry::Entry;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FeatureLaws, FeatureMap, FeatureSetting, Role, Scaled};
use crate::{
    Invalid,
    attention::{Scope, core::CoreInit},
};

/// Parameters of [`CosReweight`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CosReweightConfig {
    /// The distance M at which the weight reaches 0: at least the longest sequence. The length at hand if left out, as in the
    /// authors' code; every weight then changes with the length, and decoding token by token is not the parallel pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_len: Option<usize>,
}

impl Entry for CosReweightConfig {
    const SUMMARY: &'static str = "max(x, 0), the product of a pair times the cosine of its distance (cosFormer)";
    const PAPER: &'static str = "Qin et al. 2022, arXiv:2202.08791";
}

impl CosReweightConfig {
    /// The map.
    pub fn init(&self, _: &CoreInit<'_>) -> CosReweight {
        CosReweight { max_len: self.max_len }
    }
}

impl FeatureSetting for CosReweightConfig {
    fn laws(&self) -> FeatureLaws {
        FeatureLaws { exact_step: self.max_len.is_some(), places: true, ..FeatureLaws::POSITIVE }
    }

    fn width(&self, d: usize) -> usize {
        2 * d
    }

    fn check(&self, _: bool) -> Result<(), Invalid> {
        match self.max_len {
            Some(0) => Err(Invalid::new("max_len", "0 is out of range; expected a whole number of at least 1".into())),
            _ => Ok(()),
        }
    }
}

/// ```text
/// φ(x_i) = [relu(x_i) cos a_i, relu(x_i) sin a_i],  a_i = π i / 2M;
/// φ(q_i)·φ(k_j) = relu(q_i)·relu(k_j) cos(π (i − j) / 2M)
/// ```
/// # Panics
/// If a row is longer than `max_len`: pairs farther apart than M would get weights below 0.
#[derive(Module, Debug)]
pub struct CosReweight {
    max_len: Option<usize>,
}

impl FeatureMap for CosReweight {
    fn apply(&self, x: Tensor<4>, role: Role, scope: &Scope, _: &Ctx) -> Scaled {
        let [_, _, length, _] = x.dims();
        let longest = scope.lengths().into_iter().max().unwrap_or(1);
        let horizon = self.max_len.unwrap_or(longest);
        assert!(longest <= horizon, "cos_reweight: a row of {longest} tokens, but max_len = {horizon}");
        let places = role.side(scope).places.clone();
        let [rows, _] = places.dims();
        let angles = places.float().cast(x.dtype()).reshape([rows, 1, length, 1]);
        let angles = angles.mul_scalar(std::f64::consts::FRAC_PI_2 / horizon as f64);
        let x = relu(x);
        Scaled::plain(Tensor::cat(vec![x.clone() * angles.clone().cos(), x * angles.sin()], 3))
    }
}
