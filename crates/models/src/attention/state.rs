//! What attention remembers between tokens.
use burn::tensor::{Int, Tensor};

use super::KeyValue;

/// The memory of one attention core.
#[derive(Clone, Debug)]
pub enum State {
    /// Keys and values so far.
    KeyValue(KeyValue),
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
        }
    }

    fn reset(self) -> Self {
        match self {
            Self::KeyValue(state) => Self::KeyValue(state.reset()),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::KeyValue(state) => state.bytes(),
        }
    }
}

/// Size of a tensor in bytes.
pub(crate) fn tensor_bytes<const D: usize>(tensor: &Tensor<D>) -> usize {
    tensor.shape().num_elements() * tensor.dtype().size()
}
