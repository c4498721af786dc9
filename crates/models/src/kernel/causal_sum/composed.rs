//! The sums in a backend's own operations.
use burn::{
    backend::{Backend, TensorMetadata, tensor::FloatTensor},
    tensor::{Slice, TensorData},
};

use super::{CausalSumInput, CausalSumSaved, Sizes};

/// Tokens `start..end` of `[batch, length, width]`.
fn tokens<B: Backend>(x: &FloatTensor<B>, start: usize, end: usize) -> FloatTensor<B> {
    let [batch, _, width] = x.shape().dims();
    B::float_slice(x.clone(), &[Slice::from(0..batch), Slice::from(start..end), Slice::from(0..width)])
}

/// Pairs of which the second does not come after the first, `[batch, n, n]`.
fn lower<B: Backend>(pairs: FloatTensor<B>) -> FloatTensor<B> {
    let [_, n, _] = pairs.shape().dims();
    let ones: Vec<f32> = (0..n * n).map(|index| if index % n <= index / n { 1.0 } else { 0.0 }).collect();
    let data = TensorData::new(ones, [1, n, n]).convert_dtype(pairs.dtype());
    let mask = B::float_from_data(data, &pairs.device());
    B::float_mul(pairs, mask)
}

/// The factors of chunk k: `[batch, f or 1, 1]`.
fn factors<B: Backend>(input: &CausalSumInput<B>, k: usize) -> FloatTensor<B> {
    let Sizes { batch, of_f, .. } = input.sizes();
    B::float_reshape(tokens::<B>(&input.factors, k, k + 1), [batch, of_f, 1].into())
}

/// The limits of chunk k.
fn limits(sizes: Sizes, k: usize) -> (usize, usize) {
    (k * sizes.chunk, ((k + 1) * sizes.chunk).min(sizes.length))
}

pub(super) fn forward<B: Backend>(input: &CausalSumInput<B>, start: FloatTensor<B>) -> [FloatTensor<B>; 2] {
    let sizes @ Sizes { batch, f, e, chunks, .. } = input.sizes();
    let (mut state, mut outputs, mut states) = (start, Vec::new(), Vec::new());
    for k in 0..chunks {
        let (from, to) = limits(sizes, k);
        let [a, b, w] = [&input.a, &input.b, &input.w].map(|x| tokens::<B>(x, from, to));
        let pairs = lower::<B>(B::float_matmul(a.clone(), B::float_transpose(b.clone())));
        outputs.push(B::float_add(B::float_matmul(a, state.clone()), B::float_matmul(pairs, w.clone())));
        let next = B::float_add(state.clone(), B::float_matmul(B::float_transpose(b), w));
        states.push(B::float_reshape(state, [batch, 1, f, e].into()));
        state = B::float_mul(next, factors(input, k));
    }
    outputs.push(state);
    [B::float_cat(outputs, 1), B::float_cat(states, 1)]
}

pub(super) fn backward<B: Backend>(saved: CausalSumSaved<B>, grad: FloatTensor<B>) -> [FloatTensor<B>; 5] {
    let CausalSumSaved { input, states } = saved;
    let sizes @ Sizes { batch, length, f, e, of_f, chunks, .. } = input.sizes();
    let states = B::float_reshape(states, [batch, chunks * f, e].into());
    let mut carried = tokens::<B>(&grad, length, length + f);
    let mut parts: [Vec<FloatTensor<B>>; 4] = Default::default();
    for k in (0..chunks).rev() {
        let (from, to) = limits(sizes, k);
        let [a, b, w, g] = [&input.a, &input.b, &input.w, &grad].map(|x| tokens::<B>(x, from, to));
        let state = tokens::<B>(&states, k * f, (k + 1) * f);
        let whole = B::float_add(state.clone(), B::float_matmul(B::float_transpose(b.clone()), w.clone()));
        let of_factors = B::float_sum_dim(B::float_mul(carried.clone(), whole), 2);
        let of_factors = if of_f == f { of_factors } else { B::float_sum_dim(of_factors, 1) };
        carried = B::float_mul(carried, factors(&input, k));

        let pairs = lower::<B>(B::float_matmul(a.clone(), B::float_transpose(b.clone())));
        let of_pairs = lower::<B>(B::float_matmul(g.clone(), B::float_transpose(w.clone())));
        let of_a = B::float_add(
            B::float_matmul(g.clone(), B::float_transpose(state)),
            B::float_matmul(of_pairs.clone(), b.clone()),
        );
        let of_b = B::float_add(
            B::float_matmul(w, B::float_transpose(carried.clone())),
            B::float_matmul(B::float_transpose(of_pairs), a.clone()),
        );
        let of_w =
            B::float_add(B::float_matmul(b, carried.clone()), B::float_matmul(B::float_transpose(pairs), g.clone()));
        carried = B::float_add(carried, B::float_matmul(B::float_transpose(a), g));
        let of_factors = B::float_reshape(of_factors, [batch, 1, of_f].into());
        for (parts, part) in parts.iter_mut().zip([of_a, of_b, of_w, of_factors]) {
            parts.push(part);
        }
    }
    let [a, b, w, factors] = parts.map(|mut parts| {
        parts.reverse();
        B::float_cat(parts, 1)
    });
    [a, b, w, factors, carried]
}
