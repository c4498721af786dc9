//! Rows with NaN or +∞ on devices that compose a map: its composed form says nothing of them.
use burn::tensor::Tensor;

use super::{Rows, composed::fill};
use crate::kernel::{AtInfinity, RowKernel};

/// The results of a composed form, and beside them what the driver of the kernels makes of rows with NaN or +∞: the form
/// meets neither of them, nor what is removed.
pub(super) fn composed(
    rows: Rows<'_>,
    kernel: &dyn RowKernel,
    compose: impl FnOnce(&Rows<'_>) -> Tensor<2>,
) -> Tensor<2> {
    let shape = rows.scores.dims();
    let (removed, kept) = (rows.removed(), rows.removed().bool_not());
    let x = rows.scores.clone().detach();
    let (nan, infinite) = (x.clone().is_nan(), x.equal_elem(f64::INFINITY));
    let top = infinite.clone().bool_and(kept.clone());
    let (with_nan, with_top) = (nan.clone().bool_and(kept.clone()).any_dim(1), top.clone().any_dim(1));
    let (undefined, one_hot) = match kernel.at_infinity() {
        AtInfinity::OneHot => (with_nan.clone(), Some(with_top.bool_and(with_nan.bool_not()))),
        AtInfinity::Nan => (with_nan.bool_or(with_top), None),
    };

    let mut outside = undefined.clone().expand(shape).bool_or(nan).bool_or(infinite);
    if let Some(one_hot) = &one_hot {
        outside = outside.bool_or(one_hot.clone().expand(shape));
    }
    let scores = rows.scores.clone().mask_fill(outside, 0.0);
    let mut y = compose(&Rows { scores, ..rows.clone() });

    let at_removed = if kernel.is_log() { f64::NEG_INFINITY } else { 0.0 };
    if let Some(one_hot) = one_hot {
        // The limit is constant, so its gradient is 0.
        let count = top.clone().float().cast(y.dtype()).sum_dim(1).clamp_min(1.0);
        let share = if kernel.is_log() { count.log().neg() } else { count.recip() };
        let one_hot = one_hot.expand(shape);
        y = fill(y, one_hot.clone(), at_removed).mask_where(one_hot.bool_and(top), share.expand(shape));
    }
    let undefined = undefined.expand(shape);
    // NaN at every kept entry, in value and gradient.
    let poison = rows.scores.mask_fill(undefined.clone().bool_and(kept).bool_not(), 0.0).mul_scalar(f64::NAN);
    let y = fill(y, undefined.clone().bool_and(removed.clone()), at_removed);
    y.mask_where(undefined.bool_and(removed.bool_not()), poison)
}
