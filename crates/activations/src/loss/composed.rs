//! Losses in tensor operations: what their composed forms share, and their form on devices without loss kernels.
use burn::tensor::{Bool, DType, Device, Int, Tensor};

use super::{LossDtype, Objective, SumOrder, Target, TargetKind};
use crate::{
    Ctx, Keep, kernel,
    normalizer::{Normalize as _, Rows, Softmax, composed},
};

/// The loss of each row (`[rows]`), in `f32`: [`Objective::composed`], and beside it what a kernel says of rows for which
/// that says nothing. A row with a NaN or a logit of +∞ gives NaN, a class at −∞ as the target gives +∞; the gradients are
/// NaN.
///
/// # Panics
/// If [`check`] refuses.
pub(super) fn rows(loss: &dyn Objective, logits: Tensor<2>, classes: &Tensor<1, Int>) -> Tensor<1> {
    check(loss.dtype(), loss.sum(), &logits.device()).unwrap_or_else(|reason| panic!("{reason}"));
    let logits = logits.cast(DType::F32);
    let shape = logits.dims();
    let x = logits.clone().detach();
    let removed = x.clone().equal_elem(f64::NEG_INFINITY);
    let lost = composed::at_class(x.clone(), classes).equal_elem(f64::NEG_INFINITY);
    let without = spoiled(x).bool_or(lost.unsqueeze_dim(1));
    let target = Target::Classes(classes.clone());
    let loss = loss.composed(logits.clone().mask_fill(without.clone().expand(shape), 0.0), &target);
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
fn spoiled(x: Tensor<2>) -> Tensor<2, Bool> {
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

/// A class whose logit is −∞ takes no part (`[rows, classes]`).
pub(super) fn removed(logits: &Tensor<2>) -> Tensor<2, Bool> {
    logits.clone().detach().equal_elem(f64::NEG_INFINITY)
}

/// How many classes of each row take part (`[rows, 1]`), at least 1.
pub(super) fn count(logits: &Tensor<2>) -> Tensor<2> {
    let one = logits.clone().detach().ones_like();
    composed::fill(one, removed(logits), 0.0).sum_dim(1).clamp_min(1.0)
}

/// The mean over the classes of each row that take part (`[rows]`).
pub(super) fn mean_of_classes(terms: Tensor<2>, logits: &Tensor<2>) -> Tensor<1> {
    (composed::fill(terms, removed(logits), 0.0).sum_dim(1) / count(logits)).squeeze_dim(1)
}

/// ln softmax of each row (`[rows, classes]`), −∞ at classes that take no part.
pub(super) fn log_softmax(logits: Tensor<2>) -> Tensor<2> {
    let rows = Rows { scores: logits, params: None, keep: &Keep::All };
    Softmax::default().composed_log(&rows, &Ctx::eval(0, 0)).expect("softmax has a log form")
}

/// −Σ_j t_j ln w_j of each row (`[rows]`), where a share of 0 counts 0 whatever its weight.
pub(super) fn cross(shares: Tensor<2>, log_weights: Tensor<2>) -> Tensor<1> {
    let nothing = shares.clone().detach().equal_elem(0.0);
    (shares * log_weights.mask_fill(nothing, 0.0)).sum_dim(1).neg().squeeze_dim(1)
}

/// d = ln Σ_{j≠y} exp z_j − z_y of each row (`[rows, 1]`), the rivals summed without the target, and which rows have no
/// rivals; d is finite there and means nothing.
pub(super) fn lead(logits: Tensor<2>, classes: &Tensor<1, Int>) -> (Tensor<2>, Tensor<2, Bool>) {
    let own = composed::at_class(logits.clone(), classes).unsqueeze_dim::<2>(1);
    let left_out = removed(&logits).bool_or(composed::is_class(classes, &logits));
    let (log_sum, alone) = log_sum(logits, left_out);
    (log_sum - own, alone)
}

/// ln Σ exp of each row (`[rows, 1]`) over what is not left out, and which rows have nothing; the sum is 0 there.
pub(super) fn log_sum(x: Tensor<2>, left_out: Tensor<2, Bool>) -> (Tensor<2>, Tensor<2, Bool>) {
    let max = x.clone().detach().mask_fill(left_out.clone(), f64::NEG_INFINITY).max_dim(1);
    let max = max.clone().mask_fill(max.equal_elem(f64::NEG_INFINITY), 0.0);
    let sum = (x - max.clone()).mask_fill(left_out, f64::NEG_INFINITY).exp().sum_dim(1);
    let alone = sum.clone().detach().equal_elem(0.0);
    (sum.mask_fill(alone.clone(), 1.0).log() + max, alone)
}

/// The refusal of a kind of target.
pub(super) fn refuse(kind: TargetKind, takes: &[TargetKind]) -> String {
    let takes: Vec<String> = takes.iter().map(TargetKind::to_string).collect();
    format!("takes {}, and the data gives {kind}", takes.join(" or "))
}
