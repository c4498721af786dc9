//! The sum of the weights as a constant.
use burn::{module::Module, tensor::Tensor};
use kiln_activations::Ctx;
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DenominatorLaws, DenominatorSetting, Divide, Parts, SumConfig, sum::LAWS};
use crate::attention::core::CoreInit;

/// Parameters of [`DetachedSum`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DetachedSumConfig {
    /// The least that is divided by.
    #[serde(deserialize_with = "range::positive")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub eps: f64,
}

impl Default for DetachedSumConfig {
    /// As [`SumConfig`].
    fn default() -> Self {
        Self { eps: SumConfig::default().eps }
    }
}

impl Entry for DetachedSumConfig {
    const SUMMARY: &'static str = "the sum of the weights, through which no gradient passes";
    const PAPER: &'static str = "Mongaras and Larson 2025, arXiv:2507.23632";
}

impl DetachedSumConfig {
    /// The denominator.
    pub fn init(&self, _: &CoreInit<'_>) -> DetachedSum {
        DetachedSum { eps: self.eps }
    }
}

impl DenominatorSetting for DetachedSumConfig {
    fn laws(&self) -> DenominatorLaws {
        LAWS
    }
}

/// `N / max(D, eps)` with D a constant for the backward pass.
#[derive(Module, Debug)]
pub struct DetachedSum {
    eps: f64,
}

impl Divide for DetachedSum {
    fn laws(&self) -> DenominatorLaws {
        LAWS
    }

    fn divide(&self, parts: Parts<'_>, _: &Ctx) -> Tensor<4> {
        let sum = parts.sum().detach().clamp_min(self.eps);
        parts.numerator / sum
    }
}
