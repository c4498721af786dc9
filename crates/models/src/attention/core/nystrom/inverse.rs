//! Inverses of many small symmetric matrices.
use burn::tensor::{DType, Tensor, TensorData};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the matrix of the landmarks is inverted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Inverse {
    /// Newton's iteration, in products of matrices only.
    #[default]
    Newton,
    /// Cholesky's factors, on the host and in `f64`, of the matrix with [`RIDGE`] added to its diagonal.
    Cholesky,
}

/// What is added to the diagonal in front of Cholesky's factors, so that equal landmarks do not make them singular.
pub const RIDGE: f64 = 1e-4;

/// A step of Newton's iteration: `2 X − X A X`.
fn newton_step(x: Tensor<4>, a: Tensor<4>) -> Tensor<4> {
    x.clone().mul_scalar(2.0) - x.clone().matmul(a).matmul(x)
}

/// Inverses of symmetric positive matrices `[rows, heads, m, m]`, after `steps` steps of Newton's iteration where that is
/// the method.
/// ```text
/// X ← 2X − X A X,   X₀ = A / |A|₁²
/// ```
/// converges for `X₀ = α A` with `α < 2 / λ²` (λ the largest eigenvalue). λ ≤ |A|₁, the largest column sum, with equality
/// for equal column sums, so that α = 2 / |A|₁² may stand on the boundary for ever; half of it never does. The norm is each
/// matrix's own: in a batch nobody's result depends on its neighbours.
///
/// The backward pass is that of the exact inverse, `dA = −Xᵀ dX Xᵀ`: the last step is taken from a constant X, at whose
/// fixed point its derivative is this one, and no step before it is kept.
pub fn inverse(a: Tensor<4>, method: Inverse, steps: usize) -> Tensor<4> {
    match method {
        Inverse::Newton => {
            let constant = a.clone().detach();
            let norm = constant.clone().abs().sum_dim(2).max_dim(3);
            let mut x = constant.clone() / (norm.clone() * norm);
            for _ in 1..steps {
                x = newton_step(x, constant.clone());
            }
            newton_step(x.detach(), a)
        }
        Inverse::Cholesky => {
            let [_, _, m, _] = a.dims();
            let ridge = Tensor::<2>::eye(m, &a.device()).cast(a.dtype()).mul_scalar(RIDGE).unsqueeze::<4>();
            let a = a + ridge;
            let x = on_host(a.clone().detach());
            newton_step(x, a)
        }
    }
}

/// The inverses by Cholesky's factors.
fn on_host(a: Tensor<4>) -> Tensor<4> {
    let (dims, dtype, device) = (a.dims(), a.dtype(), a.device());
    let [_, _, m, _] = dims;
    let values: Vec<f64> = a.cast(DType::F64).into_data().iter().collect();
    let inverses: Vec<f64> = values.chunks(m * m).flat_map(|matrix| cholesky_inverse(matrix, m)).collect();
    Tensor::from_data(TensorData::new(inverses, dims), (&device, dtype))
}

/// The inverse of one symmetric positive matrix: with `A = L Lᵀ`, columns of `L⁻ᵀ L⁻¹`.
fn cholesky_inverse(a: &[f64], m: usize) -> Vec<f64> {
    let at = |i: usize, j: usize| i * m + j;
    let mut l = vec![0.0; m * m];
    for i in 0..m {
        for j in 0..=i {
            let rest = a[at(i, j)] - (0..j).map(|c| l[at(i, c)] * l[at(j, c)]).sum::<f64>();
            l[at(i, j)] = if i == j { rest.sqrt() } else { rest / l[at(j, j)] };
        }
    }
    // Columns of L⁻¹ by forward substitution.
    let mut lower = vec![0.0; m * m];
    for column in 0..m {
        for i in column..m {
            let one = if i == column { 1.0 } else { 0.0 };
            let rest = one - (column..i).map(|c| l[at(i, c)] * lower[at(c, column)]).sum::<f64>();
            lower[at(i, column)] = rest / l[at(i, i)];
        }
    }
    let entry = |i: usize, j: usize| (i.max(j)..m).map(|c| lower[at(c, i)] * lower[at(c, j)]).sum::<f64>();
    (0..m * m).map(|index| entry(index / m, index % m)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, device, values};

    fn matrix(entries: Vec<f64>, m: usize) -> Tensor<4> {
        Tensor::from_data(TensorData::new(entries, [1, 1, m, m]), (&device(), DType::F64)).require_grad()
    }

    const OFF: f64 = 0.3401604567;

    #[test]
    fn two_landmarks_by_hand() {
        // [[1, c], [c, 1]]⁻¹ = [[1, −c], [−c, 1]] / (1 − c²); the gradient at dX = [[0.3, −0.1], [0.2, 0.5]] by −Xᵀ dX Xᵀ.
        let a = matrix(vec![1.0, OFF, OFF, 1.0], 2);
        let x = inverse(a.clone(), Inverse::Newton, 20);
        assert_close("inverse", &values(&x), &[1.130849634, -0.3846703281, -0.3846703281, 1.130849634], 1e-9);
        let upstream = matrix(vec![0.3, -0.1, 0.2, 0.5], 2).detach();
        let gradient = a.grad(&(x * upstream).sum().backward()).unwrap();
        let expected = [-0.4141314694, 0.4462912772, 0.1070363869, -0.6403013963];
        assert_close("dA", &values(&gradient), &expected, 1e-9);
    }

    #[test]
    fn equal_column_sums_do_not_stall() {
        // From 2 / |A|₁² this matrix stays at an error of 0.5 for ever; from half of it 7 steps are exact.
        let x = inverse(matrix(vec![1.0, OFF, OFF, 1.0], 2), Inverse::Newton, 7);
        assert_close("inverse", &values(&x), &[1.130849634, -0.3846703281, -0.3846703281, 1.130849634], 1e-9);
    }

    #[test]
    fn both_methods_invert_and_agree_in_their_gradients() {
        // Gaussian products of 5 points on a line, spaced so that the condition is mild.
        let m = 5;
        let entry = |i: usize, j: usize| (-0.5 * (1.3 * (i as f64 - j as f64)).powi(2)).exp();
        let entries: Vec<f64> = (0..m * m).map(|index| entry(index / m, index % m)).collect();
        let ridged: Vec<f64> =
            entries.iter().enumerate().map(|(i, x)| if i / m == i % m { x + RIDGE } else { *x }).collect();
        let upstream = matrix((0..m * m).map(|i| (i as f64 * 0.7).sin()).collect(), m).detach();
        let run = |a: Tensor<4>, method| {
            let x = inverse(a.clone(), method, 40);
            let gradient = a.grad(&(x.clone() * upstream.clone()).sum().backward()).unwrap();
            (x, gradient)
        };
        let (newton, newton_gradient) = run(matrix(ridged.clone(), m), Inverse::Newton);
        let (cholesky, cholesky_gradient) = run(matrix(entries, m), Inverse::Cholesky);
        let one = cholesky.clone().matmul(matrix(ridged, m));
        let eye: Vec<f64> = (0..m * m).map(|i| if i / m == i % m { 1.0 } else { 0.0 }).collect();
        assert_close("X A", &values(&one), &eye, 1e-10);
        assert_close("inverse", &values(&newton), &values(&cholesky), 1e-9);
        assert_close("gradient", &values(&newton_gradient), &values(&cholesky_gradient), 1e-8);
    }
}
