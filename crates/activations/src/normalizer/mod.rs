//! Maps of a row of scores to a row of weights.
//!
//! A map is an entry of the registry below: one file with its parameters, its row maths for the kernel and
//! its composed form. What holds for all of them:
//!
//! - A removed (masked) entry gets weight 0 and gradient 0, as if it were not there; so does a score of
//!   −∞. A row without kept entries gives zeros.
//! - A NaN makes its row NaN. A score of +∞ takes all the weight where that is the map's limit (several
//!   share it evenly), otherwise its row is NaN; each map says which.
//! - Weights are stored in the dtype of the scores; half types are computed in `f32`.
use std::{fmt::Debug, sync::Arc};

use burn::tensor::{Bool, Int, Tensor};
use kiln_registry::{Tagged, registry};
use serde::de::value::{Error, MapDeserializer};

use crate::{
    Ctx, Init,
    kernel::{self, LossKernel, RowKernel},
    loss::SumOrder,
};

mod adaptive_temperature;
mod after_softmax;
mod bivit_binarize;
mod clipped_softmax;
pub(crate) mod composed;
mod dynamic_conv_norm;
mod entmax;
mod gumbel_softmax;
mod laws;
mod log_sqrt2_quant;
mod logn_scale;
mod lssa;
mod lssar;
mod masked_softmax;
mod nap;
mod possibilistic;
mod ratio;
mod relu_attention;
mod rows;
mod sa_softmax;
mod scaled;
mod series;
mod settled;
mod sigmoid;
mod soft_topk;
mod softmax;
mod softmax1;
mod softmax_bias_correction;
mod softpick;
mod sparse_softmax;
mod sparsemax;
mod spherical_softmax;
mod ssmax;
mod stablemax;
mod standardise;
mod taylor_softmax;
mod temperature;
mod threshold;

#[cfg(test)]
mod tests;

pub use crate::kernel::Keep;
pub use adaptive_temperature::{AdaptiveTemperature, AdaptiveTemperatureConfig, AdaptiveTemperatureRow, Extrapolate};
pub use bivit_binarize::{BinarizeGradient, BinarizeRow, BivitBinarize, BivitBinarizeConfig};
pub use clipped_softmax::{ClippedSoftmax, ClippedSoftmaxConfig, ClippedSoftmaxRow, Gamma, PerLength};
pub(crate) use composed::root;
pub use dynamic_conv_norm::{ConvNormOrder, DynamicConvNorm, DynamicConvNormConfig, LayerNormRow, ReluMeanRow};
pub use entmax::{Entmax, EntmaxConfig, EntmaxLoss, EntmaxRow};
pub use gumbel_softmax::{GumbelSoftmax, GumbelSoftmaxConfig, HardSoftmaxRow, gumbel_noise};
pub use laws::{Gradient, Laws};
pub use log_sqrt2_quant::{LogBase, LogQuantRow, LogSqrt2Quant, LogSqrt2QuantConfig, log_quant_delta, log_quantised};
pub use logn_scale::{LognScale, LognScaleConfig};
pub use lssa::{LengthScaledSoftplus, Lssa, LssaConfig, LssaRow};
pub use lssar::{Lssar, LssarConfig, LssarRow};
pub use masked_softmax::{MaskedSoftmax, MaskedSoftmaxConfig};
pub use nap::{Nap, NapConfig, NapRow};
pub use possibilistic::{Possibilistic, PossibilisticConfig, PossibilityRow, PossibilityTie, PossibilityTransform};
pub use ratio::{Growth, LogRatioRow, RatioNll, RatioRow};
pub use relu_attention::{ReluAttention, ReluAttentionConfig, ReluAttentionRow, ReluScale, relu_attention_regularizer};
pub use rows::{Heads, Rows};
pub use sa_softmax::{SaSoftmax, SaSoftmaxConfig, SaSoftmaxNormRow, SaSoftmaxVariant, SaSoftmaxXRow};
pub use scaled::{LogLengthScale, LogScaledSoftmaxRow, RowScale, ScaledSoftmaxNll, ScaledSoftmaxRow};
pub use sigmoid::{CountMode, Sigmoid, SigmoidBias, SigmoidConfig, SigmoidRow};
pub use soft_topk::{LogSoftTopkRow, SoftTopk, SoftTopkConfig, SoftTopkNll, SoftTopkRow};
pub use softmax::{
    LogSoftmaxRow, OnlineSoftmaxRow, Softmax, SoftmaxAlgorithm, SoftmaxConfig, SoftmaxNll, SoftmaxRow,
    TwoPassSoftmaxRow, UnifiedMaxSoftmaxRow,
};
pub use softmax_bias_correction::{SoftmaxBiasCorrection, SoftmaxBiasCorrectionConfig, UniformQuantRow, softmax_bias};
pub use softmax1::{Softmax1, Softmax1Config, Softmax1Row};
pub use softpick::{Softpick, SoftpickConfig, SoftpickRow};
pub use sparse_softmax::{SparseSoftmax, SparseSoftmaxConfig, SparseSoftmaxLoss, SparseSoftmaxRow};
pub use sparsemax::{Sparsemax, SparsemaxConfig, SparsemaxLoss, SparsemaxRow};
pub use spherical_softmax::{SphericalSoftmax, SphericalSoftmaxConfig, SquareGrowth};
pub use ssmax::{Ssmax, SsmaxConfig};
pub use stablemax::{LogStableMaxRow, StableMax, StableMaxConfig, StableMaxForm, StableMaxNll, StableMaxRow};
pub use standardise::GainBias;
pub use taylor_softmax::{TaylorGrowth, TaylorSoftmax, TaylorSoftmaxConfig};
pub use temperature::{Temperature, TemperatureConfig, TemperatureScale};

registry! {
    /// A map of scores to weights, by name.
    config NormalizerConfig("normalizer");
    module Normalizer: dyn Normalize, init(&Init);
    "softmax" => Softmax(SoftmaxConfig),
    "stablemax" => StableMax(StableMaxConfig),
    "sparsemax" => Sparsemax(SparsemaxConfig),
    "entmax" => Entmax(EntmaxConfig),
    "sparse_softmax" => SparseSoftmax(SparseSoftmaxConfig),
    "soft_topk" => SoftTopk(SoftTopkConfig),
    "bivit_binarize" => BivitBinarize(BivitBinarizeConfig),
    "clipped_softmax" => ClippedSoftmax(ClippedSoftmaxConfig),
    "dynamic_conv_norm" => DynamicConvNorm(DynamicConvNormConfig),
    "gumbel_softmax" => GumbelSoftmax(GumbelSoftmaxConfig),
    "log_sqrt2_quant" => LogSqrt2Quant(LogSqrt2QuantConfig),
    "lssa" => Lssa(LssaConfig),
    "lssar" => Lssar(LssarConfig),
    "masked_softmax" => MaskedSoftmax(MaskedSoftmaxConfig),
    "nap" => Nap(NapConfig),
    "possibilistic" => Possibilistic(PossibilisticConfig),
    "softmax_bias_correction" => SoftmaxBiasCorrection(SoftmaxBiasCorrectionConfig),
    "adaptive_temperature" => AdaptiveTemperature(AdaptiveTemperatureConfig),
    "logn_scale" => LognScale(LognScaleConfig),
    "relu_attention" => ReluAttention(ReluAttentionConfig),
    "sa_softmax" => SaSoftmax(SaSoftmaxConfig),
    "sigmoid" => Sigmoid(SigmoidConfig),
    "softmax1" => Softmax1(Softmax1Config),
    "softpick" => Softpick(SoftpickConfig),
    "spherical_softmax" => SphericalSoftmax(SphericalSoftmaxConfig),
    "ssmax" => Ssmax(SsmaxConfig),
    "taylor_softmax" => TaylorSoftmax(TaylorSoftmaxConfig),
    "temperature" => Temperature(TemperatureConfig),
}

/// The contract of a map.
///
/// A map supplies its laws, its row kernels and its composed form; what follows from them is provided.
pub trait Normalize: Debug + Send + Sync {
    /// What the map promises at its parameters.
    fn laws(&self) -> Laws;

    /// The map's row maths.
    fn kernel(&self, ctx: &Ctx) -> Arc<dyn RowKernel>;

    /// The row maths of the logarithm of the weights, computed without taking the logarithm of a weight; `None` for
    /// a map without a log form.
    fn log_kernel(&self, ctx: &Ctx) -> Option<Arc<dyn RowKernel>> {
        let _ = ctx;
        None
    }

    /// The row maths of −ln of one weight, with sums in the given order; `None` for a map without a log form.
    fn nll(&self, sum: SumOrder) -> Option<Arc<dyn LossKernel>> {
        let _ = sum;
        None
    }

    /// The row maths of the Fenchel-Young loss that belongs to the map, whose gradient is the weights minus the target's
    /// one-hot row; `None` for a map that is not the maximiser of an entropy.
    fn fenchel_young(&self, sum: SumOrder) -> Option<Arc<dyn LossKernel>> {
        let _ = sum;
        None
    }

    /// The parameters of each row (`[rows, P]`, in the dtype of the scores), for a kernel that takes some. A constant
    /// belongs into the kernel itself; what is learned, or differs between heads, comes from here.
    fn row_params(&self, scores: &Tensor<2>, heads: Heads) -> Option<Tensor<2>> {
        let _ = (scores, heads);
        None
    }

    /// What is added to the scores before the map sees them, for a stochastic one: noise from `ctx`.
    fn perturb(&self, scores: Tensor<2>, ctx: &Ctx) -> Tensor<2> {
        let _ = ctx;
        scores
    }

    /// The map in tensor operations: for devices without the kernels, and as the independent check of their
    /// gradients. Scores that are kept are finite or −∞. Where the backward pass is not the derivative of the forward
    /// pass, the same holds here by way of detached tensors.
    fn composed(&self, rows: &Rows<'_>, ctx: &Ctx) -> Tensor<2>;

    /// The logarithm of [`Normalize::composed`], for a map with a log form.
    fn composed_log(&self, rows: &Rows<'_>, ctx: &Ctx) -> Option<Tensor<2>> {
        let _ = (rows, ctx);
        None
    }

    /// −ln of the weight of each row's class (`[rows]`), for a map with a log form: [`Normalize::nll`] in tensor operations.
    /// A map whose loss kernel does not subtract logarithms says so here too.
    fn composed_nll(&self, rows: &Rows<'_>, classes: &Tensor<1, Int>, ctx: &Ctx) -> Option<Tensor<1>> {
        Some(composed::at_class(self.composed_log(rows, ctx)?, classes).neg())
    }

    /// The entropy `H(y)` of each row of weights (`[rows, 1]`) that the map maximises ⟨y, x⟩ + H(y) with, in tensor
    /// operations: the independent check of [`Normalize::fenchel_young`], and `None` where that is. `rows` are the scores
    /// the weights come from.
    fn entropy(&self, weights: Tensor<2>, rows: &Rows<'_>) -> Option<Tensor<2>> {
        let _ = (weights, rows);
        None
    }

    /// Whether a loss can be built on the map: whether it has the logarithm of a weight.
    fn has_log_form(&self) -> bool {
        self.nll(SumOrder::Lanes).is_some()
    }

    /// Weights of each row: `[rows, n]` to `[rows, n]`.
    fn rows(&self, scores: Tensor<2>, keep: &Keep, heads: Heads, ctx: &Ctx) -> Tensor<2> {
        let (scores, params) = self.prepared(scores, heads, ctx);
        let map = self.kernel(ctx);
        if kernel::runs(&*map, &scores.device()) {
            kernel::row_map(scores, params, keep, map)
        } else {
            settled::composed(Rows { scores, params, keep }, &*map, |rows| self.composed(rows, ctx))
        }
    }

    /// Logarithms of the weights: `[rows, n]` to `[rows, n]`, −∞ at removed entries; `None` for a map without a log
    /// form.
    fn log_rows(&self, scores: Tensor<2>, keep: &Keep, heads: Heads, ctx: &Ctx) -> Option<Tensor<2>> {
        let (scores, params) = self.prepared(scores, heads, ctx);
        let map = self.log_kernel(ctx)?;
        Some(if kernel::runs(&*map, &scores.device()) {
            kernel::row_map(scores, params, keep, map)
        } else {
            settled::composed(Rows { scores, params, keep }, &*map, |rows| {
                self.composed_log(rows, ctx).expect("a map with a log kernel has a composed log form")
            })
        })
    }

    /// What the kernel starts from: the perturbed scores and their parameters.
    fn prepared(&self, scores: Tensor<2>, heads: Heads, ctx: &Ctx) -> (Tensor<2>, Option<Tensor<2>>) {
        let scores = self.perturb(scores, ctx);
        let params = self.row_params(&scores, heads);
        (scores, params)
    }
}

impl Normalizer {
    /// Weights over axis `dim` of scores of any rank.
    ///
    /// # Shapes
    /// - `scores` and the result: `[.., n, ..]`, normalized over `dim`; negative `dim` counts from the end
    /// - `mask`: `true` = keep; each axis as in `scores` or 1
    ///
    /// Parameters per head belong to the axis two before the last, `[.., heads, queries, keys]`, once `dim` was swapped
    /// with the last axis.
    ///
    /// # Panics
    /// If `dim` is out of range, the mask does not fit or the heads are not those the map was built for.
    pub fn weights<const D: usize>(
        &self,
        scores: Tensor<D>,
        dim: isize,
        mask: Option<Tensor<D, Bool>>,
        ctx: &Ctx,
    ) -> Tensor<D> {
        along(scores, dim, mask, |rows, keep, heads| self.rows(rows, keep, heads, ctx))
    }

    /// Weights over the last axis of scores of any rank, with what takes part given for the rows `[.., n]` is cut into.
    ///
    /// # Panics
    /// If `keep` does not fit the rows or the heads are not those the map was built for.
    pub fn kept_weights<const D: usize>(&self, scores: Tensor<D>, keep: &Keep, ctx: &Ctx) -> Tensor<D> {
        let shape = scores.dims();
        let (n, rows) = (shape[D - 1], shape[..D - 1].iter().product());
        self.rows(scores.reshape([rows, n]), keep, Heads::of(&shape[..D - 1]), ctx).reshape(shape)
    }

    /// Logarithms of [`Normalizer::weights`], computed without taking the logarithm of a weight; −∞ at
    /// removed entries. `None` for a map without a log form.
    ///
    /// # Panics
    /// If `dim` is out of range or the mask does not fit.
    pub fn log_weights<const D: usize>(
        &self,
        scores: Tensor<D>,
        dim: isize,
        mask: Option<Tensor<D, Bool>>,
        ctx: &Ctx,
    ) -> Option<Tensor<D>> {
        self.has_log_form().then(|| {
            along(scores, dim, mask, |rows, keep, heads| {
                self.log_rows(rows, keep, heads, ctx).expect("a map with a log form computes it")
            })
        })
    }
}

/// Applies a row operation along one axis of a tensor of any rank.
fn along<const D: usize>(
    scores: Tensor<D>,
    dim: isize,
    mask: Option<Tensor<D, Bool>>,
    op: impl FnOnce(Tensor<2>, &Keep, Heads) -> Tensor<2>,
) -> Tensor<D> {
    let axis = if dim < 0 { dim + D as isize } else { dim };
    assert!((0..D as isize).contains(&axis), "axis {dim} is out of range for scores of rank {D}");
    let (axis, last) = (axis as usize, D - 1);
    let scores = scores.swap_dims(axis, last);
    let shape = scores.dims();
    let n = shape[last];
    let rows = shape[..last].iter().product();
    let keep = match mask {
        None => Keep::All,
        Some(mask) => {
            let mask = mask.swap_dims(axis, last);
            let fits = mask.dims().iter().zip(&shape).all(|(m, s)| m == s || *m == 1);
            assert!(fits, "a mask of shape {:?} does not fit scores of shape {shape:?} (axis {dim} last)", mask.dims());
            Keep::Mask(mask.expand(shape).reshape([rows, n]))
        }
    };
    op(scores.reshape([rows, n]), &keep, Heads::of(&shape[..last])).reshape(shape).swap_dims(axis, last)
}

impl Default for NormalizerConfig {
    /// Softmax.
    fn default() -> Self {
        Self::Softmax(SoftmaxConfig::default())
    }
}

impl NormalizerConfig {
    /// The laws of the map this config names.
    pub fn laws(&self) -> Laws {
        self.sample().laws()
    }

    /// Whether the map this config names has a log form, so that a loss can be built on it.
    pub fn has_log_form(&self) -> bool {
        self.sample().has_log_form()
    }

    /// The entry `name` at its default parameters; `None` if it is unknown or needs some.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::load(name, MapDeserializer::<_, Error>::new(std::iter::empty::<(String, String)>())).ok()
    }

    /// Every entry that has a log form at its default parameters.
    pub fn names_with_log_form() -> Vec<&'static str> {
        let has = |name: &&str| Self::by_name(name).is_some_and(|config| config.has_log_form());
        Self::NAMES.iter().copied().filter(has).collect()
    }

    /// The map itself, built only to be asked about its laws, so that they stand in one place.
    fn sample(&self) -> Normalizer {
        self.init(&Init::sample())
    }
}
