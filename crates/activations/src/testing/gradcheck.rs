//! Gradients, and their check against central differences.
use burn::tensor::{DType, Tensor};

use super::{assert_close, tensor, values};

/// The gradient of Σ g f(x) at x, through the backward pass.
pub(crate) fn gradient(x: Tensor<2>, g: Tensor<2>, f: impl Fn(Tensor<2>) -> Tensor<2>) -> Vec<f64> {
    let x = x.detach().require_grad();
    let grads = (f(x.clone()) * g).sum().backward();
    values(x.grad(&grads).expect("x takes part"))
}

/// Asserts in `f64` that the backward pass of f agrees with central differences of Σ g f.
#[track_caller]
pub(crate) fn assert_gradient(what: &str, x: &[f64], g: &[f64], n: usize, f: impl Fn(Tensor<2>) -> Tensor<2>) {
    let g = tensor(g, n, DType::F64);
    let got = gradient(tensor(x, n, DType::F64), g.clone(), &f);
    let value = |x: &[f64]| values((f(tensor(x, n, DType::F64)) * g.clone()).sum())[0];
    let mut moved = x.to_vec();
    let want: Vec<f64> = (0..x.len())
        .map(|i| {
            let step = 1e-5 * x[i].abs().max(1.0);
            moved[i] = x[i] + step;
            let above = value(&moved);
            moved[i] = x[i] - step;
            let below = value(&moved);
            moved[i] = x[i];
            (above - below) / (2.0 * step)
        })
        .collect();
    assert_close(what, &got, &want, 1e-6, 1e-9);
}
