//! What holds for every pointwise function. Every entry of the registry takes part by being in it.
use burn::tensor::{DType, Tensor};
use kiln_registry::Tagged;

use super::{GeluConfig, GeluForm, Pointwise, PointwiseConfig, SoftplusConfig};
use crate::{
    Init,
    testing::{assert_close, assert_gradient, device, gradient, normal, tensor, values},
};

/// Every entry at its defaults, and some at other parameters.
fn configs() -> Vec<PointwiseConfig> {
    let named = PointwiseConfig::NAMES.iter().map(|name| PointwiseConfig::by_name(name).expect("a known name"));
    let others = [
        PointwiseConfig::Gelu(GeluConfig { approximate: GeluForm::Tanh }),
        PointwiseConfig::Softplus(SoftplusConfig { beta: 3.0 }),
    ];
    named.chain(others).collect()
}

fn functions() -> impl Iterator<Item = (String, Pointwise)> {
    let init = Init::new(0, &device(), DType::F64);
    configs().into_iter().map(move |config| (format!("{config:?}"), config.init(&init)))
}

#[test]
fn gradients_agree_with_differences() {
    // From 0.01 to 10 on both sides: no step crosses the kink of a ReLU.
    let x: Vec<f64> = (0..=30).map(|i| 10f64.powf(-2.0 + 0.1 * i as f64)).flat_map(|x| [x, -x]).collect();
    for (name, function) in functions() {
        for &x in &x {
            assert_gradient(&format!("{name} at {x}"), &[x], &[0.7], 1, |x| function.forward(x));
        }
    }
}

#[test]
fn kernels_agree_with_the_composed_form() {
    for (name, function) in functions() {
        for n in [1, 2, 3, 63, 100, 257, 4097] {
            let (x, g) = (normal(n as u64, n, 3.0), normal(5, n, 1.0));
            for (dtype, tolerance) in [(DType::F64, 1e-12), (DType::F32, 2e-5)] {
                let what = format!("{name} [{n}] {dtype:?}");
                let (x, g) = (tensor(&x, n, dtype), tensor(&g, n, dtype));
                let composed = |x: Tensor<2>| function.composed(x.reshape([n])).reshape([1, n]);
                let y = values(function.forward(x.clone()));
                assert_close(&what, &y, &values(composed(x.clone())), tolerance, 0.1 * tolerance);
                let dx = gradient(x.clone(), g.clone(), |x| function.forward(x));
                assert_close(
                    &format!("gradient of {what}"),
                    &dx,
                    &gradient(x, g, composed),
                    tolerance,
                    0.1 * tolerance,
                );
            }
        }
    }
}

/// Finite wherever the result fits the type, and as near to `f64` as the type allows.
#[test]
fn storage_types_at_all_scales() {
    for (name, function) in functions() {
        for scale in [1e-5, 1e-2, 1.0, 30.0, 1e4] {
            let g = normal(3, 100, 1.0);
            for (dtype, relative, absolute) in
                [(DType::F32, 2e-5, 1e-40), (DType::F16, 2e-3, 2e-7), (DType::BF16, 2e-2, 1e-38)]
            {
                let what = format!("{name} {dtype:?} at scale {scale}");
                // The same arguments in both types, and the reference rounded to the smaller one.
                let x = tensor(&normal(2, 100, scale), 100, dtype);
                let wide = x.clone().cast(DType::F64);
                let stored = |x: Vec<f64>| values(tensor(&x, 100, dtype));
                let y = function.forward(x.clone());
                assert_eq!(y.dtype(), dtype, "{what}");
                let want = stored(values(function.forward(wide.clone())));
                assert!(want.iter().all(|y| !y.is_nan()), "{what}: {want:?}");
                assert_close(&what, &values(y), &want, relative, absolute);
                let g = tensor(&g, 100, dtype);
                let want = gradient(wide, g.clone().cast(DType::F64), |x| function.forward(x));
                let dx = gradient(x.clone(), g, |x| function.forward(x));
                // A function that keeps its value has no finite slope where that overflowed.
                let fits = values(function.forward(x));
                let only =
                    |dx: Vec<f64>| dx.into_iter().zip(&fits).filter(|(_, y)| y.is_finite()).map(|(dx, _)| dx).collect();
                let (dx, want): (Vec<f64>, Vec<f64>) = (only(dx), only(stored(want)));
                assert_close(&format!("gradient of {what}"), &dx, &want, relative, absolute);
            }
        }
    }
}

#[test]
fn infinity_has_a_limit_and_nan_stays() {
    let inf = f64::INFINITY;
    for (name, function) in functions() {
        for dtype in [DType::F64, DType::F32, DType::BF16] {
            let x = tensor(&[inf, -inf, f64::NAN, 1.0], 4, dtype);
            let y = values(function.forward(x.clone()));
            assert!(!y[0].is_nan() && !y[1].is_nan() && y[2].is_nan() && y[3].is_finite(), "{name} {dtype:?}: {y:?}");
            let dx = gradient(x, tensor(&[1.0; 4], 4, dtype), |x| function.forward(x));
            assert!(!dx[0].is_nan() && !dx[1].is_nan() && dx[3].is_finite(), "slope of {name} {dtype:?}: {dx:?}");
        }
    }
}

/// The limits at +∞ and −∞: values, then slopes. They are PyTorch's where PyTorch has one; its GELU, SiLU and Mish give NaN
/// at −∞.
#[test]
fn the_limits_are_the_functions_own() {
    let inf = f64::INFINITY;
    for (name, want) in [
        ("gelu", [inf, 0.0, 1.0, 0.0]),
        ("silu", [inf, 0.0, 1.0, 0.0]),
        ("mish", [inf, 0.0, 1.0, 0.0]),
        ("softplus", [inf, 0.0, 1.0, 0.0]),
        ("relu", [inf, 0.0, 1.0, 0.0]),
        ("leaky_relu", [inf, -inf, 1.0, 0.01]),
        ("relu_squared", [inf, 0.0, inf, 0.0]),
        ("exp", [inf, 0.0, inf, 0.0]),
        ("tanh", [1.0, -1.0, 0.0, 0.0]),
        ("sigmoid", [1.0, 0.0, 0.0, 0.0]),
        ("symlog", [inf, -inf, 0.0, 0.0]),
    ] {
        let function = PointwiseConfig::by_name(name).expect("a known name").init(&Init::new(0, &device(), DType::F64));
        let x = tensor(&[inf, -inf], 2, DType::F64);
        let dx = gradient(x.clone(), tensor(&[1.0; 2], 2, DType::F64), |x| function.forward(x));
        assert_eq!([values(function.forward(x)), dx].concat(), want, "{name}");
    }
}

/// Where y has rounded to its limit the slope still says which way is up.
#[test]
fn slopes_outlive_saturation() {
    for (name, x, want) in [("tanh", 12.0, 4.0 * (-24f64).exp()), ("sigmoid", 20.0, (-20f64).exp())] {
        let function = PointwiseConfig::by_name(name).expect("a known name").init(&Init::new(0, &device(), DType::F32));
        let x = tensor(&[x], 1, DType::F32);
        assert_eq!(values(function.forward(x.clone())), [1.0], "{name}");
        let dx = gradient(x, tensor(&[1.0], 1, DType::F32), |x| function.forward(x));
        assert_close(name, &dx, &[want], 1e-6, 0.0);
    }
}

#[test]
fn parameters_change_the_function() {
    let at = |config: &str, x: f64| {
        let config: PointwiseConfig = serde_json::from_str(config).expect("a config");
        values(config.init(&Init::new(0, &device(), DType::F64)).forward(tensor(&[x], 1, DType::F64)))[0]
    };
    let gap = at(r#""gelu""#, 2.0) - at(r#"{ "name": "gelu", "approximate": "tanh" }"#, 2.0);
    assert!(gap.abs() > 1e-5 && gap.abs() < 5e-4, "{gap}");
    assert_eq!(at(r#"{ "name": "leaky_relu", "negative_slope": 0.25 }"#, -2.0), -0.5);
    assert_close("softplus", &[at(r#"{ "name": "softplus", "beta": 4 }"#, 0.0)], &[2f64.ln() / 4.0], 1e-15, 0.0);
}

#[test]
fn the_forms_of_a_config() {
    for config in configs() {
        let json = serde_json::to_value(&config).expect("a config is written");
        assert_eq!(serde_json::from_value::<PointwiseConfig>(json).expect("and read"), config);
    }
    let refused = |text: &str| serde_json::from_str::<PointwiseConfig>(text).unwrap_err().to_string();
    for (text, message) in [
        (r#""geul""#, "unknown variant `geul`, expected one of `gelu`, `silu`"),
        (r#"{ "name": "silu", "beta": 1.0 }"#, "unknown field `beta`"),
        (r#"{ "name": "gelu", "approximate": "erf" }"#, "expected `none` or `tanh`"),
        (r#"{ "name": "softplus", "beta": 0 }"#, "0 is out of range; expected a number above 0"),
        (
            r#"{ "name": "leaky_relu", "negative_slope": -0.1 }"#,
            "-0.1 is out of range; expected a number of at least 0",
        ),
    ] {
        let error = refused(text);
        assert!(error.contains(message), "{text}: {error}");
    }
    assert_eq!(PointwiseConfig::default().name(), "relu");
}
