//! The sums on the CPU: each sequence of a batch by one thread, in products of blocks that stay in its cache.
use burn::{
    backend::{Flex, flex::FlexTensor},
    tensor::DType,
};
use rayon::prelude::*;

use super::{CausalSumInput, CausalSumKernel, CausalSumSaved, Sizes, composed};
use crate::kernel::{
    host::Real,
    product::{Matrix, accumulate},
};

impl CausalSumKernel for Flex {
    fn causal_sum_forward(input: &CausalSumInput<Self>, start: FlexTensor) -> [FlexTensor; 2] {
        match start.dtype() {
            DType::F32 => forward::<f32>(input, &start),
            DType::F64 => forward::<f64>(input, &start),
            _ => composed::forward::<Self>(input, start),
        }
    }

    fn causal_sum_backward(saved: CausalSumSaved<Self>, grad: FlexTensor) -> [FlexTensor; 5] {
        match grad.dtype() {
            DType::F32 => backward::<f32>(&saved, &grad),
            DType::F64 => backward::<f64>(&saved, &grad),
            _ => composed::backward::<Self>(saved, grad),
        }
    }
}

/// One sequence of a batch.
struct Sequence<'a, R> {
    a: &'a [R],
    b: &'a [R],
    w: &'a [R],
    factors: &'a [R],
    sizes: Sizes,
}

/// One chunk of it.
struct Block<'a, R> {
    a: &'a [R],
    b: &'a [R],
    w: &'a [R],
    factors: &'a [R],
    n: usize,
}

impl<'a, R: Real> Sequence<'a, R> {
    fn of(index: usize, [a, b, w, factors]: [&'a [R]; 4], sizes: Sizes) -> Self {
        let Sizes { length, f, e, of_f, chunks, .. } = sizes;
        let part = |x: &'a [R], size: usize| &x[index * size..][..size];
        Self {
            a: part(a, length * f),
            b: part(b, length * f),
            w: part(w, length * e),
            factors: part(factors, chunks * of_f),
            sizes,
        }
    }

    fn block(&self, k: usize) -> Block<'a, R> {
        let Sizes { length, f, e, of_f, chunk, .. } = self.sizes;
        let (from, n) = (k * chunk, chunk.min(length - k * chunk));
        Block {
            a: &self.a[from * f..][..n * f],
            b: &self.b[from * f..][..n * f],
            w: &self.w[from * e..][..n * e],
            factors: &self.factors[k * of_f..][..of_f],
            n,
        }
    }
}

/// `tril(x yᵀ)` of rows of `width` values, into `pairs: [n, n]`.
fn lower<R: Real>(pairs: &mut [R], x: &[R], y: &[R], [n, width]: [usize; 2]) {
    pairs.fill(R::ZERO);
    accumulate(pairs, &Matrix::rows(x, width), &Matrix::transposed(y, width), [n, width, n]);
    for (i, line) in pairs.chunks_exact_mut(n).enumerate() {
        line[i + 1..].fill(R::ZERO);
    }
}

/// Multiplies each line of a state with its factor.
fn fade<R: Real>(state: &mut [R], factors: &[R], e: usize) {
    for (i, line) in state.chunks_exact_mut(e).enumerate() {
        let factor = factors[i.min(factors.len() - 1)];
        line.iter_mut().for_each(|x| *x = *x * factor);
    }
}

fn forward<R: Real>(input: &CausalSumInput<Flex>, start: &FlexTensor) -> [FlexTensor; 2] {
    let sizes @ Sizes { batch, length, f, e, chunk, chunks, .. } = input.sizes();
    let tensors = [&input.a, &input.b, &input.w, &input.factors].map(FlexTensor::to_contiguous);
    let views = tensors.each_ref().map(R::view);
    let start = start.to_contiguous();
    let start = R::view(&start);
    let (state, out) = (f * e, (length + f) * e);
    let mut outputs = vec![R::ZERO; batch * out];
    let mut states = vec![R::ZERO; batch * chunks * state];
    let each = |(index, (outputs, states)): (usize, (&mut [R], &mut [R]))| {
        let sequence = Sequence::of(index, views, sizes);
        let mut current = start[index * state..][..state].to_vec();
        let mut pairs = vec![R::ZERO; chunk.min(length).pow(2)];
        for k in 0..chunks {
            let Block { a, b, w, factors, n } = sequence.block(k);
            states[k * state..][..state].copy_from_slice(&current);
            let out = &mut outputs[k * chunk * e..][..n * e];
            accumulate(out, &Matrix::rows(a, f), &Matrix::rows(&current, e), [n, f, e]);
            let pairs = &mut pairs[..n * n];
            lower(pairs, a, b, [n, f]);
            accumulate(out, &Matrix::rows(pairs, n), &Matrix::rows(w, e), [n, n, e]);
            accumulate(&mut current, &Matrix::transposed(b, f), &Matrix::rows(w, e), [f, n, e]);
            fade(&mut current, factors, e);
        }
        outputs[length * e..].copy_from_slice(&current);
    };
    if out > 0 && state > 0 {
        outputs.par_chunks_mut(out).zip(states.par_chunks_mut(chunks * state)).enumerate().for_each(each);
    }
    [R::tensor(outputs, [batch, length + f, e]), R::tensor(states, [batch, chunks, f, e])]
}

/// Gradients of one sequence.
struct Grads<'a, R> {
    a: &'a mut [R],
    b: &'a mut [R],
    w: &'a mut [R],
    factors: &'a mut [R],
    /// First the gradient at the state after the last chunk, in the end that at the start.
    carried: &'a mut [R],
}

impl<R: Real> Sequence<'_, R> {
    /// Adds the gradients for those at the sums, `grad: [length, e]`, given the states before each chunk.
    fn backward(&self, states: &[R], grad: &[R], grads: Grads<'_, R>) {
        let Sizes { length, f, e, of_f, chunk, chunks, .. } = self.sizes;
        let state = f * e;
        let Grads { a: of_a, b: of_b, w: of_w, factors: of_factors, carried } = grads;
        let mut whole = vec![R::ZERO; state];
        let mut scratch = vec![R::ZERO; chunk.min(length).pow(2)];
        for k in (0..chunks).rev() {
            let Block { a, b, w, factors, n } = self.block(k);
            let before = &states[k * state..][..state];
            let (from, g) = (k * chunk, &grad[k * chunk * e..][..n * e]);
            let of_a = &mut of_a[from * f..][..n * f];
            let of_b = &mut of_b[from * f..][..n * f];
            let of_w = &mut of_w[from * e..][..n * e];
            let pairs = &mut scratch[..n * n];
            let [rows_a, rows_b] = [a, b].map(|x| Matrix::rows(x, f));
            let [rows_w, rows_g] = [w, g].map(|x| Matrix::rows(x, e));

            whole.copy_from_slice(before);
            accumulate(&mut whole, &Matrix::transposed(b, f), &rows_w, [f, n, e]);
            let of_factors = &mut of_factors[k * of_f..][..of_f];
            for (i, (line, whole)) in carried.chunks_exact(e).zip(whole.chunks_exact(e)).enumerate() {
                let of_factor = &mut of_factors[i.min(of_f - 1)];
                line.iter().zip(whole).for_each(|(x, y)| *of_factor += *x * *y);
            }
            fade(carried, factors, e);

            accumulate(of_b, &rows_w, &Matrix::transposed(carried, e), [n, e, f]);
            accumulate(of_w, &rows_b, &Matrix::rows(carried, e), [n, f, e]);
            accumulate(of_a, &rows_g, &Matrix::transposed(before, e), [n, e, f]);
            lower(pairs, g, w, [n, e]);
            accumulate(of_a, &Matrix::rows(pairs, n), &rows_b, [n, n, f]);
            accumulate(of_b, &Matrix::transposed(pairs, n), &rows_a, [n, n, f]);
            lower(pairs, a, b, [n, f]);
            accumulate(of_w, &Matrix::transposed(pairs, n), &rows_g, [n, n, e]);
            accumulate(carried, &Matrix::transposed(a, f), &rows_g, [f, n, e]);
        }
    }
}

fn backward<R: Real>(saved: &CausalSumSaved<Flex>, grad: &FlexTensor) -> [FlexTensor; 5] {
    let input = &saved.input;
    let sizes @ Sizes { batch, length, f, e, of_f, chunks, .. } = input.sizes();
    let tensors = [&input.a, &input.b, &input.w, &input.factors].map(FlexTensor::to_contiguous);
    let views = tensors.each_ref().map(R::view);
    let (states, grad) = (saved.states.to_contiguous(), grad.to_contiguous());
    let (states, grad) = (R::view(&states), R::view(&grad));
    let state = f * e;
    let zeros = |size: usize| vec![R::ZERO; batch * size];
    let (mut a, mut b, mut w) = (zeros(length * f), zeros(length * f), zeros(length * e));
    let (mut factors, mut carried) = (zeros(chunks * of_f), zeros(state));
    if state > 0 {
        let parts = a
            .par_chunks_mut(length * f)
            .zip(b.par_chunks_mut(length * f))
            .zip(w.par_chunks_mut(length * e))
            .zip(factors.par_chunks_mut(chunks * of_f))
            .zip(carried.par_chunks_mut(state));
        parts.enumerate().for_each(|(index, ((((a, b), w), factors), carried))| {
            let grad = &grad[index * (length + f) * e..][..(length + f) * e];
            carried.copy_from_slice(&grad[length * e..]);
            let states = &states[index * chunks * state..][..chunks * state];
            Sequence::of(index, views, sizes).backward(states, grad, Grads { a, b, w, factors, carried });
        });
    }
    [
        R::tensor(a, [batch, length, f]),
        R::tensor(b, [batch, length, f]),
        R::tensor(w, [batch, length, e]),
        R::tensor(factors, [batch, chunks, of_f]),
        R::tensor(carried, [batch, f, e]),
    ]
}
