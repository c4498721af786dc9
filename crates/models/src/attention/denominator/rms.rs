//! Root mean square in place of a denominator.
use burn::{
    module::{Module, Param},
    tensor::Tensor,
};
use kiln_activations::Ctx;
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DenominatorLaws, DenominatorSetting, Divide, Parts};
use crate::attention::core::CoreInit;

const LAWS: DenominatorLaws = DenominatorLaws { uses_sum: false, scale_free: true };

/// Parameters of [`Rms`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RmsConfig {
    /// What is added to the mean square.
    #[serde(deserialize_with = "range::positive")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub eps: f64,
    /// Whether each entry of a value has a learned factor, the same in all heads.
    pub gain: bool,
}

impl Default for RmsConfig {
    /// 1e-5 and a gain, as gated linear attention has them.
    fn default() -> Self {
        Self { eps: 1e-5, gain: true }
    }
}

impl Entry for RmsConfig {
    const SUMMARY: &'static str = "the root mean square of what a head gives: an RMSNorm per head";
    const PAPER: &'static str = "Qin et al. 2022, arXiv:2210.10340";
}

impl RmsConfig {
    /// The denominator; gains start at 1.
    pub fn init(&self, place: &CoreInit<'_>) -> Rms {
        Rms { gain: self.gain.then(|| place.init.constant([place.d_value], 1.0)), eps: self.eps }
    }
}

impl DenominatorSetting for RmsConfig {
    fn laws(&self) -> DenominatorLaws {
        LAWS
    }
}

/// ```text
/// y = u / √(mean u² + eps) · gain,   u = N / n, or N where keys are not counted
/// ```
/// Weights that grow like an exponential come divided by the largest of them; eps then is relative to it.
#[derive(Module, Debug)]
pub struct Rms {
    /// `[d_value]`, first 1.
    pub gain: Option<Param<Tensor<1>>>,
    eps: f64,
}

impl Divide for Rms {
    fn laws(&self) -> DenominatorLaws {
        LAWS
    }

    fn divide(&self, parts: Parts<'_>, _: &Ctx) -> Tensor<4> {
        let u = parts.mean();
        let y = u.clone() / u.square().mean_dim(3).add_scalar(self.eps).sqrt();
        match &self.gain {
            None => y,
            Some(gain) => {
                let gain = gain.val().cast(y.dtype()).unsqueeze::<4>();
                y * gain
            }
        }
    }
}
