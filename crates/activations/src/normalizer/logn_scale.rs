//! Softmax of scores scaled by the logarithm of the row's length.
use std::sync::Arc;

use burn::{module::Module, tensor::Tensor};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Laws, Normalize, Rows, Softmax,
    scaled::{self, LogLengthScale, LogScaledSoftmaxRow, ScaledSoftmaxNll, ScaledSoftmaxRow},
};
use crate::{
    Ctx, Init,
    kernel::{LossKernel, Real, RowKernel},
    loss::SumOrder,
};

/// Parameters of [`LognScale`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LognScaleConfig {
    /// The length at which the scale is 1, at least 2: the longest row of the training data. 512 is the length at which
    /// this scale is customary.
    #[serde(deserialize_with = "range::at_least_two")]
    #[schemars(range(min = 2))]
    pub n_train: usize,
    /// Whether shorter rows are left alone, so that only those beyond the training length are sharpened.
    pub clamp: bool,
}

impl Default for LognScaleConfig {
    /// Sharper beyond 512 entries.
    fn default() -> Self {
        Self { n_train: 512, clamp: true }
    }
}

impl Entry for LognScaleConfig {
    const SUMMARY: &'static str = "softmax of scores times ln n / ln n_train, for rows longer than in training";
    const PAPER: &'static str =
        "Chiang et al. 2022, Overcoming a Theoretical Limitation of Self-Attention, arXiv:2202.12172";
}

impl LognScaleConfig {
    /// The map.
    pub fn init(&self, _: &Init) -> LognScale {
        LognScale { n_train: self.n_train, clamp: self.clamp }
    }
}

/// Softmax of scores scaled by the logarithm of the row's length, without anything to learn ([`Ssmax`](super::Ssmax)
/// learns the scale).
/// ```text
/// y = softmax(c x),   c = max(1, ln n / ln n_train) or, without the clamp, ln n / ln n_train
/// dx = c y (g − ⟨y, g⟩)
/// ```
/// n is the number of kept entries. To leave one entry that stands out by a fixed gap with the same weight among n − 1
/// others, scores have to grow like ln n.
///
/// # Numerics
/// A score of +∞ takes all the weight; several share it evenly.
/// # References
/// Chiang and Cholak 2022, arXiv:2202.12172, who multiply by ln n alone.
#[derive(Module, Debug)]
pub struct LognScale {
    /// The length at which the scale is 1.
    #[module(skip)]
    pub n_train: usize,
    /// Whether the scale is at least 1.
    #[module(skip)]
    pub clamp: bool,
}

impl Normalize for LognScale {
    fn laws(&self) -> Laws {
        Laws { needs_n: true, ..Laws::SOFTMAX }
    }

    fn kernel(&self, _: &Ctx) -> Arc<dyn RowKernel> {
        Arc::new(ScaledSoftmaxRow(self.scale()))
    }

    fn log_kernel(&self, _: &Ctx) -> Option<Arc<dyn RowKernel>> {
        Some(Arc::new(LogScaledSoftmaxRow(self.scale())))
    }

    fn nll(&self, sum: SumOrder) -> Option<Arc<dyn LossKernel>> {
        Some(Arc::new(ScaledSoftmaxNll { scale: self.scale(), sum }))
    }

    fn composed(&self, rows: &Rows<'_>, ctx: &Ctx) -> Tensor<2> {
        Softmax::default().composed(&self.scaled(rows), ctx)
    }

    fn composed_log(&self, rows: &Rows<'_>, ctx: &Ctx) -> Option<Tensor<2>> {
        Softmax::default().composed_log(&self.scaled(rows), ctx)
    }
}

impl LognScale {
    fn scale(&self) -> LogLengthScale<0> {
        let floor = if self.clamp { 1.0 } else { f64::NEG_INFINITY };
        LogLengthScale { s: 1.0 / (self.n_train as f64).ln_exact(), b: 0.0, floor }
    }

    fn scaled<'a>(&self, rows: &Rows<'a>) -> Rows<'a> {
        let scale = rows.log_count().div_scalar((self.n_train as f64).ln_exact());
        scaled::rows(rows, if self.clamp { scale.clamp_min(1.0) } else { scale })
    }
}
