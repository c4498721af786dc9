//! Losses of logits and targets.
//!
//! A loss has a precision of its own: logits of any dtype meet a loss in `f16`, `f32` or `f64`, the row losses
//! and their mean stay in that precision, and the gradient is cast back to the logits' dtype at one place.
use std::{fmt::Debug, sync::Arc};

use burn::tensor::{Device, Tensor};
use kiln_registry::registry;

use crate::{
    Init,
    kernel::{self, Keep, LossKernel},
    normalizer::SoftmaxNll,
};

mod ce_exact;
mod composed;
mod cross_entropy;
mod fenchel_young;
mod noisy_softmax;
mod precision;
mod target;
#[cfg(test)]
mod tests;

pub use ce_exact::{CeExact, CeExactConfig, ExactNll};
pub use cross_entropy::{CrossEntropy, CrossEntropyConfig};
pub use fenchel_young::{FenchelYoung, FenchelYoungConfig};
pub use noisy_softmax::{NoiseSize, NoisySoftmax};
pub use precision::{LossDtype, SumOrder};
pub use target::Target;

registry! {
    /// A loss of logits and targets, by name.
    config LossConfig("loss");
    module Loss: dyn Objective, init(&Init);
    "cross_entropy" => CrossEntropy(CrossEntropyConfig),
    "ce_exact" => CeExact(CeExactConfig),
    "fenchel_young" => FenchelYoung(FenchelYoungConfig),
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

    /// The order of the row sums.
    fn sum(&self) -> SumOrder {
        SumOrder::default()
    }

    /// The loss of each row (`[rows]`) by its definition: in tensor operations and in the dtype of the logits, whatever the
    /// loss's own precision. It is the independent check of [`Objective::forward`], value and gradient, and its form on
    /// devices without loss kernels. It says nothing of rows with NaN or +∞, nor of a target at −∞.
    fn composed(&self, logits: Tensor<2>, target: &Target) -> Tensor<1>;

    /// Checks what no single parameter can know.
    ///
    /// # Errors
    /// If the parameters do not fit each other; the message says what to choose instead.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    /// Checks that the loss can be computed on `device`. The CPU has kernels for every loss; elsewhere a loss is composed of
    /// tensor operations, in `f32` and with sums in the device's own order.
    ///
    /// # Errors
    /// If it cannot; the message says why and what to choose instead.
    fn check_device(&self, device: &Device) -> Result<(), String> {
        composed::check(self.dtype(), self.sum(), device)
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
    /// [`CeExact`], the map's own sum for another map. Not differentiated. `None` on a device without loss kernels, where
    /// the composed loss does not say it; [`softmax_row_sum`] does.
    pub row_sum: Option<Tensor<1>>,
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

    /// Checks that the loss can be computed on `device`; see [`Objective::check_device`].
    ///
    /// # Errors
    /// If it cannot; the message says why and what to choose instead.
    pub fn check_device(&self, device: &Device) -> Result<(), String> {
        self.init(&Init::sample()).check_device(device)
    }
}

/// `S_i = Σ_j exp(z_ij − max_j z_ij)` of each row (`[rows]`), by the very sum that a softmax loss of this precision and
/// order divides by. Not differentiated.
///
/// # Panics
/// If the logits' device does not compute losses of this precision and order ([`LossConfig::check_device`]).
pub fn softmax_row_sum(logits: Tensor<2>, dtype: LossDtype, sum: SumOrder) -> Tensor<1> {
    let logits = logits.detach();
    if !kernel::supports(&logits.device()) {
        return composed::softmax_row_sum(logits, dtype, sum);
    }
    let any_class = Tensor::zeros([logits.dims()[0]], &logits.device());
    kernel::row_loss(logits, None, any_class, &Keep::All, Arc::new(SoftmaxNll { sum }), dtype).1
}

/// What `loss` gives back: the loss of every row by this kernel, or composed on a device without loss kernels.
fn by_rows(
    loss: &dyn Objective,
    logits: Tensor<2>,
    row_params: Option<Tensor<2>>,
    target: &Target,
    kernel: Arc<dyn LossKernel>,
) -> LossOutput {
    if !kernel::supports(&logits.device()) {
        let rows = composed::rows(loss, logits, target);
        return LossOutput { mean: rows.clone().mean(), rows, row_sum: None };
    }
    let Target::Classes(classes) = target;
    let (rows, row_sum) = kernel::row_loss(logits, row_params, classes.clone(), &Keep::All, kernel, loss.dtype());
    LossOutput { mean: kernel::row_mean(rows.clone()), rows, row_sum: Some(row_sum) }
}
