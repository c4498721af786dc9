//! The sum of the weights where it is above 1.
use burn::{module::Module, tensor::Tensor};
use kiln_activations::Ctx;
use kiln_registry::Entry;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DenominatorLaws, DenominatorSetting, Divide, Parts};
use crate::attention::core::CoreInit;

const LAWS: DenominatorLaws = DenominatorLaws { uses_sum: true, scale_free: false };

/// Parameters of [`ClampMin1`]: none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClampMin1Config {}

impl Entry for ClampMin1Config {
    const SUMMARY: &'static str = "the sum of the weights, but at least 1: weights that are small together stay small";
    const PAPER: &'static str = "Mongaras and Larson 2025, arXiv:2507.23632";
}

impl ClampMin1Config {
    /// The denominator.
    pub fn init(&self, _: &CoreInit<'_>) -> ClampMin1 {
        ClampMin1
    }
}

impl DenominatorSetting for ClampMin1Config {
    fn laws(&self) -> DenominatorLaws {
        LAWS
    }
}

/// `N / max(D, 1)`. The weights themselves are needed, so they must not overflow.
#[derive(Module, Debug)]
pub struct ClampMin1;

impl Divide for ClampMin1 {
    fn laws(&self) -> DenominatorLaws {
        LAWS
    }

    fn divide(&self, parts: Parts<'_>, _: &Ctx) -> Tensor<4> {
        let sum = parts.sum().clamp_min(1.0);
        parts.numerator / sum
    }
}
