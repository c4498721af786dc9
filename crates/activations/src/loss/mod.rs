//! Losses of logits and targets.
//!
//! A loss has a precision of its own: logits of any dtype meet a loss in `f16`, `f32` or `f64`, the row losses
//! and their mean stay in that precision, and the gradient is cast back to the logits' dtype at one place.
use std::{fmt::Debug, sync::Arc};

use burn::tensor::{Device, Int, Tensor};
use kiln_registry::registry;

use crate::{
    Init,
    kernel::{self, Keep, LossKernel},
    normalizer::SoftmaxNll,
};

mod ce_exact;
mod composed;
mod cross_entropy;
mod precision;
mod target;
#[cfg(test)]
mod tests;

pub use ce_exact::{CeExact, CeExactConfig, ExactNll};
pub use cross_entropy::{CrossEntropy, CrossEntropyConfig};
pub use precision::{LossDtype, SumOrder};
pub use target::Target;

registry! {
    /// A loss of logits and targets, by name.
    config LossConfig("loss");
    module Loss: dyn Objective, init(&Init);
    "cross_entropy" => CrossEntropy(CrossEntropyConfig),
    "ce_exact" => CeExact(CeExactConfig),
}

/// The contract of a loss.
pub trait Objective: Debug + Send + Sync {
    /// The loss of each row of `logits` (`[rows, classes]`) against its target.
    ///
    /// # Panics
    /// If the target does not fit the logits.
    fn forward(&self, logits: Tensor<2>, target: &Target) -> LossOutput;

    /// The precision the loss is computed in.
    fn dtype(&self) -> LossDtype;

    /// Checks what no single parameter can know.
    ///
    /// # Errors
    /// If the parameters do not fit each other; the message says what to choose instead.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    /// Checks that the loss can be computed on `device`.
    ///
    /// # Errors
    /// If it cannot; the message says why and what to choose instead.
    fn check_device(&self, device: &Device) -> Result<(), String> {
        if kernel::supports(device) {
            return Ok(());
        }
        Err("this loss needs the loss kernels of the CPU; choose the device flex".into())
    }
}

/// What a loss says about a batch; every tensor in the loss's own precision.
#[derive(Clone, Debug)]
pub struct LossOutput {
    /// Mean over the rows (`[1]`), in nats; this is what is differentiated.
    pub mean: Tensor<1>,
    /// Loss of each row (`[rows]`), in nats.
    pub rows: Tensor<1>,
    /// The sum each row was divided by (`[rows]`): `S_i = Σ_j exp(z_ij − max_j z_ij)` for softmax and
    /// [`CeExact`], the map's own sum for another map. Not differentiated.
    pub row_sum: Tensor<1>,
}

impl Default for LossConfig {
    /// Cross entropy through softmax in single precision.
    fn default() -> Self {
        Self::CrossEntropy(CrossEntropyConfig::default())
    }
}

impl LossConfig {
    /// Checks what no single parameter can know.
    ///
    /// # Errors
    /// If the loss needs the logarithm of a weight and the normalizer has no log form; the message names those that do.
    pub fn check(&self) -> Result<(), String> {
        // The rule stands in the loss, which is built here only to be asked.
        self.init(&Init::sample()).check()
    }

    /// Checks that the loss can be computed on `device`.
    ///
    /// # Errors
    /// If it cannot: losses have kernels on the CPU; elsewhere those that have a form in tensor operations run in
    /// `f32`.
    pub fn check_device(&self, device: &Device) -> Result<(), String> {
        self.init(&Init::sample()).check_device(device)
    }
}

/// `S_i = Σ_j exp(z_ij − max_j z_ij)` of each row (`[rows]`), by the very sum that a softmax loss of this precision and
/// order divides by. Not differentiated.
///
/// # Panics
/// If the logits' device cannot compute a loss of this precision and order ([`LossConfig::check_device`]).
pub fn softmax_row_sum(logits: Tensor<2>, dtype: LossDtype, sum: SumOrder) -> Tensor<1> {
    let logits = logits.detach();
    let any_class = Tensor::zeros([logits.dims()[0]], &logits.device());
    row_losses(logits, None, any_class, Arc::new(SoftmaxNll { sum }), dtype).1
}

/// The loss of every row, as an [`Objective`] gives it back.
fn by_rows(
    logits: Tensor<2>,
    row_params: Option<Tensor<2>>,
    target: &Target,
    kernel: Arc<dyn LossKernel>,
    dtype: LossDtype,
) -> LossOutput {
    let Target::Classes(classes) = target;
    let (rows, row_sum) = row_losses(logits, row_params, classes.clone(), kernel, dtype);
    let mean = if kernel::supports(&rows.device()) { kernel::row_mean(rows.clone()) } else { rows.clone().mean() };
    LossOutput { mean, rows, row_sum }
}

/// The loss and the sum of every row, by the device's kernel or composed of tensor operations.
fn row_losses(
    logits: Tensor<2>,
    row_params: Option<Tensor<2>>,
    classes: Tensor<1, Int>,
    kernel: Arc<dyn LossKernel>,
    dtype: LossDtype,
) -> (Tensor<1>, Tensor<1>) {
    if kernel::supports(&logits.device()) {
        kernel::row_loss(logits, row_params, classes, &Keep::All, kernel, dtype)
    } else {
        composed::rows(logits, classes, &*kernel, dtype)
    }
}
