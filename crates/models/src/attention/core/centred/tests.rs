use burn::tensor::{DType, Tensor};
use kiln_activations::{Ctx, Probe};
use serde_json::json;

use crate::{
    attention::{
        Side,
        core::{
            CoreConfig, Heads,
            testing::{assert_example, build, config, example, straight},
        },
    },
    testing::{assert_close, normal, values},
};

#[test]
fn inline_by_numbers() {
    let core = config(json!({ "name": "centred" }));
    assert_example(
        "full",
        &core,
        false,
        &[
            [
                [0.1464466094, 0.3990038777],
                [0.7572100917, -0.04536854009],
                [0.04921942699, 0.4286139742],
                [0.4770190296, 0.151958446],
            ],
            [
                [-0.4331029035, 0.1590990258],
                [-0.3767553319, 0.1259533954],
                [0.3204077602, -0.09280776503],
                [-0.1126951433, 0.06629126074],
            ],
            [
                [0.07181553246, 0.1414213562],
                [0.05413786293, -0.300520382],
                [0.08949320199, 0.5833630945],
                [-0.2154465974, -0.4242640687],
            ],
            [
                [0.4617025277, 0.5002904828],
                [0.7984621323, 0.4269281542],
                [0.5934011657, 0.07337476365],
                [0.6464341743, 0.4994065993],
            ],
        ],
    );
    assert_example(
        "causal",
        &core,
        true,
        &[[[1.0, 0.0], [0.4098438854, 0.5901561146], [0.660588745, 0.339411255], [0.4770190296, 0.151958446]]],
    );
}

#[test]
fn mala_by_numbers() {
    let core = config(json!({ "name": "centred", "rule": "mala", "features": "elu1" }));
    assert_example(
        "full",
        &core,
        false,
        &[
            [
                [-0.2290505642, 0.7201611111],
                [0.5017367938, 0.1993327964],
                [-0.4066743203, 0.8082662198],
                [0.1415304102, 0.4473466476],
            ],
            [
                [-0.473129289, 0.2583183564],
                [-0.376497552, 0.1953484728],
                [0.3260058961, -0.07142427163],
                [-0.1456318791, 0.1067159774],
            ],
            [
                [0.3359077434, 0.2471613471],
                [0.1127713568, -0.2792014202],
                [0.3390774049, 1.179916095],
                [-1.064248972, -1.07297398],
            ],
            [
                [0.03223016068, 0.2011125322],
                [1.332733198, 0.7973840496],
                [0.4220512548, -0.07187404456],
                [0.7129844274, 0.5733767501],
            ],
        ],
    );
    assert_example(
        "causal",
        &core,
        true,
        &[[
            [0.9999996097, 0.0],
            [0.01132161651, 0.9886779058],
            [0.16814877, 0.8318506746],
            [0.1415304102, 0.4473466476],
        ]],
    );
    let sums = json!({ "name": "centred", "rule": "mala_sums", "features": "elu1", "eps": 0.0 });
    assert_example(
        "sums",
        &config(sums),
        false,
        &[[
            [-2.831212808, 2.844439439],
            [0.5072794399, 0.4365107674],
            [-3.188595547, 2.904712227],
            [-1.030254735, 1.501052171],
        ]],
    );
}

/// The weights that a probe sees, row by row.
fn weights(core: &CoreConfig) -> Vec<f64> {
    let probe = Probe::default();
    let core = build(core, [1, 2, 2], DType::F64);
    example(straight(false, 4)).forward(&core, &Ctx::eval(0, 0).with_probe(&probe));
    values(&probe.take()[0].rows)
}

#[test]
fn weights_by_numbers() {
    let inline = [
        0.1792893219,
        0.3825825215,
        0.1350951481,
        0.3030330086,
        0.1620535941,
        0.2522097087,
        0.3936310649,
        0.1921056323,
        0.379930871,
        0.2632582521,
        0.00869981092,
        0.3481110659,
        0.2013864088,
        0.2897747564,
        0.2614904852,
        0.2473483496,
    ];
    assert_close("inline", &weights(&config(json!({ "name": "centred" }))), &inline, 1e-9);
    let mala = [
        0.01523364919,
        0.5980191351,
        0.04748770093,
        0.3392595148,
        -0.02163158471,
        0.4610171688,
        0.3613276748,
        0.1992867411,
        0.162484415,
        0.5236870869,
        -0.08511004612,
        0.3989385442,
        0.02781247914,
        0.5042057905,
        0.1938999428,
        0.2740817876,
    ];
    let core = config(json!({ "name": "centred", "rule": "mala", "features": "elu1", "eps": 0.0 }));
    assert_close("mala", &weights(&core), &mala, 1e-9);
}

#[test]
fn weights_sum_to_one_and_grow_with_the_query() {
    let mut pass = example(straight(false, 4));
    let ones = Tensor::ones([1, 1, 4, 2], (&pass.heads.v.device(), DType::F64));
    for value in [
        json!({ "name": "centred" }),
        json!({ "name": "centred", "rule": "mala", "features": "elu1", "eps": 0.0 }),
        json!({ "name": "centred", "rule": "mala_sums", "features": "elu1", "eps": 0.0 }),
    ] {
        let core = build(&config(value), [1, 2, 2], DType::F64);
        pass.heads.v = ones.clone();
        let sums = values(&pass.forward(&core, &Ctx::eval(0, 0)));
        assert_close("row sums", &sums, &[1.0; 8], 1e-14);
        let plain = example(straight(false, 4));
        let mut double = plain.clone();
        double.heads.q = double.heads.q * 2.0;
        let [a, b] = [plain, double].map(|pass| values(&pass.forward(&core, &Ctx::eval(0, 0))));
        assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() > 1e-4), "{a:?} {b:?}");
    }
}

#[test]
fn mala_needs_products_above_0() {
    let error = config(json!({ "name": "centred", "rule": "mala" })).check(4, true).unwrap_err().to_string();
    assert!(error.contains("features: the mean product of \"identity\" features may be 0"), "{error}");
}

/// The weights of `n` keys for some queries, divided by their sum or centred: `[queries, keys]` row by row.
fn weights_for(core: &CoreConfig, q: Tensor<4>, k: &Tensor<4>) -> Vec<f64> {
    let ([_, _, queries, d], [_, _, keys, _]) = (q.dims(), k.dims());
    let core = build(core, [1, d, keys], DType::F64);
    let mut pass = example(straight(false, 4));
    let each = Tensor::<2>::eye(keys, &q.device()).cast(DType::F64).unsqueeze::<4>();
    pass.x = normal([1, queries, 13], DType::F64, "x").detach();
    pass.scope.queries = Side::range(0, queries, &q.device());
    pass.scope.keys = Side::range(0, keys, &q.device());
    pass.heads = Heads { q, k: k.clone(), v: each };
    values(&pass.forward(&core, &Ctx::eval(0, 0)))
}

#[test]
fn no_query_collides_with_its_double() {
    let (n, d, queries) = (16, 8, 2000);
    let (q, k) = (normal([1, 1, queries, d], DType::F64, "q"), normal([1, 1, n, d], DType::F64, "k"));
    let difference = |value: serde_json::Value| -> Vec<f64> {
        let core = config(value);
        let [single, double] = [1.0, 2.0].map(|factor| weights_for(&core, q.clone() * factor, &k));
        let rows = single.chunks(n).zip(double.chunks(n));
        rows.map(|(a, b)| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)).collect()
    };
    let divided = difference(json!({ "name": "kernel", "features": "relu" }));
    assert!(divided.iter().all(|difference| *difference < 1e-6));
    let centred = difference(json!({ "name": "centred", "features": "relu" }));
    // A query without a positive entry has no feature to double.
    let silent = values(&q.clamp_min(0.0).sum_dim(3));
    assert!(centred.iter().zip(silent).all(|(difference, feature)| *difference > 1e-3 || feature < 0.5));
}

#[test]
fn mala_restores_the_magnitude_of_a_query() {
    // Features 1, 3 and 10 times as large: elu(x) + 1 is x + 1 above 0.
    let k = normal([1, 1, 16, 8], DType::F64, "k");
    let phi = normal([1, 1, 1, 8], DType::F64, "q").abs().add_scalar(1.0);
    let largest = |value: serde_json::Value| {
        let core = config(value);
        [1.0, 3.0, 10.0].map(|factor| {
            let q = phi.clone().mul_scalar(factor).sub_scalar(1.0);
            weights_for(&core, q, &k).into_iter().fold(f64::MIN, f64::max)
        })
    };
    let linear = largest(json!({ "name": "kernel" }));
    assert_close("linear", &linear, &[linear[0]; 3], 1e-12);
    let [one, three, ten] = largest(json!({ "name": "centred", "rule": "mala", "features": "elu1" }));
    assert!(three >= 2.0 * one && ten >= 2.0 * three, "{one} {three} {ten}");
}
