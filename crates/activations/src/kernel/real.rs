//! The scalars a row is computed in, with elementary functions whose bits are the same on every CPU.
//!
//! The standard library's `exp` and `ln` belong to the platform. These are polynomials in explicit fused
//! multiply-adds: the compiler may put them into vectors of any width but never changes a bit.
use std::fmt::Debug;

use num_traits::{Float, FloatConst};

use super::elementary;

/// A scalar a row can be computed in: `f32` or `f64`.
///
/// The methods of [`Float`] that map to one machine instruction (arithmetic, comparisons, `abs`, `sqrt`,
/// `mul_add`, `is_finite`) are the same everywhere and may be used; its transcendental ones may not.
pub trait Real: Float + FloatConst + Default + Debug + Send + Sync + 'static {
    /// e^x to about 1 ulp; subnormal results are produced, overflow gives ∞, NaN stays NaN.
    fn exp_exact(self) -> Self;

    /// ln x to about 1 ulp (correctly rounded almost always in `f32`); ln 0 = −∞, NaN below 0.
    fn ln_exact(self) -> Self;

    /// ln(1 + x) to about 1 ulp without forming 1 + x where that would round x away.
    fn ln_1p_exact(self) -> Self;

    /// ln x for positive normal x to about 1 ulp, for whole rows: in the arithmetic of the type itself, where
    /// [`Real::ln_exact`] rounds almost every value correctly at twice the price. For other x it is unspecified.
    fn ln_lane(self) -> Self;

    /// ln(1 + x) for −1 < x < ∞ to about 1 ulp, for whole rows. For other x it is unspecified.
    fn ln_1p_lane(self) -> Self;

    /// The nearest value of this type.
    fn of(x: f64) -> Self;

    /// The same value in `f64`.
    fn wide(self) -> f64;
}

/// Coefficients 1/k! of Σ r^k/k! from the highest used power down to k = 2.
const EXP_F32: [f32; 6] = [1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5];
const EXP_F64: [f64; 12] = [
    1.0 / 6_227_020_800.0,
    1.0 / 479_001_600.0,
    1.0 / 39_916_800.0,
    1.0 / 3_628_800.0,
    1.0 / 362_880.0,
    1.0 / 40_320.0,
    1.0 / 5_040.0,
    1.0 / 720.0,
    1.0 / 120.0,
    1.0 / 24.0,
    1.0 / 6.0,
    0.5,
];

/// Coefficients 2/(2k + 1) of 2 artanh(s)/s = 2 + Σ 2/(2k + 1) s^2k from k = 11 down to k = 1.
const ARTANH: [f64; 11] = [
    2.0 / 23.0,
    2.0 / 21.0,
    2.0 / 19.0,
    2.0 / 17.0,
    2.0 / 15.0,
    2.0 / 13.0,
    2.0 / 11.0,
    2.0 / 9.0,
    2.0 / 7.0,
    2.0 / 5.0,
    2.0 / 3.0,
];

impl Real for f32 {
    // 2^n is applied in two exact halves: each stays a normal number, and a subnormal result is rounded once.
    #[inline(always)]
    fn exp_exact(self) -> f32 {
        let x = if self > 89.0 { 89.0 } else { self };
        let x = if x < -104.5 { -104.5 } else { x };
        let (n, rest) = split_exp_f32(x);
        let y = rest + 1.0;
        let half = n >> 1;
        let power = |e: i32| f32::from_bits((e.wrapping_add(127) as u32) << 23);
        y * power(half) * power(n.wrapping_sub(half))
    }

    // Through f64: every f32 is exact there. Six terms of the series leave an error of 2^-34, well below what the
    // rounding to f32 leaves.
    #[inline(always)]
    fn ln_exact(self) -> f32 {
        ln::<6>(self as f64) as f32
    }

    #[inline(always)]
    fn ln_1p_exact(self) -> f32 {
        ln_1p::<6>(self as f64) as f32
    }

    #[inline(always)]
    fn ln_lane(self) -> f32 {
        elementary::ln_f32(self)
    }

    #[inline(always)]
    fn ln_1p_lane(self) -> f32 {
        elementary::ln_1p_f32(self)
    }

    #[inline(always)]
    fn of(x: f64) -> f32 {
        x as f32
    }

    #[inline(always)]
    fn wide(self) -> f64 {
        self as f64
    }
}

impl Real for f64 {
    #[inline(always)]
    fn exp_exact(self) -> f64 {
        let x = if self > 710.0 { 710.0 } else { self };
        let x = if x < -746.0 { -746.0 } else { x };
        let (n, rest) = split_exp_f64(x);
        let y = rest + 1.0;
        let half = n >> 1;
        let power = |e: i64| f64::from_bits((e.wrapping_add(1023) as u64) << 52);
        y * power(half) * power(n.wrapping_sub(half))
    }

    #[inline(always)]
    fn ln_exact(self) -> f64 {
        ln::<11>(self)
    }

    #[inline(always)]
    fn ln_1p_exact(self) -> f64 {
        ln_1p::<11>(self)
    }

    #[inline(always)]
    fn ln_lane(self) -> f64 {
        self.ln_exact()
    }

    #[inline(always)]
    fn ln_1p_lane(self) -> f64 {
        self.ln_1p_exact()
    }

    #[inline(always)]
    fn of(x: f64) -> f64 {
        x
    }

    #[inline(always)]
    fn wide(self) -> f64 {
        self
    }
}

/// n and e^r − 1, with x = n ln 2 + r and |r| ≤ ln 2 / 2, so that e^x = 2^n e^r.
///
/// Adding 1.5·2^23 rounds to an integer and leaves it in the low bits, so no conversion instruction is needed.
#[inline(always)]
pub(super) fn split_exp_f32(x: f32) -> (i32, f32) {
    const MAGIC: f32 = 12_582_912.0;
    // ln 2 split so that n times the first part is exact.
    const LN2_HIGH: f32 = 355.0 / 512.0;
    const LN2_LOW: f32 = -0.000_212_194_44;
    let shifted = x.mul_add(std::f32::consts::LOG2_E, MAGIC);
    let n = shifted - MAGIC;
    // The high part of r is exact; the low one joins the sum last, so that its rounding is of second order.
    let (high, low) = (n.mul_add(-LN2_HIGH, x), n * -LN2_LOW);
    let r = high + low;
    let mut p = EXP_F32[0];
    let mut k = 1;
    while k < EXP_F32.len() {
        p = p.mul_add(r, EXP_F32[k]);
        k += 1;
    }
    let n = shifted.to_bits().wrapping_sub(MAGIC.to_bits()) as i32;
    (n, high + (p * r).mul_add(r, low))
}

/// As [`split_exp_f32`], with the integer in the low bits of 1.5·2^52 + n.
#[inline(always)]
pub(super) fn split_exp_f64(x: f64) -> (i64, f64) {
    const MAGIC: f64 = 6_755_399_441_055_744.0;
    // ln 2 with the low 20 bits cleared, and the rest of it.
    const LN2_HIGH: f64 = f64::from_bits(0x3fe6_2e42_fef0_0000);
    const LN2_LOW: f64 = f64::from_bits(0x3dd4_73de_6af2_78ed);
    let shifted = x.mul_add(std::f64::consts::LOG2_E, MAGIC);
    let n = shifted - MAGIC;
    let r = n.mul_add(-LN2_LOW, n.mul_add(-LN2_HIGH, x));
    let mut p = EXP_F64[0];
    let mut k = 1;
    while k < EXP_F64.len() {
        p = p.mul_add(r, EXP_F64[k]);
        k += 1;
    }
    let n = shifted.to_bits().wrapping_sub(MAGIC.to_bits()) as i64;
    (n, (p * r).mul_add(r, r))
}

/// ln x with so many terms of the series.
///
/// x = 2^k m with m in [√½, √2). With f = m − 1, s = f/(2 + f): ln m = 2 artanh s, whose series in s² (at most 0.0295)
/// is written as f − (f²/2 − s (f²/2 + R)), R = s² (2/3 + 2/5 s² + …), so that the rounding of s is damped.
#[inline(always)]
fn ln<const TERMS: usize>(x: f64) -> f64 {
    if !(x > 0.0 && x < f64::INFINITY) {
        let at_edge = if x == 0.0 { f64::NEG_INFINITY } else { f64::NAN };
        return if x == f64::INFINITY { x } else { at_edge };
    }
    let (m, k) = split(x);
    series::<TERMS>(m - 1.0, 0.0, k)
}

/// ln(1 + x) with so many terms of the series.
#[inline(always)]
fn ln_1p<const TERMS: usize>(x: f64) -> f64 {
    if x.is_nan() || x <= -1.0 || x == f64::INFINITY {
        return ln::<TERMS>(1.0 + x);
    }
    if (-0.25..=0.4).contains(&x) {
        return series::<TERMS>(x, 0.0, 0.0);
    }
    // u = 1 + x rounds; what was rounded away comes back as a first-order term.
    let u = 1.0 + x;
    let lost = if x > 1.0 { 1.0 - (u - x) } else { x - (u - 1.0) };
    let (m, k) = split(u);
    series::<TERMS>(m - 1.0, lost / u, k)
}

/// m in [√½, √2) and k with x = 2^k m, for finite x > 0.
#[inline(always)]
fn split(x: f64) -> (f64, f64) {
    let (x, offset) = if x < f64::MIN_POSITIVE { (x * 18_014_398_509_481_984.0, -54) } else { (x, 0) };
    let bits = x.to_bits();
    let k = ((bits >> 52) as i64) - 1023;
    let m = f64::from_bits((bits & 0x000f_ffff_ffff_ffff) | 0x3ff0_0000_0000_0000);
    let high = m >= std::f64::consts::SQRT_2;
    let m = if high { 0.5 * m } else { m };
    (m, (k + offset + high as i64) as f64)
}

/// k ln 2 + ln(1 + f) + small.
#[inline(always)]
pub(super) fn series<const TERMS: usize>(f: f64, small: f64, k: f64) -> f64 {
    const LN2_HIGH: f64 = f64::from_bits(0x3fe6_2e42_fee0_0000);
    const LN2_LOW: f64 = f64::from_bits(0x3dea_39ef_3579_3c76);
    let s = f / (2.0 + f);
    let z = s * s;
    let mut term = ARTANH.len() - TERMS;
    let mut r = ARTANH[term];
    while term + 1 < ARTANH.len() {
        term += 1;
        r = r.mul_add(z, ARTANH[term]);
    }
    let r = r * z;
    // The largest term last.
    let half_square = 0.5 * f * f;
    let tail = s.mul_add(half_square + r, k.mul_add(LN2_LOW, small));
    k * LN2_HIGH - ((half_square - tail) - f)
}
