//! No denominator.
use burn::{module::Module, tensor::Tensor};
use kiln_activations::Ctx;
use kiln_registry::Entry;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DenominatorLaws, DenominatorSetting, Divide, Parts};
use crate::attention::core::CoreInit;

const LAWS: DenominatorLaws = DenominatorLaws { uses_sum: false, scale_free: false };

/// Parameters of [`Undivided`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UndividedConfig {
    /// Whether the sum is divided by the number of keys all the same.
    pub mean: bool,
}

impl Entry for UndividedConfig {
    const SUMMARY: &'static str = "nothing: the sum of the weighted values, or their mean";
}

impl UndividedConfig {
    /// The denominator.
    pub fn init(&self, _: &CoreInit<'_>) -> Undivided {
        Undivided { mean: self.mean }
    }
}

impl DenominatorSetting for UndividedConfig {
    fn laws(&self) -> DenominatorLaws {
        LAWS
    }
}

/// `N`, or `N / n` for n keys. The weights themselves are needed, so they must not overflow.
#[derive(Module, Debug)]
pub struct Undivided {
    mean: bool,
}

impl Divide for Undivided {
    fn laws(&self) -> DenominatorLaws {
        LAWS
    }

    fn divide(&self, parts: Parts<'_>, _: &Ctx) -> Tensor<4> {
        if self.mean { parts.mean() } else { parts.numerator }
    }
}
