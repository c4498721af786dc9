//! What the papers say about single maps, and their numbers where the plain formula fails.
use burn::tensor::{DType, Tensor};
use kiln_registry::Tagged;
use serde_json::json;

use super::{Normalizer, NormalizerConfig, ctx, mask};
use crate::{
    Init,
    kernel::row_map,
    normalizer::{Keep, LogLengthScale, ScaledSoftmaxRow, Softmax1Row, relu_attention_regularizer},
    testing::{assert_close, device, gradient, tensor, values},
};

fn map(name: &str, params: serde_json::Value) -> Normalizer {
    NormalizerConfig::load(name, params).expect("a legal config").init(&Init::new(0, &device(), DType::F64))
}

fn weights(map: &Normalizer, x: &[f64]) -> Vec<f64> {
    values(map.weights(tensor(x, x.len(), DType::F64), 1, None, &ctx()))
}

/// One score of 3 among others of −2: softmax lets go of it as the row grows, scalable softmax does not.
#[test]
fn ssmax_holds_on_to_the_largest_score() {
    let (softmax, ssmax) = (map("softmax", json!({})), map("ssmax", json!({})));
    for (n, by_softmax, by_ssmax) in [
        (10, 0.9428256186, 0.9401013304),
        (100, 0.5998596018, 0.9950627438),
        (1000, 0.129345875, 0.999645667),
        (10_000, 0.01462571365, 0.9999748843),
    ] {
        let mut x = vec![-2.0; n];
        x[n / 2] = 3.0;
        let got = [weights(&softmax, &x)[n / 2], weights(&ssmax, &x)[n / 2]];
        assert_close(&format!("largest weight of {n}"), &got, &[by_softmax, by_ssmax], 1e-9, 0.0);
    }
}

/// A learned scale below 0 turns the order round, and stays finite.
#[test]
fn a_negative_scale_prefers_the_smallest_score() {
    let x = [500.0, -300.0, -299.0, 0.0];
    let params = tensor(&[-1.0, 0.25], 2, DType::F64);
    let scale = 0.25 - 4f64.ln();
    let kernel = std::sync::Arc::new(ScaledSoftmaxRow(LogLengthScale::<2> { s: 0.0, b: 0.0, floor: 0.0 }));
    let got = values(row_map(tensor(&x, 4, DType::F64), Some(params), &Keep::All, kernel));
    let second = scale.exp() / (1.0 + scale.exp());
    assert_close("weights", &got, &[0.0, 1.0 - second, second, 0.0], 1e-12, 1e-100);
}

/// The norm of the Jacobian at a saturated row: it survives in one form of self-adjust softmax, not in the other.
#[test]
fn self_adjust_softmax_at_saturation() {
    for (name, params, want) in [
        ("softmax", json!({}), 8.745e-9),
        ("sa_softmax", json!({ "variant": "x" }), 1.0),
        ("sa_softmax", json!({ "variant": "norm" }), 7.142e-9),
    ] {
        let map = map(name, params.clone());
        let square: f64 = (0..4)
            .flat_map(|i| {
                let one: Vec<f64> = (0..4).map(|j| f64::from(i == j)).collect();
                let x = tensor(&[20.0, 0.0, 0.0, 0.0], 4, DType::F64);
                gradient(x, tensor(&one, 4, DType::F64), |x| map.weights(x, 1, None, &ctx()))
            })
            .map(|entry| entry * entry)
            .sum();
        assert_close(&format!("{name} {params}"), &[square.sqrt()], &[want], 1e-3, 0.0);
    }
}

/// Squares of these overflow in single precision; the weights and their gradients do not.
#[test]
fn powers_of_huge_scores_do_not_overflow() {
    for (name, params, order) in [
        ("spherical_softmax", json!({}), 2),
        ("taylor_softmax", json!({}), 2),
        ("taylor_softmax", json!({ "order": 12 }), 12),
    ] {
        let map = map(name, params);
        let x = [1e30, -2e30, 3.0, 0.0];
        let ratio = 2f64.powi(order);
        let want = [1.0 / (1.0 + ratio), ratio / (1.0 + ratio), 0.0, 0.0];
        for dtype in [DType::F32, DType::F64] {
            let y = values(map.weights(tensor(&x, 4, dtype), 1, None, &ctx()));
            assert_close(&format!("{name} {dtype:?}"), &y, &want, 1e-5, 1e-20);
            let g = tensor(&[1.0, 2.0, -1.0, 0.5], 4, dtype);
            let dx = gradient(tensor(&x, 4, dtype), g.clone(), |x| map.weights(x, 1, None, &ctx()));
            assert!(dx.iter().all(|dx| dx.is_finite() && dx.abs() < 1e-29), "{name} {dtype:?}: {dx:?}");
        }
        // Where a row begins to be scaled nothing jumps: homogeneous up to the lower powers.
        let near = |size: f64| weights(&map, &[size, -0.5 * size, 0.25 * size]);
        assert_close(name, &near(1025.0), &near(1023.0), 1e-2, 0.0);
    }
}

/// Single precision at scores of 1e-5 and below, where exp x − 1 as a difference keeps two digits.
#[test]
fn softpick_of_small_scores_keeps_its_digits() {
    let map = map("softpick", json!({}));
    let x: Vec<f64> = [1.0, -2.0, 3.0, 0.5, -0.25].iter().map(|x| f64::from((x * 1e-5) as f32)).collect();
    let shift = 3e-5f64;
    let e: Vec<f64> = x.iter().map(|x| x.exp_m1() * (-shift).exp()).collect();
    let total = e.iter().map(|e| e.abs()).sum::<f64>() + 1e-6;
    let want: Vec<f64> = e.iter().map(|e| e.max(0.0) / total).collect();
    let got = values(map.weights(tensor(&x, 5, DType::F32), 1, None, &ctx()));
    assert_close("weights", &got, &want, 1e-6, 0.0);
}

/// The sink's own weight is 9e-14 here; as 1 less the sum it would be lost in single precision.
#[test]
fn a_small_sink_gets_an_exact_gradient() {
    let x = tensor(&[30.0, 29.0], 2, DType::F32);
    let sink = tensor(&[0.0], 1, DType::F32).require_grad();
    let kernel = std::sync::Arc::new(Softmax1Row::<1> { sink: 0.0 });
    let y = row_map(x, Some(sink.clone()), &Keep::All, kernel);
    let grads = (y * tensor(&[1.0, -2.0], 2, DType::F32)).sum().backward();
    let got = values(sink.grad(&grads).expect("the sink takes part"));
    let (a, b) = (30f64.exp(), 29f64.exp());
    let sum = a + b + 1.0;
    let want = -(a - 2.0 * b) / sum / sum;
    assert_close("gradient of the sink", &got, &[want], 1e-5, 0.0);
}

/// A flat row of 500 is beyond the polynomial: left alone as published, sharpened if beta is held at its maximum.
#[test]
fn adaptive_temperature_beyond_its_range() {
    let mut x = vec![0.0; 500];
    x[0] = 3.0;
    let clamped = weights(&map("adaptive_temperature", json!({})), &x);
    let held = weights(&map("adaptive_temperature", json!({ "extrapolate": "hold" })), &x);
    assert_close("clamp", &clamped[..2], &[0.03869407928843883, 0.0019264647709650523], 1e-9, 0.0);
    assert_close("hold", &held[..2], &[0.7410737784467748, 0.0005188902235535574], 1e-9, 0.0);
}

#[test]
fn the_relu_regularizer_by_hand() {
    // Row 1: sum 2, entropy ln 2 of 4 kept. Row 2: sum 1/2, even over 3 kept. Row 3: dead. Row 4: nothing kept.
    let w = [1.0, 1.0, 0.0, 0.0, 1.0 / 6.0, 9.0, 1.0 / 6.0, 1.0 / 6.0, 0.0, 0.0, 0.0, 0.0, 5.0, 5.0, 5.0, 5.0];
    let bits: Vec<bool> = (0..16).map(|i| i != 5 && i < 12).collect();
    let got = relu_attention_regularizer(tensor(&w, 4, DType::F64), &Keep::Mask(mask(&bits, 4)));
    let sizes = (2.0f64 + 1e-6).ln() - (0.5f64 + 1e-6).ln() - 1e-6f64.ln();
    // ln 2 is below 0.7 ln 4.
    let excess = 0.3 * 3f64.ln();
    assert_close("regularizer", &values(got), &[(sizes + excess) / 3.0], 1e-12, 0.0);
}

#[test]
fn the_relu_regularizer_has_finite_gradients() {
    let w = tensor(&[1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], 4, DType::F64).require_grad();
    let grads = relu_attention_regularizer(w.clone(), &Keep::All).backward();
    let dw = values(w.grad(&grads).expect("the weights take part"));
    assert!(dw.iter().all(|dw| dw.is_finite()), "{dw:?}");
    // d ln(Σ w) / dw over two rows; the even row has the smaller entropy share and no excess.
    assert_close("gradient", &dw[..2], &[0.25, 0.25], 1e-5, 0.0);
}

#[test]
fn parameters_out_of_range_are_refused() {
    for (name, params, part) in [
        ("temperature", json!({ "tau": 0.0 }), "0 is out of range; expected a number above 0"),
        ("ssmax", json!({ "b": -1.0 }), "-1 is out of range; expected a number of at least 0"),
        ("logn_scale", json!({ "n_train": 1 }), "1 is out of range; expected a whole number of at least 2"),
        ("taylor_softmax", json!({ "order": 3 }), "3 is out of range; expected an even order from 2 to 12"),
        ("spherical_softmax", json!({ "eps": 0.0 }), "0 is out of range; expected a number above 0"),
        ("sigmoid", json!({ "n_mode": { "context": 0 } }), "nonzero"),
        ("sigmoid", json!({ "bias": "n" }), "unknown variant `n`"),
        ("relu_attention", json!({ "scale": "sqrt_n" }), "unknown variant `sqrt_n`"),
        ("softmax1", json!({ "bias": 1.0 }), "unknown field `bias`"),
        ("sa_softmax", json!({ "variant": "z" }), "unknown variant `z`"),
        ("adaptive_temperature", json!({ "extrapolate": "none" }), "unknown variant `none`"),
    ] {
        let refused = NormalizerConfig::load(name, params).expect_err("out of range").to_string();
        assert!(refused.contains(part), "{name}: {refused}");
    }
}

#[test]
#[should_panic(expected = "the map was built for 3 heads and meets scores of 2 heads")]
fn a_number_of_heads_that_does_not_fit_is_named() {
    let config = NormalizerConfig::load("temperature", json!({ "learn": true })).expect("a legal config");
    let map = config.init(&Init::new(0, &device(), DType::F64).per_head(3));
    let _ = map.weights(Tensor::<4>::zeros([1, 2, 4, 5], (&device(), DType::F64)), -1, None, &ctx());
}
