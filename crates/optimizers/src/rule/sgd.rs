//! Stochastic gradient descent with momentum.
use std::sync::Arc;

use burn::{
    optim::{DynOptimizer, RecordState, StateSink, StateSource},
    tensor::{Device, Tensor},
};
use kiln_registry::{Entry, range};

use super::{Rule, RuleOptimizer};
use crate::{Invalid, RuleParams, params::rule_params, record::take_tensor};

rule_params! {
    /// Parameters of [`Sgd`].
    SgdConfig {
        lr = 1e-2,
        /// Share of the velocity that survives a step, in [0, 1).
        #[serde(deserialize_with = "range::below_one")]
        #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1))]
        momentum: f64 = 0.0,
        /// Share of the gradient that is kept out of the velocity, in [0, 1).
        #[serde(deserialize_with = "range::below_one")]
        #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1))]
        dampening: f64 = 0.0,
        /// Step along the velocity as it will be after the next decay; needs momentum and no dampening.
        nesterov: bool = false,
    }
}

impl Entry for SgdConfig {
    const SUMMARY: &'static str = "stochastic gradient descent with momentum, dampening and Nesterov's look-ahead";
    const PAPER: &'static str = "Sutskever et al. 2013, ICML: On the importance of initialization and momentum";
}

impl RuleParams for SgdConfig {
    fn rule(&self, weight_decay: f64) -> Arc<dyn DynOptimizer> {
        let Self { momentum, dampening, nesterov, state_dtype, .. } = *self;
        RuleOptimizer::erased(Sgd { momentum, dampening, nesterov, weight_decay }, state_dtype)
    }

    fn check_rule(&self) -> Result<(), Invalid> {
        let Self { momentum, dampening, nesterov, .. } = *self;
        if nesterov && (momentum == 0.0 || dampening != 0.0) {
            return Err(Invalid::new(
                "nesterov",
                format!(
                    "nesterov with momentum = {momentum} and dampening = {dampening}; \
                     it needs momentum above 0 and dampening = 0"
                ),
            ));
        }
        Ok(())
    }
}

/// Stochastic gradient descent with momentum.
/// ```text
/// g ← g + λ w
/// b ← μ b + (1 − dampening) g          (b ← g at the first step)
/// w ← w − lr b                         (Nesterov: w ← w − lr (g + μ b))
/// ```
/// The velocity holds gradients, not steps: a change of the learning rate acts on all of it at once.
///
/// # References
/// Sutskever et al. 2013, who scale the velocity by the learning rate instead; the form here is PyTorch's.
#[derive(Clone, Debug, PartialEq)]
pub struct Sgd {
    /// μ; 0 keeps no state.
    pub momentum: f64,
    /// Share of the gradient kept out of the velocity.
    pub dampening: f64,
    /// Nesterov's look-ahead.
    pub nesterov: bool,
    /// λ, added to the gradient.
    pub weight_decay: f64,
}

/// The velocity of one parameter.
#[derive(Clone, Debug)]
pub struct SgdState<const D: usize> {
    velocity: Tensor<D>,
}

const VELOCITY: &str = "velocity";

impl<const D: usize> RecordState for SgdState<D> {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        out.push_tensor(prefix, VELOCITY, self.velocity.to_data());
    }

    fn state_unflatten(prefix: &str, source: &mut StateSource, device: &Device) -> Option<Self> {
        Some(Self { velocity: take_tensor(source, prefix, VELOCITY, device)? })
    }
}

impl Rule for Sgd {
    type State<const D: usize> = SgdState<D>;

    fn update<const D: usize>(
        &self,
        lr: f64,
        w: Tensor<D>,
        g: Tensor<D>,
        state: Option<SgdState<D>>,
    ) -> (Tensor<D>, Option<SgdState<D>>) {
        let g = if self.weight_decay == 0.0 { g } else { g + w.clone() * self.weight_decay };
        if self.momentum == 0.0 {
            return (w - g * lr, None);
        }
        let velocity = match state {
            None => g.clone(),
            Some(state) => state.velocity * self.momentum + g.clone() * (1.0 - self.dampening),
        };
        let direction = if self.nesterov { g + velocity.clone() * self.momentum } else { velocity.clone() };
        (w - direction * lr, Some(SgdState { velocity }))
    }

    fn to_device<const D: usize>(state: SgdState<D>, device: &Device) -> SgdState<D> {
        SgdState { velocity: state.velocity.to_device(device) }
    }
}
