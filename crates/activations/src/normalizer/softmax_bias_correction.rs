//! Uniformly quantised softmax with its bias corrected.
use std::sync::Arc;

use burn::{
    module::{Module, Param},
    tensor::Tensor,
};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Gradient, Heads, Laws, Normalize, Rows, Softmax, SoftmaxRow,
    after_softmax::{bits, composed_straight_through, round_even, straight_through},
    composed,
};
use crate::{
    Ctx, Init,
    kernel::{Real, RowKernel, RowMap, VjpRow, lanes},
};

/// Parameters of [`SoftmaxBiasCorrection`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SoftmaxBiasCorrectionConfig {
    /// Bits per weight, 1 to 16; 8, as deployed most.
    #[serde(deserialize_with = "bits")]
    #[schemars(range(min = 1, max = 16))]
    pub bits: u32,
    /// What is added to every quantised weight, until a calibration sets it per head; 0, no correction.
    #[serde(deserialize_with = "range::finite")]
    pub beta: f64,
}

impl Default for SoftmaxBiasCorrectionConfig {
    fn default() -> Self {
        Self { bits: 8, beta: 0.0 }
    }
}

impl Entry for SoftmaxBiasCorrectionConfig {
    const SUMMARY: &'static str = "softmax quantised uniformly, plus the mean of what rounding takes away";
    const PAPER: &'static str =
        "Pandey et al. 2023, Softmax Bias Correction for Quantized Generative Models, arXiv:2309.01729";
}

impl SoftmaxBiasCorrectionConfig {
    /// The map.
    pub fn init(&self, init: &Init) -> SoftmaxBiasCorrection {
        let beta = init.constant([init.heads], self.beta).set_require_grad(false);
        SoftmaxBiasCorrection { beta, bits: self.bits }
    }
}

/// Softmax with uniformly quantised weights, and the mean of the rounding error added back.
/// ```text
/// y = Δ round(p/Δ) + β,   Δ = 1/(2^bits − 1),   p = softmax(x)
/// ```
/// In long rows most weights lie below Δ/2 and become 0, so the row's sum falls below 1. β, one value per head, is
/// calibrated by [`softmax_bias`], not trained; removed entries do not receive it.
///
/// The gradient passes straight through the quantiser, to the scores by way of softmax.
///
/// # Numerics
/// A tie is rounded to even. A score of +∞ makes its row NaN: with β the limit is not one-hot.
/// # References
/// Pandey et al. 2023, arXiv:2309.01729.
#[derive(Module, Debug)]
pub struct SoftmaxBiasCorrection {
    /// β: `[heads]` or `[1]`, without a gradient.
    pub beta: Param<Tensor<1>>,
    #[module(skip)]
    bits: u32,
}

impl Normalize for SoftmaxBiasCorrection {
    fn laws(&self) -> Laws {
        Laws {
            sums_to_one: false,
            // A calibrated β can have either sign, or be 0.
            non_negative: false,
            can_be_zero: true,
            row_can_be_zero: true,
            gradient: Gradient::StraightThrough,
            ..Laws::SOFTMAX
        }
    }

    fn kernel(&self, _: &Ctx) -> Arc<dyn RowKernel> {
        Arc::new(UniformQuantRow { steps: steps(self.bits) })
    }

    fn row_params(&self, scores: &Tensor<2>, heads: Heads) -> Option<Tensor<2>> {
        Some(heads.column(self.beta.val().detach(), scores))
    }

    fn composed(&self, rows: &Rows<'_>, ctx: &Ctx) -> Tensor<2> {
        let p = Softmax::default().composed(rows, ctx);
        let quantised = (p.clone().detach() * steps(self.bits)).round() / steps(self.bits);
        composed::fill(composed_straight_through(p, quantised) + rows.param(0), rows.removed(), 0.0)
    }
}

/// 1/Δ: how many steps of the quantiser lie between 0 and 1.
fn steps(bits: u32) -> f64 {
    f64::from((1u32 << bits) - 1)
}

/// y = Δ round(p/Δ) + β with the straight-through gradient; dβ = Σ g. The row parameter is β.
#[derive(Clone, Copy, Debug)]
pub struct UniformQuantRow {
    /// 1/Δ.
    pub steps: f64,
}

impl RowMap for UniformQuantRow {
    const N_PARAMS: usize = 1;

    #[inline(always)]
    fn forward<T: Real>(&self, x: &[T], params: &[T], y: &mut [T]) {
        let (steps, delta, beta) = (T::of(self.steps), T::of(1.0 / self.steps), params[0]);
        SoftmaxRow.forward(x, &[], y);
        for y in y.iter_mut() {
            *y = round_even(*y * steps).mul_add(delta, beta);
        }
    }

    #[inline(always)]
    fn vjp<T: Real>(&self, row: VjpRow<'_, T>, dx: &mut [T], dparams: &mut [T]) {
        straight_through(row.x, row.g, dx);
        dparams[0] = lanes::wide_sum_of([row.g], |[g]| g);
    }
}

/// β for a set of softmax weights: the mean of what quantisation takes from each, `mean(p − Δ round(p/Δ))`; 0 of nothing.
///
/// Give it the weights of one head, or of all that share a β, on unlabelled data, without those of removed entries.
pub fn softmax_bias(weights: &[f64], bits: u32) -> f64 {
    let steps = steps(bits);
    let lost: f64 = weights.iter().map(|p| p - (p * steps).round_ties_even() / steps).sum();
    lost / weights.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        normalizer::Keep,
        testing::{assert_close, device, normal, tensor, values},
    };
    use burn::tensor::DType;

    #[test]
    fn bias_of_a_known_row() {
        let x: Vec<f64> = (0..10).map(|i| f64::from(-i)).collect();
        let p = values(Softmax::default().rows(tensor(&x, 10, DType::F64), &Keep::All, Heads::ONE, &Ctx::eval(0, 0)));
        let got = [softmax_bias(&p, 8), softmax_bias(&p, 4), softmax_bias(&[], 8)];
        assert_close("beta", &got, &[0.0003921568627, 0.01333333333, 0.0], 1e-9, 0.0);
    }

    /// Known from random rows at 8 bits: the mean row sum without correction, and what a correction does to the
    /// signal-to-noise ratio of the weights (dB) and to the error of the row sums.
    #[test]
    fn correction_on_random_rows() {
        for (n, rows, sum, ratio) in [
            (64, 2000, 0.993, None),
            (256, 2000, 0.926, Some(([20.3, 20.6], 0.167))),
            (1024, 1000, 0.683, Some(([12.0, 12.9], 0.054))),
        ] {
            let x = tensor(&normal(n as u64, n * rows, 1.5), n, DType::F64);
            let p = values(Softmax::default().rows(x.clone(), &Keep::All, Heads::ONE, &Ctx::eval(0, 0)));
            let quantised = |beta: f64| {
                let map = SoftmaxBiasCorrectionConfig { bits: 8, beta }.init(&Init::new(0, &device(), DType::F64));
                values(map.rows(x.clone(), &Keep::All, Heads::ONE, &Ctx::eval(0, 0)))
            };
            let both = [quantised(0.0), quantised(softmax_bias(&p, 8))];
            let sums = |q: &[f64]| q.chunks(n).map(|row| row.iter().sum::<f64>()).collect::<Vec<_>>();
            let mean_sum = sums(&both[0]).iter().sum::<f64>() / rows as f64;
            assert_close(&format!("row sum at n = {n}"), &[mean_sum], &[sum], 0.0, 2e-3);
            let Some((want_decibel, want_ratio)) = ratio else { continue };
            let decibel = |q: &Vec<f64>| {
                let noise = p.iter().zip(q).map(|(p, q)| (p - q).powi(2)).sum::<f64>();
                10.0 * (p.iter().map(|p| p * p).sum::<f64>() / noise).log10()
            };
            let sum_error = |q: &Vec<f64>| sums(q).iter().map(|sum| (sum - 1.0).abs()).sum::<f64>();
            assert_close(&format!("SQNR at n = {n}"), &both.each_ref().map(decibel), &want_decibel, 0.0, 0.3);
            let got = sum_error(&both[1]) / sum_error(&both[0]);
            assert_close(&format!("row sum error at n = {n}"), &[got], &[want_ratio], 0.0, 0.01);
        }
    }

    #[test]
    fn beta_is_not_trained() {
        let map = SoftmaxBiasCorrectionConfig { bits: 4, beta: 0.01 }.init(&Init::new(0, &device(), DType::F32));
        assert!(!map.beta.val().is_require_grad());
    }
}
