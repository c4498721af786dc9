//! Whatever the order and the precision of the sums, they are the same.
use burn::tensor::DType;

use super::{directions, eval, in_form};
use crate::{
    attention::core::{
        CoreConfig,
        testing::{D, E, HEADS, LENGTH, Pass, ROWS, build, padded, pattern, straight},
    },
    testing::{assert_close, normal, values},
};

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
