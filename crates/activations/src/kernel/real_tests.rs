use half::f16;

use super::{Real, precision::to_half};
use crate::testing::assert_close;

/// Distance in units of the last place of `want`.
fn ulps_f32(got: f32, want: f64) -> f64 {
    let nearest = want as f32;
    let spacing = f32::from_bits(nearest.abs().to_bits() + 1) - nearest.abs();
    (got as f64 - want).abs() / spacing as f64
}

fn ulps_f64(got: f64, want: f64) -> f64 {
    (got - want).abs() / (want.abs().next_up() - want.abs())
}

#[test]
fn exp_is_within_an_ulp_down_to_subnormals() {
    for i in 0..200_000 {
        let x = -103.9 + i as f64 * (192.5 / 200_000.0);
        let single = x as f32;
        let error = ulps_f32(single.exp_exact(), (single as f64).exp());
        assert!(error < 1.0, "exp({single}) in f32 is {error} ulp off");
        let x = x * 7.0;
        let error = ulps_f64(x.exp_exact(), x.exp());
        assert!(error <= 1.5, "exp({x}) in f64 is {error} ulp off");
    }
}

#[test]
fn exp_at_the_edges() {
    assert_eq!(0f32.exp_exact(), 1.0);
    assert_eq!((-0f64).exp_exact(), 1.0);
    assert!((-103.9f32).exp_exact() > 0.0, "the smallest subnormal");
    assert_eq!((-104.0f32).exp_exact(), 0.0);
    assert_eq!((-100f32).exp_exact(), (-100f64).exp() as f32);
    assert_eq!(f32::NEG_INFINITY.exp_exact(), 0.0);
    assert_eq!(f64::NEG_INFINITY.exp_exact(), 0.0);
    assert_eq!(89f32.exp_exact(), f32::INFINITY);
    assert!(88.7f32.exp_exact().is_finite());
    assert_eq!(710f64.exp_exact(), f64::INFINITY);
    assert!((-745.1f64).exp_exact() > 0.0);
    assert!(f32::NAN.exp_exact().is_nan() && f64::NAN.exp_exact().is_nan());
}

#[test]
fn ln_and_ln_1p_are_within_an_ulp() {
    for i in 0..200_000 {
        let x = (-700.0 + i as f64 * 0.007).exp();
        let error = ulps_f64(x.ln_exact(), x.ln());
        assert!(error <= 1.5, "ln({x}) is {error} ulp off");
        let x = (-40.0 + i as f64 * 0.0004).exp() - 0.9;
        let error = ulps_f64(x.ln_1p_exact(), x.ln_1p());
        assert!(error <= 2.0, "ln_1p({x}) is {error} ulp off");
    }
    assert_eq!(1f64.ln_exact().to_bits(), 0);
    assert_eq!(1f32.ln_exact().to_bits(), 0);
    assert_eq!((1.0 + f32::EPSILON).ln_exact(), f32::EPSILON.ln_1p());
    assert_eq!(0f64.ln_exact(), f64::NEG_INFINITY);
    assert_eq!(f64::INFINITY.ln_exact(), f64::INFINITY);
    assert!((-1f64).ln_exact().is_nan() && f64::NAN.ln_exact().is_nan());
    assert_close("ln of a subnormal", &[1e-310f64.ln_exact()], &[1e-310f64.ln()], 1e-15, 0.0);
    assert_eq!(1e-300f64.ln_1p_exact(), 1e-300);
    assert_eq!(1e-30f32.ln_1p_exact(), 1e-30);
    assert_eq!((-1f64).ln_1p_exact(), f64::NEG_INFINITY);
    assert_eq!(f64::INFINITY.ln_1p_exact(), f64::INFINITY);
}

#[test]
fn to_half_rounds_as_the_half_type_does() {
    let check = |x: f32| {
        let (got, want) = (to_half(x), f16::from_f32(x).to_f32());
        assert!(
            got.to_bits() == want.to_bits() || (got.is_nan() && want.is_nan()),
            "{x:e}: {got:e}, expected {want:e}"
        );
    };
    // Every half, the ties between neighbours, and what lies just beside them.
    for bits in 0..=u16::MAX {
        let x = f16::from_bits(bits).to_f32();
        check(x);
        let next = f16::from_bits(bits.wrapping_add(1)).to_f32();
        let tie = (x + next) / 2.0;
        check(tie);
        check(f32::from_bits(tie.to_bits().wrapping_add(1)));
        check(f32::from_bits(tie.to_bits().wrapping_sub(1)));
    }
    for edge in [65519.99, 65520.0, 1e30, f32::INFINITY, f32::NAN, 2f32.powi(-25), 2f32.powi(-40), 0.0] {
        check(edge);
        check(-edge);
    }
}
