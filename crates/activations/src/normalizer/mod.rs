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

use burn::tensor::{Bool, Tensor};
use kiln_registry::{Tagged, registry};
use serde::de::value::{Error, MapDeserializer};

use crate::{
    Ctx, Init,
    kernel::{self, LossKernel, RowKernel},
    loss::SumOrder,
};

pub(crate) mod composed;
mod laws;
mod softmax;
mod stablemax;

#[cfg(test)]
mod golden_tests;
#[cfg(test)]
mod law_tests;

pub use crate::kernel::Keep;
pub use laws::{Gradient, Laws};
pub use softmax::{LogSoftmaxRow, Softmax, SoftmaxConfig, SoftmaxNll, SoftmaxRow};
pub use stablemax::{LogStableMaxRow, StableMax, StableMaxConfig, StableMaxForm, StableMaxNll, StableMaxRow};

registry! {
    /// A map of scores to weights, by name.
    config NormalizerConfig("normalizer");
    module Normalizer: dyn Normalize, init(&Init);
    "softmax" => Softmax(SoftmaxConfig),
    "stablemax" => StableMax(StableMaxConfig),
}

/// The contract of a map.
///
/// A map supplies its laws, its row kernels and its composed form; what follows from them is provided.
pub trait Normalize: Debug + Send + Sync {
    /// What the map promises at its parameters.
    fn laws(&self) -> Laws;

    /// The map's row maths.
    fn kernel(&self) -> Arc<dyn RowKernel>;

    /// The row maths of the logarithm of the weights, computed without taking the logarithm of a weight; `None` for
    /// a map without a log form.
    fn log_kernel(&self) -> Option<Arc<dyn RowKernel>> {
        None
    }

    /// The row maths of −ln of one weight, with sums in the given order; `None` for a map without a log form.
    fn nll(&self, sum: SumOrder) -> Option<Arc<dyn LossKernel>> {
        let _ = sum;
        None
    }

    /// The parameters of each row (`[rows, P]`, in the dtype of the scores), for a kernel that takes some.
    fn row_params(&self, scores: &Tensor<2>, keep: &Keep) -> Option<Tensor<2>> {
        let _ = (scores, keep);
        None
    }

    /// The map in tensor operations: for devices without the kernels, and as the independent check of their
    /// gradients. Scores that are kept are finite or −∞.
    fn composed(&self, scores: Tensor<2>, keep: &Keep) -> Tensor<2>;

    /// The logarithm of [`Normalize::composed`], for a map with a log form.
    fn composed_log(&self, scores: Tensor<2>, keep: &Keep) -> Option<Tensor<2>> {
        let _ = (scores, keep);
        None
    }

    /// Whether the map has a log form, so that a loss can be built on it.
    fn has_log_form(&self) -> bool {
        self.log_kernel().is_some()
    }

    /// Weights of each row: `[rows, n]` to `[rows, n]`.
    fn rows(&self, scores: Tensor<2>, keep: &Keep, ctx: &Ctx) -> Tensor<2> {
        let _ = ctx;
        let map = self.kernel();
        if kernel::runs(&*map, &scores.device()) {
            let params = self.row_params(&scores, keep);
            kernel::row_map(scores, params, keep, map)
        } else {
            self.composed(scores, keep)
        }
    }

    /// Logarithms of the weights: `[rows, n]` to `[rows, n]`, −∞ at removed entries; `None` for a map without a log
    /// form.
    fn log_rows(&self, scores: Tensor<2>, keep: &Keep, ctx: &Ctx) -> Option<Tensor<2>> {
        let _ = ctx;
        let map = self.log_kernel()?;
        if kernel::runs(&*map, &scores.device()) {
            let params = self.row_params(&scores, keep);
            Some(kernel::row_map(scores, params, keep, map))
        } else {
            self.composed_log(scores, keep)
        }
    }
}

impl Normalizer {
    /// Weights over axis `dim` of scores of any rank.
    ///
    /// # Shapes
    /// - `scores` and the result: `[.., n, ..]`, normalized over `dim`; negative `dim` counts from the end
    /// - `mask`: `true` = keep; each axis as in `scores` or 1
    ///
    /// # Panics
    /// If `dim` is out of range or the mask does not fit.
    pub fn weights<const D: usize>(
        &self,
        scores: Tensor<D>,
        dim: isize,
        mask: Option<Tensor<D, Bool>>,
        ctx: &Ctx,
    ) -> Tensor<D> {
        along(scores, dim, mask, |rows, keep| self.rows(rows, keep, ctx))
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
            along(scores, dim, mask, |rows, keep| {
                self.log_rows(rows, keep, ctx).expect("a map with a log form computes it")
            })
        })
    }
}

/// Applies a row operation along one axis of a tensor of any rank.
fn along<const D: usize>(
    scores: Tensor<D>,
    dim: isize,
    mask: Option<Tensor<D, Bool>>,
    op: impl FnOnce(Tensor<2>, &Keep) -> Tensor<2>,
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
    op(scores.reshape([rows, n]), &keep).reshape(shape).swap_dims(axis, last)
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
