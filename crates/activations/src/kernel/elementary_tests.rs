use super::Elementary;

/// Distance in units of the last place of `want`.
fn ulps_f32(got: f32, want: f64) -> f64 {
    let nearest = want as f32;
    if got == nearest {
        return 0.0;
    }
    let spacing = nearest.abs().next_up() - nearest.abs();
    (got as f64 - want).abs() / spacing as f64
}

fn ulps_f64(got: f64, want: f64) -> f64 {
    if got == want { 0.0 } else { (got - want).abs() / (want.abs().next_up() - want.abs()) }
}

/// Arguments of all sizes, from the smallest subnormal to the largest number.
fn sizes() -> impl Iterator<Item = f32> {
    (1..0x7f80_0000u32).step_by(9973).map(f32::from_bits)
}

#[test]
fn tanh_is_within_a_few_ulp() {
    let (mut worst, mut worst_wide) = (0f64, 0f64);
    for x in sizes() {
        worst = worst.max(ulps_f32(x.tanh_exact(), (x as f64).tanh()));
        assert_eq!((-x).tanh_exact(), -x.tanh_exact());
        let x = x as f64 * 1.000_000_123;
        worst_wide = worst_wide.max(ulps_f64(x.tanh_exact(), x.tanh()));
    }
    assert!(worst < 2.5 && worst_wide < 3.5, "{worst} ulp in f32, {worst_wide} in f64");
    assert_eq!((0f32.tanh_exact(), f32::INFINITY.tanh_exact(), f64::NEG_INFINITY.tanh_exact()), (0.0, 1.0, -1.0));
    assert!(
        (-0f64).tanh_exact().is_sign_negative() && f32::NAN.tanh_exact().is_nan() && f64::NAN.tanh_exact().is_nan()
    );
}

#[test]
fn ln_1p_is_within_an_ulp_or_so() {
    let (mut worst, mut worst_wide) = (0f64, 0f64);
    for x in sizes() {
        worst = worst.max(ulps_f32(x.ln_1p_positive(), (x as f64).ln_1p()));
        for x in [x as f64 * 1.000_000_123, (x as f64 * 1.1).powi(7)] {
            worst_wide = worst_wide.max(if x.is_finite() { ulps_f64(x.ln_1p_positive(), x.ln_1p()) } else { 0.0 });
        }
    }
    assert!(worst < 1.3 && worst_wide < 2.0, "{worst} ulp in f32, {worst_wide} in f64");
    assert_eq!((0f32.ln_1p_positive(), 0f64.ln_1p_positive()), (0.0, 0.0));
    assert_eq!(f32::INFINITY.ln_1p_positive(), f32::INFINITY);
    assert_eq!(f64::INFINITY.ln_1p_positive(), f64::INFINITY);
    assert_eq!(f64::MAX.ln_1p_positive(), f64::MAX.ln());
    assert!(f32::NAN.ln_1p_positive().is_nan() && f64::NAN.ln_1p_positive().is_nan());
}

#[test]
fn exp_m1_is_within_an_ulp_or_so() {
    let (mut worst, mut worst_wide) = (0f64, 0f64);
    for x in sizes().filter(|&x| x <= 88.0) {
        worst = worst.max(ulps_f32(x.exp_m1_positive(), (x as f64).exp_m1()));
        let x = (x as f64 * 1.000_000_123).min(88.0);
        worst_wide = worst_wide.max(ulps_f64(x.exp_m1_positive(), x.exp_m1()));
    }
    assert!(worst < 1.5 && worst_wide < 2.5, "{worst} ulp in f32, {worst_wide} in f64");
    assert!(f32::NAN.exp_m1_positive().is_nan() && f64::NAN.exp_m1_positive().is_nan());
}

#[test]
fn sigmoid_is_within_a_few_ulp_on_both_sides() {
    let (mut worst, mut worst_wide) = (0f64, 0f64);
    let logistic = |x: f64| if x < 0.0 { x.exp() / (1.0 + x.exp()) } else { 1.0 / (1.0 + (-x).exp()) };
    for x in sizes().filter(|&x| x < 103.0).flat_map(|x| [x, -x]) {
        worst = worst.max(ulps_f32(x.sigmoid_exact(), logistic(x as f64)));
        let x = x as f64 * 6.8;
        worst_wide = worst_wide.max(ulps_f64(x.sigmoid_exact(), logistic(x)));
    }
    assert!(worst < 2.5 && worst_wide < 4.0, "{worst} ulp in f32, {worst_wide} in f64");
    assert_eq!((f32::INFINITY.sigmoid_exact(), f64::NEG_INFINITY.sigmoid_exact()), (1.0, 0.0));
    assert!(f32::NAN.sigmoid_exact().is_nan() && f64::NAN.sigmoid_exact().is_nan());
}

/// Φ(−a) to 16 digits, computed with 400.
#[allow(clippy::excessive_precision, reason = "the digits of the source")]
const NORMAL: [(f64, f64); 11] = [
    (0.0, 0.5),
    (0.001, 0.49960105778608893),
    (0.1, 0.460172162722971),
    (0.5, 0.3085375387259869),
    (1.0, 0.15865525393145705),
    (1.5, 0.06680720126885807),
    (3.0, 0.0013498980316300946),
    (5.0, 2.866515718791939e-07),
    (10.0, 7.619853024160525e-24),
    (20.0, 2.7536241186062337e-89),
    (30.0, 4.906713927148187e-198),
];

#[test]
fn the_normal_tail_keeps_its_digits() {
    for (a, want) in NORMAL {
        for x in [a, -a] {
            let (tail, density) = x.normal_tail();
            assert!((tail / want - 1.0).abs() < 2e-15, "Φ(−{a}) = {tail:e}, expected {want:e}");
            assert!((density / (-0.5 * a * a).exp() - 1.0).abs() < 1e-13, "exp(−{a}²/2) = {density:e}");
        }
    }
    // f64 is the reference of f32 from here on.
    let (mut worst, mut worst_density) = (0f64, 0f64);
    for x in sizes() {
        let ((tail, density), (want, want_density)) = (x.normal_tail(), (x as f64).normal_tail());
        // Subnormal products are rounded twice.
        let subnormal = want < f32::MIN_POSITIVE as f64;
        worst = worst.max(ulps_f32(tail, want) * if subnormal { 0.5 } else { 1.0 });
        worst_density = worst_density.max(ulps_f32(density, want_density));
    }
    assert!(worst < 3.5 && worst_density < 2.0, "{worst} ulp of the tail, {worst_density} of the density");
    for x in [f64::INFINITY, f64::NEG_INFINITY, 1e300, 40.0] {
        assert_eq!((x.normal_tail(), (x as f32).normal_tail()), ((0.0, 0.0), (0.0, 0.0)));
    }
    assert!(f32::NAN.normal_tail().0.is_nan() && f64::NAN.normal_tail().1.is_nan());
}

#[test]
fn the_logarithms_for_rows_are_good_to_an_ulp() {
    let worst = |values: &mut dyn Iterator<Item = (f32, f64)>| {
        values.map(|(got, want)| ((got as f64 - want) / (want.abs() * 2f64.powi(-23))).abs()).fold(0.0, f64::max)
    };
    // From the smallest normal number on, in steps of a fraction of a percent.
    let x = || (0..200_000).map(|i| f32::MIN_POSITIVE * 2f32.powf(i as f32 * 253.0 / 200_000.0));
    let ln = worst(&mut x().filter(|&x| x != 1.0).map(|x| (crate::kernel::Real::ln_lane(x), (x as f64).ln())));
    let above = worst(&mut x().map(|x| (crate::kernel::Real::ln_1p_lane(x), (x as f64).ln_1p())));
    let below =
        worst(&mut x().filter(|&x| x < 1.0).map(|x| (crate::kernel::Real::ln_1p_lane(-x), (-x as f64).ln_1p())));
    assert!(ln < 2.0 && above < 2.0 && below < 2.0, "{ln} {above} {below}");
    assert_eq!(crate::kernel::Real::ln_lane(1f32), 0.0);
}
