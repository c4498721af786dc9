//! RMSprop.
use std::sync::Arc;

use burn::optim::{
    CenteredState, DynOptimizer, RmsProp, RmsPropConfig, RmsPropMomentumState, RmsPropState, SquareAvgState,
};
use kiln_registry::{Entry, range};

use super::{BurnRule, Leaves, Restore, penalty};
use crate::{RuleOptimizer, RuleParams, params::rule_params};

rule_params! {
    /// Parameters of RMSprop.
    /// ```text
    /// g ← g + λ w      v ← α v + (1 − α) g²      b ← μ b + g / (√v + eps)      w ← w − lr b
    /// ```
    RmspropConfig {
        lr = 1e-2,
        /// Decay rate α of the squared gradient, in [0, 1).
        #[serde(deserialize_with = "range::below_one")]
        #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1))]
        alpha: f64 = 0.99,
        /// Added to the root, above 0.
        #[serde(deserialize_with = "range::positive")]
        #[schemars(extend("exclusiveMinimum" = 0))]
        eps: f64 = 1e-8,
        /// Momentum μ of the scaled gradient, in [0, 1).
        #[serde(deserialize_with = "range::below_one")]
        #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1))]
        momentum: f64 = 0.0,
        /// Divide by the root of the variance instead of the mean square.
        centered: bool = false,
    }
}

impl Entry for RmspropConfig {
    const SUMMARY: &'static str = "steps over the root of a running mean of squared gradients";
    const PAPER: &'static str = "Tieleman and Hinton 2012, Neural Networks for Machine Learning, lecture 6.5";
}

impl RuleParams for RmspropConfig {
    fn rule(&self, weight_decay: f64) -> Arc<dyn DynOptimizer> {
        let burn = RmsPropConfig::new()
            .with_alpha(self.alpha as f32)
            .with_epsilon(self.eps as f32)
            .with_momentum(self.momentum as f32)
            .with_centered(self.centered)
            .with_weight_decay(penalty(weight_decay));
        RuleOptimizer::erased(BurnRule(burn.build()), self.state_dtype)
    }
}

impl Restore for RmsProp {
    fn restore<const D: usize>(mut leaves: Leaves<'_>) -> Option<RmsPropState<D>> {
        let square_avg = SquareAvgState::new(leaves.below("square_avg").tensor("square_avg")?);
        let mut centered = leaves.below("centered");
        let centered = CenteredState::new(centered.tensor("grad_avg"), centered.tensor("avg")?);
        let momentum = leaves.below("momentum").tensor("buf").map(RmsPropMomentumState::new);
        Some(RmsPropState::new(square_avg, centered, momentum))
    }
}
