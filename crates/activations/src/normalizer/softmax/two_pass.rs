//! The two-pass algorithm.
use crate::kernel::{AtInfinity, Real, RowMap, VjpRow, lanes::LANES};

use super::softmax_vjp;

/// Softmax without a maximum: exponentials as a pair of mantissa and exponent, `exp(x) = f 2^e`, which cannot overflow.
/// ```text
/// e = round(x / ln 2),  f = exp(x − e ln 2)
/// pass 1: (F, E) ← Σ (f, e), the smaller exponent brought to the larger one
/// pass 2: y = f / F · 2^(e − E)
/// ```
/// The row is read twice and written once, as in the online algorithm, with no comparison of scores.
/// # References
/// Dukhan and Ablavatski 2020, The Two-Pass Softmax Algorithm, arXiv:2001.04438.
#[derive(Clone, Copy, Debug)]
pub struct TwoPassSoftmaxRow;

/// 2^d for a whole d ≤ 0, and 0 where that is not a normal number.
#[inline(always)]
fn power<T: Real>(d: T) -> T {
    let lowest = if T::epsilon() > T::of(1e-10) { f32::MIN_EXP - 1 } else { f64::MIN_EXP - 1 };
    let near = d >= T::of(f64::from(lowest));
    let power = (if near { d } else { T::zero() } * T::LN_2()).exp_exact();
    if near { power } else { T::zero() }
}

/// exp(x) as mantissa and exponent.
#[inline(always)]
fn split<T: Real>(x: T) -> (T, T) {
    // ln 2 in two parts, the first with so few bits that its product with an exponent is exact.
    let (high, low) = (T::of(355.0 / 512.0), T::of(std::f64::consts::LN_2 - 355.0 / 512.0));
    let magic = T::of(1.5) / T::epsilon();
    let e = x.mul_add(T::LOG2_E(), magic) - magic;
    let r = e.mul_add(-low, e.mul_add(-high, x));
    (r.exp_exact(), e)
}

/// The sum of two pairs.
#[inline(always)]
fn add<T: Real>((f, e): (T, T), (g, h): (T, T)) -> (T, T) {
    let top = if e > h { e } else { h };
    (f.mul_add(power(e - top), g * power(h - top)), top)
}

/// The sum of exp(x) over a row as mantissa and exponent.
#[inline(always)]
fn sum<T: Real>(x: &[T]) -> (T, T) {
    // The exponent of nothing: lower than any, and finite, so that differences are numbers.
    let nothing = T::min_value() * T::of(0.25);
    let (mut f, mut e) = ([T::zero(); LANES], [nothing; LANES]);
    let mut chunks = x.chunks_exact(LANES);
    for chunk in &mut chunks {
        for lane in 0..LANES {
            (f[lane], e[lane]) = add((f[lane], e[lane]), split(chunk[lane]));
        }
    }
    for (lane, &x) in chunks.remainder().iter().enumerate() {
        (f[lane], e[lane]) = add((f[lane], e[lane]), split(x));
    }
    (0..LANES).fold((T::zero(), nothing), |sum, lane| add(sum, (f[lane], e[lane])))
}

impl RowMap for TwoPassSoftmaxRow {
    const AT_INFINITY: AtInfinity = AtInfinity::OneHot;

    #[inline(always)]
    fn forward<T: Real>(&self, x: &[T], _: &[T], y: &mut [T]) {
        let (mantissa, exponent) = sum(x);
        let scale = T::one() / mantissa;
        for (y, &x) in y.iter_mut().zip(x) {
            let (f, e) = split(x);
            *y = f * scale * power(e - exponent);
        }
    }

    #[inline(always)]
    fn vjp<T: Real>(&self, row: VjpRow<'_, T>, dx: &mut [T], _: &mut [T]) {
        softmax_vjp(row.y, row.g, dx);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::assert_close;

    #[test]
    fn golden_pairs() {
        let x = [0.5f64, 2.0, 3.0, -1.0];
        let pairs = [(0.8243606354, 1.0), (0.9236320124, 3.0), (1.255346058, 4.0), (0.7357588823, -1.0)];
        let sums = [(0.8243606354, 1.0), (1.129722171, 3.0), (1.820207143, 4.0), (1.843199608, 4.0)];
        for (i, (pair, sum_to_here)) in pairs.into_iter().zip(sums).enumerate() {
            let (f, e) = split(x[i]);
            assert_close("pair", &[f, e], &[pair.0, pair.1], 1e-9, 0.0);
            let (f, e) = sum(&x[..=i]);
            assert_close("sum", &[f, e], &[sum_to_here.0, sum_to_here.1], 1e-9, 0.0);
        }
    }
}
