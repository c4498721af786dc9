use burn::{
    module::Param,
    tensor::{DType, Device, Tensor, TensorData},
};
use kiln_activations::{Ctx, Init, normalizer::NormalizerConfig};
use kiln_registry::Tagged;
use kiln_stream::Stream;
use serde_json::{Value, json};

use super::{projection::directions, *};
use crate::{
    attention::{Pattern, Side},
    testing::{assert_close, device, normal, values},
};

const D: usize = 5;

fn config(value: Value) -> FeaturesConfig {
    serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{value}: {error}"))
}

fn built(config: &FeaturesConfig, d_head: usize) -> Features {
    let (init, normalizer) = (Init::new(3, &device(), DType::F64), NormalizerConfig::default());
    config.init(&CoreInit {
        init: &init,
        d_model: 11,
        n_heads: 1,
        d_head,
        d_value: 7,
        length: 64,
        normalizer: &normalizer,
        dropout: 0.0,
    })
}

/// The map with its random directions replaced.
fn with_directions(mut features: Features, rows: &[&[f64]]) -> Features {
    let entries: Vec<f64> = rows.iter().flat_map(|row| row.iter().copied()).collect();
    let data = TensorData::new(entries, [rows.len(), rows[0].len()]);
    let Features::Favor(favor) = &mut features else { panic!("{features:?}") };
    favor.projection.fixed = Some(Param::from_tensor(Tensor::from_data(data, (&device(), DType::F64))));
    features
}

fn scope(length: usize) -> Scope {
    Scope::whole(Pattern::Full, length, &device())
}

fn row(x: &[f64]) -> Tensor<4> {
    Tensor::from_data(TensorData::new(x.to_vec(), [1, 1, 1, x.len()]), (&device(), DType::F64))
}

/// Features of one vector, their factor multiplied in.
fn of(features: &Features, x: &[f64], role: Role) -> Vec<f64> {
    values(&features.apply(row(x), role, &scope(1), &Ctx::eval(0, 0)).unscaled())
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

const X: [f64; 2] = [1.0, 0.5];
const Y: [f64; 2] = [0.4, -0.6];

#[test]
fn features_of_one_vector_by_hand() {
    let root = 2f64.powf(-0.25);
    for (value, expected) in [
        (json!("identity"), vec![0.4, -0.6]),
        (json!("elu1"), vec![1.4, (-0.6f64).exp()]),
        (json!("relu"), vec![0.4, 0.0]),
        (json!("relu_sq"), vec![0.4 * 0.4, 0.0]),
        (json!("exp"), vec![(0.4 * root).exp(), (-0.6 * root).exp()]),
        (json!("softmax"), vec![1.0 / (1.0 + (-1f64).exp()), 1.0 / (1.0 + 1f64.exp())]),
        (
            json!("taylor2"),
            // x xᵀ / (√2 √d) = x xᵀ / 2
            vec![1.0, 0.4 * root, -0.6 * root, 0.08, -0.12, -0.12, 0.18],
        ),
        (json!("favor_generalized"), vec![0.4 * root + 1e-3, 1e-3]),
    ] {
        let found = of(&built(&config(value.clone()), 2), &Y, Role::Key);
        assert_close(&value.to_string(), &found, &expected, 1e-14);
    }
}

#[test]
fn taylor2_is_the_polynomial_of_the_score() {
    let features = built(&config(json!("taylor2")), 2);
    let z = dot(&X, &Y) / 2f64.sqrt();
    let product = dot(&of(&features, &X, Role::Query), &of(&features, &Y, Role::Key));
    assert_close("product", &[product], &[1.0 + z + z * z / 2.0], 1e-14);
}

#[test]
fn positive_features_by_numbers() {
    let plain = config(json!({ "name": "favor", "m": 3, "stabilizer": "none", "eps": 0.0 }));
    let features = with_directions(built(&plain, 2), &[&[1.2, -0.4], &[0.4, 1.2], &[-0.7, 0.9]]);
    let query = [0.8604055189, 0.8604055189, 0.3007511843];
    assert_close("φ(q)", &of(&features, &X, Role::Query), &query, 1e-9);
    let key = [0.8801099039, 0.2999750723, 0.2410649287];
    assert_close("φ(k)", &of(&features, &Y, Role::Key), &key, 1e-9);
    // A stabilizer moves values and factor, not their product.
    for stabilizer in ["token", "global"] {
        let config = config(json!({ "name": "favor", "m": 3, "stabilizer": stabilizer, "eps": 0.0 }));
        let features = with_directions(built(&config, 2), &[&[1.2, -0.4], &[0.4, 1.2], &[-0.7, 0.9]]);
        assert_close(stabilizer, &of(&features, &X, Role::Query), &query, 1e-9);
        assert_close(stabilizer, &of(&features, &Y, Role::Key), &key, 1e-9);
    }
}

#[test]
fn random_features_err_as_much_as_the_formulas_say() {
    // Per direction; a product of m of them has a relative variance m times smaller.
    let (x, y) = ([0.5, -0.2, 0.3, 0.1], [0.2, 0.4, -0.1, 0.3]);
    let exact = dot(&x, &y).exp();
    let m = 320_000;
    let scaled = |v: [f64; 4]| v.map(|entry| entry * 4f64.powf(0.25));
    for (variant, variance) in [("positive", 16.0 * 0.06719253797), ("sine_cosine", 16.0 * 0.01367458143)] {
        let value = json!({ "name": "favor", "m": m, "orthogonal": false, "variant": variant, "eps": 0.0 });
        let features = built(&config(value), 4);
        let [a, b] = [scaled(x), scaled(y)].map(|v| of(&features, &v, Role::Query));
        let product = |f: usize| m as f64 * a[f] * b[f];
        let products: Vec<f64> = match variant {
            "positive" => (0..m).map(product).collect(),
            _ => (0..m).map(|f| product(f) + product(f + m)).collect(),
        };
        let mean = products.iter().sum::<f64>() / m as f64;
        let found = products.iter().map(|p| (p - mean).powi(2)).sum::<f64>() / m as f64 / (exact * exact);
        assert!((mean / exact - 1.0).abs() < 5.0 * (variance / m as f64).sqrt(), "{variant}: mean {mean}, {exact}");
        assert!((found / variance - 1.0).abs() < 0.05, "{variant}: {found}, {variance}");
    }
}

#[test]
fn orthogonal_directions_are_orthogonal_in_blocks() {
    let mut draws = Stream::new(1, "test").at(0);
    let rows = directions(&mut draws, [8, D], true, RowNorm::SqrtD);
    let rows: Vec<&[f64]> = rows.chunks(D).collect();
    for i in 0..8 {
        for j in 0..8 {
            let product = dot(rows[i], rows[j]);
            if i == j {
                assert!((product - D as f64).abs() < 1e-12);
            } else if i / D == j / D {
                assert!(product.abs() < 1e-12, "{i} {j}: {product}");
            } else {
                assert!(product.abs() > 1e-6, "{i} {j}: {product}");
            }
        }
    }
    let gaussian = directions(&mut draws, [D, D], true, RowNorm::Gaussian);
    let lengths: Vec<f64> = gaussian.chunks(D).map(|row| dot(row, row)).collect();
    assert!(lengths.iter().any(|length| (length - D as f64).abs() > 0.1), "{lengths:?}");
}

#[test]
fn orthogonal_directions_err_less() {
    let d = 16;
    let mut draws = Stream::new(2, "test").at(0);
    // |x + y|² = 0.9 with x = y.
    let x = vec![(0.9f64 / 4.0 / d as f64).sqrt(); d];
    let exact = dot(&x, &x).exp();
    let mut error = |orthogonal| {
        let squares = (0..2000).map(|_| {
            let rows = directions(&mut draws, [d, d], orthogonal, RowNorm::Gaussian);
            let half = dot(&x, &x);
            let product = rows.chunks(d).map(|w| (2.0 * dot(w, &x) - half).exp()).sum::<f64>() / d as f64;
            (product - exact).powi(2)
        });
        squares.sum::<f64>()
    };
    let ratio = error(true) / error(false);
    assert!(ratio <= 0.95, "{ratio}");
}

#[test]
fn directions_stay_for_as_long_as_asked() {
    let features = built(&config(json!({ "name": "favor", "m": 3, "redraw": 10 })), 2);
    let at = |step| values(&features.apply(row(&X), Role::Query, &scope(1), &Ctx::train(1, step)).unscaled());
    assert_eq!(at(10), at(19));
    assert_ne!(at(10), at(20));
    let Features::Favor(favor) = &features else { panic!() };
    assert!(favor.projection.fixed.is_none());
    // Those that stay are stored, and no gradient reaches them.
    let Features::Favor(favor) = built(&config(json!({ "name": "favor", "m": 3 })), 2) else { panic!() };
    assert!(!favor.projection.fixed.unwrap().is_require_grad());
}

#[test]
fn widths_and_signs_are_as_declared() {
    for name in FeaturesConfig::NAMES {
        let config = config(json!({ "name": name }));
        let features = built(&config, D);
        let x = normal([2, 3, 7, D], DType::F64, "x");
        for role in [Role::Query, Role::Key] {
            let mapped = features.apply(x.clone(), role, &scope(7), &Ctx::eval(0, 0));
            assert_eq!(mapped.values.dims(), [2, 3, 7, config.width(D)], "{name}");
            if config.laws().non_negative {
                assert!(values(&mapped.values).iter().all(|f| *f >= 0.0), "{name}");
            }
        }
    }
}

#[test]
fn growth_stays_in_the_factor() {
    // Entries of 1000: every exponential would be infinite.
    let x = Tensor::<4>::full([1, 1, 1, 2], 1000.0, (&device(), DType::F32));
    for value in [json!("exp"), json!({ "name": "favor", "m": 3 })] {
        let features = built(&config(value.clone()), 2);
        let mapped = features.apply(x.clone(), Role::Key, &scope(1), &Ctx::eval(0, 0));
        assert!(values(&mapped.values).iter().all(|f| f.is_finite()), "{value}");
        assert!(values(&mapped.values).iter().any(|f| *f > 0.0), "{value}");
    }
}

#[test]
fn efficient_keys_sum_to_one_over_what_is_kept() {
    let kept = Tensor::from_data([[true, true, false, true]], &Device::flex().autodiff());
    let scope = Scope::of(Pattern::Full, Side::padded(kept));
    let features = built(&config(json!({ "name": "softmax", "efficient": true })), D);
    let x = normal([1, 2, 4, D], DType::F64, "x");
    let keys = features.apply(x, Role::Key, &scope, &Ctx::eval(0, 0)).values;
    assert_close("sums", &values(&keys.clone().sum_dim(2)), &[1.0; 2 * D], 1e-14);
    assert!(values(&keys.narrow(2, 2, 1)).iter().all(|f| *f == 0.0));
}

#[test]
fn what_would_look_ahead_is_refused() {
    for (value, message) in [
        (
            json!({ "name": "softmax", "efficient": true }),
            "efficient: a softmax over the keys lets a query see later ones",
        ),
        (json!({ "name": "favor", "stabilizer": "global" }), "stabilizer: \"global\" lets a query see later keys"),
    ] {
        let config = config(value);
        config.check(false).unwrap();
        let error = config.check(true).unwrap_err().to_string();
        assert!(error.contains(message) && !config.laws().per_token, "{error}");
    }
    let error = config(json!({ "name": "cos_reweight", "max_len": 0 })).check(true).unwrap_err().to_string();
    assert!(error.contains("max_len: 0 is out of range"), "{error}");
}

#[test]
#[should_panic(expected = "cos_reweight: a row of 5 tokens, but max_len = 4")]
fn a_row_beyond_the_horizon_is_refused() {
    let features = built(&config(json!({ "name": "cos_reweight", "max_len": 4 })), 2);
    features.apply(normal([1, 1, 5, 2], DType::F64, "x"), Role::Query, &scope(5), &Ctx::eval(0, 0));
}
