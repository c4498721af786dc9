//! What holds for every core, for all its features, denominators, decays and rules.
use burn::tensor::{DType, Int, Tensor, TensorData};
use kiln_activations::{Ctx, Probe};
use kiln_registry::Tagged;
use serde_json::{Value, json};

use super::{
    CoreConfig, DecayConfig, Heads,
    testing::{D, E, HEADS, LENGTH, Pass, ROWS, build, config, fits, mask, padded, pattern, straight},
};
use crate::{
    attention::{
        Scope, Side,
        denominator::DenominatorConfig,
        features::FeaturesConfig,
        state::{Remember, State},
    },
    testing::{assert_close, check_gradients, normal, values},
};

/// Every feature map, at sizes that fit a test.
fn features() -> Vec<Value> {
    let mut all: Vec<Value> = FeaturesConfig::NAMES
        .iter()
        .map(|name| match *name {
            // No gradient passes the shift of the exponents, which eps brings into the result.
            "favor" => json!({ "name": name, "m": 17, "eps": 0.0 }),
            "cos_reweight" => json!({ "name": name, "max_len": 512 }),
            name => json!({ "name": name }),
        })
        .collect();
    all.extend([
        json!({ "name": "softmax", "efficient": true }),
        json!({ "name": "favor", "m": 17, "variant": "sine_cosine" }),
        json!({ "name": "favor", "m": 17, "stabilizer": "global", "eps": 0.0 }),
        json!({ "name": "favor", "m": 17, "stabilizer": "none", "orthogonal": false }),
        json!({ "name": "favor_generalized", "function": "exp", "projection": { "m": 17, "row_norm": "sqrt_d" } }),
    ]);
    all
}

/// Every core with every choice it has.
fn cases() -> Vec<(String, CoreConfig)> {
    let mut all: Vec<Value> = features()
        .into_iter()
        .map(|features| {
            let denominator = if features["name"] == "identity" { "none" } else { "sum" };
            json!({ "name": "kernel", "features": features, "denominator": denominator })
        })
        .collect();
    for denominator in DenominatorConfig::NAMES {
        all.push(json!({ "name": "kernel", "denominator": denominator }));
        // A constant beside shifted weights stands in the way of an exact comparison.
        let exact = match *denominator {
            "rms" => json!({ "name": "rms", "eps": 1e-20 }),
            name => json!({ "name": name }),
        };
        all.push(json!({ "name": "kernel", "features": "exp", "denominator": exact }));
    }
    for decay in DecayConfig::NAMES {
        all.push(json!({ "name": "decayed", "decay": decay }));
    }
    all.push(json!({ "name": "decayed", "decay": "scalar", "features": "taylor2", "denominator": "l2" }));
    for (rule, features) in [("inline", "identity"), ("inline", "exp"), ("mala", "elu1"), ("mala_sums", "relu_sq")] {
        all.push(json!({ "name": "centred", "rule": rule, "features": features }));
    }
    for landmarks in [
        json!({ "name": "segments", "m": 3 }),
        json!({ "name": "segments", "m": 17 }),
        json!({ "name": "patches", "grid": [1, LENGTH], "ratio": 1 }),
    ] {
        all.push(json!({ "name": "nystrom", "landmarks": landmarks, "steps": 40 }));
    }
    all.push(json!({ "name": "nystrom", "landmarks": { "name": "segments", "m": 3 }, "inverse": "cholesky", "symmetric": true }));
    for normalize in ["none", "mean", "row"] {
        all.push(json!({ "name": "gaussian", "normalize": normalize }));
    }
    for denominator in DenominatorConfig::NAMES {
        all.push(json!({ "name": "ratio", "denominator": denominator }));
    }
    for numerator in ["taylor", "elu1"] {
        all.push(json!({ "name": "ratio", "numerator": numerator }));
    }
    all.push(json!("scores"));
    all.into_iter().map(|value| (value.to_string(), config(value))).collect()
}

/// Every case with every direction it has.
fn directions() -> impl Iterator<Item = (String, CoreConfig, bool)> {
    cases().into_iter().flat_map(|(name, config)| {
        let directions = [false, true].into_iter().filter(|causal| fits(&config, *causal)).collect::<Vec<_>>();
        directions.into_iter().map(move |causal| (format!("{name}, causal {causal}"), config.clone(), causal))
    })
}

/// The same core with its sums in another form; `None` where it has one only.
fn in_form(config: &CoreConfig, form: &str, chunk: usize) -> Option<CoreConfig> {
    let mut value = serde_json::to_value(config).unwrap();
    let table = value.as_object_mut().unwrap();
    if !table.contains_key("chunk") {
        return None;
    }
    table.insert("form".into(), json!(form));
    table.insert("chunk".into(), json!(chunk));
    Some(super::testing::config(value))
}

fn eval() -> Ctx {
    Ctx::eval(0, 0)
}

/// The outputs of several calls, one after the other.
fn in_pieces(core: &super::Core, pass: &Pass, pieces: &[usize]) -> Vec<f64> {
    let (mut state, mut start, mut outputs) = (core.state(ROWS, HEADS), 0, Vec::new());
    for &length in pieces {
        let (output, after) = pass.part(start, length).extend(core, state, &eval());
        (state, start) = (after, start + length);
        outputs.push(output);
    }
    values(&Tensor::cat(outputs, 2))
}

/// `x` with other values at some tokens of each row.
fn replaced(x: &Tensor<4>, at: impl Fn(usize, usize) -> bool, value: f64) -> Tensor<4> {
    let [rows, _, length, _] = x.dims();
    let hit: Vec<bool> = (0..rows * length).map(|i| at(i / length, i % length)).collect();
    let hit = mask(hit, length).reshape([rows, 1, length, 1]).expand(x.dims());
    x.clone().detach().mask_fill(hit, value).detach().require_grad()
}

#[test]
fn every_core_has_a_case() {
    let cases = cases();
    for name in CoreConfig::NAMES {
        assert!(cases.iter().any(|(_, config)| config.name() == *name), "{name}");
    }
}

#[test]
fn all_forms_agree() {
    for (name, config, causal) in directions() {
        let Some(quadratic) = in_form(&config, "quadratic", 64) else { continue };
        let pass = Pass::random(padded(pattern(causal), LENGTH), LENGTH, DType::F64);
        let g = normal([ROWS, HEADS, LENGTH, E], DType::F64, "g").detach();
        let expected = pass.gradients(&build(&quadratic, [HEADS, D, E], DType::F64), &g);
        for chunk in [1, 3, 64] {
            let chunked = in_form(&config, "chunked", chunk).unwrap();
            let found = pass.gradients(&build(&chunked, [HEADS, D, E], DType::F64), &g);
            for ((found, expected), what) in found.iter().zip(&expected).zip(["O", "dQ", "dK", "dV"]) {
                assert_close(&format!("{name}, chunk {chunk}: {what}"), found, expected, 1e-10);
            }
        }
    }
}

#[test]
fn one_after_the_other_is_all_at_once() {
    for (name, config, causal) in directions() {
        if !causal || !config.properties().exact_step {
            continue;
        }
        for scope in [padded(pattern(true), LENGTH), straight(true, LENGTH)] {
            let pass = Pass::random(scope, LENGTH, DType::F64);
            let core = build(&config, [HEADS, D, E], DType::F64);
            let expected = values(&pass.forward(&core, &eval()));
            for pieces in [vec![LENGTH], vec![4, LENGTH - 4], vec![1; LENGTH], vec![LENGTH - 1, 1]] {
                let found = in_pieces(&core, &pass, &pieces);
                assert_close(&format!("{name}, pieces {pieces:?}"), &found, &expected, 1e-10);
            }
        }
    }
}

#[test]
fn long_rows_agree_in_f32() {
    let length = 512;
    for (name, config, causal) in directions() {
        let Some(quadratic) = in_form(&config, "quadratic", 64) else { continue };
        // The exact pairs of a decay per channel would need length² · d numbers.
        let per_channel = name.contains("vector");
        let quadratic = if per_channel { in_form(&config, "chunked", 1).unwrap() } else { quadratic };
        let pass = Pass::random(straight(causal, length), length, DType::F32);
        let run = |config: &CoreConfig| values(&pass.forward(&build(config, [HEADS, D, E], DType::F32), &eval()));
        let expected = run(&quadratic);
        let largest = expected.iter().fold(0.0f64, |a, b| a.max(b.abs()));
        for chunk in [3, 64] {
            let found = run(&in_form(&config, "chunked", chunk).unwrap());
            let scaled = |x: &[f64]| x.iter().map(|x| x / largest).collect::<Vec<_>>();
            assert_close(&format!("{name}, chunk {chunk}"), &scaled(&found), &scaled(&expected), 1e-4);
        }
    }
}

#[test]
fn single_precision_is_double_precision_rounded() {
    for (name, config, causal) in directions() {
        if name.contains("patches") {
            continue; // landmarks that are nearly equal: their inverse enlarges any rounding
        }
        let run = |dtype| {
            let pass = Pass::random(straight(causal, LENGTH), LENGTH, dtype);
            values(&pass.forward(&build(&config, [HEADS, D, E], dtype), &eval()))
        };
        assert_close(&name, &run(DType::F32), &run(DType::F64), 2e-4);
    }
}

#[test]
fn half_precision_sums_in_f32() {
    for (name, config, causal) in directions() {
        let pass = Pass::random(straight(causal, LENGTH), LENGTH, DType::F16);
        let output = pass.forward(&build(&config, [HEADS, D, E], DType::F16), &eval());
        assert_eq!(output.dtype(), DType::F16, "{name}");
        assert!(values(&output).iter().all(|x| x.is_finite()), "{name}");
    }
}

#[test]
fn padding_is_as_if_it_were_not_there() {
    for (name, config, causal) in directions() {
        if name.contains("patches") {
            continue; // a grid has no padding
        }
        let core = build(&config, [HEADS, D, E], DType::F64);
        let pass = Pass::random(padded(pattern(causal), LENGTH), LENGTH, DType::F64);
        let whole = pass.forward(&core, &eval());
        for (row, start, length) in [(0, 2, LENGTH - 2), (1, 0, LENGTH - 3)] {
            let one = |x: &Tensor<4>| x.clone().narrow(0, row, 1).narrow(2, start, length);
            let alone = Pass {
                heads: Heads { q: one(&pass.heads.q), k: one(&pass.heads.k), v: one(&pass.heads.v) },
                x: pass.x.clone().narrow(0, row, 1).narrow(1, start, length),
                scope: straight(causal, length),
                rotation: None,
            };
            let expected = values(&alone.forward(&core, &eval()));
            assert_close(&format!("{name}, row {row}"), &values(&one(&whole)), &expected, 1e-10);
        }
    }
}

#[test]
fn what_stands_at_padding_reaches_nothing() {
    let hidden = |row: usize, t: usize| if row == 0 { t < 2 } else { t + 3 >= LENGTH };
    for (name, config, causal) in directions() {
        let core = build(&config, [HEADS, D, E], DType::F64);
        // Padding neither asks: its gradient at the output is 0.
        let g = replaced(&normal([ROWS, HEADS, LENGTH, E], DType::F64, "g"), hidden, 0.0).detach();
        let run = |value| {
            let mut pass = Pass::random(padded(pattern(causal), LENGTH), LENGTH, DType::F64);
            let Heads { q, k, v } = &pass.heads;
            let fill = |x: &Tensor<4>| replaced(x, hidden, value);
            // The scores core keeps what a padded query holds to that query's own row.
            let q = if config.name() == "scores" { q.clone() } else { fill(q) };
            pass.heads = Heads { q, k: fill(k), v: fill(v) };
            pass.gradients(&core, &g)
        };
        let ([_, plain @ ..], [output, strange @ ..]) = (run(1.0), run(f64::NAN));
        let kept = |i: usize, width: usize| {
            let (t, row) = (i / width % LENGTH, i / width / LENGTH / HEADS);
            !hidden(row, t)
        };
        assert!(output.iter().enumerate().all(|(i, o)| !kept(i, E) || o.is_finite()), "{name}");
        for ((plain, strange), (what, width)) in plain.iter().zip(&strange).zip([("dQ", D), ("dK", D), ("dV", E)]) {
            for (i, (a, b)) in plain.iter().zip(strange).enumerate() {
                assert_eq!(a, b, "{name}: {what}[{i}]");
                assert!(kept(i, width) || *b == 0.0, "{name}: {what}[{i}] at padding is {b}");
            }
        }
    }
}

#[test]
fn a_query_without_keys_gets_zeros() {
    for (name, config, causal) in directions() {
        let core = build(&config, [HEADS, D, E], DType::F64);
        let kept: Vec<bool> = (0..ROWS * LENGTH).map(|i| i >= LENGTH).collect();
        let scope = Scope::of(pattern(causal), Side::padded(mask(kept, LENGTH)));
        let pass = Pass::random(scope, LENGTH, DType::F64);
        let [o, dq, dk, dv] = pass.gradients(&core, &Tensor::ones_like(&pass.heads.v));
        for (what, x) in [("O", o), ("dQ", dq), ("dK", dk), ("dV", dv)] {
            let (empty, full) = x.split_at(x.len() / 2);
            assert!(empty.iter().all(|x| *x == 0.0), "{name}: {what}");
            assert!(full.iter().all(|x| x.is_finite()) && full.iter().any(|x| *x != 0.0), "{name}: {what}");
        }
    }
}

#[test]
fn later_tokens_move_no_bit() {
    let t = 6;
    for (name, config, causal) in directions() {
        if !causal {
            continue;
        }
        for chunk in [3, 64] {
            let config = in_form(&config, "chunked", chunk).unwrap_or_else(|| config.clone());
            let core = build(&config, [HEADS, D, E], DType::F32);
            let pass = Pass::random(straight(true, LENGTH), LENGTH, DType::F32);
            let mut other = pass.clone();
            let Heads { q, k, v } = &pass.heads;
            let change = |x: &Tensor<4>| replaced(x, |_, at| at >= t, 9.0);
            other.heads = Heads { q: change(q), k: change(k), v: change(v) };
            let kept = pass.x.clone().narrow(1, 0, t);
            other.x = Tensor::cat(vec![kept, pass.x.clone().narrow(1, t, LENGTH - t) * 3.0], 1);
            let [a, b] = [&pass, &other].map(|pass| pass.forward(&core, &eval()).narrow(2, 0, t));
            assert_eq!(a.to_data(), b.to_data(), "{name}, chunk {chunk}");
        }
    }
}

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
fn the_last_query_alone_gets_the_same() {
    for (name, config, causal) in directions() {
        if !config.properties().any_queries {
            continue;
        }
        for scope in [padded(pattern(causal), LENGTH), straight(causal, LENGTH)] {
            let core = build(&config, [HEADS, D, E], DType::F64);
            let pass = Pass::random(scope, LENGTH, DType::F64);
            let whole = pass.forward(&core, &eval()).narrow(2, LENGTH - 1, 1);
            let mut last = pass.clone();
            last.heads.q = pass.heads.q.clone().narrow(2, LENGTH - 1, 1);
            last.x = pass.x.clone().narrow(1, LENGTH - 1, 1);
            last.scope = pass.scope.last_query();
            assert_close(&name, &values(&last.forward(&core, &eval())), &values(&whole), 1e-11);
        }
    }
}

#[test]
fn states_can_be_picked_forgotten_and_weighed() {
    for (name, config, causal) in directions() {
        if !causal || !config.properties().exact_step {
            continue;
        }
        let core = build(&config, [HEADS, D, E], DType::F64);
        let pass = Pass::random(straight(true, LENGTH), LENGTH, DType::F64);
        let first = |state| pass.part(0, 4).extend(&core, state, &eval()).1;
        let next = |state| values(&pass.part(4, 3).extend(&core, state, &eval()).0);
        let state = first(core.state(ROWS, HEADS));
        assert!(state.bytes() > 0, "{name}");
        let grows = matches!(state, State::KeyValue(_));
        let longer = pass.part(4, 7).extend(&core, state.clone(), &eval()).1;
        assert_eq!(longer.bytes() > state.bytes(), grows, "{name}");

        // Both rows continue row 1's past.
        let rows = Tensor::<1, Int>::from_data([1i64, 1], &pass.x.device());
        let mut picked = pass.clone();
        let Heads { q, k, v } = &mut picked.heads;
        for x in [q, k, v] {
            *x = x.clone().select(0, rows.clone());
        }
        picked.x = picked.x.select(0, rows.clone());
        let expected = {
            let state = picked.part(0, 4).extend(&core, core.state(ROWS, HEADS), &eval()).1;
            values(&picked.part(4, 3).extend(&core, state, &eval()).0)
        };
        let found = values(&picked.part(4, 3).extend(&core, state.clone().select(&rows), &eval()).0);
        assert_close(&format!("{name}, picked"), &found, &expected, 1e-12);
        assert_eq!(next(first(state.clone().reset())), next(state), "{name}, forgotten");
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
