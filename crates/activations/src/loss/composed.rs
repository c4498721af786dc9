//! Losses on devices without loss kernels: their definition in tensor operations.
use burn::tensor::{DType, Device, Tensor};

use super::{LossDtype, Objective, SumOrder, Target};
use crate::{
    Keep, kernel,
    normalizer::{Rows, composed},
};

/// The loss of each row (`[rows]`), in `f32`: [`Objective::composed`], and beside it what a kernel says of rows for which
/// that says nothing. A row with a NaN or a logit of +∞ gives NaN, a target at −∞ gives +∞; the gradients are NaN.
///
/// # Panics
/// If [`check`] refuses.
pub(super) fn rows(loss: &dyn Objective, logits: Tensor<2>, target: &Target) -> Tensor<1> {
    check(loss.dtype(), loss.sum(), &logits.device()).unwrap_or_else(|reason| panic!("{reason}"));
    let Target::Classes(classes) = target;
    let logits = logits.cast(DType::F32);
    let shape = logits.dims();
    let x = logits.clone().detach();
    let removed = x.clone().equal_elem(f64::NEG_INFINITY);
    let lost = composed::at_class(x.clone(), classes).equal_elem(f64::NEG_INFINITY);
    let without = spoiled(x).bool_or(lost.unsqueeze_dim(1));
    let loss = loss.composed(logits.clone().mask_fill(without.clone().expand(shape), 0.0), target);
    // −ln of a weight of 0, that is +∞ or what becomes of a NaN, with the gradient −1/0 · 0.
    let weight = logits.mask_fill(without.clone().expand(shape).bool_not().bool_or(removed), 0.0).mul_scalar(0.0);
    let beyond = weight.sum_dim(1).log().neg();
    loss.mask_where(without.squeeze_dim(1), beyond.squeeze_dim(1))
}

/// `Σ exp(z − max z)` of each row (`[rows]`), in `f32`; NaN for a row with NaN or +∞.
///
/// # Panics
/// If [`check`] refuses.
pub(super) fn softmax_row_sum(logits: Tensor<2>, dtype: LossDtype, sum: SumOrder) -> Tensor<1> {
    check(dtype, sum, &logits.device()).unwrap_or_else(|reason| panic!("{reason}"));
    let scores = logits.cast(DType::F32);
    let spoiled = spoiled(scores.clone());
    let rows = Rows { scores, params: None, keep: &Keep::All };
    let exp = (rows.scores.clone() - composed::max(&rows)).exp();
    let sum = composed::fill(exp, rows.removed(), 0.0).sum_dim(1);
    sum.mask_fill(spoiled, f64::NAN).squeeze_dim(1)
}

/// Which rows hold a NaN or +∞ (`[rows, 1]`).
fn spoiled(x: Tensor<2>) -> Tensor<2, burn::tensor::Bool> {
    x.clone().is_nan().bool_or(x.equal_elem(f64::INFINITY)).any_dim(1)
}

/// Checks that a loss of this precision and order can be computed on `device`, by its kernel or composed.
///
/// # Errors
/// If it cannot; the message says what to choose instead.
pub(super) fn check(dtype: LossDtype, sum: SumOrder, device: &Device) -> Result<(), String> {
    if kernel::supports(device) {
        return Ok(());
    }
    if dtype != LossDtype::F32 {
        return Err(format!(
            "a loss in {dtype:?} needs the loss kernels of the CPU; this device computes losses in f32: \
             set `loss.dtype = \"f32\"` or choose the device flex"
        ));
    }
    if sum != SumOrder::default() {
        return Err(
            "a loss with sequential sums needs the loss kernels of the CPU; this device adds in an order of its own: \
             leave out `loss.sum` or choose the device flex"
                .into(),
        );
    }
    Ok(())
}
