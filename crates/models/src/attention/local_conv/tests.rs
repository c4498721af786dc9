use burn::tensor::{Bool, DType, TensorData};
use serde_json::json;

use super::*;
use crate::{
    attention::{Pattern, Side},
    testing::{assert_close, check_gradients, device, normal, values},
};

const D_MODEL: usize = 6;

fn built(value: serde_json::Value, n_heads: usize, d_value: usize) -> LocalConv {
    let config: LocalConvConfig = serde_json::from_value(value).unwrap();
    let init = Init::new(3, &device(), DType::F64);
    crate::testing::randomised(config.init(&init, D_MODEL, [n_heads, d_value]))
}

fn numbered(length: usize) -> Heads {
    let v: Vec<f64> = (1..=length).map(|t| t as f64).collect();
    let v = Tensor::<4>::from_data(TensorData::new(v, [1, 1, length, 1]), (&device(), DType::F64));
    Heads { q: v.clone(), k: v.clone(), v }
}

fn with_taps(mut conv: LocalConv, taps: &[f64]) -> LocalConv {
    let taps = TensorData::new(taps.to_vec(), [taps.len(), 1]);
    conv.taps = Some(Param::from_tensor(Tensor::from_data(taps, (&device(), DType::F64))));
    conv
}

fn whole(causal: bool, length: usize) -> Scope {
    Scope::whole(if causal { Pattern::Causal } else { Pattern::Full }, length, &device())
}

fn run(conv: &LocalConv, heads: Heads, scope: &Scope) -> Vec<f64> {
    let [rows, _, length, _] = heads.v.dims();
    values(&conv.forward(heads, &normal([rows, length, D_MODEL], DType::F64, "x"), scope, None).0)
}

#[test]
fn windows_in_a_row_by_hand() {
    let conv = with_taps(built(json!({}), 1, 1), &[100.0, 10.0, 1.0]);
    // v = 1, 2, 3, 4: the last tap meets the last token of the window.
    assert_eq!(run(&conv, numbered(4), &whole(false, 4)), [12.0, 123.0, 234.0, 340.0]);
    assert_eq!(run(&conv, numbered(4), &whole(true, 4)), [1.0, 12.0, 123.0, 234.0]);
}

#[test]
fn windows_on_a_grid_by_hand() {
    // A class token, then
    //   2 3 4
    //   5 6 7
    let taps = [0.0, 10.0, 0.0, 100.0, 1.0, 0.0, 0.0, 0.0, 0.0]; // left, above, itself
    let conv = with_taps(built(json!({ "grid": [2, 3], "skip": 1 }), 1, 1), &taps);
    let expected = [0.0, 2.0, 203.0, 304.0, 25.0, 536.0, 647.0];
    assert_eq!(run(&conv, numbered(7), &whole(false, 7)), expected);
}

#[test]
fn the_mean_token_makes_the_factors_of_its_row() {
    let conv = built(json!({ "dynamic": true }), 2, 5);
    let x = normal([3, 4, D_MODEL], DType::F64, "x");
    let v = normal([3, 2, 4, 5], DType::F64, "v");
    let heads = Heads { q: v.clone(), k: v.clone(), v: v.clone() };
    let (y, tail) = conv.forward(heads, &x, &whole(false, 4), None);
    assert!(tail.is_none());

    // Row 1, head 1, token 2 by the formula.
    let from_mean = conv.from_mean.as_ref().unwrap();
    let mean = x.narrow(0, 1, 1).mean_dim(1).narrow(2, 3, 3).reshape([1, 3]);
    let of_head = |w: &Param<Tensor<3>>| w.val().narrow(0, 1, 1).squeeze_dim::<2>(0);
    let taps = gelu(mean.matmul(of_head(&from_mean.inner))).matmul(of_head(&from_mean.outer)).reshape([3, 5]);
    let window = v.narrow(0, 1, 1).narrow(1, 1, 1).narrow(2, 1, 3).reshape([3, 5]);
    let expected = values(&(window * taps).sum_dim(0));
    let found = values(&y.narrow(0, 1, 1).narrow(1, 1, 1).narrow(2, 2, 1));
    assert_close("y", &found, &expected, 1e-13);
}

#[test]
fn one_after_the_other_is_all_at_once() {
    let conv = built(json!({ "kernel": 4 }), 2, 3);
    let (length, v) = (7, normal([2, 2, 7, 3], DType::F64, "v"));
    let x = normal([2, 7, D_MODEL], DType::F64, "x");
    let heads = |start, length| {
        let part = v.clone().narrow(2, start, length);
        Heads { q: part.clone(), k: part.clone(), v: part }
    };
    let (expected, _) = conv.forward(heads(0, length), &x, &whole(true, length), None);
    let (mut past, mut outputs) = (None, Vec::new());
    for (start, length) in [(0, 2), (2, 1), (3, 4)] {
        let x = x.clone().narrow(1, start, length);
        let (y, tail) = conv.forward(heads(start, length), &x, &whole(true, length), past);
        past = tail;
        outputs.push(y);
    }
    assert_close("y", &values(&Tensor::cat(outputs, 2)), &values(&expected), 1e-14);
}

#[test]
fn padding_counts_as_outside() {
    let conv = with_taps(built(json!({}), 1, 1), &[100.0, 10.0, 1.0]);
    let kept = Tensor::from_data([[false, true, true, false]], &device());
    let mut heads = numbered(4);
    let padding = Tensor::<2, Bool>::from_data([[true, false, false, true]], &device()).reshape([1, 1, 4, 1]);
    heads.v = heads.v.mask_fill(padding, f64::NAN);
    let found = run(&conv, heads, &Scope::of(Pattern::Full, Side::padded(kept)));
    assert_eq!(found[1..3], [23.0, 230.0]);
}

#[test]
fn gradients_are_those_of_differences() {
    for value in [
        json!({}),
        json!({ "dynamic": true }),
        json!({ "grid": [2, 2], "skip": 1, "dynamic": true }),
        json!({ "grid": [2, 2], "skip": 1, "kernel": 5 }),
    ] {
        let conv = built(value, 2, 3);
        let (v, x) = (normal([2, 2, 5, 3], DType::F64, "v"), normal([2, 5, D_MODEL], DType::F64, "x"));
        let g = normal([2, 2, 5, 3], DType::F64, "g");
        let heads = Heads { q: v.clone(), k: v.clone(), v };
        check_gradients(&conv, |conv| (conv.forward(heads.clone(), &x, &whole(false, 5), None).0 * g.clone()).sum());
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let refusal = |value, causal| {
        let config: LocalConvConfig = serde_json::from_value(value).unwrap();
        config.check(causal).unwrap_err().to_string()
    };
    for (value, causal, message) in [
        (json!({ "grid": [2, 2] }), true, "grid: a window on a grid sees later tokens"),
        (json!({ "dynamic": true }), true, "dynamic: the mean token of a row is made from later ones too"),
        (json!({ "kernel": 4 }), false, "kernel: 4 has no middle token; expected an odd number"),
        (json!({ "skip": 1 }), true, "skip: there is no grid"),
    ] {
        let error = refusal(value, causal);
        assert!(error.contains(message), "{error}");
    }
}
