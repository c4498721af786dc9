//! What the network should have said.
use burn::tensor::{Int, Tensor};

/// What the network should have said.
#[derive(Clone, Debug)]
pub enum Target {
    /// The class of each row (`[rows]`), from 0 to the number of logits − 1.
    Classes(Tensor<1, Int>),
}
