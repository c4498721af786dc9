//! Elementary functions of the pointwise maps, with bits that are the same on every CPU.
//!
//! As in [`super::real`], but for loops over many elements: no branch, no table and, in `f32`, no detour through `f64`,
//! so that the compiler puts a whole function into vectors. Errors are of the result itself, in the tails too.
use super::{
    Real,
    real::{series, split_exp_f32, split_exp_f64},
};

/// A scalar a pointwise map can be computed in: `f32` or `f64`.
pub trait Elementary: Real {
    /// e^x − 1 for 0 ≤ x ≤ 88, to about 2 ulp. What it gives for other x is unspecified; NaN stays NaN.
    fn exp_m1_positive(self) -> Self;

    /// ln(1 + x) for x ≥ 0, to about 1 ulp; ∞ stays ∞ and NaN stays NaN. What it gives for x < 0 is unspecified.
    fn ln_1p_positive(self) -> Self;

    /// Φ(−|x|) and exp(−x²/2), with Φ the distribution function of the standard normal; to about 3 and 2 ulp, 0 where
    /// they underflow. Φ(x) is the first below 0 and one minus it above.
    fn normal_tail(self) -> (Self, Self);

    /// tanh x to about 2 ulp in `f32`, 3 in `f64`.
    #[inline(always)]
    fn tanh_exact(self) -> Self {
        // E/(E + 2) with E = e^(2|x|) − 1; beyond 22 it is 1 in both types.
        let rise = clamp(self.abs() + self.abs(), 44.0).exp_m1_positive();
        (rise / (rise + Self::of(2.0))).copysign(self)
    }

    /// e = exp(−|x|) and 1/(1 + e): the logistic function is the second above 0, and their product below.
    #[inline(always)]
    fn logistic(self) -> (Self, Self) {
        let e = (-self.abs()).exp_exact();
        (e, Self::one() / (Self::one() + e))
    }

    /// 1/(1 + exp(−x)) to about 2 ulp, below 0 too.
    #[inline(always)]
    fn sigmoid_exact(self) -> Self {
        let (e, above) = self.logistic();
        if self >= Self::zero() { above } else { e * above }
    }

    /// The larger of x and 0; 0 for NaN.
    #[inline(always)]
    fn positive_part(self) -> Self {
        if self > Self::zero() { self } else { Self::zero() }
    }

    /// x moved into [−bound, bound], so that its product with what vanishes there is 0 even for ±∞; NaN stays NaN.
    #[inline(always)]
    fn within(self, bound: f64) -> Self {
        clamp(self.abs(), bound).copysign(self)
    }
}

/// The smaller of x and `most`; NaN stays NaN.
#[inline(always)]
fn clamp<T: Real>(x: T, most: f64) -> T {
    let most = T::of(most);
    if x > most { most } else { x }
}

/// Coefficients of P in ln(1 + f) = f − f²/2 + f³ P(f) for √½ ≤ 1 + f ≤ √2, highest power first: interpolation at
/// Chebyshev nodes, relative error of the logarithm below 2^-28.
const LN_1P_F32: [f32; 9] =
    [0.06971612, -0.11479734, 0.1168542, -0.12425687, 0.14249058, -0.16667803, 0.20000716, -0.24999997, 0.3333333];

/// Where |x| = c, the variable q = (|x| − c)/(|x| + c) of [`MILLS_F32`] and [`MILLS_F64`] is 0.
const MILLS_CENTRE_F32: f32 = 4.0;
const MILLS_CENTRE_F64: f64 = 5.0;

/// Coefficients in q of Φ(−a) e^(a²/2) (a + c), highest power first: interpolation at Chebyshev nodes for a up to where
/// Φ(−a) underflows (14.5 and 39), relative error below 2^-26 and 2^-56.
const MILLS_F32: [f32; 10] = [
    -0.00012298315,
    0.00019480185,
    0.0015693137,
    -0.003523574,
    -0.007527213,
    0.06040647,
    -0.186523,
    0.38713667,
    -0.6078966,
    0.75528514,
];
const MILLS_F64: [f64; 23] = [
    -1.5877468827473365e-10,
    1.753048401408232e-09,
    7.66307180076004e-09,
    -9.31356099432606e-09,
    -6.594221662477223e-08,
    4.2274993740065346e-08,
    4.331410356862585e-07,
    -3.366153681012471e-07,
    -2.76926709599743e-06,
    3.9809021578680414e-06,
    1.6681213742042063e-05,
    -4.97628142705858e-05,
    -5.937572800991586e-05,
    0.0005448990647731298,
    -0.0007978693984660701,
    -0.0029933767705085422,
    0.020795066799883178,
    -0.06911863870631016,
    0.1650203661703847,
    -0.31353315667130455,
    0.4953056159699764,
    -0.6653825028900567,
    0.769193049750063,
];

/// The polynomial with these coefficients, highest power first.
#[inline(always)]
fn polynomial<T: Real, const N: usize>(coefficients: &[T; N], x: T) -> T {
    let mut sum = coefficients[0];
    let mut k = 1;
    while k < N {
        sum = sum.mul_add(x, coefficients[k]);
        k += 1;
    }
    sum
}

/// ln(1 + x) for −1 < x < ∞, in the arithmetic of `f32`.
///
/// 1 + x = 2^k (1 + f) with 1 + f in [√½, √2): f = 2^-k x + (2^-k − 1) rounds once, and not at all for k = 0, so what
/// 1 + x would round away stays. 2^-k is formed four times too large, so that it is a normal number.
#[inline(always)]
pub(super) fn ln_1p_f32(x: f32) -> f32 {
    let k = (1.0 + x).to_bits().wrapping_sub(std::f32::consts::FRAC_1_SQRT_2.to_bits()) & 0xff80_0000;
    let scaled = f32::from_bits(x.to_bits().wrapping_sub(k));
    let scale = f32::from_bits(4f32.to_bits().wrapping_sub(k));
    ln_of_parts_f32(scaled + scale.mul_add(0.25, -1.0), k)
}

/// ln x for positive normal x, in the arithmetic of `f32`.
#[inline(always)]
pub(super) fn ln_f32(x: f32) -> f32 {
    let k = x.to_bits().wrapping_sub(std::f32::consts::FRAC_1_SQRT_2.to_bits()) & 0xff80_0000;
    ln_of_parts_f32(f32::from_bits(x.to_bits().wrapping_sub(k)) - 1.0, k)
}

/// k ln 2 + ln(1 + f), with k in the place of the exponent.
#[inline(always)]
fn ln_of_parts_f32(f: f32, k: u32) -> f32 {
    const LN2_HIGH: f32 = 355.0 / 512.0;
    const LN2_LOW: f32 = -0.000_212_194_44;
    let k = ((k as i32) >> 23) as f32;
    let bend = f.mul_add(polynomial(&LN_1P_F32, f), -0.5);
    k.mul_add(LN2_HIGH, f + (f * f).mul_add(bend, k * LN2_LOW))
}

/// Φ(−|x|) and exp(−x²/2): the second times a quotient that is as smooth as a polynomial in q likes it.
#[inline(always)]
fn normal_tail<T: Real, const N: usize>(x: T, centre: T, mills: &[T; N]) -> (T, T) {
    // Both are 0 from 40 on.
    let size = clamp(x.abs(), 40.0);
    let half = T::of(0.5);
    // The square as a sum of two, since exp makes an error of its argument one of the whole result.
    let square = size * size;
    let lost = size.mul_add(size, -square);
    let density = (-half * square).exp_exact();
    let density = density.mul_add(-half * lost, density);
    let inverse = T::one() / (size + centre);
    // What the division left over goes into q once more: near 0 the result feels three times the error of q.
    let q = (size - centre) * inverse;
    let left = size.mul_add(-q, (q + T::one()).mul_add(-centre, size));
    let q = inverse.mul_add(left, q);
    (density * (inverse * polynomial(mills, q)), density)
}

impl Elementary for f32 {
    #[inline(always)]
    fn exp_m1_positive(self) -> f32 {
        let (n, rest) = split_exp_f32(self);
        let power = f32::from_bits((n.wrapping_add(127) as u32) << 23);
        power.mul_add(rest, power - 1.0)
    }

    #[inline(always)]
    fn ln_1p_positive(self) -> f32 {
        let ln = ln_1p_f32(self);
        if self < f32::INFINITY { ln } else { self }
    }

    #[inline(always)]
    fn normal_tail(self) -> (f32, f32) {
        normal_tail(self, MILLS_CENTRE_F32, &MILLS_F32)
    }
}

impl Elementary for f64 {
    #[inline(always)]
    fn exp_m1_positive(self) -> f64 {
        let (n, rest) = split_exp_f64(self);
        let power = f64::from_bits((n.wrapping_add(1023) as u64) << 52);
        power.mul_add(rest, power - 1.0)
    }

    // As in f32; k becomes a float in the low bits of 2^52, since wide vectors convert no 64-bit integer.
    #[inline(always)]
    fn ln_1p_positive(self) -> f64 {
        const MAGIC: f64 = 4_503_599_627_370_496.0;
        const EXPONENT: u64 = 0xfff0_0000_0000_0000;
        let k = (1.0 + self).to_bits().wrapping_sub(std::f64::consts::FRAC_1_SQRT_2.to_bits()) & EXPONENT;
        let scaled = f64::from_bits(self.to_bits().wrapping_sub(k));
        let scale = f64::from_bits(4f64.to_bits().wrapping_sub(k));
        let f = scaled + scale.mul_add(0.25, -1.0);
        let k = f64::from_bits((k >> 52) | MAGIC.to_bits()) - MAGIC;
        let ln = series::<11>(f, 0.0, k);
        if self < f64::INFINITY { ln } else { self }
    }

    #[inline(always)]
    fn normal_tail(self) -> (f64, f64) {
        normal_tail(self, MILLS_CENTRE_F64, &MILLS_F64)
    }
}
