//! The length in place of a denominator.
use burn::{module::Module, tensor::Tensor};
use kiln_activations::Ctx;
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DenominatorLaws, DenominatorSetting, Divide, Parts};
use crate::attention::core::CoreInit;

const LAWS: DenominatorLaws = DenominatorLaws { uses_sum: false, scale_free: true };

/// Parameters of [`L2`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct L2Config {
    /// The least length that is divided by.
    #[serde(deserialize_with = "range::positive")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub eps: f64,
}

impl Default for L2Config {
    /// 1e-6: in the way only where all weights are 0.
    fn default() -> Self {
        Self { eps: 1e-6 }
    }
}

impl Entry for L2Config {
    const SUMMARY: &'static str = "the length of what a head gives, which then has length one";
    const PAPER: &'static str = "Mongaras and Larson 2025, arXiv:2507.23632";
}

impl L2Config {
    /// The denominator.
    pub fn init(&self, _: &CoreInit<'_>) -> L2 {
        L2 { eps: self.eps }
    }
}

impl DenominatorSetting for L2Config {
    fn laws(&self) -> DenominatorLaws {
        LAWS
    }
}

/// `N / max(|N|, eps)`.
#[derive(Module, Debug)]
pub struct L2 {
    eps: f64,
}

impl Divide for L2 {
    fn laws(&self) -> DenominatorLaws {
        LAWS
    }

    fn divide(&self, parts: Parts<'_>, _: &Ctx) -> Tensor<4> {
        let n = parts.numerator;
        // The maximum stands below the root, whose slope at 0 is infinite.
        let length = n.clone().square().sum_dim(3).clamp_min(self.eps * self.eps).sqrt();
        n / length
    }
}
