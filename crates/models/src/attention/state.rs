//! What attention remembers between tokens.
use burn::tensor::{Int, Tensor};

use super::{
    KeyValue,
    core::{CentredState, DecayedState, KernelState},
};

/// The memory of one attention core.
#[derive(Clone, Debug)]
pub enum State {
    /// Keys and values so far.
    KeyValue(KeyValue),
    /// Sums over the keys so far.
    Kernel(KernelState),
    /// A sum that fades.
    Decayed(DecayedState),
    /// Sums whose weights are centred.
    Centred(Box<CentredState>),
}

/// What every memory can do.
pub trait Remember: Sized {
    /// Some rows in the order asked for, such as the beams that go on.
    #[must_use]
    fn select(self, rows: &Tensor<1, Int>) -> Self;

    /// As before the first token.
    #[must_use]
    fn reset(self) -> Self;

    /// Size of its tensors in bytes.
    fn bytes(&self) -> usize;
}

impl Remember for State {
    fn select(self, rows: &Tensor<1, Int>) -> Self {
        match self {
            Self::KeyValue(state) => Self::KeyValue(state.select(rows)),
            Self::Kernel(state) => Self::Kernel(state.select(rows)),
            Self::Decayed(state) => Self::Decayed(state.select(rows)),
            Self::Centred(state) => Self::Centred(Box::new(state.select(rows))),
        }
    }

    fn reset(self) -> Self {
        match self {
            Self::KeyValue(state) => Self::KeyValue(state.reset()),
            Self::Kernel(state) => Self::Kernel(state.reset()),
            Self::Decayed(state) => Self::Decayed(state.reset()),
            Self::Centred(state) => Self::Centred(Box::new(state.reset())),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::KeyValue(state) => state.bytes(),
            Self::Kernel(state) => state.bytes(),
            Self::Decayed(state) => state.bytes(),
            Self::Centred(state) => state.bytes(),
        }
    }
}

/// Size of a tensor in bytes.
pub(crate) fn tensor_bytes<const D: usize>(tensor: &Tensor<D>) -> usize {
    tensor.shape().num_elements() * tensor.dtype().size()
}
