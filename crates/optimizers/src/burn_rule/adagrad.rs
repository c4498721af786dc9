//! AdaGrad.
use std::sync::Arc;

use burn::optim::{AdaGrad, AdaGradConfig, AdaGradState, DynOptimizer, LrDecayState};
use kiln_registry::{Entry, range};

use super::{BurnRule, Leaves, Restore, penalty};
use crate::{RuleOptimizer, RuleParams, params::rule_params};

rule_params! {
    /// Parameters of AdaGrad.
    /// ```text
    /// g ← g + λ w      s ← s + g²      w ← w − lr / (1 + (t − 1) lr_decay) · g / (√s + eps)
    /// ```
    AdagradConfig {
        lr = 1e-2,
        /// Decay of the learning rate per step, at least 0.
        #[serde(deserialize_with = "range::non_negative")]
        #[schemars(range(min = 0.0))]
        lr_decay: f64 = 0.0,
        /// Added to the root of the summed squares, above 0.
        #[serde(deserialize_with = "range::positive")]
        #[schemars(extend("exclusiveMinimum" = 0))]
        eps: f64 = 1e-10,
    }
}

impl Entry for AdagradConfig {
    const SUMMARY: &'static str = "steps over the root of the sum of all squared gradients so far";
    const PAPER: &'static str = "Duchi et al. 2011, JMLR 12";
}

impl RuleParams for AdagradConfig {
    fn rule(&self, weight_decay: f64) -> Arc<dyn DynOptimizer> {
        let burn = AdaGradConfig::new()
            .with_lr_decay(self.lr_decay)
            .with_epsilon(self.eps as f32)
            .with_weight_decay(penalty(weight_decay));
        RuleOptimizer::erased(BurnRule(burn.build()), self.state_dtype)
    }
}

impl Restore for AdaGrad {
    fn restore<const D: usize>(mut leaves: Leaves<'_>) -> Option<AdaGradState<D>> {
        let mut decay = leaves.below("lr_decay");
        Some(AdaGradState::new(LrDecayState::new(decay.count("time")?, decay.tensor("sum")?)))
    }
}
