//! Attention weights by the normalization and activation of a convolution network.
use std::sync::Arc;

use burn::{
    module::Module,
    tensor::{Tensor, activation::relu},
};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Heads, Laws, Normalize, Rows, composed,
    standardise::{GainBias, centred},
};
use crate::{
    Ctx, Init,
    kernel::{Real, RowKernel, RowMap, VjpRow, lanes},
};

/// Parameters of [`DynamicConvNorm`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DynamicConvNormConfig {
    /// What follows what.
    pub order: ConvNormOrder,
    /// What the normalized scores are multiplied by; 1 at first. Not used by `order = "relu"`.
    #[serde(deserialize_with = "range::finite")]
    pub gain: f64,
    /// What is added after that; 0 at first. Not used by `order = "relu"`.
    #[serde(deserialize_with = "range::finite")]
    pub bias: f64,
    /// Added to the variance; 1e-5 as in layer normalization. Not used by `order = "relu"`.
    #[serde(deserialize_with = "range::positive")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub eps: f64,
    /// Whether the normalized weights are multiplied by 1/√n, which keeps the variance of a sum of n independent
    /// values the same at every length. Not used by `order = "relu"`, which divides by n.
    pub out_scale: bool,
    /// Whether gain and bias are learned, a pair per head, as in a network's normalization layers.
    pub learn: bool,
}

impl Default for DynamicConvNormConfig {
    fn default() -> Self {
        Self { order: ConvNormOrder::NormRelu, gain: 1.0, bias: 0.0, eps: 1e-5, out_scale: true, learn: true }
    }
}

/// The order of normalization and activation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConvNormOrder {
    /// Layer normalization, then ReLU.
    #[default]
    NormRelu,
    /// ReLU, then layer normalization.
    ReluNorm,
    /// ReLU over n.
    Relu,
}

impl Entry for DynamicConvNormConfig {
    const SUMMARY: &'static str = "layer normalization and ReLU over the scores of a row, in either order";
    const PAPER: &'static str =
        "Zhou et al. 2023, Interpret Vision Transformers as ConvNets with Dynamic Convolutions, arXiv:2309.10713";
}

impl DynamicConvNormConfig {
    /// The map.
    pub fn init(&self, init: &Init) -> DynamicConvNorm {
        let learn = self.learn && self.order != ConvNormOrder::Relu;
        DynamicConvNorm { learned: learn.then(|| GainBias::new(self.gain, self.bias, init)), config: self.clone() }
    }
}

/// The activation between the two convolutions that an attention layer can be read as.
/// ```text
/// norm_relu:  y = s [gain LN(x) + bias]₊
/// relu_norm:  y = s (gain LN([x]₊) + bias)
/// relu:       y = [x]₊ / n
/// LN(x) = (x − mean x) / √(var x + eps),   s = 1/√n or 1
/// ```
/// Only `norm_relu` is shift invariant; the weights of `relu_norm` are signed.
///
/// # Numerics
/// A score of +∞ makes its row NaN. A row of one entry gives `s [bias]₊` or `s bias`.
/// # References
/// Zhou et al. 2023, arXiv:2309.10713. The paper leaves the order open; the factor s is an addition.
#[derive(Module, Debug)]
pub struct DynamicConvNorm {
    /// Gain and bias, if they are learned.
    pub learned: Option<GainBias>,
    #[module(skip)]
    config: DynamicConvNormConfig,
}

impl DynamicConvNorm {
    fn layer_norm_row<const P: usize>(&self, relu_first: bool) -> LayerNormRow<P> {
        let DynamicConvNormConfig { gain, bias, eps, out_scale, .. } = self.config;
        LayerNormRow { relu_first, gain, bias, eps, out_scale }
    }
}

impl Normalize for DynamicConvNorm {
    fn laws(&self) -> Laws {
        let DynamicConvNormConfig { order, gain, bias, .. } = self.config;
        let learned = self.learned.is_some();
        let relu_last = order != ConvNormOrder::ReluNorm;
        Laws {
            sums_to_one: false,
            non_negative: relu_last,
            shift_invariant: order == ConvNormOrder::NormRelu,
            // A learned gain can become negative.
            order_preserving: order == ConvNormOrder::Relu || (gain >= 0.0 && !learned),
            can_be_zero: true,
            // The normalized scores of a row sum to 0, so that some weight exceeds a positive bias.
            row_can_be_zero: match order {
                ConvNormOrder::NormRelu => bias <= 0.0 || learned,
                ConvNormOrder::ReluNorm => bias == 0.0 || learned,
                ConvNormOrder::Relu => true,
            },
            needs_n: true,
            ..Laws::SOFTMAX
        }
    }

    fn kernel(&self, _: &Ctx) -> Arc<dyn RowKernel> {
        let relu_first = match self.config.order {
            ConvNormOrder::Relu => return Arc::new(ReluMeanRow),
            order => order == ConvNormOrder::ReluNorm,
        };
        match self.learned {
            None => Arc::new(self.layer_norm_row::<0>(relu_first)),
            Some(_) => Arc::new(self.layer_norm_row::<2>(relu_first)),
        }
    }

    fn row_params(&self, scores: &Tensor<2>, heads: Heads) -> Option<Tensor<2>> {
        self.learned.as_ref().map(|learned| learned.columns(scores, heads))
    }

    fn composed(&self, rows: &Rows<'_>, _: &Ctx) -> Tensor<2> {
        let DynamicConvNormConfig { order, gain, bias, eps, out_scale, .. } = self.config;
        let (removed, count) = (rows.removed(), rows.count().clamp_min(1.0));
        let x = composed::fill(rows.scores.clone(), removed.clone(), 0.0);
        let x = if order == ConvNormOrder::NormRelu { x } else { relu(x) };
        if order == ConvNormOrder::Relu {
            return x / count;
        }
        let (centred, variance) = centred(x, removed.clone(), count.clone());
        let normal = centred / variance.add_scalar(eps).sqrt();
        let y = match self.learned {
            None => normal * gain + bias,
            Some(_) => normal * rows.param(0) + rows.param(1),
        };
        let y = if order == ConvNormOrder::NormRelu { relu(y) } else { y };
        composed::fill(if out_scale { y / count.sqrt() } else { y }, removed, 0.0)
    }
}

/// `y = [x]₊ / n;  dx = g/n where x > 0`.
#[derive(Clone, Copy, Debug)]
pub struct ReluMeanRow;

impl RowMap for ReluMeanRow {
    #[inline(always)]
    fn forward<T: Real>(&self, x: &[T], _: &[T], y: &mut [T]) {
        let share = T::one() / T::of(x.len() as f64);
        for (y, &x) in y.iter_mut().zip(x) {
            *y = positive(x) * share;
        }
    }

    #[inline(always)]
    fn vjp<T: Real>(&self, row: VjpRow<'_, T>, dx: &mut [T], _: &mut [T]) {
        let share = T::one() / T::of(row.x.len() as f64);
        for ((dx, &x), &g) in dx.iter_mut().zip(row.x).zip(row.g) {
            *dx = if x > T::zero() { g * share } else { T::zero() };
        }
    }
}

#[inline(always)]
fn positive<T: Real>(x: T) -> T {
    if x > T::zero() { x } else { T::zero() }
}

/// Layer normalization with gain and bias, before or after a ReLU. With v the (rectified) scores, c = v − mean v,
/// D = √(mean c² + eps) and u = g where the output is alive:
/// dv = s gain (u − mean u − c ⟨u, c⟩/(n D²)) / D,  dgain = s ⟨u, c⟩/D,  dbias = s Σ u.
///
/// The row parameters are gain and bias, if P = 2.
#[derive(Clone, Copy, Debug)]
pub struct LayerNormRow<const P: usize> {
    /// Whether the ReLU comes first.
    pub relu_first: bool,
    /// The gain, if P = 0.
    pub gain: f64,
    /// The bias, if P = 0.
    pub bias: f64,
    /// What is added to the variance.
    pub eps: f64,
    /// Whether s = 1/√n instead of 1.
    pub out_scale: bool,
}

impl<const P: usize> LayerNormRow<P> {
    /// s gain and s bias, and s.
    #[inline(always)]
    fn scaled<T: Real>(&self, n: usize, params: &[T]) -> (T, T, T) {
        let (gain, bias) = if P == 2 { (params[0], params[1]) } else { (T::of(self.gain), T::of(self.bias)) };
        let scale = if self.out_scale { T::one() / T::of(n as f64).sqrt() } else { T::one() };
        (gain * scale, bias * scale, scale)
    }

    /// Writes c and returns 1/D.
    #[inline(always)]
    fn centre<T: Real>(&self, x: &[T], c: &mut [T]) -> T {
        for (c, &x) in c.iter_mut().zip(x) {
            *c = if self.relu_first { positive(x) } else { x };
        }
        let share = T::one() / T::of(x.len() as f64);
        let mean = lanes::lane_sum(c) * share;
        for c in c.iter_mut() {
            *c = *c - mean;
        }
        T::one() / (lanes::lane_dot(c, c) * share + T::of(self.eps)).sqrt()
    }
}

impl<const P: usize> RowMap for LayerNormRow<P> {
    const SHORT_IN_F64: bool = true;
    const N_PARAMS: usize = P;

    #[inline(always)]
    fn forward<T: Real>(&self, x: &[T], params: &[T], y: &mut [T]) {
        let (gain, bias, _) = self.scaled(x.len(), params);
        let scale = gain * self.centre(x, y);
        for y in y.iter_mut() {
            let normal = y.mul_add(scale, bias);
            *y = if self.relu_first { normal } else { positive(normal) };
        }
    }

    #[inline(always)]
    fn vjp<T: Real>(&self, row: VjpRow<'_, T>, dx: &mut [T], dparams: &mut [T]) {
        let (gain, _, out_scale) = self.scaled(row.x.len(), row.params);
        let n = T::of(row.x.len() as f64);
        let inverse = self.centre(row.x, dx);
        let alive = |g: T, y: T| if self.relu_first || y > T::zero() { g } else { T::zero() };
        let sum: T = lanes::wide_sum_of([row.g, row.y], |[g, y]| if self.relu_first || y > 0.0 { g } else { 0.0 });
        let dot = lanes::lane_sum_of([row.g, row.y, dx], |[g, y, c]| alive(g, y) * c);
        let (mean, by_deviation, scale) = (sum / n, dot * inverse * inverse / n, gain * inverse);
        for (((dx, &g), &y), &x) in dx.iter_mut().zip(row.g).zip(row.y).zip(row.x) {
            let dv = (alive(g, y) - mean - *dx * by_deviation) * scale;
            *dx = if self.relu_first && x <= T::zero() { T::zero() } else { dv };
        }
        if P == 2 {
            (dparams[0], dparams[1]) = (dot * inverse * out_scale, sum * out_scale);
        }
    }
}
