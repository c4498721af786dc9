//! Losses of logits and targets.
//!
//! A loss has a precision of its own: logits of any dtype meet a loss in `f16`, `f32` or `f64`, the row losses
//! and their mean stay in that precision, and the gradient is cast back to the logits' dtype at one place.
use std::{fmt::Debug, sync::Arc};

use burn::tensor::{Device, Tensor};
use kiln_registry::{Tagged as _, registry};
use serde::de::value::{Error, MapDeserializer};

use crate::{
    Ctx, Init,
    kernel::{self, Keep, LossKernel},
    normalizer::{Heads, Normalize as _, SoftmaxConfig, SoftmaxNll},
};

mod binary_ce;
mod ce_exact;
mod comp_sum;
mod composed;
mod cross_entropy;
mod decoupled_softmax;
mod dice;
mod distillation;
mod fenchel_young;
mod gumbel_ce;
mod hinge;
mod label_smoothing;
#[cfg(test)]
mod law_tests;
mod mse;
mod noisy_softmax;
mod precision;
mod psl;
mod relu_nll;
mod scores;
mod target;
#[cfg(test)]
mod tests;
mod wide;
mod z_loss;

pub use crate::normalizer::composed::is_class;
pub use binary_ce::{BinaryCe, BinaryCeConfig};
pub use ce_exact::{CeExact, CeExactConfig, ExactNll};
pub use comp_sum::{CompSum, CompSumConfig};
pub use cross_entropy::{CrossEntropy, CrossEntropyConfig};
pub use decoupled_softmax::{DecoupledSoftmax, DecoupledSoftmaxConfig};
pub use dice::{Dice, DiceActivation, DiceConfig, DiceForm, DiceOver};
pub use distillation::{Distillation, DistillationConfig};
pub use fenchel_young::{FenchelYoung, FenchelYoungConfig};
pub use gumbel_ce::{GumbelCe, GumbelCeConfig};
pub use hinge::{Hinge, HingeConfig, HingeForm, HingePower, HingeReduce};
pub use label_smoothing::{LabelSmoothing, LabelSmoothingConfig};
pub use mse::{Mse, MseConfig};
pub use noisy_softmax::{NoiseSize, NoisySoftmax};
pub use precision::{LossDtype, SumOrder};
pub use psl::{Psl, PslConfig, Surrogate};
pub use relu_nll::{ReluForm, ReluNll, ReluNllConfig};
pub use scores::Scores;
pub use target::{Target, TargetKind};
pub use wide::{Wide, WideNll};
pub use z_loss::{ZLoss, ZLossConfig};

registry! {
    /// A loss of logits and targets, by name.
    config LossConfig("loss");
    module Loss: dyn Objective, init(&Init);
    "cross_entropy" => CrossEntropy(CrossEntropyConfig),
    "ce_exact" => CeExact(CeExactConfig),
    "fenchel_young" => FenchelYoung(FenchelYoungConfig),
    "label_smoothing" => LabelSmoothing(LabelSmoothingConfig),
    "comp_sum" => CompSum(CompSumConfig),
    "z_loss" => ZLoss(ZLossConfig),
    "hinge" => Hinge(HingeConfig),
    "gumbel_ce" => GumbelCe(GumbelCeConfig),
    "binary_ce" => BinaryCe(BinaryCeConfig),
    "relu_nll" => ReluNll(ReluNllConfig),
    "psl" => Psl(PslConfig),
    "decoupled_softmax" => DecoupledSoftmax(DecoupledSoftmaxConfig),
    "distillation" => Distillation(DistillationConfig),
    "dice" => Dice(DiceConfig),
    "mse" => Mse(MseConfig),
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

    /// The kinds of targets it can be asked about, the one it is made for first.
    fn targets(&self) -> &'static [TargetKind];

    /// The probabilities that the loss reads the logits as (`[rows, classes]`), not differentiated; `None` for a loss of margins,
    /// ranks or values.
    fn probabilities(&self, logits: Tensor<2>) -> Option<Tensor<2>> {
        let _ = logits;
        None
    }

    /// Whether the largest logit is always the most probable class. Where it is not, the answer is the most probable class.
    fn keeps_order(&self) -> bool {
        true
    }

    /// Checks that the loss can read what a head gives; by default it reads logits and logarithms of probabilities.
    ///
    /// # Errors
    /// If it cannot; the message says why, beginning with a verb whose subject is the loss.
    fn check_scores(&self, scores: Scores) -> Result<(), String> {
        match scores {
            Scores::Logits { .. } | Scores::LogWeights => Ok(()),
            other => Err(format!("reads logits, and the head gives {other}")),
        }
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
    /// [`CeExact`], the map's own sum for another map; a loss that divides by no sum gives softmax's. Not differentiated. `None`
    /// where the loss is composed, on a device without loss kernels or against targets that are not classes;
    /// [`softmax_row_sum`] says it.
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

    /// Checks that the loss takes targets of this kind.
    ///
    /// # Errors
    /// If it does not; the message names the losses that do.
    pub fn check_target(&self, kind: TargetKind) -> Result<(), String> {
        let takes = self.init(&Init::sample()).targets();
        if takes.contains(&kind) {
            return Ok(());
        }
        let others = Self::names_where(|loss| loss.targets().contains(&kind));
        Err(format!("\"{}\" {}; losses that fit: {others}", self.name(), composed::refuse(kind, takes)))
    }

    /// Checks that the loss can read what a head gives.
    ///
    /// # Errors
    /// If it cannot; the message says why and names the losses that can.
    pub fn check_scores(&self, scores: Scores) -> Result<(), String> {
        self.init(&Init::sample()).check_scores(scores).map_err(|reason| {
            let others = Self::names_where(|loss| loss.check_scores(scores).is_ok());
            format!("\"{}\" {reason}; losses that fit: {others}", self.name())
        })
    }

    /// The entry `name` at its default parameters; `None` if it is unknown or needs some.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::load(name, MapDeserializer::<_, Error>::new(std::iter::empty::<(String, String)>())).ok()
    }

    /// Whether the loss reads logits as probabilities; see [`Objective::probabilities`].
    pub fn has_probabilities(&self) -> bool {
        has_probabilities(&self.init(&Init::sample()))
    }

    /// Every entry that reads logits as probabilities at its default parameters.
    pub fn names_with_probabilities() -> String {
        Self::names_where(has_probabilities)
    }

    /// Every entry that, at its default parameters, is of some kind.
    fn names_where(is: impl Fn(&Loss) -> bool) -> String {
        let has = |name: &&str| Self::by_name(name).is_some_and(|config| is(&config.init(&Init::sample())));
        Self::NAMES.iter().copied().filter(has).collect::<Vec<_>>().join(", ")
    }
}

fn has_probabilities(loss: &Loss) -> bool {
    loss.probabilities(Tensor::zeros([1, 2], &Init::sample().device)).is_some()
}

/// Softmax of detached logits, for a loss that reads logits as a softmax does.
fn softmax(logits: Tensor<2>) -> Tensor<2> {
    SoftmaxConfig::default().init(&Init::sample()).rows(logits.detach(), &Keep::All, Heads::ONE, &Ctx::eval(0, 0))
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

/// What `loss` gives back: the loss of every row by this kernel, or composed on a device without loss kernels and against
/// targets that are not classes.
///
/// # Panics
/// If the loss does not take targets of this kind.
fn by_rows(
    loss: &dyn Objective,
    logits: Tensor<2>,
    row_params: Option<Tensor<2>>,
    target: &Target,
    kernel: Arc<dyn LossKernel>,
) -> LossOutput {
    assert!(loss.targets().contains(&target.kind()), "the loss {}", composed::refuse(target.kind(), loss.targets()));
    let Target::Classes(classes) = target else {
        return by_parts(loss.composed(logits.cast(loss.dtype().dtype()), target));
    };
    if !kernel::supports(&logits.device()) {
        return by_parts(composed::rows(loss, logits, classes));
    }
    let (rows, row_sum) = kernel::row_loss(logits, row_params, classes.clone(), &Keep::All, kernel, loss.dtype());
    LossOutput { mean: kernel::row_mean(rows.clone()), rows, row_sum: Some(row_sum) }
}

/// What a composed loss gives back.
fn by_parts(rows: Tensor<1>) -> LossOutput {
    let mean = if kernel::supports(&rows.device()) { kernel::row_mean(rows.clone()) } else { rows.clone().mean() };
    LossOutput { mean, rows, row_sum: None }
}

/// The same with the mean over the rows that have labels, for a loss that says nothing of a row without; 0 without any.
fn of_labelled(rows: Tensor<1>, target: &Target) -> LossOutput {
    let Target::Labels(labels) = target else { return by_parts(rows) };
    let without = labels.clone().cast(rows.dtype()).sum_dim(1).equal_elem(0.0).squeeze_dim::<1>(1);
    let rows = rows.mask_fill(without.clone(), 0.0);
    let count = rows.clone().detach().ones_like().mask_fill(without, 0.0).sum().clamp_min(1.0);
    LossOutput { mean: rows.clone().sum() / count, rows, row_sum: None }
}
