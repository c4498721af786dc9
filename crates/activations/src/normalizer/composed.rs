//! Pieces of the composed forms: maps written in tensor operations, which run on every device and, through autodiff,
//! check the hand-written gradients.
use burn::tensor::{Bool, Int, Tensor};

use super::{Keep, series::LN_COSH};
use crate::kernel;

/// Where an entry does not take part: it is not kept, or its score is −∞. `None` if the rows are not looked at.
pub(super) fn removed(scores: &Tensor<2>, keep: &Keep) -> Tensor<2, Bool> {
    let masked = scores.clone().detach().equal_elem(f64::NEG_INFINITY);
    match keep.mask(scores.dims(), &scores.device()) {
        None => masked,
        Some(kept) => masked.bool_or(kept.bool_not()),
    }
}

/// `x` with `value` at the removed entries, which get no gradient.
pub(crate) fn fill(x: Tensor<2>, removed: Tensor<2, Bool>, value: f64) -> Tensor<2> {
    x.mask_fill(removed, value)
}

/// The sum of each row (`[rows, 1]`), and 1 where it is 0, so that an empty row divides 0 by 1.
pub(super) fn sum_or_one(x: Tensor<2>) -> Tensor<2> {
    let sum = x.sum_dim(1);
    let empty = sum.clone().detach().equal_elem(0.0);
    sum.mask_fill(empty, 1.0)
}

/// Shannon's entropy `−Σ y ln y` of each row of weights (`[rows, 1]`), in nats; weights of 0 count 0.
pub(super) fn shannon(weights: Tensor<2>) -> Tensor<2> {
    let nothing = weights.clone().detach().lower_equal_elem(0.0);
    (weights.clone() * weights.mask_fill(nothing, 1.0).log()).sum_dim(1).neg()
}

/// The largest score of each row that takes part (`[rows, 1]`), without a gradient; very low for an empty row.
pub(crate) fn max(rows: &super::Rows<'_>) -> Tensor<2> {
    fill(rows.scores.clone().detach(), rows.removed(), f64::MIN).max_dim(1)
}

/// √x with gradient 0 at 0, where that of the root is infinite.
pub(crate) fn root(x: Tensor<2>) -> Tensor<2> {
    let zero = x.clone().detach().equal_elem(0.0);
    x.mask_fill(zero.clone(), 1.0).sqrt().mask_fill(zero, 0.0)
}

/// ln(1 + e^x) with the exact gradient everywhere, also at 0, where a clamp or a size has none of its own.
pub(crate) fn softplus(x: Tensor<2>) -> Tensor<2> {
    // Each side on its own, the argument of the side not taken replaced.
    let below = x.clone().detach().lower_elem(0.0);
    let (above, under) = (x.clone().mask_fill(below.clone(), 0.0), x.mask_fill(below.clone().bool_not(), 0.0));
    (above.clone() + log_1p(above.neg().exp())).mask_where(below, log_1p(under.exp()))
}

/// e^x − 1 to full relative precision, also where e^x is all but 1.
pub(crate) fn exp_m1(x: Tensor<2>) -> Tensor<2> {
    // Below 0.35 the terms from x¹⁴/14! on are beyond f64.
    let small = x.clone().detach().abs().lower_elem(0.35);
    let near = x.clone().mask_fill(small.clone().bool_not(), 0.0);
    // x (1 + x/2 (1 + x/3 (1 + …))), by products: the backward pass of a division by a number rounds its inverse to f32.
    let series = (2..14)
        .rev()
        .fold(near.ones_like(), |sum, k| (sum * near.clone()).mul_scalar(1.0 / f64::from(k)).add_scalar(1.0));
    x.exp().sub_scalar(1.0).mask_where(small, series * near)
}

/// ln(1 + e^x) − ln 2, which keeps its digits around x = 0.
pub(crate) fn softplus_above_ln_2(x: Tensor<2>) -> Tensor<2> {
    // ln((1 + e^x)/2) = x/2 + ln cosh(x/2), the second by its series in (x/2)².
    let small = x.clone().detach().abs().lower_elem(1.0);
    let half = x.clone().mask_fill(small.clone().bool_not(), 0.0) * 0.5;
    let square = half.clone() * half.clone();
    let [first, rest @ ..] = LN_COSH;
    let series = rest.into_iter().fold(square.full_like(first), |sum, term| (sum * square.clone()).add_scalar(term));
    softplus(x).sub_scalar(std::f64::consts::LN_2).mask_where(small, half + square * series)
}

/// Which entry of each row is its class (`[rows, n]`, the shape of `like`).
pub fn is_class(classes: &Tensor<1, Int>, like: &Tensor<2>) -> Tensor<2, Bool> {
    let [rows, n] = like.dims();
    let place = Tensor::<1, Int>::arange(0..n as i64, &like.device()).cast(classes.dtype());
    place.unsqueeze_dim::<2>(0).expand([rows, n]).equal(classes.clone().unsqueeze_dim::<2>(1).expand([rows, n]))
}

/// The entry of each row at its class (`[rows]`).
pub(crate) fn at_class(x: Tensor<2>, classes: &Tensor<1, Int>) -> Tensor<1> {
    x.gather(1, classes.clone().unsqueeze_dim::<2>(1)).squeeze_dim::<1>(1)
}

/// ln(1 + x) of x ≥ 0 to full relative precision.
///
/// That of CubeCL is the logarithm of the rounded 1 + x, which is 0 below 6e-8, so that its devices take [`log_1p_series`].
pub(crate) fn log_1p<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if kernel::supports(&x.device()) { x.log1p() } else { log_1p_series(x) }
}

/// ln(1 + x) of x ≥ 0 from sums, products and a logarithm, to the precision of `f32`.
/// ```text
/// ln(1 + x) = 2 artanh s = 2 (s + s³/3 + s⁵/5 + …),   s = x / (2 + x),   below x = 1/4
/// ```
fn log_1p_series<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let small = x.clone().detach().lower_elem(0.25);
    // The argument of the branch not taken is replaced, so that it has a finite gradient.
    let near = x.clone().mask_fill(small.clone().bool_not(), 0.0);
    let s = near.clone() / near.add_scalar(2.0);
    let square = s.clone() * s.clone();
    let series = [1.0 / 7.0, 1.0 / 5.0, 1.0 / 3.0, 1.0]
        .into_iter()
        .fold(square.full_like(1.0 / 9.0), |sum, term| (sum * square.clone()).add_scalar(term));
    let far = x.mask_fill(small.clone(), 1.0).add_scalar(1.0).log();
    far.mask_where(small, series * s * 2.0)
}

#[cfg(test)]
mod tests {
    use burn::tensor::DType;

    use super::*;
    use crate::testing::{assert_close, tensor, values};

    #[test]
    fn log_1p_of_small_and_large_numbers() {
        let x = [0.0, 1e-30, 1e-9, 3e-8, 1e-4, 0.1, 0.2499, 0.25, 0.26, 1.0, 30.0, 1e30];
        let leaf = tensor(&x, 1, DType::F32).require_grad();
        let log = log_1p_series(leaf.clone());
        let slope = leaf.grad(&log.clone().sum().backward()).expect("it takes part");
        assert_close("value", &values(log), &x.map(|x: f64| f64::from(x as f32).ln_1p()), 3e-7, 0.0);
        assert_close("slope", &values(slope), &x.map(|x| 1.0 / (1.0 + x)), 3e-7, 0.0);
    }

    #[test]
    fn differences_to_1_and_to_ln_2_keep_their_digits() {
        let x =
            [-30.0, -1.001, -0.999, -0.351, -0.349, -1e-3, -1e-9, 0.0, 1e-12, 1e-5, 0.2, 0.349, 0.36, 0.999, 1.1, 9.0];
        let row = || tensor(&x, 1, DType::F64);
        assert_close("e^x − 1", &values(exp_m1(row())), &x.map(f64::exp_m1), 4e-15, 0.0);
        let want = x.map(|x: f64| (x.exp_m1() / 2.0).ln_1p());
        assert_close("ln((1 + e^x)/2)", &values(softplus_above_ln_2(row())), &want, 4e-15, 0.0);
    }
}
