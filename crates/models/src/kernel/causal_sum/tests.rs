use burn::tensor::DType;

use super::*;
use crate::testing::{assert_close, normal, on_threads, values};

/// Sizes of a sum: batch, length, f, e, factors per state, chunk.
type Case = [usize; 6];

/// Output and gradients of `Σ c y`.
fn run(
    sum: impl Fn([Tensor<3>; 5], usize) -> Tensor<3>,
    [batch, length, f, e, of_f, chunk]: Case,
    dtype: DType,
) -> Vec<Vec<f64>> {
    let leaf = |shape: [usize; 3], name: &str| normal(shape, dtype, name);
    let leaves = [
        leaf([batch, length, f], "a"),
        leaf([batch, length, f], "b"),
        leaf([batch, length, e], "w"),
        leaf([batch, length.div_ceil(chunk), of_f], "g"),
        leaf([batch, f, e], "start"),
    ];
    let y = sum(leaves.clone(), chunk);
    let c = leaf([batch, length + f, e], "c").detach();
    let gradients = (y.clone() * c).sum().backward();
    let mut found = vec![values(&y)];
    found.extend(leaves.iter().map(|leaf| values(&leaf.grad(&gradients).unwrap())));
    found
}

fn kernel([a, b, w, g, start]: [Tensor<3>; 5], chunk: usize) -> Tensor<3> {
    causal_sum(a, b, w, g, start, chunk)
}

/// The same token by token, in operations that autodiff knows.
fn recurrence([a, b, w, g, start]: [Tensor<3>; 5], chunk: usize) -> Tensor<3> {
    let [batch, length, f] = a.dims();
    let [_, _, of_f] = g.dims();
    let at = |x: &Tensor<3>, t: usize| x.clone().narrow(1, t, 1);
    let (mut state, mut outputs) = (start, Vec::new());
    for t in 0..length {
        state = state + at(&b, t).reshape([batch, f, 1]).matmul(at(&w, t));
        outputs.push(at(&a, t).matmul(state.clone()));
        if (t + 1) % chunk == 0 || t + 1 == length {
            state = state * at(&g, t / chunk).reshape([batch, of_f, 1]);
        }
    }
    outputs.push(state);
    Tensor::cat(outputs, 1)
}

const NAMES: [&str; 6] = ["y", "da", "db", "dw", "dg", "dstart"];

#[test]
fn kernel_agrees_with_autodiff_of_the_recurrence() {
    let cases: [Case; 6] = [
        [1, 1, 1, 1, 1, 1],
        [2, 7, 3, 5, 3, 3],
        [2, 7, 3, 5, 1, 7],
        [3, 11, 5, 2, 5, 4],
        [1, 11, 2, 1, 1, 64],
        [2, 5, 7, 3, 7, 1],
    ];
    for case in cases {
        for (dtype, tolerance) in [(DType::F64, 1e-12), (DType::F32, 1e-4), (DType::F16, 1e-1)] {
            let (found, expected) = (run(kernel, case, dtype), run(recurrence, case, dtype));
            for ((found, expected), name) in found.iter().zip(&expected).zip(NAMES) {
                assert_close(&format!("{name} {case:?} {dtype:?}"), found, expected, tolerance);
            }
        }
    }
}

#[test]
fn two_tokens_by_hand() {
    // 1·10 = 10 from the start, then (2·3) 5 = 30 more; the state is 10 + 3·5 = 25, halved.
    let device = crate::testing::device();
    let number = |x: f32| Tensor::<1>::from_data([x], &device).reshape([1, 1, 1]);
    let y = causal_sum(number(2.0), number(3.0), number(5.0), number(0.5), number(10.0), 1);
    assert_eq!(values(&y), [2.0 * 10.0 + 30.0, 12.5]);
}

#[test]
fn thread_count_moves_no_bit() {
    let work = || run(kernel, [13, 29, 5, 7, 5, 8], DType::F32);
    assert_eq!(on_threads(1, work), on_threads(3, work));
}

#[test]
#[should_panic(expected = "causal_sum: a [2, 5, 3], b [2, 5, 3], w [2, 5, 7], factors [2, 3, 1] and start [2, 3, 7]")]
fn sizes_must_meet() {
    let leaf = |shape: [usize; 3]| normal(shape, DType::F32, "x");
    causal_sum(leaf([2, 5, 3]), leaf([2, 5, 3]), leaf([2, 5, 7]), leaf([2, 3, 1]), leaf([2, 3, 7]), 3);
}
