//! Values computed elsewhere in `f64` from the definitions.
use burn::tensor::{Bool, DType, Tensor, TensorData};

use super::NormalizerConfig;
use crate::{
    Ctx, Init,
    testing::{assert_close, device, gradient, tensor, values},
};

/// Weights (or their logarithms) and the gradient for an upstream `g`.
struct Golden {
    name: &'static str,
    log: bool,
    x: &'static [f64],
    mask: &'static [bool],
    g: &'static [f64],
    y: &'static [f64],
    dx: &'static [f64],
}

const A: ([f64; 4], [f64; 4]) = ([1.0, 2.0, -1.0, 0.5], [0.3, -0.2, 0.5, 0.1]);
const B: ([f64; 5], [f64; 5]) = ([0.2, -0.4, 3.0, 1.1, 0.7], [1.0, -1.0, 0.5, 2.0, -0.5]);
const B_MASK: [bool; 5] = [true, true, false, true, true];
const S: ([f64; 5], [f64; 5]) = ([2.0, -1.0, 0.5, -3.0, 0.0], [0.3, -0.7, 1.1, 0.2, -0.4]);
const MINUS_INF: f64 = f64::NEG_INFINITY;

const GOLDEN: &[Golden] = &[
    Golden {
        name: "softmax",
        log: false,
        x: &A.0,
        mask: &[],
        g: &A.1,
        y: &[0.224207818, 0.6094600376, 0.03034322856, 0.1359889158],
        dx: &[0.07306017041, -0.1061318852, 0.01595626457, 0.0171154502],
    },
    Golden {
        name: "softmax",
        log: false,
        x: &B.0,
        mask: &B_MASK,
        g: &B.1,
        y: &[0.1767678905, 0.09701227518, 0.0, 0.4347788534, 0.291440981],
        dx: &[0.03471848085, -0.1749706441, 0.0, 0.5201725369, -0.3799203736],
    },
    Golden {
        name: "softmax",
        log: true,
        x: &A.0,
        mask: &[],
        g: &A.1,
        y: &[-1.495181898, -0.4951818981, -3.495181898, -1.995181898],
        dx: &[0.1430545274, -0.6266220263, 0.47875974, 0.004807758945],
    },
    Golden {
        name: "softmax",
        log: true,
        x: &B.0,
        mask: &B_MASK,
        g: &B.1,
        y: &[-1.73291776, -2.33291776, MINUS_INF, -0.8329177603, -1.23291776],
        dx: &[0.7348481643, -1.145518413, 0.0, 1.34783172, -0.9371614715],
    },
    Golden {
        name: "stablemax",
        log: false,
        x: &S.0,
        mask: &[],
        g: &S.1,
        y: &[0.48, 0.08, 0.24, 0.04, 0.16],
        dx: &[0.00064, -0.03984, 0.12864, -0.00096, -0.11136],
    },
    Golden {
        name: "stablemax",
        log: true,
        x: &S.0,
        mask: &[],
        g: &S.1,
        y: &[-0.7339691751, -2.525728644, -1.427116356, -3.218875825, -1.832581464],
        dx: &[0.02, -0.37, 0.6533333333, 0.045, -0.48],
    },
];

#[test]
fn golden_values() {
    let ctx = Ctx::eval(0, 0);
    for golden in GOLDEN {
        for (dtype, relative, absolute) in [(DType::F64, 1e-9, 1e-11), (DType::F32, 1e-5, 1e-6)] {
            let config = NormalizerConfig::by_name(golden.name).expect("a known name");
            let map = config.init(&Init::new(0, &device(), dtype));
            let n = golden.x.len();
            let apply = |x: Tensor<2>| {
                let mask = (!golden.mask.is_empty())
                    .then(|| Tensor::<2, Bool>::from_data(TensorData::new(golden.mask.to_vec(), [1, n]), &device()));
                if golden.log {
                    map.log_weights(x, -1, mask, &ctx).expect("a log form")
                } else {
                    map.weights(x, -1, mask, &ctx)
                }
            };
            let what = format!("{} (log {}) {dtype:?}", golden.name, golden.log);
            let x = tensor(golden.x, n, dtype);
            assert_close(&what, &values(apply(x.clone())), golden.y, relative, absolute);
            // A removed log weight is −∞, so its product with g may not enter the sum: the gradient starts at g itself.
            let x = x.require_grad();
            let y = apply(x.clone());
            let finite = y.clone().detach().equal_elem(MINUS_INF);
            let grads = (y.mask_fill(finite, 0.0) * tensor(golden.g, n, dtype)).sum().backward();
            let dx = values(x.grad(&grads).expect("x takes part"));
            assert_close(&format!("gradient of {what}"), &dx, golden.dx, relative, absolute);
        }
    }
}

#[test]
fn scores_far_apart() {
    let ctx = Ctx::eval(0, 0);
    let map = NormalizerConfig::default().init(&Init::new(0, &device(), DType::F64));
    let x = tensor(&[1000.0, 1001.0, -1000.0], 3, DType::F64);
    assert_close(
        "softmax",
        &values(map.weights(x.clone(), 1, None, &ctx)),
        &[0.2689414214, 0.7310585786, 0.0],
        1e-9,
        0.0,
    );
    let log = values(map.log_weights(x, 1, None, &ctx).expect("a log form"));
    assert_close("log", &log, &[-1.313261688, -0.3132616875, -2001.313262], 1e-9, 0.0);
}

/// The slope of s at x = 1, where autodiff of the definition meets 1/0 in the branch it does not take.
#[test]
fn stablemax_at_its_kink() {
    let map = NormalizerConfig::by_name("stablemax").expect("a known name").init(&Init::new(0, &device(), DType::F32));
    let ctx = Ctx::eval(0, 0);
    // s = [2, 3, ½], S = 5.5; with g = e_1: dx = s′ (δ − y_1) / S, s′ = [1, 1, ¼].
    let apply = |x| map.weights(x, 1, None, &ctx);
    let dx = gradient(tensor(&[1.0, 2.0, -1.0], 3, DType::F32), tensor(&[1.0, 0.0, 0.0], 3, DType::F32), apply);
    let y = 2.0 / 5.5;
    assert_close("dx", &dx, &[(1.0 - y) / 5.5, -y / 5.5, -0.25 * y / 5.5], 1e-6, 0.0);
    let composed = |x| map.composed(x, &super::Keep::All);
    let dx = gradient(tensor(&[1.0, 2.0, -1.0], 3, DType::F32), tensor(&[1.0, 0.0, 0.0], 3, DType::F32), composed);
    assert_close("composed dx", &dx, &[(1.0 - y) / 5.5, -y / 5.5, -0.25 * y / 5.5], 1e-6, 0.0);
}

#[test]
fn the_forms_of_a_config() {
    let json = |text: &str| serde_json::from_str::<NormalizerConfig>(text);
    assert_eq!(json(r#""softmax""#).unwrap(), NormalizerConfig::default());
    assert_eq!(
        json(r#"{ "name": "stablemax", "form": "ratio" }"#).unwrap(),
        NormalizerConfig::StableMax(super::StableMaxConfig { form: super::StableMaxForm::Ratio }),
    );
    let refused = json(r#"{ "name": "softmax", "alpha": 1.5 }"#).unwrap_err().to_string();
    assert!(refused.contains("unknown field `alpha`"), "{refused}");
    let refused = json(r#"{ "name": "stablemax", "form": "log" }"#).unwrap_err().to_string();
    assert!(refused.contains("`log1p` or `ratio`"), "{refused}");
    assert!(NormalizerConfig::by_name("sofmax").is_none());
    assert_eq!(NormalizerConfig::names_with_log_form(), ["softmax", "stablemax"]);
    assert!(!NormalizerConfig::by_name("stablemax").unwrap().laws().shift_invariant);
}

#[test]
#[should_panic(expected = "axis 2 is out of range for scores of rank 2")]
fn an_axis_out_of_range_is_named() {
    let map = NormalizerConfig::default().init(&Init::new(0, &device(), DType::F64));
    let _ = map.weights(tensor(&[0.0; 4], 2, DType::F64), 2, None, &Ctx::eval(0, 0));
}

#[test]
#[should_panic(expected = "a mask of shape [3, 2] does not fit scores of shape [2, 2]")]
fn a_mask_that_does_not_fit_is_named() {
    let map = NormalizerConfig::default().init(&Init::new(0, &device(), DType::F64));
    let mask = Tensor::<2, Bool>::from_data(TensorData::new(vec![true; 6], [3, 2]), &device());
    let _ = map.weights(tensor(&[0.0; 4], 2, DType::F64), 1, Some(mask), &Ctx::eval(0, 0));
}
