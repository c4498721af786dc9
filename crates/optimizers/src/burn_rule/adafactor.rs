//! Adafactor.
use std::sync::Arc;

use burn::optim::{Adafactor, AdafactorState, DynOptimizer};
use kiln_registry::{Entry, range};
use serde::{Deserialize, Deserializer, de::Error};

use super::{BurnRule, Leaves, Restore};
use crate::{RuleOptimizer, RuleParams, params::rule_params};

rule_params! {
    /// Parameters of Adafactor: a second moment kept as row and column means.
    ///
    /// For `f16` and `bf16` the statistics are kept in `f32` whatever `state_dtype` says.
    AdafactorConfig {
        lr = 1e-2,
        /// Added to the squared gradient, and the smallest scale of a parameter; both above 0.
        #[serde(deserialize_with = "two_positive")]
        eps: [f64; 2] = [1e-30, 1e-3],
        /// Largest root mean square of the scaled update, above 0.
        #[serde(deserialize_with = "range::positive")]
        #[schemars(extend("exclusiveMinimum" = 0))]
        clip_threshold: f64 = 1.0,
        /// The second moment forgets at the rate `step^(−decay_rate)`; in (0, 1).
        #[serde(deserialize_with = "range::open_unit")]
        #[schemars(extend("exclusiveMinimum" = 0, "exclusiveMaximum" = 1))]
        decay_rate: f64 = 0.8,
        /// Cap the learning rate at `1/√step`.
        relative_step: bool = true,
        /// Scale the step by the root mean square of the parameter.
        scale_parameter: bool = true,
    }
}

fn two_positive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[f64; 2], D::Error> {
    let pair = <[f64; 2]>::deserialize(deserializer)?;
    // Burn holds them as f32, in which a positive number may still be 0.
    match pair.iter().find(|x| !(**x as f32 > 0.0 && (**x as f32).is_finite())) {
        None => Ok(pair),
        Some(x) => Err(D::Error::custom(format!("{x} is out of range; expected two numbers above 0"))),
    }
}

impl Entry for AdafactorConfig {
    const SUMMARY: &'static str = "a second moment factored into row and column means, steps relative to the weight";
    const PAPER: &'static str = "Shazeer and Stern 2018, arXiv:1804.04235";
}

impl RuleParams for AdafactorConfig {
    fn rule(&self, weight_decay: f64) -> Arc<dyn DynOptimizer> {
        let burn = burn::optim::AdafactorConfig::new()
            .with_epsilon_1(self.eps[0] as f32)
            .with_epsilon_2(self.eps[1] as f32)
            .with_clip_threshold(self.clip_threshold as f32)
            .with_decay_rate(-self.decay_rate)
            .with_relative_step(self.relative_step)
            .with_scale_parameter(self.scale_parameter)
            .with_weight_decay(weight_decay as f32);
        RuleOptimizer::erased(BurnRule(burn.build()), self.state_dtype)
    }
}

impl Restore for Adafactor {
    fn restore<const D: usize>(mut leaves: Leaves<'_>) -> Option<AdafactorState<D>> {
        let time = leaves.count("time")?;
        let second_moment = leaves.tensor("second_moment")?;
        let column_second_moment = leaves.tensor("column_second_moment");
        // A matrix without its column means would stop the next step.
        (D < 2 || column_second_moment.is_some()).then_some(AdafactorState {
            time,
            second_moment,
            column_second_moment,
        })
    }
}
