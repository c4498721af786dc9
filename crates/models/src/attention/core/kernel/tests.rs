use burn::tensor::{DType, TensorData};
use kiln_activations::Ctx;
use serde_json::json;

use super::*;
use crate::{
    attention::core::testing::{Pass, assert_example, build, config, example, straight},
    position::Rotation,
    testing::{assert_close, device, normal, values},
};

fn core(features: serde_json::Value) -> super::super::CoreConfig {
    config(json!({ "name": "kernel", "features": features }))
}

#[test]
fn elu1_in_both_directions() {
    assert_example(
        "causal",
        &core(json!("elu1")),
        true,
        &[
            [[1.0, 0.0], [0.3420200314, 0.6579799686], [0.7029748568, 0.2970251432], [0.3931565137, 0.2210769523]],
            [
                [0.0, 0.0],
                [0.02539117544, -0.01410620858],
                [0.03583121322, -0.05732994115],
                [-0.03999892218, 0.03428479044],
            ],
            [
                [0.05486618066, 0.1256037658],
                [0.1391857203, -0.03572507294],
                [-0.1436899115, -0.01059878639],
                [-0.100363339, -0.09586564411],
            ],
            [
                [1.354785987, 0.327623241],
                [0.6547572078, 0.4878611682],
                [0.2332791158, 0.4273379015],
                [0.2571776893, 0.2571776893],
            ],
        ],
    );
    assert_example(
        "full",
        &core(json!("elu1")),
        false,
        &[[
            [0.3297306801, 0.2639995567],
            [0.5005468607, 0.1484019377],
            [0.1907078687, 0.3580814284],
            [0.3931565137, 0.2210769523],
        ]],
    );
}

#[test]
fn other_features_by_numbers() {
    assert_example(
        "relu",
        &core(json!("relu")),
        true,
        &[[[1.0, 0.0], [0.0, 1.0], [4.0 / 15.0, 11.0 / 15.0], [0.5227272727, 0.1704545455]]],
    );
    assert_example(
        "softmax",
        &core(json!("softmax")),
        true,
        &[[[1.0, 0.0], [0.4869730473, 0.5130269527], [0.7959149844, 0.2040850156], [0.5385293386, 0.09788002276]]],
    );
    // 1 + z + z²/2 for scores z: row 3 of Taylor's polynomial of order 2 in the place of the exponential.
    let core = build(&core(json!("taylor2")), [1, 2, 2], DType::F64);
    let found = values(&example(straight(true, 4)).forward(&core, &Ctx::eval(0, 0)));
    assert_close("taylor2, last row", &found[6..], &[0.4783184135, 0.1534011624], 1e-9);
}

#[test]
fn cos_reweight_by_numbers() {
    let within = |max_len: usize| core(json!({ "name": "cos_reweight", "max_len": max_len }));
    let causal = [
        [[1.0, 0.0], [0.0, 1.0], [0.2177203388, 0.7822796612], [0.518498336, 0.10106847]],
        [[0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [-0.9207446394, 0.4603723197]],
        [[-0.3847691493, 0.0], [0.2306414992, 0.1516135568], [0.0, 0.1980926583], [-0.3154965748, 0.0]],
        [
            [1.043136439, 0.2608567774],
            [0.8387494186, 0.6210290799],
            [0.3644920133, 0.3644920133],
            [0.2536221293, 0.2536221293],
        ],
    ];
    assert_example("M = 4", &within(4), true, &causal);
    assert_example("M = the length", &core(json!("cos_reweight")), true, &causal);
    assert_example(
        "full",
        &within(4),
        false,
        &[[
            [0.25646171, 0.5028851251],
            [1.366229991, -0.3662299915],
            [-0.257508875, 0.6721168125],
            [0.518498336, 0.10106847],
        ]],
    );
    assert_example(
        "M = 16",
        &within(16),
        true,
        &[[[1.0, 0.0], [0.0, 1.0], [0.2638261903, 0.7361738097], [0.5224729901, 0.1667084325]]],
    );
}

#[test]
fn the_state_holds_the_sums() {
    let core = build(&core(json!("elu1")), [1, 2, 2], DType::F64);
    let (_, state) = example(straight(true, 4)).extend(&core, core.state(1, 1), &Ctx::eval(0, 0));
    let State::Kernel(KernelState { values: Some(sum), .. }) = state else { panic!("{state:?}") };
    // [S, s] row by row.
    let expected = [0.7130613194, 2.44346934, 6.00653066, 3.130080883, 0.009365376539, 4.367542389];
    assert_close("state", &values(&sum.total), &expected, 1e-9);
}

/// Performer attention with given directions.
fn favor(value: serde_json::Value, causal: bool) -> Vec<f64> {
    let mut core = build(&core(value), [1, 2, 2], DType::F64);
    let super::super::Core::Kernel(kernel) = &mut core else { panic!() };
    let Features::Favor(favor) = &mut kernel.features else { panic!() };
    let pass = example(straight(causal, 4));
    let directions = Tensor::<2>::from_data(
        TensorData::new(vec![1.2, -0.4, 0.4, 1.2, -0.7, 0.9], [3, 2]),
        (&pass.x.device(), DType::F64),
    );
    favor.projection.fixed = Some(burn::module::Param::from_tensor(directions));
    values(&pass.forward(&core, &Ctx::eval(0, 0)))
}

#[test]
fn performer_by_numbers() {
    let full = [
        0.3683818707,
        0.2160555589,
        0.7231019754,
        -0.03022109779,
        0.1517085055,
        0.3543032369,
        0.5282137344,
        0.1045244313,
    ];
    let causal = [1.0, 0.0, 0.3915135112, 0.6084864888, 0.7172391588, 0.2827608412, 0.5282137344, 0.1045244313];
    for stabilizer in ["token", "none", "global"] {
        let value = json!({ "name": "favor", "m": 3, "stabilizer": stabilizer, "eps": 0.0 });
        assert_close(stabilizer, &favor(value.clone(), false), &full, 1e-9);
        assert_close(stabilizer, &favor(value, true), &causal, 1e-9);
    }
    // As the authors' code has it, and as no causal config may: keys are stabilised by the largest of all of them.
    let global = [1.0, 0.0, 0.3915139728, 0.6084860272, 0.7172410065, 0.2827589935, 0.5282136161, 0.1045245106];
    let value = json!({ "name": "favor", "m": 3, "stabilizer": "global", "eps": 1e-6 });
    assert_close("eps", &favor(value, true), &global, 1e-9);
}

#[test]
fn features_of_either_sign_need_another_denominator() {
    let config =
        |denominator: &str| config(json!({ "name": "kernel", "features": "identity", "denominator": denominator }));
    for denominator in ["sum", "detached_sum", "clamp_min_1"] {
        let error = config(denominator).check(4, true).unwrap_err().to_string();
        assert!(error.contains("denominator: sums of \"identity\" features have either sign"), "{error}");
    }
    for denominator in ["none", "rms", "l2", "gate"] {
        config(denominator).check(4, true).unwrap();
    }
}

#[test]
fn a_growing_key_leaves_those_before_it_alone() {
    // Features of e^1000 after features of 1: a common shift would make the first ones 0.
    let core = build(&core(json!("exp")), [1, 1, 1], DType::F32);
    let tensor = |x: [f64; 3]| Tensor::<4>::from_data(TensorData::new(x.to_vec(), [1, 1, 3, 1]), &device());
    let mut pass = example(straight(true, 3));
    pass.x = pass.x.narrow(1, 0, 3).cast(DType::F32);
    pass.heads = Heads { q: tensor([1.0; 3]), k: tensor([0.0, 0.0, 1000.0]), v: tensor([1.0, 3.0, 7.0]) };
    assert_eq!(values(&pass.forward(&core, &Ctx::eval(0, 0))), [1.0, 2.0, 7.0]);
    // The same in steps, where the state is rescaled.
    let mut state = core.state(1, 1);
    for (t, expected) in [1.0, 2.0, 7.0].into_iter().enumerate() {
        let (output, after) = pass.part(t, 1).extend(&core, state, &Ctx::eval(0, 0));
        state = after;
        assert_eq!(values(&output), [expected]);
    }
}

/// One head with `n` tokens of `d` entries, keys and queries turned by their places from `first` on.
fn turned(first: usize, n: usize, d: usize) -> Pass {
    let random = |name: &str| normal([1, 1, n, d], DType::F64, name);
    let mut pass = example(straight(true, 4));
    pass.heads = Heads { q: random("q"), k: random("k"), v: random("v") };
    pass.x = normal([1, n, 13], DType::F64, "x").detach();
    pass.scope = straight(true, n);
    let pairs = d / 2;
    let angles: Vec<f64> = (0..n * pairs).map(|i| (first + i / pairs) as f64 * 0.3 / (1 + i % pairs) as f64).collect();
    let angles = TensorData::new(angles, [1, 1, n, pairs]);
    let angles = Tensor::<4>::from_data(angles, (&pass.x.device(), DType::F64));
    pass.rotation = Some(Rotation::Given { queries: angles.clone(), keys: angles });
    pass
}

#[test]
fn under_a_rotation_only_distances_matter_and_the_denominator_stays() {
    let (n, d) = (7, 4);
    let core = build(&core(json!("elu1")), [1, d, d], DType::F64);
    let run = |pass: &Pass| values(&pass.forward(&core, &Ctx::eval(0, 0)));
    let [near, far] = [0, 100].map(|first| run(&turned(first, n, d)));
    assert_close("shifted", &far, &near, 1e-11);

    // Pair by pair: turned features in the numerator, plain ones below.
    let pass = turned(0, n, d);
    let Some(rotation) = &pass.rotation else { panic!() };
    let feature = |x: &Tensor<4>| x.clone().detach().clamp_max(0.0).exp() + x.clone().detach().clamp_min(0.0);
    let (q, k) = (feature(&pass.heads.q), feature(&pass.heads.k));
    let pairs = |q: Tensor<4>, k: Tensor<4>| q.matmul(k.swap_dims(2, 3)).tril(0);
    let above = pairs(rotation.queries(q.clone()), rotation.keys(k.clone())).matmul(pass.heads.v.clone().detach());
    let expected = values(&(above / pairs(q, k).sum_dim(3)));
    assert_close("pairs", &run(&pass), &expected, 1e-12);
    let still = Pass { rotation: None, ..pass };
    assert!(run(&still).iter().zip(&near).any(|(a, b)| (a - b).abs() > 1e-2), "a rotation changes something");
}

#[test]
fn one_key_among_many_gets_what_positive_features_allow() {
    // One key at 2, n − 1 at −2, a positive query: 3 / (3 + (n − 1) e⁻²), where softmax would reach e⁴ / (e⁴ + n − 1).
    let core = build(&core(json!("elu1")), [1, 1, 1], DType::F64);
    for (n, expected) in [(16, 0.5964180031), (64, 0.2602783295), (256, 0.07997761219), (1024, 0.02120920841)] {
        let first = |at: f64, other: f64| {
            let entries = (0..n).map(|i| if i == 0 { at } else { other }).collect();
            let data = TensorData::new::<f64, _>(entries, [1, 1, n, 1]);
            Tensor::<4>::from_data(data, (&device(), DType::F64))
        };
        let mut pass = example(straight(false, n));
        pass.heads = Heads { q: first(1.0, 1.0), k: first(2.0, -2.0), v: first(1.0, 0.0) };
        pass.x = normal([1, n, 13], DType::F64, "x").detach();
        let found = values(&pass.forward(&core, &Ctx::eval(0, 0)));
        assert_close(&format!("n = {n}"), &found[..1], &[expected], 1e-9);
    }
}
