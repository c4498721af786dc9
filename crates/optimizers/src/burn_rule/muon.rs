//! Muon.
use std::sync::Arc;

use burn::optim::{
    AdjustLrFn, DynOptimizer, Muon, MuonState,
    momentum::{MomentumConfig, MomentumState},
};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{BurnRule, Leaves, Restore, penalty};
use crate::{RuleOptimizer, RuleParams, params::rule_params};

rule_params! {
    /// Parameters of Muon: momentum, made orthogonal by Newton-Schulz iterations. It updates matrices only;
    /// a model with other parameters must freeze them by a group.
    MuonConfig {
        lr = 2e-2,
        /// Share of the velocity that survives a step, in [0, 1).
        #[serde(deserialize_with = "range::below_one")]
        #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1))]
        momentum: f64 = 0.95,
        /// Look ahead along the velocity.
        nesterov: bool = true,
        /// Newton-Schulz iterations, at least 1.
        #[serde(deserialize_with = "range::at_least_one")]
        #[schemars(range(min = 1))]
        ns_steps: usize = 5,
        /// Smallest norm to divide by, above 0.
        #[serde(deserialize_with = "range::positive")]
        #[schemars(extend("exclusiveMinimum" = 0))]
        eps: f64 = 1e-7,
        /// How the learning rate follows the matrix's shape.
        adjust_lr: AdjustLr = AdjustLr::Original,
    }
}

/// How Muon's learning rate follows the shape `[a, b]` of a matrix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AdjustLr {
    /// `lr √max(1, a/b)`.
    #[default]
    Original,
    /// `0.2 lr √max(a, b)`, the size of AdamW's steps.
    MatchRmsAdamw,
}

impl Entry for MuonConfig {
    const SUMMARY: &'static str = "momentum made orthogonal by Newton-Schulz iterations; matrices only";
    const PAPER: &'static str = "Jordan et al. 2024, Muon: an optimizer for hidden layers in neural networks";
}

impl RuleParams for MuonConfig {
    fn rule(&self, weight_decay: f64) -> Arc<dyn DynOptimizer> {
        let Self { momentum, nesterov, .. } = *self;
        let burn = burn::optim::MuonConfig::new()
            .with_momentum(MomentumConfig { momentum, nesterov, dampening: 0.0 })
            .with_ns_steps(self.ns_steps)
            .with_epsilon(self.eps as f32)
            .with_adjust_lr_fn(match self.adjust_lr {
                AdjustLr::Original => AdjustLrFn::Original,
                AdjustLr::MatchRmsAdamw => AdjustLrFn::MatchRmsAdamW,
            })
            .with_weight_decay(penalty(weight_decay));
        RuleOptimizer::erased(BurnRule(burn.build()), self.state_dtype)
    }

    fn refuses(&self, shape: &[usize]) -> Option<String> {
        (shape.len() != 2).then(|| "muon updates matrices only".into())
    }
}

impl Restore for Muon {
    fn restore<const D: usize>(mut leaves: Leaves<'_>) -> Option<MuonState<D>> {
        Some(MuonState::new(MomentumState::new(leaves.below("momentum").tensor("velocity")?)))
    }
}
