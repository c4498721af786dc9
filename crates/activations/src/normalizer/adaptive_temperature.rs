//! Softmax at a temperature that follows the row's entropy.
use std::sync::Arc;

use burn::{module::Module, tensor::Tensor};
use kiln_registry::Entry;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Gradient, Laws, Normalize, Rows, Softmax, SoftmaxRow,
    scaled::{self, peak},
};
use crate::{
    Ctx, Init,
    kernel::{AtInfinity, Real, RowKernel, RowMap, VjpRow, lanes},
};

/// Parameters of [`AdaptiveTemperature`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdaptiveTemperatureConfig {
    /// What happens beyond the entropies the polynomial was fitted on.
    pub extrapolate: Extrapolate,
    /// Whether the backward pass holds beta constant; otherwise it goes through the entropy as well.
    pub detach_beta: bool,
}

/// What [`AdaptiveTemperature`] does where its polynomial has passed its maximum (entropies above 4.41 nats).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Extrapolate {
    /// Follows it down, to a beta of 1 from 5.95 nats on (about 380 even entries), as the paper's listing does.
    #[default]
    Clamp,
    /// Holds beta at the maximum, 2.42.
    Hold,
}

impl Default for AdaptiveTemperatureConfig {
    /// The paper's listing, with a constant beta in the backward pass: it is a device for inference.
    fn default() -> Self {
        Self { extrapolate: Extrapolate::Clamp, detach_beta: true }
    }
}

impl Entry for AdaptiveTemperatureConfig {
    const SUMMARY: &'static str = "softmax that is sharpened in evaluation where its entropy is large";
    const PAPER: &'static str =
        "Veličković et al. 2024, softmax is not enough (for sharp out-of-distribution), arXiv:2410.01104";
}

impl AdaptiveTemperatureConfig {
    /// The map.
    pub fn init(&self, _: &Init) -> AdaptiveTemperature {
        AdaptiveTemperature { extrapolate: self.extrapolate, detach_beta: self.detach_beta }
    }
}

/// Softmax that is sharpened where its entropy is large, in evaluation only; in training it is softmax.
/// ```text
/// p = softmax(x),   h = −Σ p ln(p + 1e-9),   y = softmax(beta x)
/// beta = max(1, −0.037 h⁴ + 0.481 h³ − 2.3 h² + 4.917 h − 1.791)
/// ```
/// The polynomial exceeds 1 between 0.849 and 5.945 nats. Below it would be smaller, so a row that is sharp already is
/// left as it is; above, see [`Extrapolate`].
///
/// # Gradient
/// By default that at a constant beta, `dx = beta y (g − ⟨y, g⟩)`. Without `detach_beta` it is exact:
/// ```text
/// dbeta = Σ y (g − ⟨y, g⟩) x,   dh = dbeta beta′(h),   u = −ln(p + 1e-9) − p / (p + 1e-9)
/// dx = beta y (g − ⟨y, g⟩) + dh p (u − ⟨p, u⟩)
/// ```
/// # Numerics
/// A score of +∞ takes all the weight; several share it evenly.
/// # References
/// Veličković et al. 2024, arXiv:2410.01104.
#[derive(Module, Debug)]
pub struct AdaptiveTemperature {
    /// What happens beyond the entropies the polynomial was fitted on.
    #[module(skip)]
    pub extrapolate: Extrapolate,
    /// Whether the backward pass holds beta constant.
    #[module(skip)]
    pub detach_beta: bool,
}

impl Normalize for AdaptiveTemperature {
    fn laws(&self) -> Laws {
        let gradient = if self.detach_beta { Gradient::Detached } else { Gradient::Exact };
        Laws { gradient, ..Laws::SOFTMAX }
    }

    fn kernel(&self, ctx: &Ctx) -> Arc<dyn RowKernel> {
        if ctx.training {
            return Arc::new(SoftmaxRow);
        }
        Arc::new(AdaptiveTemperatureRow { extrapolate: self.extrapolate, detach_beta: self.detach_beta })
    }

    fn composed(&self, rows: &Rows<'_>, ctx: &Ctx) -> Tensor<2> {
        let softmax = Softmax::default().composed(rows, ctx);
        if ctx.training {
            return softmax;
        }
        let softmax = if self.detach_beta { softmax.detach() } else { softmax };
        let entropy = (softmax.clone() * softmax.add_scalar(INSIDE_LOG).log()).sum_dim(1).neg();
        let entropy = match self.extrapolate {
            Extrapolate::Clamp => entropy,
            Extrapolate::Hold => entropy.clamp_max(ENTROPY_AT_MAXIMUM),
        };
        let start = entropy.zeros_like().add_scalar(POLYNOMIAL[0]);
        let beta = POLYNOMIAL[1..].iter().fold(start, |beta, &coefficient| beta * entropy.clone() + coefficient);
        Softmax::default().composed(&scaled::rows(rows, beta.clamp_min(1.0)), ctx)
    }
}

/// The paper's fit of beta to the entropy, highest power first.
const POLYNOMIAL: [f64; 5] = [-0.037, 0.481, -2.3, 4.917, -1.791];

/// The entropy in nats at which the polynomial is largest.
const ENTROPY_AT_MAXIMUM: f64 = 4.412_401_865_965_68;

/// What the paper adds inside the logarithm of the entropy.
const INSIDE_LOG: f64 = 1e-9;

/// y = softmax(beta x), beta from the entropy of softmax(x);  dx = beta y (g − ⟨y, g⟩), and what goes through beta unless
/// it is held constant.
#[derive(Clone, Copy, Debug)]
pub struct AdaptiveTemperatureRow {
    /// What happens beyond the entropies the polynomial was fitted on.
    pub extrapolate: Extrapolate,
    /// Whether the backward pass holds beta constant.
    pub detach_beta: bool,
}

impl AdaptiveTemperatureRow {
    /// beta and its slope at the entropy of the row's softmax p, which `room` held; `room` is left with p ln(p + 1e-9).
    #[inline(always)]
    fn beta<T: Real>(&self, room: &mut [T]) -> (T, T) {
        for p in room.iter_mut() {
            *p = *p * (*p + T::of(INSIDE_LOG)).ln_lane();
        }
        let entropy = -lanes::lane_sum(room);
        let entropy = match self.extrapolate {
            Extrapolate::Clamp => entropy,
            // The slope is 0 there.
            Extrapolate::Hold => entropy.min(T::of(ENTROPY_AT_MAXIMUM)),
        };
        let (mut beta, mut slope) = (T::of(POLYNOMIAL[0]), T::zero());
        for &coefficient in &POLYNOMIAL[1..] {
            slope = slope.mul_add(entropy, beta);
            beta = beta.mul_add(entropy, T::of(coefficient));
        }
        if beta > T::one() { (beta, slope) } else { (T::one(), T::zero()) }
    }
}

impl RowMap for AdaptiveTemperatureRow {
    const AT_INFINITY: AtInfinity = AtInfinity::OneHot;

    #[inline(always)]
    fn forward<T: Real>(&self, x: &[T], _: &[T], y: &mut [T]) {
        scaled::forward(x, T::one(), y);
        let (beta, _) = self.beta(y);
        scaled::forward(x, beta, y);
    }

    #[inline(always)]
    fn vjp<T: Real>(&self, row: VjpRow<'_, T>, dx: &mut [T], _: &mut [T]) {
        scaled::forward(row.x, T::one(), dx);
        let (beta, slope) = self.beta(dx);
        let mean = lanes::lane_dot(row.y, row.g);
        if self.detach_beta || slope == T::zero() {
            for ((dx, &y), &g) in dx.iter_mut().zip(row.y).zip(row.g) {
                *dx = beta * y * (g - mean);
            }
            return;
        }
        for ((dx, &y), &g) in dx.iter_mut().zip(row.y).zip(row.g) {
            *dx = y * (g - mean);
        }
        let peak = peak(row.x, T::one());
        let d_entropy = slope * lanes::lane_sum_of([dx, row.x], |[t, x]| t * (x - peak));
        // p u = −p ln(p + 1e-9) − p² / (p + 1e-9), once for its sum and once for the result.
        let inside = T::of(INSIDE_LOG);
        let u = |p: T| -(p + inside).ln_lane() - p / (p + inside);
        scaled::forward(row.x, T::one(), dx);
        let u_mean = lanes::lane_sum_of([dx], |[p]| p * u(p));
        for ((dx, &y), &g) in dx.iter_mut().zip(row.y).zip(row.g) {
            let p = *dx;
            *dx = beta * y * (g - mean) + d_entropy * p * (u(p) - u_mean);
        }
    }
}
