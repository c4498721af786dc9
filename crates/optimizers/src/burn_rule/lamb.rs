//! LAMB.
use std::sync::Arc;

use burn::optim::{DynOptimizer, Lamb, LambState};
use kiln_registry::{Entry, range};

use super::{BurnRule, Leaves, Restore};
use crate::{RuleOptimizer, RuleParams, params::rule_params};

rule_params! {
    /// Parameters of LAMB: Adam's step, scaled per tensor to the size of the weight.
    /// ```text
    /// u = m̂ / (√v̂ + eps) + λ w      w ← w − lr ‖w‖/‖u‖ u
    /// ```
    LambConfig {
        lr = 1e-3,
        /// Decay rates of the two moments, each in [0, 1).
        #[serde(deserialize_with = "range::pair_below_one")]
        betas: [f64; 2] = [0.9, 0.999],
        /// Added to the root of the second moment, above 0.
        #[serde(deserialize_with = "range::positive")]
        #[schemars(extend("exclusiveMinimum" = 0))]
        eps: f64 = 1e-6,
        /// Scale by ‖w‖/‖u‖; without it the rule is Adam with decay added to the step.
        trust_ratio: bool = true,
    }
}

impl Entry for LambConfig {
    const SUMMARY: &'static str = "Adam's step scaled per tensor by the ratio of weight norm to step norm";
    const PAPER: &'static str = "You et al. 2020, arXiv:1904.00962";
}

impl RuleParams for LambConfig {
    fn rule(&self, weight_decay: f64) -> Arc<dyn DynOptimizer> {
        let burn = burn::optim::LambConfig::new()
            .with_beta_1(self.betas[0] as f32)
            .with_beta_2(self.betas[1] as f32)
            .with_epsilon(self.eps as f32)
            .with_use_trust_ratio(self.trust_ratio)
            .with_weight_decay(weight_decay as f32);
        RuleOptimizer::erased(BurnRule(burn.build()), self.state_dtype)
    }
}

impl Restore for Lamb {
    fn restore<const D: usize>(mut leaves: Leaves<'_>) -> Option<LambState<D>> {
        Some(LambState {
            time: leaves.count("time")?,
            moment_1: leaves.tensor("moment_1")?,
            moment_2: leaves.tensor("moment_2")?,
        })
    }
}
