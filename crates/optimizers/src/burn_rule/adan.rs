//! Adan.
use std::sync::Arc;

use burn::optim::{Adan, AdanState, AdaptiveNesterovMomentumState, DynOptimizer};
use kiln_registry::{Entry, range};
use serde::{Deserialize, Deserializer, de::Error};

use super::{BurnRule, Leaves, Restore};
use crate::{RuleOptimizer, RuleParams, params::rule_params};

rule_params! {
    /// Parameters of Adan: Adam's two moments and one of the gradient's change.
    /// ```text
    /// d = g − g₋₁
    /// m ← β₁ m + (1 − β₁) g      δ ← β₂ δ + (1 − β₂) d
    /// n ← β₃ n + (1 − β₃) (g + β₂ d)²      w ← (w − lr (m̂ + β₂ δ̂) / (√n̂ + eps)) / (1 + lr λ)
    /// ```
    /// The βs are the shares kept (the paper writes 1 − β).
    AdanConfig {
        lr = 1e-3,
        /// Decay rates of the gradient, its change and the square, each in [0, 1).
        #[serde(deserialize_with = "three_below_one")]
        betas: [f64; 3] = [0.98, 0.92, 0.99],
        /// Added to the root, above 0.
        #[serde(deserialize_with = "range::positive")]
        #[schemars(extend("exclusiveMinimum" = 0))]
        eps: f64 = 1e-8,
        /// Decay by `w (1 − lr λ)` before the step instead of the proximal division after it.
        no_prox: bool = false,
    }
}

fn three_below_one<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[f64; 3], D::Error> {
    let betas = <[f64; 3]>::deserialize(deserializer)?;
    match betas.iter().find(|beta| !(0.0..1.0).contains(*beta)) {
        None => Ok(betas),
        Some(beta) => Err(D::Error::custom(format!("{beta} is out of range; expected three numbers in [0, 1)"))),
    }
}

impl Entry for AdanConfig {
    const SUMMARY: &'static str = "adaptive moments with Nesterov momentum in gradient form";
    const PAPER: &'static str = "Xie et al. 2022, arXiv:2208.06677";
}

impl RuleParams for AdanConfig {
    fn rule(&self, weight_decay: f64) -> Arc<dyn DynOptimizer> {
        let burn = burn::optim::AdanConfig::new()
            .with_beta_1(self.betas[0] as f32)
            .with_beta_2(self.betas[1] as f32)
            .with_beta_3(self.betas[2] as f32)
            .with_epsilon(self.eps as f32)
            .with_no_prox(self.no_prox)
            .with_weight_decay(weight_decay as f32);
        RuleOptimizer::erased(BurnRule(burn.build()), self.state_dtype)
    }
}

impl Restore for Adan {
    fn restore<const D: usize>(mut leaves: Leaves<'_>) -> Option<AdanState<D>> {
        let mut leaves = leaves.below("momentum");
        Some(AdanState::new(AdaptiveNesterovMomentumState {
            time: leaves.count("time")?,
            exp_avg: leaves.tensor("exp_avg")?,
            exp_avg_sq: leaves.tensor("exp_avg_sq")?,
            exp_avg_diff: leaves.tensor("exp_avg_diff")?,
            neg_pre_grad: leaves.tensor("neg_pre_grad")?,
        }))
    }
}
