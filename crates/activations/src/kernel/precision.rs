//! The precisions a loss is computed in, as types.
use half::f16;

use super::Real;

/// A precision: the scalar that computes it and what every stored term and result is rounded to.
pub trait Precision: Copy + Send + Sync + 'static {
    /// The scalar of the arithmetic.
    type T: Real;

    /// Rounds one term or result to this precision.
    fn round(x: Self::T) -> Self::T;
}

/// Emulated half precision: arithmetic and sums in `f32`, every term and result rounded to half.
#[derive(Clone, Copy, Debug)]
pub struct Half;

/// Single precision.
#[derive(Clone, Copy, Debug)]
pub struct Single;

/// Double precision.
#[derive(Clone, Copy, Debug)]
pub struct Double;

impl Precision for Half {
    type T = f32;
    #[inline(always)]
    fn round(x: f32) -> f32 {
        to_half(x)
    }
}

impl Precision for Single {
    type T = f32;
    #[inline(always)]
    fn round(x: f32) -> f32 {
        x
    }
}

impl Precision for Double {
    type T = f64;
    #[inline(always)]
    fn round(x: f64) -> f64 {
        x
    }
}

/// The nearest half-precision value, ties to even, as `f32`: branch-free, so that it vectorises.
#[inline(always)]
pub fn to_half(x: f32) -> f32 {
    const SMALLEST_NORMAL: f32 = 1.0 / 16_384.0;
    const LARGEST: f32 = f16::MAX.to_f32_const();
    let size = x.abs();
    // Below the smallest normal the spacing is 2^-24, which is the spacing of f32 in [½, 1): adding ½ rounds to it.
    let subnormal = (size + 0.5) - 0.5;
    // Above it 13 of 23 mantissa bits go; the bit that stays decides a tie.
    let bits = size.to_bits();
    let normal = f32::from_bits(bits.wrapping_add(0x0fff + ((bits >> 13) & 1)) & !0x1fff);
    let normal = if normal > LARGEST { f32::INFINITY } else { normal };
    let rounded = if size < SMALLEST_NORMAL { subnormal } else { normal };
    let rounded = if x.is_nan() { x } else { rounded };
    rounded.copysign(x)
}
