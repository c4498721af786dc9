//! Position schemes against their formulas.
use burn::tensor::{DType, Tensor, TensorData};
use kiln_activations::Init;
use serde_json::json;

use super::*;
use crate::testing::{assert_close, device, normal, values};

fn vectors(values: Vec<f64>) -> Tensor<4> {
    let width = values.len();
    Tensor::from_data(TensorData::new(values, [1, 1, 1, width]), (&device(), DType::F64))
}

fn rope(config: serde_json::Value) -> RopeConfig {
    serde_json::from_value(config).unwrap()
}

fn at(config: &RopeConfig, place: usize) -> Rotation {
    config.rotation(&Scope::whole(crate::attention::Pattern::Causal, place + 1, &device()).last_query())
}

#[test]
fn rotation_is_the_published_one() {
    let x = [1.0, 2.0, 3.0, 4.0];
    for (layout, expected) in [
        ("interleaved", [-1.272232513, -1.838864985, 2.8786681, 4.088186636]),
        ("half", [-1.413352521, 1.879118067, -2.828857482, 4.058191135]),
    ] {
        let config = rope(json!({ "layout": layout }));
        assert_close(layout, &values(&at(&config, 3).queries(vectors(x.to_vec()))), &expected, 1e-9);
        assert_eq!(values(&at(&config, 0).queries(vectors(x.to_vec()))), x);
    }
    // ⟨R_7 x, R_4 y⟩ = ⟨R_3 x, y⟩
    let config = rope(json!({ "layout": "interleaved" }));
    let turned = |place, x: [f64; 4]| values(&at(&config, place).queries(vectors(x.to_vec())));
    let y = [0.5, -1.0, 2.0, 0.25];
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    assert_close("product", &[dot(&turned(7, x), &turned(4, y)), dot(&turned(3, x), &y)], &[7.982131589; 2], 1e-9);
    assert_close("norm", &[dot(&turned(7, x), &turned(7, x))], &[30.0], 1e-12);
}

#[test]
fn rotation_stretches_and_leaves_channels_alone() {
    let x = [1.0, 2.0, 3.0, 4.0];
    let turned = |config: serde_json::Value, place| values(&at(&rope(config), place).queries(vectors(x.to_vec())));
    assert_close("linear", &turned(json!({ "scaling": "linear", "factor": 2.0 }), 6), &turned(json!({}), 3), 1e-12);
    // The base of 4 turning channels grows with the square of the factor.
    assert_close(
        "ntk",
        &turned(json!({ "scaling": "ntk", "factor": 3.0 }), 5),
        &turned(json!({ "base": 90_000.0 }), 5),
        1e-12,
    );
    let half = turned(json!({ "fraction": 0.5 }), 5);
    assert_eq!(half[2..], x[2..]);
    assert_ne!(half[..2], x[..2]);
}

#[test]
fn sines_and_slopes_are_the_published_ones() {
    let place =
        Place { length: 4, d_model: 6, n_heads: 0, d_head: 0, std: 1.0, init: &Init::new(0, &device(), DType::F64) };
    let scheme = PositionConfig::Sinusoidal(SinusoidalConfig::default()).init(&place);
    let x = Tensor::<3>::zeros([1, 4, 6], (&device(), DType::F64));
    let y = scheme.place(x, &Side::range(0, 4, &device())).narrow(1, 3, 1);
    let expected = [0.1411200081, -0.9899924966, 0.1387981011, 0.9903206991, 0.00646325907, 0.9999791129];
    assert_close("sinusoidal", &values(&y), &expected, 1e-9);
    assert_eq!(slopes(8), [0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015625, 0.0078125, 0.00390625]);
    assert_eq!(slopes(6), [0.25, 0.0625, 0.015625, 0.00390625, 0.5, 0.125]);
    let balanced = BalancedAlibiConfig::default();
    assert_eq!(balanced.slopes(4), [-0.5, -0.25, 0.5, 0.25]);
}

#[test]
fn learned_positions_start_where_a_side_does_and_clamp_if_asked() {
    let init = Init::new(0, &device(), DType::F64);
    let place = Place { length: 5, d_model: 3, n_heads: 0, d_head: 0, std: 1.0, init: &init };
    let scheme = LearnedConfig { overflow: Overflow::Clamp, ..Default::default() }.init(&place);
    let table = values(&scheme.weight.val());
    let x = normal([2, 4, 3], DType::F64, "x").detach();
    let added = |side: &Side| values(&(scheme.place(x.clone(), side) - x.clone()));
    let rows = |places: [usize; 4]| places.iter().flat_map(|p| table[p * 3..p * 3 + 3].to_vec()).collect::<Vec<f64>>();
    assert_close("start", &added(&Side::range(1, 4, &device()))[..12], &rows([1, 2, 3, 4]), 1e-12);
    assert_close("clamped", &added(&Side::range(3, 4, &device()))[12..], &rows([3, 4, 4, 4]), 1e-12);
    let kept =
        Tensor::from_data(TensorData::new(vec![true, true, true, true, false, false, true, true], [2, 4]), &device());
    assert_close("padded", &added(&Side::padded(kept))[12..], &rows([0, 0, 0, 1]), 1e-12);
}
