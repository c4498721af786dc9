//! Gradients, recorded weights and shared heads.
use burn::tensor::{DType, Int, Tensor, TensorData};
use kiln_activations::Probe;
use serde_json::json;

use super::{directions, eval};
use crate::{
    attention::core::{
        Heads,
        testing::{D, E, HEADS, LENGTH, Pass, ROWS, build, config, fits, padded, pattern, straight},
    },
    testing::{assert_close, check_gradients, normal, values},
};

#[test]
fn gradients_are_those_of_differences() {
    const STEP: f64 = 1e-5;
    for (name, config, causal) in directions() {
        if name.contains("detached") {
            continue;
        }
        let core = build(&config, [HEADS, D, E], DType::F64);
        let g = normal([ROWS, HEADS, LENGTH, E], DType::F64, "g").detach();
        let pass = Pass::random(padded(pattern(causal), LENGTH), LENGTH, DType::F64);
        let [_, exact @ ..] = pass.gradients(&core, &g);
        for (which, exact) in exact.iter().enumerate() {
            // Every 37th entry: coprime to all sizes, so all channels, tokens, heads and rows have their turn.
            let picked: Vec<usize> = (0..exact.len()).step_by(37).collect();
            let at = |index: usize, delta: f64| {
                let mut nudged = pass.clone();
                let Heads { q, k, v } = &mut nudged.heads;
                let x = [q, k, v].into_iter().nth(which).unwrap();
                let mut entries = values(x);
                entries[index] += delta;
                *x = Tensor::from_data(TensorData::new(entries, x.dims()), (&x.device(), DType::F64));
                values(&(nudged.forward(&core, &eval()) * g.clone()).sum())[0]
            };
            let differences: Vec<f64> = picked.iter().map(|i| (at(*i, STEP) - at(*i, -STEP)) / (2.0 * STEP)).collect();
            let exact: Vec<f64> = picked.iter().map(|i| exact[*i]).collect();
            assert_close(&format!("{name}: d{}", ["Q", "K", "V"][which]), &exact, &differences, 2e-7);
        }
    }
}

#[test]
fn parameters_have_the_gradients_of_differences() {
    let patches = json!({ "name": "patches", "grid": [1, 2], "ratio": 1 });
    for (value, length) in [
        (json!({ "name": "kernel", "denominator": "gate" }), 5),
        (json!({ "name": "kernel", "denominator": "rms" }), 5),
        (json!({ "name": "decayed", "decay": "scalar" }), 5),
        (json!({ "name": "decayed", "decay": { "name": "vector", "rank": 3 } }), 5),
        (json!({ "name": "nystrom", "landmarks": patches, "inverse": "cholesky" }), 2),
    ] {
        let config = config(value);
        let causal = fits(&config, true);
        let pass = Pass::random(straight(causal, length), length, DType::F64);
        let g = normal([ROWS, HEADS, length, E], DType::F64, "g").detach();
        let core = build(&config, [HEADS, D, E], DType::F64);
        check_gradients(&core, |core| (pass.forward(core, &eval()) * g.clone()).sum());
    }
}

#[test]
fn weights_that_a_probe_sees_are_those_that_mix() {
    for (name, config, causal) in directions() {
        let probe = Probe::default();
        let core = build(&config, [HEADS, D, E], DType::F64);
        let pass = Pass::random(padded(pattern(causal), LENGTH), LENGTH, DType::F64);
        let output = pass.forward(&core, &eval().with_probe(&probe));
        let Some(record) = probe.take().into_iter().find(|record| record.name == "attention") else { continue };
        let weights = record.rows.reshape([ROWS, HEADS, LENGTH, LENGTH]);
        assert_close(&name, &values(&weights.matmul(pass.heads.v.detach())), &values(&output), 1e-10);
    }
}

#[test]
fn heads_that_share_keys_are_heads_with_copies() {
    for (name, config, causal) in directions() {
        let core = build(&config, [4, D, E], DType::F64);
        let mut pass = Pass::random(straight(causal, LENGTH), LENGTH, DType::F64);
        pass.heads.q = normal([ROWS, 4, LENGTH, D], DType::F64, "q");
        pass.heads.k = pass.heads.k.clone().narrow(1, 0, 2);
        pass.heads.v = pass.heads.v.clone().narrow(1, 0, 2);
        let shared = values(&pass.forward(&core, &eval()));
        let copy = |x: &Tensor<4>| {
            let heads = Tensor::<1, Int>::from_data([0i64, 0, 1, 1], &x.device());
            x.clone().select(1, heads)
        };
        pass.heads = Heads { q: pass.heads.q.clone(), k: copy(&pass.heads.k), v: copy(&pass.heads.v) };
        assert_close(&name, &shared, &values(&pass.forward(&core, &eval())), 1e-12);
    }
}
