//! Gradients, and their check against central differences.
use burn::tensor::{DType, Tensor};

use super::{assert_close, tensor, values};

/// The gradient of Σ g f(x) at x, through the backward pass.
pub(crate) fn gradient(x: Tensor<2>, g: Tensor<2>, f: impl Fn(Tensor<2>) -> Tensor<2>) -> Vec<f64> {
    let x = x.detach().require_grad();
    let grads = (f(x.clone()) * g).sum().backward();
    values(x.grad(&grads).expect("x takes part"))
}

/// Asserts in `f64` that the backward pass of f agrees to 1e-6 with central differences of Σ g f.
///
/// Differences of two step widths are extrapolated. Where they do not begin to converge at any width, a kink is near and
/// the place is left out; that may happen at one place in eight.
#[track_caller]
pub(crate) fn assert_gradient(what: &str, x: &[f64], g: &[f64], n: usize, f: impl Fn(Tensor<2>) -> Tensor<2>) {
    let g = tensor(g, n, DType::F64);
    let got = gradient(tensor(x, n, DType::F64), g.clone(), &f);
    // Row by row, so that a large row does not drown the differences of a small one.
    let value = |x: &[f64], row: usize| values((f(tensor(x, n, DType::F64)) * g.clone()).sum_dim(1))[row];
    let size = x.iter().fold(0.0f64, |max, x| max.max(x.abs()));
    let step = 1e-3 * size.clamp(1e-3, 1.0);
    let mut moved = x.to_vec();
    let mut difference = |i: usize, step: f64| {
        moved[i] = x[i] + step;
        let above = value(&moved, i / n);
        moved[i] = x[i] - step;
        let below = value(&moved, i / n);
        moved[i] = x[i];
        (above - below) / (2.0 * step)
    };
    let largest = got.iter().fold(0.0f64, |max, x| max.max(x.abs()));
    let (mut kept, mut want) = (Vec::new(), Vec::new());
    for (i, &got) in got.iter().enumerate() {
        let converged = [step, 0.1 * step, 0.01 * step].into_iter().find_map(|step| {
            let (wide, narrow) = (difference(i, step), difference(i, 0.5 * step));
            let settled = (wide - narrow).abs() <= 2e-5 * (narrow.abs() + 0.01 * largest) + 1e-10;
            settled.then_some((4.0 * narrow - wide) / 3.0)
        });
        if let Some(extrapolated) = converged {
            kept.push(got);
            want.push(extrapolated);
        }
    }
    assert!(8 * kept.len() + 8 > 7 * x.len(), "{what}: differences converge at {} of {} places", kept.len(), x.len());
    assert_close(what, &kept, &want, 1e-6, 1e-7 * largest + 1e-10);
}
