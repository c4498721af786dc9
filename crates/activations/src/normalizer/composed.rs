//! Pieces of the composed forms: maps written in tensor operations, which run on every device and, through autodiff,
//! check the hand-written gradients.
use burn::tensor::{Bool, Tensor};

use super::Keep;

/// Where an entry does not take part: it is not kept, or its score is −∞. `None` if the rows are not looked at.
pub(super) fn removed(scores: &Tensor<2>, keep: &Keep) -> Tensor<2, Bool> {
    let masked = scores.clone().detach().equal_elem(f64::NEG_INFINITY);
    match keep.mask(scores.dims(), &scores.device()) {
        None => masked,
        Some(kept) => masked.bool_or(kept.bool_not()),
    }
}

/// `x` with `value` at the removed entries, which get no gradient.
pub(super) fn fill(x: Tensor<2>, removed: Tensor<2, Bool>, value: f64) -> Tensor<2> {
    x.mask_fill(removed, value)
}

/// The sum of each row (`[rows, 1]`), and 1 where it is 0, so that an empty row divides 0 by 1.
pub(super) fn sum_or_one(x: Tensor<2>) -> Tensor<2> {
    let sum = x.sum_dim(1);
    let empty = sum.clone().detach().equal_elem(0.0);
    sum.mask_fill(empty, 1.0)
}

/// Shannon's entropy `−Σ y ln y` of each row of weights (`[rows, 1]`), in nats; weights of 0 count 0.
pub(super) fn shannon(weights: Tensor<2>) -> Tensor<2> {
    let nothing = weights.clone().detach().lower_equal_elem(0.0);
    (weights.clone() * weights.mask_fill(nothing, 1.0).log()).sum_dim(1).neg()
}

/// The largest score of each row that takes part (`[rows, 1]`), without a gradient; very low for an empty row.
pub(super) fn max(rows: &super::Rows<'_>) -> Tensor<2> {
    fill(rows.scores.clone().detach(), rows.removed(), f64::MIN).max_dim(1)
}

/// √x with gradient 0 at 0, where that of the root is infinite.
pub(crate) fn root(x: Tensor<2>) -> Tensor<2> {
    let zero = x.clone().detach().equal_elem(0.0);
    x.mask_fill(zero.clone(), 1.0).sqrt().mask_fill(zero, 0.0)
}
