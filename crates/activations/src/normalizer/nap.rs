//! Normalized attention without a probability cage.
use std::sync::Arc;

use burn::{module::Module, tensor::Tensor};
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

/// Parameters of [`Nap`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NapConfig {
    /// What the standardised scores are multiplied by; 1 at first.
    #[serde(deserialize_with = "range::finite")]
    pub gain: f64,
    /// What is added after that; 0 at first, so that the weights of a row sum to 0.
    #[serde(deserialize_with = "range::finite")]
    pub bias: f64,
    /// Added to the standard deviation; 1e-3 as in the authors' code.
    #[serde(deserialize_with = "range::positive")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub eps: f64,
    /// Whether gain and bias are learned, a pair per head, as in the paper.
    pub learn: bool,
}

impl Default for NapConfig {
    fn default() -> Self {
        Self { gain: 1.0, bias: 0.0, eps: 1e-3, learn: true }
    }
}

impl Entry for NapConfig {
    const SUMMARY: &'static str = "scores standardised by the mean and deviation of their row";
    const PAPER: &'static str =
        "Richter & Wattenhofer 2020, Normalized Attention Without Probability Cage, arXiv:2005.09561";
}

impl NapConfig {
    /// The map.
    pub fn init(&self, init: &Init) -> Nap {
        Nap { learned: self.learn.then(|| GainBias::new(self.gain, self.bias, init)), config: self.clone() }
    }
}

/// Normalized attention without a probability cage: each score's distance from its row's mean, in standard deviations.
/// ```text
/// y_i = gain (x_i − μ) / (σ + eps) + bias,   μ = mean x,   σ² = mean (x − μ)²
/// ```
/// The weights are signed and unbounded and sum to n · bias. A row of one entry, or of equal ones, gives the bias.
///
/// # Numerics
/// A score of +∞ makes its row NaN. Where σ = 0 the deviation is taken as constant.
/// # References
/// Richter & Wattenhofer 2020, arXiv:2005.09561. As in their code, eps is added to the deviation, not to the variance.
#[derive(Module, Debug)]
pub struct Nap {
    /// Gain and bias, if they are learned.
    pub learned: Option<GainBias>,
    #[module(skip)]
    config: NapConfig,
}

impl Normalize for Nap {
    fn laws(&self) -> Laws {
        let NapConfig { gain, bias, learn, .. } = self.config;
        Laws {
            sums_to_one: false,
            non_negative: false,
            // A learned gain can become negative, a learned bias 0.
            order_preserving: gain >= 0.0 && !learn,
            can_be_zero: true,
            row_can_be_zero: bias == 0.0 || learn,
            needs_n: true,
            ..Laws::SOFTMAX
        }
    }

    fn kernel(&self, _: &Ctx) -> Arc<dyn RowKernel> {
        let NapConfig { gain, bias, eps, .. } = self.config;
        match self.learned {
            None => Arc::new(NapRow::<0> { gain, bias, eps }),
            Some(_) => Arc::new(NapRow::<2> { gain, bias, eps }),
        }
    }

    fn row_params(&self, scores: &Tensor<2>, heads: Heads) -> Option<Tensor<2>> {
        self.learned.as_ref().map(|learned| learned.columns(scores, heads))
    }

    fn composed(&self, rows: &Rows<'_>, _: &Ctx) -> Tensor<2> {
        let NapConfig { gain, bias, eps, .. } = self.config;
        let removed = rows.removed();
        let (centred, variance) = centred(rows.scores.clone(), removed.clone(), rows.count());
        let standard = centred / composed::root(variance).add_scalar(eps);
        let y = match self.learned {
            None => standard * gain + bias,
            Some(_) => standard * rows.param(0) + rows.param(1),
        };
        composed::fill(y, removed, 0.0)
    }
}

/// y = gain c / D + bias with c = x − μ and D = σ + eps;
/// dx = gain ((g − mean g)/D − c ⟨g, c⟩/(n σ D²)),  dgain = ⟨g, c⟩/D,  dbias = Σ g.
///
/// The row parameters are gain and bias, if P = 2.
#[derive(Clone, Copy, Debug)]
pub struct NapRow<const P: usize> {
    /// The gain, if P = 0.
    pub gain: f64,
    /// The bias, if P = 0.
    pub bias: f64,
    /// What is added to the deviation.
    pub eps: f64,
}

impl<const P: usize> NapRow<P> {
    #[inline(always)]
    fn gain_bias<T: Real>(&self, params: &[T]) -> (T, T) {
        if P == 2 { (params[0], params[1]) } else { (T::of(self.gain), T::of(self.bias)) }
    }

    /// Writes x − μ and returns σ.
    #[inline(always)]
    fn centre<T: Real>(x: &[T], c: &mut [T]) -> T {
        let share = T::one() / T::of(x.len() as f64);
        let mean = lanes::lane_sum(x) * share;
        for (c, &x) in c.iter_mut().zip(x) {
            *c = x - mean;
        }
        (lanes::lane_dot(c, c) * share).sqrt()
    }
}

impl<const P: usize> RowMap for NapRow<P> {
    const SHORT_IN_F64: bool = true;
    const N_PARAMS: usize = P;

    #[inline(always)]
    fn forward<T: Real>(&self, x: &[T], params: &[T], y: &mut [T]) {
        let (gain, bias) = self.gain_bias(params);
        let scale = gain / (Self::centre(x, y) + T::of(self.eps));
        for y in y.iter_mut() {
            *y = y.mul_add(scale, bias);
        }
    }

    #[inline(always)]
    fn vjp<T: Real>(&self, row: VjpRow<'_, T>, dx: &mut [T], dparams: &mut [T]) {
        let (gain, _) = self.gain_bias(row.params);
        let n = T::of(row.x.len() as f64);
        let sd = Self::centre(row.x, dx);
        let inverse = T::one() / (sd + T::of(self.eps));
        let sum = lanes::wide_sum_of([row.g], |[g]| g);
        let dot = lanes::lane_dot(row.g, dx);
        let mean = sum / n;
        let by_sd = if sd > T::zero() { gain * dot * inverse * inverse / (n * sd) } else { T::zero() };
        let scale = gain * inverse;
        for (dx, &g) in dx.iter_mut().zip(row.g) {
            *dx = (g - mean) * scale - *dx * by_sd;
        }
        if P == 2 {
            (dparams[0], dparams[1]) = (dot * inverse, sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_out_of_range_are_refused() {
        for (text, want) in [
            ("gain = inf", "inf is out of range; expected a finite number"),
            ("eps = 0.0", "0 is out of range; expected a number above 0"),
            ("scale = 1.0", "unknown field `scale`"),
        ] {
            let refused = toml::from_str::<NapConfig>(text).unwrap_err().to_string();
            assert!(refused.contains(want), "{text}: {refused}");
        }
    }
}
