//! Scalable softmax.
use std::sync::Arc;

use burn::{
    module::{Module, Param},
    tensor::Tensor,
};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Heads, Laws, Normalize, Rows, Softmax,
    scaled::{self, LogLengthScale, LogScaledSoftmaxRow, ScaledSoftmaxNll, ScaledSoftmaxRow},
};
use crate::{
    Ctx, Init,
    kernel::{LossKernel, RowKernel},
    loss::SumOrder,
};

/// Parameters of [`Ssmax`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SsmaxConfig {
    /// The slope s, above 0; where it starts if it is learned. 0.43 is the value of the paper's illustration and of its
    /// fit to a trained model.
    #[serde(deserialize_with = "range::positive")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub s: f64,
    /// The offset b, at least 0; where it starts if it is learned. 0 as in the paper, which finds that b helps the
    /// training loss and hurts longer contexts.
    #[serde(deserialize_with = "range::non_negative")]
    #[schemars(range(min = 0.0))]
    pub b: f64,
    /// Whether s is learned, one per head, as in the paper.
    pub learn_s: bool,
    /// Whether b is learned, one per head.
    pub learn_b: bool,
}

impl Default for SsmaxConfig {
    /// The paper's: a learned s from 0.43, no b.
    fn default() -> Self {
        Self { s: 0.43, b: 0.0, learn_s: true, learn_b: false }
    }
}

impl Entry for SsmaxConfig {
    const SUMMARY: &'static str = "softmax that sharpens with the logarithm of the row's length";
    const PAPER: &'static str = "Nakanishi 2025, Scalable-Softmax Is Superior for Attention, arXiv:2501.19399";
}

impl SsmaxConfig {
    /// The map.
    pub fn init(&self, init: &Init) -> Ssmax {
        let param = |learn: bool, value| learn.then(|| init.constant([init.heads], value));
        let (learned_s, learned_b) = (param(self.learn_s, self.s), param(self.learn_b, self.b));
        Ssmax { s: self.s, b: self.b, learned_s, learned_b }
    }
}

/// Scalable softmax: a softmax whose largest weight does not fade as the row grows.
/// ```text
/// y = softmax((s ln n + b) x),   n = number of kept entries
/// c = s ln n + b,   t = y (g − ⟨y, g⟩),   dx = c t,   ds = ln n ⟨t, x⟩,   db = ⟨t, x⟩
/// ```
/// With b = 0 it is n^(s x_i) / Σ_j n^(s x_j). A row of one entry has c = b and weight 1.
///
/// The laws are those at s > 0; training may carry s below 0, where the smallest score gets the largest weight.
///
/// # Numerics
/// A score of +∞ takes all the weight if s and b are fixed. If one of them is learned the row is NaN: whether it takes
/// all or nothing depends on a sign that training may change.
/// # References
/// Nakanishi 2025, arXiv:2501.19399. The paper does not say where s starts.
#[derive(Module, Debug)]
pub struct Ssmax {
    /// The fixed s, or where the learned one started.
    #[module(skip)]
    pub s: f64,
    /// The fixed b, or where the learned one started.
    #[module(skip)]
    pub b: f64,
    /// s, if learned: `[heads]`.
    pub learned_s: Option<Param<Tensor<1>>>,
    /// b, if learned: `[heads]`.
    pub learned_b: Option<Param<Tensor<1>>>,
}

impl Normalize for Ssmax {
    fn laws(&self) -> Laws {
        Laws { needs_n: true, ..Laws::SOFTMAX }
    }

    fn kernel(&self, _: &Ctx) -> Arc<dyn RowKernel> {
        if self.learns() {
            Arc::new(ScaledSoftmaxRow(self.scale::<2>()))
        } else {
            Arc::new(ScaledSoftmaxRow(self.scale::<0>()))
        }
    }

    fn log_kernel(&self, _: &Ctx) -> Option<Arc<dyn RowKernel>> {
        Some(if self.learns() {
            Arc::new(LogScaledSoftmaxRow(self.scale::<2>()))
        } else {
            Arc::new(LogScaledSoftmaxRow(self.scale::<0>()))
        })
    }

    fn nll(&self, sum: SumOrder) -> Option<Arc<dyn LossKernel>> {
        Some(if self.learns() {
            Arc::new(ScaledSoftmaxNll { scale: self.scale::<2>(), sum })
        } else {
            Arc::new(ScaledSoftmaxNll { scale: self.scale::<0>(), sum })
        })
    }

    fn row_params(&self, scores: &Tensor<2>, heads: Heads) -> Option<Tensor<2>> {
        let column = |learned: &Option<Param<Tensor<1>>>, fixed: f64| match learned {
            Some(param) => heads.column(param.val(), scores),
            None => Tensor::full([scores.dims()[0], 1], fixed, (&scores.device(), scores.dtype())),
        };
        self.learns().then(|| Tensor::cat(vec![column(&self.learned_s, self.s), column(&self.learned_b, self.b)], 1))
    }

    fn composed(&self, rows: &Rows<'_>, ctx: &Ctx) -> Tensor<2> {
        Softmax::default().composed(&self.scaled(rows), ctx)
    }

    fn composed_log(&self, rows: &Rows<'_>, ctx: &Ctx) -> Option<Tensor<2>> {
        Softmax::default().composed_log(&self.scaled(rows), ctx)
    }
}

impl Ssmax {
    fn learns(&self) -> bool {
        self.learned_s.is_some() || self.learned_b.is_some()
    }

    fn scale<const P: usize>(&self) -> LogLengthScale<P> {
        LogLengthScale { s: self.s, b: self.b, floor: f64::NEG_INFINITY }
    }

    fn scaled<'a>(&self, rows: &Rows<'a>) -> Rows<'a> {
        let log_n = rows.log_count();
        let scale = if self.learns() {
            log_n * rows.param(0) + rows.param(1)
        } else {
            log_n.mul_scalar(self.s).add_scalar(self.b)
        };
        scaled::rows(rows, scale)
    }
}
