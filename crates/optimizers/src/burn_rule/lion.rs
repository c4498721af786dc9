//! Lion.
use std::sync::Arc;

use burn::optim::{DynOptimizer, Lion, LionState};
use kiln_registry::{Entry, range};

use super::{BurnRule, Leaves, Restore};
use crate::{RuleOptimizer, RuleParams, params::rule_params};

rule_params! {
    /// Parameters of Lion.
    /// ```text
    /// w ← (1 − lr λ) w − lr sign(β₁ m + (1 − β₁) g)      m ← β₂ m + (1 − β₂) g
    /// ```
    LionConfig {
        lr = 1e-4,
        /// β₁ of the direction and β₂ of the memory, each in [0, 1).
        #[serde(deserialize_with = "range::pair_below_one")]
        betas: [f64; 2] = [0.9, 0.99],
    }
}

impl Entry for LionConfig {
    const SUMMARY: &'static str = "the sign of a mix of momentum and gradient; decoupled weight decay";
    const PAPER: &'static str = "Chen et al. 2023, arXiv:2302.06675";
}

impl RuleParams for LionConfig {
    fn rule(&self, weight_decay: f64) -> Arc<dyn DynOptimizer> {
        let burn = burn::optim::LionConfig::new()
            .with_beta_1(self.betas[0] as f32)
            .with_beta_2(self.betas[1] as f32)
            .with_weight_decay(weight_decay as f32);
        RuleOptimizer::erased(BurnRule(burn.build()), self.state_dtype)
    }
}

impl Restore for Lion {
    fn restore<const D: usize>(mut leaves: Leaves<'_>) -> Option<LionState<D>> {
        Some(LionState::new(leaves.tensor("momentum")?))
    }
}
