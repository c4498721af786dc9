//! Update rules: one tensor, its gradient and its state in; the new tensor and state out.
use std::sync::Arc;

use burn::{
    optim::{DynOptimizer, LearningRate, Optimizer, RecordState},
    tensor::{Device, Tensor},
};

use crate::StateDtype;

mod adam;
mod adam_step;
mod adamw;
mod moments;
mod sgd;

pub use adam::{Adam, AdamConfig};
pub use adam_step::{AdamOps, AdamStep};
pub use adamw::{Adamw, AdamwConfig};
pub(crate) use moments::dead_second_moments;
pub use moments::{AdamState, Moments, VZero};
pub use sgd::{Sgd, SgdConfig, SgdState};

/// The contract of an update rule.
pub trait Rule: Clone + Send + Sync + 'static {
    /// What the rule remembers of one parameter. Its [`RecordState`] restores every tensor in the dtype it was
    /// saved in (the derived one takes the default float type).
    type State<const D: usize>: Clone + RecordState;

    /// One update of one parameter.
    ///
    /// `w`, `g` and the tensors of `state` have one dtype and one device, and none of them is tracked by
    /// autodiff. `state` is `None` at the parameter's first update; a rule without memory returns `None`.
    fn update<const D: usize>(
        &self,
        lr: f64,
        w: Tensor<D>,
        g: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>);

    /// The state, on `device`.
    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D>;
}

/// Any [`Rule`] as Burn's public [`Optimizer`]: adds the state's dtype.
#[derive(Clone, Debug)]
pub struct RuleOptimizer<R> {
    rule: R,
    state_dtype: StateDtype,
}

impl<R: Rule> RuleOptimizer<R> {
    /// The rule, computing in `state_dtype`.
    pub fn new(rule: R, state_dtype: StateDtype) -> Self {
        Self { rule, state_dtype }
    }

    /// The same behind Burn's object-safe view.
    pub(crate) fn erased(rule: R, state_dtype: StateDtype) -> Arc<dyn DynOptimizer> {
        Arc::new(Self::new(rule, state_dtype))
    }
}

impl<R: Rule> Optimizer for RuleOptimizer<R> {
    type State<const D: usize> = R::State<D>;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<R::State<D>>,
    ) -> (Tensor<D>, Option<R::State<D>>) {
        let param_dtype = tensor.dtype();
        let dtype = self.state_dtype.resolve(param_dtype);
        let (tensor, state) = self.rule.update(lr, tensor.cast(dtype), grad.cast(dtype), state);
        (tensor.cast(param_dtype), state)
    }

    fn to_device<const D: usize>(state: R::State<D>, device: &Device) -> R::State<D> {
        R::to_device(state, device)
    }
}
