//! Losses of logits and targets.
//!
//! A loss has a precision of its own: logits of any dtype meet a loss in `f16`, `f32` or `f64`, the row losses
//! and their mean stay in that precision, and the gradient is cast back to the logits' dtype at one place.
use std::{fmt::Debug, sync::Arc};

use burn::tensor::{Int, Tensor};
use kiln_registry::registry;

use crate::{
    Init,
    kernel::{self, Keep, LossKernel},
    normalizer::SoftmaxNll,
};

mod ce_exact;
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

    /// The loss of each row (`[rows]`) by its definition: in tensor operations and in the dtype of the logits, whatever the
    /// loss's own precision. It is the independent check of [`Objective::forward`], value and gradient, and says nothing
    /// of rows with NaN or +∞.
    fn composed(&self, logits: Tensor<2>, target: &Target) -> Tensor<1>;

    /// Checks what no single parameter can know.
    ///
    /// # Errors
    /// If the parameters do not fit each other; the message says what to choose instead.
    fn check(&self) -> Result<(), String> {
        Ok(())
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
}

/// `S_i = Σ_j exp(z_ij − max_j z_ij)` of each row (`[rows]`), by the very sum that a softmax loss of this precision and
/// order divides by. Not differentiated.
///
/// # Panics
/// If the logits' device has no row operations.
pub fn softmax_row_sum(logits: Tensor<2>, dtype: LossDtype, sum: SumOrder) -> Tensor<1> {
    let logits = logits.detach();
    let any_class = Tensor::zeros([logits.dims()[0]], &logits.device());
    kernel::row_loss(logits, None, any_class, &Keep::All, Arc::new(SoftmaxNll { sum }), dtype).1
}

/// The entry of each row at its class (`[rows]`).
fn at_class(x: Tensor<2>, classes: &Tensor<1, Int>) -> Tensor<1> {
    x.gather(1, classes.clone().unsqueeze_dim::<2>(1)).squeeze_dim::<1>(1)
}

/// The loss of every row by one kernel, as an [`Objective`] gives it back.
fn by_rows(
    logits: Tensor<2>,
    row_params: Option<Tensor<2>>,
    target: &Target,
    kernel: Arc<dyn LossKernel>,
    dtype: LossDtype,
) -> LossOutput {
    let Target::Classes(classes) = target;
    let (rows, row_sum) = kernel::row_loss(logits, row_params, classes.clone(), &Keep::All, kernel, dtype);
    LossOutput { mean: kernel::row_mean(rows.clone()), rows, row_sum }
}
