//! Differences that cancel, by their series where they do: scalar maths that several maps share.
use crate::kernel::Real;

/// Coefficients 1/k! of Σ x^k/k! from k = 13 down to k = 2: beyond f64 below [`SMALL`].
const EXP_M1: [f64; 12] = [
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

/// Below this magnitude e^x − 1 is taken from its series; above, the difference has lost two bits at most.
const SMALL: f64 = 0.35;

/// e^x − 1 of a small x, by its series.
#[inline(always)]
pub(super) fn exp_m1_near<T: Real>(x: T) -> T {
    let mut series = T::of(EXP_M1[0]);
    for &coefficient in &EXP_M1[1..] {
        series = series.mul_add(x, T::of(coefficient));
    }
    (series * x).mul_add(x, x)
}

/// `near` where the series of [`exp_m1_near`] holds at x, else `far`.
#[inline(always)]
pub(super) fn below_series<T: Real>(x: T, near: T, far: T) -> T {
    if x.abs() < T::of(SMALL) { near } else { far }
}

/// e^x − 1 to full relative precision, from x and e^x.
#[inline(always)]
pub(super) fn exp_m1<T: Real>(x: T, exp: T) -> T {
    below_series(x, exp_m1_near(x), exp - T::one())
}

/// (e^−t − 1 + t) / t², continued over t = 0.
#[inline(always)]
pub(super) fn second_order<T: Real>(t: T, exp_minus: T) -> T {
    // Where the difference cancels, the series: 1/2 − t/6 + t²/24 − …
    const TERMS: [f64; 12] = [
        1.0 / 87_178_291_200.0,
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
    ];
    let mut series = T::zero();
    let mut k = 0;
    while k < TERMS.len() {
        series = T::of(TERMS[k]) - t * series;
        k += 1;
    }
    let series = T::of(0.5) - t * series;
    let direct = (exp_minus - T::one() + t) / (t * t);
    if t.abs() < T::of(0.4) { series } else { direct }
}

/// Coefficients of ln cosh s in s², highest power first, good to `f64` up to s = 1/2.
pub(super) const LN_COSH: [f64; 14] = [
    -2.3041747198769394e-07,
    6.122655795895756e-07,
    -1.6365968284715348e-06,
    4.405244525877023e-06,
    -1.1956455712177625e-05,
    3.277930227475478e-05,
    -9.09896491907074e-05,
    0.0002565805740408915,
    -691.0 / 935_550.0,
    31.0 / 14_175.0,
    -17.0 / 2520.0,
    1.0 / 45.0,
    -1.0 / 12.0,
    0.5,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::assert_close;

    #[test]
    fn differences_keep_their_digits() {
        let x = [-800.0, -3.0, -0.401, -0.399, -0.351, -0.349, -1e-4, -1e-12, 0.0, 1e-9, 0.2, 0.349, 0.351, 0.41, 5.0];
        assert_close("e^x − 1", &x.map(|x: f64| exp_m1(x, x.exp())), &x.map(f64::exp_m1), 2e-15, 0.0);
        // (e^−t − 1 + t)/t² by its own sum of t^k/(k + 2)!, which converges fast enough here.
        let summed = |t: f64| {
            let term = |(term, sum): (f64, f64), k: u32| (-term * t / f64::from(k + 3), sum + term);
            (0..60).fold((0.5, 0.0), term).1
        };
        let t = [-3.0, -0.401, -0.399, -1e-9, 0.0, 1e-3, 0.399, 0.401, 3.0];
        assert_close("second order", &t.map(|t: f64| second_order(t, (-t).exp())), &t.map(summed), 1e-14, 0.0);
    }
}
