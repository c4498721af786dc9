//! AdamW.
use std::sync::Arc;

use burn::{
    optim::DynOptimizer,
    tensor::{Device, Tensor},
};
use kiln_registry::{Entry, range};

use super::{AdamState, Moments, Rule, RuleOptimizer, VZero};
use crate::{Invalid, RuleParams, params::rule_params};

rule_params! {
    /// Parameters of [`Adamw`].
    AdamwConfig {
        lr = 1e-3,
        /// Decay rates of the two moments, each in [0, 1).
        #[serde(deserialize_with = "range::pair_below_one")]
        betas: [f64; 2] = [0.9, 0.999],
        /// Added to the root of the second moment, at least 0; down to 1e-30 is of use.
        #[serde(deserialize_with = "range::non_negative")]
        #[schemars(range(min = 0.0))]
        eps: f64 = 1e-8,
        /// What to do where the second moment is exactly 0.
        v_zero: VZero = VZero::Skip,
    }
}

impl Entry for AdamwConfig {
    const SUMMARY: &'static str = "Adam with decoupled weight decay";
    const PAPER: &'static str = "Loshchilov and Hutter 2019, arXiv:1711.05101";
}

impl AdamwConfig {
    fn moments(&self) -> Moments {
        Moments { betas: self.betas, eps: self.eps, v_zero: self.v_zero }
    }
}

impl RuleParams for AdamwConfig {
    fn rule(&self, weight_decay: f64) -> Arc<dyn DynOptimizer> {
        RuleOptimizer::erased(Adamw { moments: self.moments(), weight_decay }, self.state_dtype)
    }

    fn check_rule(&self) -> Result<(), Invalid> {
        self.moments().check(self.state_dtype)
    }
}

/// AdamW: Adam whose weight decay does not pass through the moments.
/// ```text
/// w ← (1 − lr λ) w − step(g)
/// ```
/// `step` as in [`Moments`]. The product `lr λ` is the clock of the decay.
///
/// # References
/// Loshchilov and Hutter 2019, arXiv:1711.05101. Default λ is 0, as for every rule here (PyTorch: 0.01).
#[derive(Clone, Debug, PartialEq)]
pub struct Adamw {
    /// The moments.
    pub moments: Moments,
    /// λ.
    pub weight_decay: f64,
}

impl Rule for Adamw {
    type State<const D: usize> = AdamState<D>;

    fn update<const D: usize>(
        &self,
        lr: f64,
        w: Tensor<D>,
        g: Tensor<D>,
        state: Option<AdamState<D>>,
    ) -> (Tensor<D>, Option<AdamState<D>>) {
        let (w, state) = self.moments.update(lr, [1.0 - lr * self.weight_decay, 0.0], w, g, state);
        (w, Some(state))
    }

    fn to_device<const D: usize>(state: AdamState<D>, device: &Device) -> AdamState<D> {
        state.moved_to(device)
    }
}
