//! Pieces of the composed forms: maps written in tensor operations, which run on every device and, through autodiff,
//! check the hand-written gradients.
use burn::tensor::{Bool, Int, Tensor};

use super::Keep;

/// Where an entry does not take part: it is not kept, or its score is −∞. `None` if the rows are not looked at.
pub(crate) fn removed(scores: &Tensor<2>, keep: &Keep) -> Tensor<2, Bool> {
    let masked = scores.clone().detach().equal_elem(f64::NEG_INFINITY);
    match keep.mask(scores.dims(), &scores.device()) {
        None => masked,
        Some(kept) => masked.bool_or(kept.bool_not()),
    }
}

/// `x` with `value` at the removed entries, which get no gradient.
pub(crate) fn fill(x: Tensor<2>, removed: Tensor<2, Bool>, value: f64) -> Tensor<2> {
    x.mask_fill(removed, value)
}

/// The sum of each row (`[rows, 1]`), and 1 where it is 0, so that an empty row divides 0 by 1.
pub(crate) fn sum_or_one(x: Tensor<2>) -> Tensor<2> {
    let sum = x.sum_dim(1);
    let empty = sum.clone().detach().equal_elem(0.0);
    sum.mask_fill(empty, 1.0)
}

/// Which entry of each row is its class (`[rows, n]`).
pub(crate) fn one_hot(class: &Tensor<1, Int>, like: &Tensor<2>) -> Tensor<2, Bool> {
    let [rows, n] = like.dims();
    let place = Tensor::<1, Int>::arange(0..n as i64, &like.device()).cast(class.dtype());
    place.unsqueeze_dim::<2>(0).expand([rows, n]).equal(class.clone().unsqueeze_dim::<2>(1).expand([rows, n]))
}

/// The entry of each row at its class (`[rows]`).
pub(crate) fn at(x: Tensor<2>, class: Tensor<1, Int>) -> Tensor<1> {
    x.gather(1, class.unsqueeze_dim::<2>(1)).squeeze_dim::<1>(1)
}

/// ln(1 + x) of x ≥ 0 to full relative precision, in `f32`.
///
/// CubeCL's own is the logarithm of the rounded 1 + x, which is 0 below 6e-8.
/// ```text
/// ln(1 + x) = 2 artanh s = 2 (s + s³/3 + s⁵/5 + …),   s = x / (2 + x),   below x = 1/4
/// ```
pub(crate) fn log_1p(x: Tensor<1>) -> Tensor<1> {
    let small = x.clone().lower_elem(0.25);
    // The argument of the branch not taken is replaced, so that it has a finite gradient.
    let near = x.clone().mask_fill(small.clone().bool_not(), 0.0);
    let s = near.clone() / near.add_scalar(2.0);
    let square = s.clone().powi_scalar(2);
    let series = [1.0 / 7.0, 1.0 / 5.0, 1.0 / 3.0, 1.0]
        .into_iter()
        .fold(square.full_like(1.0 / 9.0), |sum, term| (sum * square.clone()).add_scalar(term));
    let far = x.mask_fill(small.clone(), 1.0).add_scalar(1.0).log();
    far.mask_where(small, series * s * 2.0)
}
