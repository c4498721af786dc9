//! Losses in tensor operations, for devices without loss kernels.
use burn::tensor::{DType, Device, Int, Tensor};

use super::LossDtype;
use crate::kernel::{self, ComposedNll, LossKernel};

/// The loss and the sum of each row, `[rows]` each, in `f32`.
///
/// As from a kernel, a row with a NaN or a logit of +∞ gives NaN, and a target at −∞ gives +∞.
///
/// # Panics
/// If [`check`] refuses.
pub(super) fn rows(
    logits: Tensor<2>,
    target: Tensor<1, Int>,
    kernel: &dyn LossKernel,
    dtype: LossDtype,
) -> (Tensor<1>, Tensor<1>) {
    let loss = form(kernel, dtype).unwrap_or_else(|reason| panic!("{reason}"));
    let logits = logits.cast(DType::F32);
    let infinite = logits.clone().detach().max_dim(1).equal_elem(f64::INFINITY).squeeze_dim::<1>(1);
    let (loss, row_sum) = loss(logits, target);
    (loss.mask_fill(infinite.clone(), f64::NAN), row_sum.mask_fill(infinite, f64::NAN))
}

/// Checks that the loss of `kernel` can be computed on `device`, by its kernel or composed.
///
/// # Errors
/// If the device has no loss kernels and the loss is not one it can compose; the message says what to choose instead.
pub(super) fn check(kernel: &dyn LossKernel, dtype: LossDtype, device: &Device) -> Result<(), String> {
    if kernel::supports(device) { Ok(()) } else { form(kernel, dtype).map(drop) }
}

fn form(kernel: &dyn LossKernel, dtype: LossDtype) -> Result<ComposedNll, String> {
    if dtype != LossDtype::F32 {
        return Err(format!(
            "a loss in {dtype:?} needs the loss kernels of the CPU; this device computes losses in f32: \
             set `loss.dtype = \"f32\"` or choose the device flex"
        ));
    }
    kernel.composed().ok_or_else(|| {
        format!(
            "the loss {kernel:?} needs the loss kernels of the CPU (in tensor operations it has no form, or not with \
             this order of its sums); choose the device flex"
        )
    })
}
