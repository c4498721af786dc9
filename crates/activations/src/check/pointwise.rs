//! The check of a pointwise function.
use burn::tensor::{DType, Device};

use super::{
    Finding, Kind, Quantity, Setting,
    cases::Case,
    map::{Collected, Compared},
    pass::{Inputs, Pass, host},
    ulp::{Want, largest, worst},
    yardstick::Yardstick,
};
use crate::pointwise::Pointwise;

/// Checks a pointwise function: its values and its gradient. One finding for each.
///
/// At ±∞ the value is the limit, which the definition shows at the largest numbers of `f64`; the gradient there, and at NaN, is
/// not looked at.
///
/// # Panics
/// If the device cannot run the function, or no host backend is compiled in.
pub fn check_pointwise(name: &str, function: &Pointwise, setting: &Setting) -> Vec<Finding> {
    const KINDS: [Kind; 4] = [Kind::Plain, Kind::Special, Kind::Huge, Kind::Tiny];
    let mut found = Collected::default();
    for case in Case::all(setting, &KINDS) {
        check_case(function, &case, setting, &mut found);
    }
    found.findings(name, setting.dtype)
}

fn check_case(function: &Pointwise, case: &Case, setting: &Setting, found: &mut Collected) {
    let Setting { device, dtype, .. } = setting;
    let host = host();
    let inputs =
        Inputs { device, dtype: *dtype, n: case.n, scores: &case.scores, params: None, upstream: Some(&case.upstream) };
    let composed = |inputs: Inputs<'_>| {
        inputs.run(|x, _| {
            let shape = x.dims();
            function.composed(x.reshape([shape[0] * shape[1]])).reshape::<2, _>(shape)
        })
    };
    let got = inputs.run(|x, _| function.forward(x));
    // The definition is asked where the argument is finite.
    let finite: Vec<f64> = case.scores.iter().map(|&x| if x.is_finite() { x } else { 0.0 }).collect();
    let finite = Inputs { scores: &finite, ..inputs };
    let want = composed(finite.on(&host, DType::F64));
    // What a value is a difference of is about the argument, or about 1 where the function saturates.
    let arguments = largest(finite.scores, case.n).into_iter().map(|x| x.min(1.0)).collect();
    let mut value = Want::exactly(want.y, case.n).of_terms(arguments);
    let mut gradient = Want::exactly(want.dx, case.n).of_terms(largest(&case.upstream, case.n));
    // A kink: the slope of either side will do.
    let unit = 8.0 * if *dtype == DType::F64 { f64::EPSILON } else { f64::from(f32::EPSILON) };
    for sign in [unit, -unit] {
        let beside: Vec<f64> = finite.scores.iter().map(|x| x + sign * x.abs().max(1.0)).collect();
        gradient.or_across_jumps(&composed(Inputs { scores: &beside, ..finite }.on(&host, DType::F64)).dx);
    }
    let yardstick = Yardstick::new(&finite, &host, |inputs, _| composed(inputs));
    let composed_value = yardstick.error(|pass| &pass.y, &value, *dtype, |_| true);
    let composed_gradient = yardstick.error(|pass| &pass.dx, &gradient, *dtype, |_| true);
    let limits = limits(&composed, &host);
    let mut dx = got.dx;
    for (i, &x) in case.scores.iter().enumerate().filter(|(_, x)| !x.is_finite()) {
        let limit = if x.is_nan() { f64::NAN } else { limits[usize::from(x > 0.0)] };
        value.set(i, limit);
        gradient.set(i, 0.0);
        dx[i] = 0.0;
    }
    found.add(
        case,
        Compared {
            quantity: Quantity::Value,
            dtype: *dtype,
            error: worst(&got.y, &value, *dtype, |_| true),
            composed: composed_value,
        },
    );
    found.add(
        case,
        Compared {
            quantity: Quantity::ValueGradient,
            dtype: *dtype,
            error: worst(&dx, &gradient, *dtype, |_| true),
            composed: composed_gradient,
        },
    );
}

/// The limits at −∞ and +∞: infinite where the function still grows among the largest numbers.
fn limits(composed: &impl Fn(Inputs<'_>) -> Pass, host: &Device) -> [f64; 2] {
    let at = |x: f64| {
        let scores = [x];
        composed(Inputs { device: host, dtype: DType::F64, n: 1, scores: &scores, params: None, upstream: None }).y[0]
    };
    [-1.0, 1.0].map(|sign| {
        let (near, far) = (at(sign * 1e150), at(sign * 1e300));
        if far.abs() > near.abs() { f64::INFINITY.copysign(far) } else { far }
    })
}
