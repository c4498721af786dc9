//! Gumbel-softmax.
use std::sync::Arc;

use burn::{
    module::Module,
    tensor::{DType, Device, Int, Tensor, TensorData},
};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Gradient, Laws, Normalize, Rows, ScaledSoftmaxRow, Softmax, TemperatureScale,
    after_softmax::{composed_straight_through, to_scores},
    composed,
};
use crate::{
    Ctx, Init,
    kernel::{AtInfinity, Real, RowKernel, RowMap, VjpRow, fill_gumbel, lanes},
};

/// Parameters of [`GumbelSoftmax`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GumbelSoftmaxConfig {
    /// Temperature, above 0; 1, where samples are smooth and gradients calm. Towards 0 a sample becomes one-hot, its
    /// gradient less biased and more noisy.
    #[serde(deserialize_with = "range::positive")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub tau: f64,
    /// Whether the weights are the one-hot arg max, with the gradient of the smooth ones.
    pub hard: bool,
    /// Whether noise is drawn outside of training as well; without it an evaluation sees the mode.
    pub sample_at_eval: bool,
}

impl Default for GumbelSoftmaxConfig {
    fn default() -> Self {
        Self { tau: 1.0, hard: false, sample_at_eval: false }
    }
}

impl Entry for GumbelSoftmaxConfig {
    const SUMMARY: &'static str = "softmax of noisy scores: a smooth, differentiable sample of one entry";
    const PAPER: &'static str =
        "Jang et al. 2016, Categorical Reparameterization with Gumbel-Softmax, arXiv:1611.01144";
}

impl GumbelSoftmaxConfig {
    /// The map.
    pub fn init(&self, _: &Init) -> GumbelSoftmax {
        GumbelSoftmax { config: *self }
    }
}

/// Gumbel-softmax: a smooth stand-in for a sample of one entry with the probabilities of softmax.
/// ```text
/// y = softmax((x + G)/tau),   G_i = −ln(−ln U_i),   U uniform on (0, 1)
/// hard:  y = one-hot of the largest x + G (the first of several), with the gradient of the smooth y
/// ```
/// The largest x + G is an exact sample of softmax(x) at every temperature. Noise is drawn in training, and in an
/// evaluation if `sample_at_eval`; otherwise G = 0. It comes from the context: equal contexts give equal noise, so give
/// each use of a map a context of its own.
///
/// It has no log form: a loss kernel draws no noise.
///
/// # Numerics
/// A score of +∞ takes all the weight; several share it evenly. The noise gets no gradient.
/// # References
/// Jang et al. 2016, arXiv:1611.01144. They anneal tau as max(0.5, exp(−r t)).
#[derive(Module, Debug)]
pub struct GumbelSoftmax {
    #[module(skip)]
    config: GumbelSoftmaxConfig,
}

impl Normalize for GumbelSoftmax {
    fn laws(&self) -> Laws {
        let hard = self.config.hard;
        Laws {
            // The noise decides as well.
            order_preserving: false,
            can_be_zero: hard,
            stochastic: true,
            gradient: if hard { Gradient::StraightThrough } else { Gradient::Exact },
            ..Laws::SOFTMAX
        }
    }

    fn kernel(&self, _: &Ctx) -> Arc<dyn RowKernel> {
        let tau = self.config.tau;
        if self.config.hard { Arc::new(HardSoftmaxRow { tau }) } else { Arc::new(smooth(tau)) }
    }

    fn perturb(&self, scores: Tensor<2>, ctx: &Ctx) -> Tensor<2> {
        if ctx.training || self.config.sample_at_eval {
            let noise = gumbel_noise(scores.dims(), scores.dtype(), &scores.device(), ctx);
            scores + noise
        } else {
            scores
        }
    }

    fn composed(&self, rows: &Rows<'_>, ctx: &Ctx) -> Tensor<2> {
        let scores = rows.scores.clone() * (1.0 / self.config.tau);
        let smooth = Softmax::default().composed(&Rows { scores, ..rows.clone() }, ctx);
        if !self.config.hard {
            return smooth;
        }
        let removed = rows.removed();
        let kept = composed::fill(rows.scores.clone().detach(), removed.clone(), f64::NEG_INFINITY);
        let best = kept.argmax(1);
        let [rows, n] = smooth.dims();
        let place = Tensor::<1, Int>::arange(0..n as i64, &smooth.device()).cast(best.dtype());
        let one_hot = place.unsqueeze_dim::<2>(0).expand([rows, n]).equal(best.expand([rows, n]));
        let one_hot = composed::fill(one_hot.float().cast(smooth.dtype()), removed, 0.0);
        composed_straight_through(smooth, one_hot)
    }
}

/// Independent standard Gumbel deviates, from a stream of their own below `ctx`.
///
/// `f64` deviates have 52 random bits, those of the other types 23.
pub fn gumbel_noise(shape: [usize; 2], dtype: DType, device: &Device, ctx: &Ctx) -> Tensor<2> {
    let (ctx, count) = (ctx.child("gumbel"), shape.iter().product());
    let data = if dtype == DType::F64 {
        let mut noise = vec![0.0f64; count];
        fill_gumbel(&mut noise, &ctx);
        TensorData::new(noise, shape)
    } else {
        let mut noise = vec![0.0f32; count];
        fill_gumbel(&mut noise, &ctx);
        TensorData::new(noise, shape)
    };
    Tensor::from_data(data, (device, dtype))
}

/// Softmax of the scores over tau.
#[inline(always)]
fn smooth(tau: f64) -> ScaledSoftmaxRow<TemperatureScale<0>> {
    ScaledSoftmaxRow(TemperatureScale { tau })
}

/// The one-hot arg max, with the gradient of softmax over tau.
#[derive(Clone, Copy, Debug)]
pub struct HardSoftmaxRow {
    /// The temperature.
    pub tau: f64,
}

impl RowMap for HardSoftmaxRow {
    const AT_INFINITY: AtInfinity = AtInfinity::OneHot;

    #[inline(always)]
    fn forward<T: Real>(&self, x: &[T], _: &[T], y: &mut [T]) {
        let max = lanes::max(x);
        y.fill(T::zero());
        if let Some(best) = x.iter().position(|&x| x == max) {
            y[best] = T::one();
        }
    }

    #[inline(always)]
    fn vjp<T: Real>(&self, row: VjpRow<'_, T>, dx: &mut [T], _: &mut [T]) {
        smooth(self.tau).forward(row.x, &[], dx);
        to_scores(dx, row.g);
        let scale = T::one() / T::of(self.tau);
        for dx in dx.iter_mut() {
            *dx = *dx * scale;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        normalizer::{Heads, Keep},
        testing::{assert_bits, assert_close, device, gradient, normal, tensor, values},
    };

    fn map(hard: bool, sample_at_eval: bool) -> GumbelSoftmax {
        GumbelSoftmaxConfig { tau: 0.5, hard, sample_at_eval }.init(&Init::new(0, &device(), DType::F64))
    }

    fn weights(map: &GumbelSoftmax, x: Tensor<2>, ctx: &Ctx) -> Vec<f64> {
        values(map.rows(x, &Keep::All, Heads::ONE, ctx))
    }

    #[test]
    fn the_largest_is_a_sample_of_softmax() {
        let (samples, scores) = (200_000, [0.3, -0.2, 0.5, 0.0]);
        for dtype in [DType::F32, DType::F64] {
            let x = tensor(&scores.repeat(samples), 4, dtype);
            let y = weights(&map(true, false), x, &Ctx::train(3, 0));
            let share = |entry: usize| y.iter().skip(entry).step_by(4).sum::<f64>() / samples as f64;
            let want = values(Softmax::default().rows(
                tensor(&scores, 4, DType::F64),
                &Keep::All,
                Heads::ONE,
                &Ctx::eval(0, 0),
            ));
            // A share's standard error is at most 0.0011.
            assert_close("share of samples", &[share(0), share(1), share(2), share(3)], &want, 0.0, 2e-3);
        }
    }

    #[test]
    fn noise_belongs_to_the_context() {
        let x = tensor(&normal(1, 3 * 5, 1.0), 5, DType::F64);
        let ctx = Ctx::train(0, 7).child("layer");
        let once = weights(&map(false, false), x.clone(), &ctx);
        assert_bits("again", &weights(&map(false, false), x.clone(), &ctx), &once);
        for other in [Ctx::train(0, 8).child("layer"), Ctx::train(0, 7).child("other"), Ctx::train(0, 7)] {
            assert_ne!(weights(&map(false, false), x.clone(), &other), once);
        }
    }

    #[test]
    fn an_evaluation_draws_only_when_told_to() {
        let x = tensor(&normal(2, 3 * 5, 1.0), 5, DType::F64);
        let ctx = Ctx::eval(0, 7);
        let mode = weights(&map(false, false), x.clone(), &ctx);
        let want = values(Softmax::default().rows(x.clone() * 2.0, &Keep::All, Heads::ONE, &ctx));
        assert_close("softmax(x/tau)", &mode, &want, 1e-14, 0.0);
        assert_bits(
            "sampled",
            &weights(&map(false, true), x.clone(), &ctx),
            &weights(&map(false, true), x.clone(), &Ctx::train(0, 7)),
        );
        assert_ne!(weights(&map(false, true), x, &ctx), mode);
    }

    #[test]
    fn the_gradient_passes_through_the_noise() {
        let x = tensor(&normal(3, 7 * 9, 1.0), 9, DType::F64);
        let g = tensor(&normal(4, 7 * 9, 1.0), 9, DType::F64);
        let ctx = Ctx::train(0, 1);
        let noise = gumbel_noise([7, 9], DType::F64, &device(), &ctx);
        let want = gradient(x.clone(), g.clone(), |x| {
            Softmax::default().rows((x + noise.clone()) * 2.0, &Keep::All, Heads::ONE, &ctx)
        });
        for hard in [false, true] {
            let dx = gradient(x.clone(), g.clone(), |x| map(hard, false).rows(x, &Keep::All, Heads::ONE, &ctx));
            assert_close(&format!("hard = {hard}"), &dx, &want, 1e-12, 1e-15);
        }
    }
}
