//! Softmax weights quantised on a logarithmic scale.
use std::sync::Arc;

use burn::{module::Module, tensor::Tensor};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Gradient, Laws, Normalize, Rows, Softmax,
    after_softmax::{bits, composed_straight_through, round_even, straight_through},
    composed,
};
use crate::{
    Ctx, Init,
    kernel::{Real, RowKernel, RowMap, VjpRow, lanes},
};

/// Parameters of [`LogSqrt2Quant`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LogSqrt2QuantConfig {
    /// Bits per weight, 1 to 16; 4, where the choice of the scale matters.
    #[serde(deserialize_with = "bits")]
    #[schemars(range(min = 1, max = 16))]
    pub bits: u32,
    /// The ratio of neighbouring levels.
    pub base: LogBase,
    /// The largest level, such as [`log_quant_delta`] finds it; without one, the largest weight of each row.
    #[serde(deserialize_with = "range::positive_if_given")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub delta: Option<f64>,
}

impl Default for LogSqrt2QuantConfig {
    fn default() -> Self {
        Self { bits: 4, base: LogBase::Sqrt2, delta: None }
    }
}

/// The ratio of neighbouring levels of a logarithmic quantiser.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LogBase {
    /// √2: half the range of base 2 at twice the resolution.
    #[default]
    #[serde(rename = "sqrt2")]
    Sqrt2,
    /// 2: levels are shifts.
    #[serde(rename = "2")]
    Two,
}

impl LogBase {
    /// Levels per factor of 2.
    fn per_octave(self) -> f64 {
        match self {
            Self::Sqrt2 => 2.0,
            Self::Two => 1.0,
        }
    }
}

impl Entry for LogSqrt2QuantConfig {
    const SUMMARY: &'static str = "softmax whose weights are rounded to powers of the square root of 2";
    const PAPER: &'static str = "Li et al. 2024, RepQuant: Towards Accurate Post-Training Quantization of Large \
                                 Transformer Models via Scale Reparameterization, arXiv:2402.05628";
}

impl LogSqrt2QuantConfig {
    /// The map.
    pub fn init(&self, _: &Init) -> LogSqrt2Quant {
        LogSqrt2Quant { config: *self }
    }
}

/// Softmax with its weights quantised logarithmically.
/// ```text
/// y = δ b^−k,   k = max(round(log_b(δ/p)), 0),   0 where k ≥ 2^bits;   p = softmax(x),   b = √2 or 2
/// ```
/// The gradient passes straight through the quantiser, to the scores by way of softmax.
///
/// # Numerics
/// k comes from differences of scores, not from the logarithm of a weight. A tie is rounded to even. A score of +∞ makes
/// its row NaN.
/// # References
/// Li et al. 2024, arXiv:2402.05628; their delta is a percentile of the weights.
#[derive(Module, Debug)]
pub struct LogSqrt2Quant {
    #[module(skip)]
    config: LogSqrt2QuantConfig,
}

impl Normalize for LogSqrt2Quant {
    fn laws(&self) -> Laws {
        Laws {
            sums_to_one: false,
            can_be_zero: true,
            // All weights of a long row can be too small for a constant delta; the row's largest is always level 0.
            row_can_be_zero: self.config.delta.is_some(),
            gradient: Gradient::StraightThrough,
            ..Laws::SOFTMAX
        }
    }

    fn kernel(&self, _: &Ctx) -> Arc<dyn RowKernel> {
        let LogSqrt2QuantConfig { bits, base, delta } = self.config;
        Arc::new(LogQuantRow { levels: f64::from(1u32 << bits), per_octave: base.per_octave(), delta })
    }

    fn composed(&self, rows: &Rows<'_>, ctx: &Ctx) -> Tensor<2> {
        let LogSqrt2QuantConfig { bits, base, delta } = self.config;
        let softmax = Softmax::default().composed(rows, ctx);
        let p = softmax.clone().detach();
        let delta = match delta {
            Some(delta) => p.zeros_like() + delta,
            None => p.clone().max_dim(1).expand(p.dims()),
        };
        let per_octave = base.per_octave();
        let zero = p.clone().equal_elem(0.0);
        let k = (delta.clone() / composed::fill(p, zero.clone(), 1.0)).log() * (per_octave / std::f64::consts::LN_2);
        let k = k.round().clamp_min(0.0);
        let lost = zero.bool_or(k.clone().greater_equal_elem(f64::from(1u32 << bits)));
        let levels = delta * (k * (-std::f64::consts::LN_2 / per_octave)).exp();
        composed_straight_through(softmax, composed::fill(levels, lost, 0.0))
    }
}

/// The row maths of [`LogSqrt2Quant`].
#[derive(Clone, Copy, Debug)]
pub struct LogQuantRow {
    /// Number of levels above 0.
    pub levels: f64,
    /// Levels per factor of 2.
    pub per_octave: f64,
    /// The largest level; the row's largest weight without one.
    pub delta: Option<f64>,
}

impl RowMap for LogQuantRow {
    #[inline(always)]
    fn forward<T: Real>(&self, x: &[T], _: &[T], y: &mut [T]) {
        let max = lanes::max(x);
        for (y, &x) in y.iter_mut().zip(x) {
            *y = (x - max).exp_exact();
        }
        let sum = lanes::lane_sum(y);
        // The largest level, and the logarithm of its ratio to the row's largest weight.
        let (top, above) = match self.delta {
            Some(delta) => (T::of(delta), T::of(delta.ln_exact()) + sum.ln_exact()),
            None => (T::one() / sum, T::zero()),
        };
        let steps = T::of(self.per_octave / std::f64::consts::LN_2);
        let step = T::of(-std::f64::consts::LN_2 / self.per_octave);
        let levels = T::of(self.levels);
        for (y, &x) in y.iter_mut().zip(x) {
            let k = ((max - x) + above) * steps;
            let k = if k > T::zero() { k } else { T::zero() };
            // Beyond the levels nothing needs to be rounded, and far beyond them nothing could be.
            let k = round_even(if k < levels { k } else { levels });
            let level = top * (k * step).exp_exact();
            *y = if k < levels { level } else { T::zero() };
        }
    }

    #[inline(always)]
    fn vjp<T: Real>(&self, row: VjpRow<'_, T>, dx: &mut [T], _: &mut [T]) {
        straight_through(row.x, row.g, dx);
    }
}

/// The largest level for a set of weights: of their 99.9, 99.99 and 99.999 percentiles (linear between neighbours) the one
/// with the least squared error after quantisation. `None` if there are no weights, or no positive percentile.
///
/// Leave out the weights of removed entries.
pub fn log_quant_delta(weights: &[f64], bits: u32, base: LogBase) -> Option<f64> {
    let mut sorted = weights.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    let percentile = |share: f64| {
        let at = share * last as f64;
        let below = at as usize;
        let above = (below + 1).min(last);
        sorted[below] + (at - below as f64) * (sorted[above] - sorted[below])
    };
    let error = |delta: f64| sorted.iter().map(|p| (p - log_quantised(*p, delta, bits, base)).powi(2)).sum::<f64>();
    let candidates = [0.999, 0.9999, 0.99999].map(percentile).into_iter().filter(|delta| *delta > 0.0);
    candidates.map(|delta| (delta, error(delta))).min_by(|a, b| a.1.total_cmp(&b.1)).map(|(delta, _)| delta)
}

/// One weight on the levels `delta b^−k`, `0 ≤ k < 2^bits`, or 0 below them.
pub fn log_quantised(p: f64, delta: f64, bits: u32, base: LogBase) -> f64 {
    let per_octave = base.per_octave();
    let k = ((delta / p).ln_exact() * per_octave / std::f64::consts::LN_2).round_ties_even().max(0.0);
    if k < f64::from(1u32 << bits) { delta * (-k * std::f64::consts::LN_2 / per_octave).exp_exact() } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        normalizer::{Heads, Keep},
        testing::{assert_close, device, normal, tensor, values},
    };
    use burn::tensor::DType;

    /// Weights of rows of n scores of variance 4, and the relative error of a quantised form.
    fn weights(n: usize, rows: usize) -> Vec<f64> {
        let x = tensor(&normal(n as u64, n * rows, 2.0), n, DType::F64);
        values(Softmax::default().rows(x, &Keep::All, Heads::ONE, &Ctx::eval(0, 0)))
    }

    fn error(p: &[f64], quantised: impl Fn(f64) -> f64) -> f64 {
        let squares = p.iter().map(|p| p * p).sum::<f64>();
        (p.iter().map(|p| (p - quantised(*p)).powi(2)).sum::<f64>() / squares).sqrt()
    }

    /// Errors at 4 bits, known from random rows: uniform, base 2 and base √2.
    #[test]
    fn errors_on_random_rows() {
        for (n, want) in [(16, [0.109, 0.211, 0.101]), (64, [0.199, 0.207, 0.105]), (197, [0.310, 0.202, 0.118])] {
            let p = weights(n, 1000);
            let log = |base| {
                let delta = log_quant_delta(&p, 4, base).expect("there are weights");
                error(&p, |p| log_quantised(p, delta, 4, base))
            };
            let got = [error(&p, |p| (p * 15.0).round() / 15.0), log(LogBase::Two), log(LogBase::Sqrt2)];
            assert_close(&format!("errors at n = {n}"), &got, &want, 0.08, 0.0);
            assert!(got[2] < got[0] && got[2] < got[1], "base √2 is the best at n = {n}: {got:?}");
        }
    }

    #[test]
    fn a_constant_delta_is_that_of_the_function() {
        let (delta, n) = (0.3, 63);
        let x = normal(9, 5 * n, 2.0);
        let p = values(Softmax::default().rows(tensor(&x, n, DType::F64), &Keep::All, Heads::ONE, &Ctx::eval(0, 0)));
        for base in [LogBase::Sqrt2, LogBase::Two] {
            let config = LogSqrt2QuantConfig { bits: 3, base, delta: Some(delta) };
            let map = config.init(&Init::new(0, &device(), DType::F64));
            let y = values(map.rows(tensor(&x, n, DType::F64), &Keep::All, Heads::ONE, &Ctx::eval(0, 0)));
            let want: Vec<f64> = p.iter().map(|p| log_quantised(*p, delta, 3, base)).collect();
            assert_close(&format!("{base:?}"), &y, &want, 1e-13, 0.0);
            assert!(y.contains(&0.0) && y.contains(&delta), "{base:?}: both ends are met");
        }
    }

    #[test]
    fn delta_of_nothing_is_none() {
        assert_eq!(log_quant_delta(&[], 4, LogBase::Two), None);
        assert_eq!(log_quant_delta(&[0.0; 5], 4, LogBase::Two), None);
        assert_eq!(log_quant_delta(&[0.25; 4], 4, LogBase::Two), Some(0.25));
    }
}
