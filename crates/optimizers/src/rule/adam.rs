//! Adam.
use std::sync::Arc;

use burn::{
    optim::DynOptimizer,
    tensor::{Device, Tensor},
};
use kiln_registry::{Entry, range};

use super::{AdamState, Moments, Rule, RuleOptimizer, VZero};
use crate::{Invalid, RuleParams, params::rule_params};

rule_params! {
    /// Parameters of [`Adam`].
    AdamConfig {
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

impl Entry for AdamConfig {
    const SUMMARY: &'static str = "Adam; weight decay is added to the gradient";
    const PAPER: &'static str = "Kingma and Ba 2015, arXiv:1412.6980";
}

impl AdamConfig {
    fn moments(&self) -> Moments {
        Moments { betas: self.betas, eps: self.eps, v_zero: self.v_zero }
    }
}

impl RuleParams for AdamConfig {
    fn rule(&self, weight_decay: f64) -> Arc<dyn DynOptimizer> {
        RuleOptimizer::erased(Adam { moments: self.moments(), weight_decay }, self.state_dtype)
    }

    fn check_rule(&self) -> Result<(), Invalid> {
        self.moments().check(self.state_dtype)
    }
}

/// Adam: steps of the first moment over the root of the second (see [`Moments`]).
/// ```text
/// w ← w − step(g + λ w)
/// ```
/// The decay passes through the moments, so it is rescaled like the gradient; [`Adamw`](super::Adamw)
/// keeps it apart.
///
/// # References
/// Kingma and Ba 2015, arXiv:1412.6980.
#[derive(Clone, Debug, PartialEq)]
pub struct Adam {
    /// The moments.
    pub moments: Moments,
    /// λ, added to the gradient.
    pub weight_decay: f64,
}

impl Rule for Adam {
    type State<const D: usize> = AdamState<D>;

    fn update<const D: usize>(
        &self,
        lr: f64,
        w: Tensor<D>,
        g: Tensor<D>,
        state: Option<AdamState<D>>,
    ) -> (Tensor<D>, Option<AdamState<D>>) {
        let (w, state) = self.moments.update(lr, [1.0, self.weight_decay], w, g, state);
        (w, Some(state))
    }

    fn to_device<const D: usize>(state: AdamState<D>, device: &Device) -> AdamState<D> {
        state.moved_to(device)
    }
}
