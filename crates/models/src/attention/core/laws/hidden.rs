//! What is hidden has no say.
use burn::tensor::{DType, Tensor};

use super::{directions, eval, in_form};
use crate::{
    attention::{
        Scope, Side,
        core::{
            Heads,
            testing::{D, E, HEADS, LENGTH, Pass, ROWS, build, mask, padded, pattern, straight},
        },
    },
    testing::{assert_close, normal, values},
};

/// `x` with other values at some tokens of each row.
fn replaced(x: &Tensor<4>, at: impl Fn(usize, usize) -> bool, value: f64) -> Tensor<4> {
    let [rows, _, length, _] = x.dims();
    let hit: Vec<bool> = (0..rows * length).map(|i| at(i / length, i % length)).collect();
    let hit = mask(hit, length).reshape([rows, 1, length, 1]).expand(x.dims());
    x.clone().detach().mask_fill(hit, value).detach().require_grad()
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
