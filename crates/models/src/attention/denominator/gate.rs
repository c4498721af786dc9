//! A gate in place of a denominator.
use burn::{
    module::Module,
    tensor::{Tensor, activation::sigmoid},
};
use kiln_activations::Ctx;
use kiln_registry::Entry;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DenominatorLaws, DenominatorSetting, Divide, Parts};
use crate::{
    attention::core::CoreInit,
    block::{Draw, Linear},
    kernel::Epilogue,
};

const LAWS: DenominatorLaws = DenominatorLaws { uses_sum: false, scale_free: false };

/// Parameters of [`Gate`]: none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GateConfig {}

impl Entry for GateConfig {
    const SUMMARY: &'static str = "the mean of the weighted values times a learned gate per head";
    const PAPER: &'static str = "Mongaras and Larson 2025, arXiv:2507.23632";
}

impl GateConfig {
    /// The denominator; its gate is drawn from `N(0, 1/d_model)`, bias 0.
    pub fn init(&self, place: &CoreInit<'_>) -> Gate {
        let sizes = [place.d_model, place.n_heads];
        Gate { gate: Linear::new(&place.init.child("gate"), sizes, true, Draw::Normal) }
    }
}

impl DenominatorSetting for GateConfig {
    fn laws(&self) -> DenominatorLaws {
        LAWS
    }
}

/// `sigmoid(x w_h + b_h) · N / n` for n keys. The weights themselves are needed, so they must not overflow.
#[derive(Module, Debug)]
pub struct Gate {
    /// `[d_model, n_heads]`
    pub gate: Linear,
}

impl Divide for Gate {
    fn laws(&self) -> DenominatorLaws {
        LAWS
    }

    fn divide(&self, parts: Parts<'_>, _: &Ctx) -> Tensor<4> {
        let gate = sigmoid(self.gate.forward(parts.x.clone(), Epilogue::None)); // [rows, queries, heads]
        let gate = gate.swap_dims(1, 2).unsqueeze_dim::<4>(3);
        let mean = parts.mean();
        let gate = gate.cast(mean.dtype());
        mean * gate
    }
}
