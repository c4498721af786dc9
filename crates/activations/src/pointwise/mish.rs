//! Mish.
use std::sync::Arc;

use burn::{module::Module, tensor::Tensor};
use kiln_registry::Entry;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{PointwiseFn, above_infinity};
use crate::{
    Init,
    kernel::{Elementary, PointwiseKernel, PointwiseMap},
    normalizer::composed::log_1p,
};

/// Parameters of [`Mish`]: none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MishConfig {}

impl Entry for MishConfig {
    const SUMMARY: &'static str = "x tanh(softplus(x))";
    const PAPER: &'static str =
        "Misra 2019, Mish: A Self Regularized Non-Monotonic Activation Function, arXiv:1908.08681";
}

impl MishConfig {
    /// The function.
    pub fn init(&self, _: &Init) -> Mish {
        Mish
    }
}

/// Mish: the argument times a smooth gate that is a little below 0 for negative arguments.
/// ```text
/// y = x t,   t = tanh(ln(1 + e^x)),   y′ = t + x σ(x) (1 − t²)
/// ```
/// Not monotone: its minimum is about −0.30884, at x ≈ −1.1924.
/// # Numerics
/// With e = e^−|x| the gate is a quotient N/D, (1 + 2e)/(1 + 2e + 2e²) above 0 and (e² + 2e)/(e² + 2e + 2) below, and 1 − t²
/// is (D − N)(D + N)/D²: nothing overflows and nothing cancels. −∞ gives −0.
/// # References
/// Misra 2019, arXiv:1908.08681.
#[derive(Module, Debug)]
pub struct Mish;

impl PointwiseFn for Mish {
    fn kernel(&self) -> Arc<dyn PointwiseKernel> {
        Arc::new(MishMap)
    }

    fn composed(&self, x: Tensor<1>) -> Tensor<1> {
        let x = above_infinity(x);
        let softplus = x.clone().clamp_min(0.0) + log_1p(x.clone().abs().neg().exp());
        x * softplus.tanh()
    }
}

/// N and D − N.
#[inline(always)]
fn parts<T: Elementary>(x: T) -> (T, T) {
    let two = T::of(2.0);
    let e = (-x.abs()).exp_exact();
    let above = two.mul_add(e, T::one());
    let below = e * (e + two);
    if x >= T::zero() { (above, two * e * e) } else { (below, two) }
}

/// y = x N/D.
#[derive(Clone, Copy, Debug)]
pub struct MishMap;

impl PointwiseMap for MishMap {
    #[inline(always)]
    fn forward<T: Elementary>(&self, x: T) -> T {
        let (gate, rest) = parts(x);
        // Below −800 the gate is 0, also for −∞.
        let x = if x < T::of(-800.0) { T::of(-800.0) } else { x };
        x * (gate / (gate + rest))
    }

    #[inline(always)]
    fn vjp<T: Elementary>(&self, x: T, g: T) -> T {
        let (gate, rest) = parts(x);
        let e = (-x.abs()).exp_exact();
        let (whole, one_more) = (gate + rest, T::one() + e);
        let top = if x >= T::zero() { T::one() } else { e };
        // One division for both quotients.
        let inverse = T::one() / (whole * whole * one_more);
        let bend = x.within(800.0) * top * rest * (whole + gate);
        g * (gate * whole).mul_add(one_more, bend) * inverse
    }
}
