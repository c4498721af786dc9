use burn::tensor::{DType, Tensor};
use kiln_activations::Ctx;
use serde_json::json;

use super::*;
use crate::{
    attention::core::{
        Core,
        testing::{build, config, example, straight},
    },
    testing::{assert_close, values},
};

fn built(value: serde_json::Value) -> Nystrom {
    match build(&config(value), [1, 2, 2], DType::F64) {
        Core::Nystrom(core) => core,
        other => panic!("{other:?}"),
    }
}

/// Rows 0 and 2 of the queries, which are the keys too, as landmarks.
fn two_landmarks(symmetric: bool) -> Vec<f64> {
    let core = built(json!({ "name": "nystrom", "symmetric": symmetric }));
    let pass = example(straight(false, 4));
    let q = pass.heads.q.mul_scalar(2f64.powf(-0.25));
    let row = |i| q.clone().narrow(2, i, 1);
    let landmarks = Tensor::cat(vec![row(0), row(2)], 2);
    let summary = Summary { landmarks, used: None };
    values(&core.through([q.clone(), q, pass.heads.v], summary, &pass.scope))
}

#[test]
fn two_landmarks_by_numbers() {
    let soft = [
        0.8856360998,
        0.5901333531,
        0.4744110597,
        0.3133092412,
        1.957904642,
        -0.6262966503,
        0.9135034548,
        0.3642819073,
    ];
    assert_close("SOFT", &two_landmarks(false), &soft, 1e-9);
    let symmetric = [
        0.6608433307,
        0.4403452961,
        0.3539957155,
        0.2337848723,
        1.460947928,
        -0.4673296001,
        0.6816373743,
        0.2718196209,
    ];
    assert_close("SOFT++", &two_landmarks(true), &symmetric, 1e-9);
}

#[test]
fn landmarks_at_every_token_are_exact() {
    let exact =
        [0.8856360998, 0.5901333531, 0.0330427028, 1.24995435, 1.957904642, -0.6262966503, 0.559196443, 0.9828037702];
    let core = config(json!({ "name": "nystrom", "landmarks": { "name": "segments", "m": 4 }, "steps": 60 }));
    let core = build(&core, [1, 2, 2], DType::F64);
    let mut pass = example(straight(false, 4));
    pass.heads.k = pass.heads.q.clone();
    assert_close("S V", &values(&pass.forward(&core, &Ctx::eval(0, 0))), &exact, 1e-9);
}

#[test]
fn patches_are_rows_and_columns_of_the_grid() {
    // 2 x 5 tokens numbered in order, two patches of 2 x 2, the last column left out.
    let landmarks = json!({ "name": "patches", "grid": [2, 5], "ratio": 2 });
    let Landmarks::Patches(grid) = built(json!({ "name": "nystrom", "landmarks": landmarks })).landmarks else {
        panic!("patches were asked for")
    };
    let x = Tensor::<1, burn::tensor::Int>::arange(0..10, &crate::testing::device()).float().reshape([1, 1, 10, 1]);
    let expected = [0.0, 1.0, 5.0, 6.0, 2.0, 3.0, 7.0, 8.0];
    assert_eq!(values(&grid.patches(x)), expected);
}

#[test]
fn a_grid_must_hold_a_patch() {
    let core = json!({ "name": "nystrom", "landmarks": { "name": "patches", "grid": [2, 7], "ratio": 3 } });
    let error = config(core).check(4, false).unwrap_err().to_string();
    assert!(error.contains("landmarks.ratio: a grid of 2 x 7 tokens holds no patch of 3 x 3"), "{error}");
}
