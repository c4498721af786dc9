//! The sum of the weights.
use burn::{module::Module, tensor::Tensor};
use kiln_activations::Ctx;
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DenominatorLaws, DenominatorSetting, Divide, Parts};
use crate::attention::core::CoreInit;

pub(super) const LAWS: DenominatorLaws = DenominatorLaws { uses_sum: true, scale_free: true };

/// Parameters of [`Sum`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SumConfig {
    /// The least that is divided by: sums below it, negative ones too, count as it.
    #[serde(deserialize_with = "range::positive")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub eps: f64,
}

impl Default for SumConfig {
    /// 1e-6, as the authors of linear transformers and cosFormer guard it.
    fn default() -> Self {
        Self { eps: 1e-6 }
    }
}

impl Entry for SumConfig {
    const SUMMARY: &'static str = "the sum of the weights, which then sum to one";
    const PAPER: &'static str = "Katharopoulos et al. 2020, arXiv:2006.16236";
}

impl SumConfig {
    /// The denominator.
    pub fn init(&self, _: &CoreInit<'_>) -> Sum {
        Sum { eps: self.eps }
    }
}

impl DenominatorSetting for SumConfig {
    fn laws(&self) -> DenominatorLaws {
        LAWS
    }
}

/// `N / max(D, eps)`: 0 where all weights are 0, since the numerator is. No gradient reaches a sum below `eps`.
#[derive(Module, Debug)]
pub struct Sum {
    eps: f64,
}

impl Divide for Sum {
    fn laws(&self) -> DenominatorLaws {
        LAWS
    }

    fn divide(&self, parts: Parts<'_>, _: &Ctx) -> Tensor<4> {
        let sum = parts.sum().clamp_min(self.eps);
        parts.numerator / sum
    }
}
