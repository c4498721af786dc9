//! Burn's own rules, reachable through the same registry.
//!
//! Their arithmetic and state are Burn's; what is added is a restore that keeps each tensor's dtype. They hold
//! their hyper-parameters in `f32`.
use burn::{
    optim::{Optimizer, RecordState, StateSink, StateSource, decay::WeightDecayConfig, join_path},
    tensor::{Device, Tensor},
};

use crate::{Rule, record::take_tensor};

mod adafactor;
mod adagrad;
mod adan;
mod lamb;
mod lion;
mod muon;
mod rmsprop;

pub use adafactor::AdafactorConfig;
pub use adagrad::AdagradConfig;
pub use adan::AdanConfig;
pub use lamb::LambConfig;
pub use lion::LionConfig;
pub use muon::{AdjustLr, MuonConfig};
pub use rmsprop::RmspropConfig;

/// One of Burn's optimizers, with what it needs to come back from a record unchanged.
pub(crate) trait Restore: Optimizer {
    /// The state that Burn flattened under `prefix`, with every tensor in the dtype it was saved in: Burn's own
    /// restore converts to the default float type. `None` if a leaf is missing.
    fn restore<const D: usize>(leaves: Leaves<'_>) -> Option<Self::State<D>>;
}

/// The recorded leaves below one name.
#[derive(Debug)]
pub(crate) struct Leaves<'a> {
    prefix: String,
    source: &'a mut StateSource,
    device: &'a Device,
}

impl Leaves<'_> {
    fn tensor<const D: usize>(&mut self, name: &str) -> Option<Tensor<D>> {
        take_tensor(self.source, &self.prefix, name, self.device)
    }

    fn count(&mut self, name: &str) -> Option<usize> {
        usize::try_from(self.source.take_scalar(&self.prefix, name)?).ok()
    }

    /// The leaves of a nested state.
    fn below(&mut self, name: &str) -> Leaves<'_> {
        Leaves { prefix: join_path(&self.prefix, name), source: self.source, device: self.device }
    }
}

/// One of Burn's optimizers as a Kiln [`Rule`].
#[derive(Clone, Debug)]
pub(crate) struct BurnRule<O>(O);

/// The state of a [`BurnRule`].
pub(crate) struct BurnState<O: Restore, const D: usize>(O::State<D>);

impl<O: Restore, const D: usize> Clone for BurnState<O, D> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<O: Restore, const D: usize> RecordState for BurnState<O, D> {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        self.0.state_flatten(prefix, out);
    }

    fn state_unflatten(prefix: &str, source: &mut StateSource, device: &Device) -> Option<Self> {
        O::restore(Leaves { prefix: prefix.into(), source, device }).map(Self)
    }
}

impl<O: Restore> Rule for BurnRule<O> {
    type State<const D: usize> = BurnState<O, D>;

    fn update<const D: usize>(
        &self,
        lr: f64,
        w: Tensor<D>,
        g: Tensor<D>,
        state: Option<BurnState<O, D>>,
    ) -> (Tensor<D>, Option<BurnState<O, D>>) {
        let (w, state) = self.0.step(lr, w, g, state.map(|state| state.0));
        (w, state.map(BurnState))
    }

    fn to_device<const D: usize>(state: BurnState<O, D>, device: &Device) -> BurnState<O, D> {
        BurnState(O::to_device(state.0, device))
    }
}

/// Burn's optional weight decay.
fn penalty(weight_decay: f64) -> Option<WeightDecayConfig> {
    (weight_decay != 0.0).then_some(WeightDecayConfig { penalty: weight_decay as f32 })
}
