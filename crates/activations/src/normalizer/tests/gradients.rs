//! Gradients: against central differences, against autodiff of the composed form, and of the row parameters.
use burn::tensor::{DType, Tensor};

use super::{
    cases::{fixed_maps, maps},
    ctx, mask,
};
use crate::{
    kernel::{row_loss, row_map},
    loss::{LossDtype, SumOrder},
    normalizer::{Gradient, Heads, Keep, Rows},
    testing::{assert_close, assert_gradient, classes, gradient, normal, tensor, values},
};

#[test]
fn gradients_agree_with_differences() {
    for (name, map) in fixed_maps().into_iter().filter(|(_, map)| map.laws().gradient == Gradient::Exact) {
        for (rows, n) in [(3, 1), (5, 2), (3, 17), (2, 63)] {
            for scale in [1e-2, 0.3, 1.0, 3.0, 10.0] {
                let (x, g) = (normal(n as u64, rows * n, scale), normal(99, rows * n, 1.0));
                let what = format!("{name} [{rows}, {n}] at scale {scale}");
                assert_gradient(&what, &x, &g, n, |x| map.rows(x, &Keep::All, Heads::ONE, &ctx()));
                if map.has_log_form() {
                    let log = |x| map.log_rows(x, &Keep::All, Heads::ONE, &ctx()).expect("a log form");
                    assert_gradient(&format!("log {what}"), &x, &g, n, log);
                }
            }
        }
    }
}

#[test]
fn parameter_gradients_agree_with_differences() {
    for (name, map) in fixed_maps() {
        let (rows, n) = (3, 17);
        let (x, g) = (tensor(&normal(1, rows * n, 2.0), n, DType::F64), normal(2, rows * n, 1.0));
        let Some(params) = map.row_params(&x, Heads::ONE) else { continue };
        let (p, params) = (params.dims()[1], values(params.detach()));
        // The upstream gradient belongs to `[rows, n]`, the parameters to `[rows, P]`: the sum over a row carries both.
        let apply = |params: Tensor<2>| {
            let y = row_map(x.clone(), Some(params), &Keep::All, map.kernel(&ctx()));
            (y * tensor(&g, n, DType::F64)).sum_dim(1).expand([rows, p]) / p as f64
        };
        assert_gradient(&format!("parameters of {name}"), &params, &vec![1.0; rows * p], p, apply);
    }
}

/// The same for the log form and for the loss.
#[test]
fn parameter_gradients_of_logarithms_agree_with_differences() {
    let (rows, n) = (3, 17);
    let (x, g) = (tensor(&normal(1, rows * n, 2.0), n, DType::F64), normal(2, rows * n, 1.0));
    for (name, map) in fixed_maps().into_iter().filter(|(_, map)| map.has_log_form()) {
        let Some(params) = map.row_params(&x, Heads::ONE) else { continue };
        let (p, params) = (params.dims()[1], values(params.detach()));
        let check = |what: &str, of_rows: &dyn Fn(Tensor<2>) -> Tensor<2>| {
            let apply = |params: Tensor<2>| of_rows(params).expand([rows, p]) / p as f64;
            assert_gradient(&format!("parameters of {what} {name}"), &params, &vec![1.0; rows * p], p, apply);
        };
        check("log", &|params| {
            let y = row_map(x.clone(), Some(params), &Keep::All, map.log_kernel(&ctx()).expect("a log form"));
            (y * tensor(&g, n, DType::F64)).sum_dim(1)
        });
        check("the loss of", &|params| {
            let kernel = map.nll(SumOrder::Lanes).expect("a log form");
            let target = classes(&[0, 5, 16]);
            let (loss, _) = row_loss(x.clone(), Some(params), target, &Keep::All, kernel, LossDtype::F64);
            loss.reshape([rows, 1])
        });
    }
}

/// Every form of a map, with removed log weights as 0, so that a sum with the upstream gradient stays finite.
fn finite(y: Tensor<2>) -> Tensor<2> {
    let removed = y.clone().detach().equal_elem(f64::NEG_INFINITY);
    y.mask_fill(removed, 0.0)
}

/// The kernel against the composed form through autodiff, on masked and on whole rows, one of them empty.
#[test]
fn kernels_agree_with_the_composed_form() {
    for (rows, n) in [(3, 1), (7, 2), (5, 3), (11, 63), (3, 100), (7, 257)] {
        let (x, g) = (normal(n as u64, rows * n, 3.0), normal(5, rows * n, 1.0));
        let bits: Vec<bool> = (0..rows * n).map(|i| i / n != 1 && (i * 7 + i / 3) % 4 != 0).collect();
        let mask = Keep::Mask(mask(&bits, n));
        for (name, map) in maps().into_iter().filter(|(_, map)| map.laws().gradient != Gradient::None) {
            for (dtype, tolerance) in [(DType::F64, 1e-11), (DType::F32, 3e-5)] {
                for keep in [&Keep::All, &mask] {
                    let what = format!("{name} [{rows}, {n}] {dtype:?}");
                    let x = tensor(&x, n, dtype);
                    let g = tensor(&g, n, dtype);
                    let rows_of = |x: Tensor<2>, dtype| {
                        let (scores, params) = map.prepared(x, Heads::ONE, &ctx());
                        Rows { scores: scores.cast(dtype), params: params.map(|params| params.cast(dtype)), keep }
                    };
                    let kernel = |x| map.rows(x, keep, Heads::ONE, &ctx());
                    let composed = |x, dtype| map.composed(&rows_of(x, dtype), &ctx());
                    compare(&what, &x, &g, tolerance, kernel, composed);
                    if map.has_log_form() {
                        let kernel = |x| finite(map.log_rows(x, keep, Heads::ONE, &ctx()).expect("a log form"));
                        let composed =
                            |x, dtype| finite(map.composed_log(&rows_of(x, dtype), &ctx()).expect("a log form"));
                        compare(&format!("log {what}"), &x, &g, tolerance, kernel, composed);
                    }
                }
            }
        }
    }
}

/// Values and gradients of a kernel against the composed form in `f64` at the same scores, to the tolerance relative to the
/// largest of the tensor, or to twice what the composed form itself is off in the kernel's dtype.
fn compare(
    what: &str,
    x: &Tensor<2>,
    g: &Tensor<2>,
    tolerance: f64,
    kernel: impl Fn(Tensor<2>) -> Tensor<2>,
    composed: impl Fn(Tensor<2>, DType) -> Tensor<2>,
) {
    let largest = |values: &[f64]| values.iter().fold(0.0f64, |max, x| max.max(x.abs()));
    let agree = |what: &str, got: Vec<f64>, own: Vec<f64>, want: Vec<f64>, share: f64, floor: f64| {
        let off = own.iter().zip(&want).fold(0.0f64, |max, (own, want)| max.max((own - want).abs()));
        assert_close(what, &got, &want, tolerance, tolerance * share * largest(&want) + 2.0 * off + floor);
    };
    let (own, wide) = (x.dtype(), DType::F64);
    let value = |dtype| values(composed(x.clone(), dtype).detach());
    agree(what, values(kernel(x.clone()).detach()), value(own), value(wide), 0.1, 1e-30);
    let slope = |dtype: DType| gradient(x.clone(), g.clone().cast(dtype), |x| composed(x, dtype));
    let dx = gradient(x.clone(), g.clone(), kernel);
    // Where terms cancel, what is left is rounding: a gradient that is 0 but for that is 0 in both. A term is as large as an
    // entry's share of the upstream gradient.
    let term = largest(&values(g.clone())) / x.dims()[1] as f64;
    let floor = tolerance * (0.3 * term).max(1e-2);
    agree(&format!("gradient of {what}"), dx, slope(own), slope(wide), 0.3, floor);
}

#[test]
fn gradients_pass_a_cast() {
    for (name, map) in fixed_maps().into_iter().filter(|(_, map)| map.laws().gradient == Gradient::Exact) {
        let x = tensor(&normal(3, 15, 1.0), 5, DType::F32).require_grad();
        let g = tensor(&normal(4, 15, 1.0), 5, DType::F64);
        let y = map.weights(x.clone().cast(DType::F64), 1, None, &ctx());
        let grad = x.grad(&(y * g.clone()).sum().backward()).expect("x takes part");
        assert_eq!(grad.dtype(), DType::F32, "{name}");
        let want = gradient(x.detach().cast(DType::F64), g, |x| map.weights(x, 1, None, &ctx()));
        assert_close(&name, &values(grad), &want, 1e-6, 1e-9);
    }
}

/// The loss kernel is minus the log weight of the target, in both passes.
#[test]
fn nll_is_minus_the_log_weight() {
    let (rows, n) = (7, 63);
    let x = tensor(&normal(6, rows * n, 3.0), n, DType::F64);
    let target: Vec<usize> = (0..rows).map(|row| row * 9).collect();
    for (name, map) in fixed_maps().into_iter().filter(|(_, map)| map.has_log_form()) {
        let log = |x: Tensor<2>| map.log_weights(x, 1, None, &ctx()).expect("a map with a loss kernel has a log form");
        let logs = values(log(x.clone()));
        let want: Vec<f64> = target.iter().enumerate().map(|(row, class)| -logs[row * n + class]).collect();
        let pick: Vec<f64> = (0..rows * n).map(|i| if target[i / n] == i % n { -1.0 } else { 0.0 }).collect();
        // A log weight of −∞ has no product with 0.
        let picked = |x: Tensor<2>| finite(log(x));
        let want_gradient = gradient(x.clone(), tensor(&pick, n, DType::F64), picked);
        for sum in [SumOrder::Lanes, SumOrder::Sequential] {
            let kernel = map.nll(sum).expect("a log form");
            let params = map.row_params(&x, Heads::ONE);
            let x = x.clone().require_grad();
            let (loss, _) = row_loss(x.clone(), params, classes(&target), &Keep::All, kernel, LossDtype::F64);
            assert_close(&name, &values(loss.clone().detach()), &want, 1e-11, 1e-14);
            let dx = values(x.grad(&loss.sum().backward()).expect("x takes part"));
            assert_close(&format!("gradient of the loss of {name}"), &dx, &want_gradient, 1e-10, 1e-13);
        }
    }
}
