//! GELU.
use std::sync::Arc;

use burn::{module::Module, tensor::Tensor};
use kiln_registry::Entry;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{PointwiseFn, above_infinity};
use crate::{
    Init,
    kernel::{Elementary, PointwiseKernel, PointwiseMap},
};

/// Parameters of [`Gelu`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GeluConfig {
    /// What stands for the normal distribution function.
    pub approximate: GeluForm,
}

/// What stands for the normal distribution function in GELU; the names are PyTorch's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GeluForm {
    /// Itself.
    #[default]
    None,
    /// A logistic of a cubic: the paper's faster form, off by up to 5e-4.
    Tanh,
}

impl Entry for GeluConfig {
    const SUMMARY: &'static str = "x times the normal distribution function at x";
    const PAPER: &'static str = "Hendrycks and Gimpel 2016, Gaussian Error Linear Units, arXiv:1606.08415";
}

impl GeluConfig {
    /// The function.
    pub fn init(&self, _: &Init) -> Gelu {
        Gelu { approximate: self.approximate }
    }
}

/// GELU: the argument times the probability that a standard normal number is below it.
/// ```text
/// none:  y = x Φ(x),      y′ = Φ(x) + x φ(x),   φ(x) = e^(−x²/2) / √(2π)
/// tanh:  y = x σ(2u(x)),  y′ = σ(2u) + 2x u′(x) σ(2u) σ(−2u),   u(x) = √(2/π) (x + 0.044715 x³)
/// ```
/// The second is the paper's x (1 + tanh u)/2.
/// # Numerics
/// Relative to the result also in the left tail, where 1 + erf would cancel; −∞ gives −0.
/// # References
/// Hendrycks and Gimpel 2016, arXiv:1606.08415.
#[derive(Module, Debug)]
pub struct Gelu {
    /// What stands for the normal distribution function.
    #[module(skip)]
    pub approximate: GeluForm,
}

/// √(2/π).
const SLOPE: f64 = std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2;
/// The paper's coefficient of x³.
const CUBIC: f64 = 0.044715;

impl PointwiseFn for Gelu {
    fn kernel(&self) -> Arc<dyn PointwiseKernel> {
        match self.approximate {
            GeluForm::None => Arc::new(GeluMap),
            GeluForm::Tanh => Arc::new(GeluTanhMap),
        }
    }

    fn composed(&self, x: Tensor<1>) -> Tensor<1> {
        let x = above_infinity(x);
        let above = match self.approximate {
            GeluForm::None => x.clone().mul_scalar(std::f64::consts::FRAC_1_SQRT_2).erf(),
            GeluForm::Tanh => (x.clone() + x.clone().powi_scalar(3).mul_scalar(CUBIC)).mul_scalar(SLOPE).tanh(),
        };
        x.mul_scalar(0.5) * above.add_scalar(1.0)
    }
}

/// y = max(x, 0) − |x| Φ(−|x|).
#[derive(Clone, Copy, Debug)]
pub struct GeluMap;

impl PointwiseMap for GeluMap {
    #[inline(always)]
    fn forward<T: Elementary>(&self, x: T) -> T {
        let (tail, _) = x.normal_tail();
        x.positive_part() - x.abs().within(40.0) * tail
    }

    #[inline(always)]
    fn vjp<T: Elementary>(&self, x: T, g: T) -> T {
        let (tail, density) = x.normal_tail();
        let phi = if x >= T::zero() { T::one() - tail } else { tail };
        let scale = T::of(0.5 * std::f64::consts::FRAC_1_SQRT_2 * std::f64::consts::FRAC_2_SQRT_PI);
        g * (x.within(40.0) * scale).mul_add(density, phi)
    }
}

/// y = max(x, 0) − |x| σ(−2u(|x|)).
#[derive(Clone, Copy, Debug)]
pub struct GeluTanhMap;

/// Where σ(−2u(x)) is 0 in both types.
const TANH_BOUND: f64 = 24.0;

impl PointwiseMap for GeluTanhMap {
    #[inline(always)]
    fn forward<T: Elementary>(&self, x: T) -> T {
        let size = x.abs().within(TANH_BOUND);
        let square = size * size;
        let (e, above) = (size * square.mul_add(T::of(2.0 * SLOPE * CUBIC), T::of(2.0 * SLOPE))).logistic();
        x.positive_part() - size * (e * above)
    }

    #[inline(always)]
    fn vjp<T: Elementary>(&self, x: T, g: T) -> T {
        let near = x.within(TANH_BOUND);
        let square = near * near;
        let (e, above) = (near * square.mul_add(T::of(2.0 * SLOPE * CUBIC), T::of(2.0 * SLOPE))).logistic();
        let below = e * above;
        let sigmoid = if x >= T::zero() { above } else { below };
        let climb = near * square.mul_add(T::of(6.0 * SLOPE * CUBIC), T::of(2.0 * SLOPE));
        g * (climb * above).mul_add(below, sigmoid)
    }
}
