//! Softmax and the k largest weights of each row, in one operation that never writes the row.
use burn::{
    backend::Dispatch,
    tensor::{Int, Tensor},
};

use super::Keep;

mod on_host;
mod ops;
mod row;
#[cfg(test)]
mod tests;

pub use on_host::TopkSaved;
pub use ops::{TopkOps, TopkVjps};
pub(crate) use row::largest;

/// The k largest softmax weights of every row, the largest first, and where they stand.
///
/// ```text
/// weights[r, j] = exp(x_i − m) / Σ exp(x − m),   indices[r, j] = i,   i the place of the j-th largest score of row r
/// ```
/// Of equal scores the first comes first. A row with fewer than k kept entries ends in weights of 0 at index 0. Only the
/// weights are differentiated, through the sum over the whole row as well. The row of weights is never written: for long
/// rows and small k this is what the memory traffic of a decoder's softmax consists of.
///
/// # Shapes
/// - `scores`: `[rows, n]`; both results: `[rows, k]`
///
/// # Panics
/// If the device is not [supported](super::supports), or k is 0 or above n.
/// # References
/// Milakov and Gimelshein 2018, Online normalizer calculation for softmax, arXiv:1805.02867, section 4.
pub fn row_topk(scores: Tensor<2>, k: usize, keep: &Keep) -> (Tensor<2>, Tensor<2, Int>) {
    let [_, n] = scores.dims();
    let device = scores.device();
    assert!(
        super::supports(&device),
        "row_topk runs on flex and ndarray, not on {device:?}; there take the weights of softmax and \
         `Tensor::topk_with_indices`"
    );
    assert!((1..=n).contains(&k), "k = {k} is not between 1 and the {n} scores of a row");
    let (weights, indices) = <Dispatch as TopkOps>::row_topk(scores.into_dispatch(), keep.to_dispatch(), k);
    (Tensor::from_dispatch(weights), Tensor::from_dispatch(indices))
}
