//! Attention on the CPU: blocks of queries, each by one thread, in products whose scores stay in its cache.
use std::sync::Arc;

use burn::{
    backend::{Flex, TensorMetadata, flex::FlexTensor},
    tensor::DType,
};
use kiln_activations::kernel::{MapBlocks, MapScalar, RowKernel};
use rayon::prelude::*;

use super::{AttendInput, AttendKernel, AttendOps, Seen};
use crate::kernel::{
    host::Real,
    product::{Matrix, accumulate, overwrite},
};

impl AttendOps for Flex {
    fn attend(q: FlexTensor, k: FlexTensor, v: FlexTensor, seen: Seen, map: Arc<dyn RowKernel>) -> FlexTensor {
        let input = AttendInput::<Self> { q, k, v, seen, map };
        match input.q.dtype() {
            DType::F32 => forward::<f32>(&input),
            DType::F64 => forward::<f64>(&input),
            other => panic!("attend takes f32 or f64, not {other:?}"),
        }
    }
}

impl AttendKernel for Flex {
    fn attend_backward(input: &AttendInput<Self>, grad: FlexTensor) -> [FlexTensor; 3] {
        match grad.dtype() {
            DType::F32 => backward::<f32>(input, &grad),
            DType::F64 => backward::<f64>(input, &grad),
            other => panic!("attend takes f32 or f64, not {other:?}"),
        }
    }
}

#[derive(Clone, Copy)]
struct Sizes {
    rows: usize,
    heads: usize,
    kv_heads: usize,
    queries: usize,
    keys: usize,
    d: usize,
    e: usize,
    seen: Seen,
}

impl Sizes {
    fn of(input: &AttendInput<Flex>) -> Self {
        let [rows, heads, queries, d] = input.q.shape().dims();
        let [_, kv_heads, keys, e] = input.v.shape().dims();
        Self { rows, heads, kv_heads, queries, keys, d, e, seen: input.seen }
    }

    /// Queries of a block: as many as make good products while their scores stay near. What is hidden from the first queries
    /// of a block and seen by its last is computed for nothing, hence fewer where the keys seen grow.
    fn block(&self) -> usize {
        let most = if self.keys <= 1024 && self.seen == Seen::All { 128 } else { 64 };
        most.min(self.queries).max(1)
    }

    /// The keys that the queries from `first` on see: how many the last of `count` does, and how many each does where they
    /// differ.
    fn live(&self, first: usize, count: usize) -> (usize, Option<Vec<usize>>) {
        let by = |query| self.seen.by(query, self.keys);
        let most = by(first + count - 1);
        (most, (by(first) < most).then(|| (first..first + count).map(by).collect()))
    }
}

/// `[rows, heads, length, width]` of which every line of a head is a line of a strided matrix.
struct Heads<'a, R> {
    values: &'a [R],
    strides: [usize; 4],
}

impl<'a, R: Real> Heads<'a, R> {
    /// The tensor as it lies in memory if its strides point forwards, else a copy of it.
    fn new(tensor: &'a FlexTensor, copy: &'a mut Option<FlexTensor>) -> Self {
        let forwards = tensor.layout().strides().iter().all(|stride| *stride > 0);
        let tensor = if forwards { tensor } else { copy.insert(tensor.to_contiguous()) };
        let strides: Vec<usize> = tensor.layout().strides().iter().map(|stride| *stride as usize).collect();
        let strides = strides.try_into().expect("heads are of rank 4");
        Self { values: &R::storage(tensor)[tensor.layout().start_offset()..], strides }
    }

    /// The lines of one head from `first` on.
    fn lines(&self, row: usize, head: usize, first: usize) -> Matrix<'a, R> {
        let [of_row, of_head, of_line, of_entry] = self.strides;
        Matrix::strided(&self.values[row * of_row + head * of_head + first * of_line..], of_line, of_entry)
    }
}

/// Room of one thread for the scores of a block and what is made of them.
struct Room<R> {
    scores: Vec<R>,
    weights: Vec<R>,
    of_weights: Vec<R>,
    of_scores: Vec<R>,
    lines: Vec<R>,
}

impl<R: Real> Room<R> {
    fn new(sizes: &Sizes, backwards: bool) -> Self {
        let room = |size: usize| vec![R::ZERO; size];
        let tile = sizes.block() * sizes.keys;
        let back = if backwards { tile } else { 0 };
        let lines = room(sizes.block() * sizes.d.max(sizes.e));
        Self { scores: room(tile), weights: room(tile), of_weights: room(back), of_scores: room(back), lines }
    }
}

fn forward<R: Real + MapScalar>(input: &AttendInput<Flex>) -> FlexTensor {
    let sizes @ Sizes { rows, heads, kv_heads, queries, keys, d, e, .. } = Sizes::of(input);
    let mut copies = [const { None }; 3];
    let [of_q, of_k, of_v] = &mut copies;
    let (q, k, v) = (Heads::new(&input.q, of_q), Heads::new(&input.k, of_k), Heads::new(&input.v, of_v));
    let block = sizes.block();
    let mut output = vec![R::ZERO; rows * queries * heads * e];
    if output.is_empty() || keys == 0 {
        return joined(output, [rows, queries, heads, e]);
    }
    let line = heads * e;
    let pieces: Vec<_> = output
        .chunks_mut(queries * line)
        .enumerate()
        .flat_map(|(row, of_row)| of_row.chunks_mut(block * line).enumerate().map(move |(i, piece)| (row, i, piece)))
        .collect();
    let room = || (Room::<R>::new(&sizes, false), MapBlocks::<R>::new(&*input.map, keys));
    pieces.into_par_iter().for_each_init(room, |(room, map), (row, i, output)| {
        let (first, count) = (i * block, output.len() / line);
        let (n, live) = sizes.live(first, count);
        for head in 0..heads {
            let kv = head / (heads / kv_heads);
            let (scores, weights) = (&mut room.scores[..count * n], &mut room.weights[..count * n]);
            overwrite(scores, &q.lines(row, head, first), &k.lines(row, kv, 0).transpose(), [count, d, n]);
            map.forward(n, live.as_deref(), scores, weights);
            let mixed = &mut room.lines[..count * e];
            overwrite(mixed, &Matrix::rows(weights, n), &v.lines(row, kv, 0), [count, n, e]);
            for (to, from) in output.chunks_exact_mut(line).zip(mixed.chunks_exact(e)) {
                to[head * e..][..e].copy_from_slice(from);
            }
        }
    });
    joined(output, [rows, queries, heads, e])
}

/// Lines of every head of a tensor laid out as `[rows, length, heads, width]`: `[row · heads + head][line]`.
fn by_head<R>(values: &mut [R], heads: usize, length: usize, width: usize) -> Vec<Vec<&mut [R]>> {
    let mut lines = Vec::with_capacity(values.len() / (length * width).max(1));
    for of_row in values.chunks_exact_mut((length * heads * width).max(1)) {
        let mut of_heads: Vec<Vec<&mut [R]>> = (0..heads).map(|_| Vec::with_capacity(length)).collect();
        for (i, line) in of_row.chunks_exact_mut(width).enumerate() {
            of_heads[i % heads].push(line);
        }
        lines.extend(of_heads);
    }
    lines
}

fn backward<R: Real + MapScalar>(input: &AttendInput<Flex>, grad: &FlexTensor) -> [FlexTensor; 3] {
    let sizes @ Sizes { rows, heads, kv_heads, queries, keys, d, e, .. } = Sizes::of(input);
    let mut copies = [const { None }; 4];
    let [of_q, of_k, of_v, of_g] = &mut copies;
    let (q, k, v) = (Heads::new(&input.q, of_q), Heads::new(&input.k, of_k), Heads::new(&input.v, of_v));
    let g = Heads::new(grad, of_g);
    let zeros = |size: usize| vec![R::ZERO; size];
    let mut dq = zeros(rows * queries * heads * d);
    let (mut dk, mut dv) = (zeros(rows * keys * kv_heads * d), zeros(rows * keys * kv_heads * e));
    if [queries, keys, d, e].iter().all(|size| *size > 0) {
        let (group, block) = (heads / kv_heads, sizes.block());
        let mut of_queries = by_head(&mut dq, heads, queries, d);
        let tasks: Vec<_> = of_queries
            .chunks_mut(group)
            .zip(by_head(&mut dk, kv_heads, keys, d))
            .zip(by_head(&mut dv, kv_heads, keys, e))
            .enumerate()
            .collect();
        let room = || (Room::<R>::new(&sizes, true), MapBlocks::<R>::new(&*input.map, keys));
        tasks.into_par_iter().for_each_init(room, |(room, map), (task, ((of_queries, of_keys), of_values))| {
            let (row, kv) = (task / kv_heads, task % kv_heads);
            let (mut sum_k, mut sum_v) = (zeros(keys * d), zeros(keys * e));
            for (member, dq) in of_queries.iter_mut().enumerate() {
                let head = kv * group + member;
                for first in (0..queries).step_by(block) {
                    let count = block.min(queries - first);
                    let (n, live) = sizes.live(first, count);
                    let (q, g) = (q.lines(row, head, first), g.lines(row, head, first));
                    let (k, v) = (k.lines(row, kv, 0), v.lines(row, kv, 0));
                    let (scores, weights) = (&mut room.scores[..count * n], &mut room.weights[..count * n]);
                    let (of_weights, of_scores) = (&mut room.of_weights[..count * n], &mut room.of_scores[..count * n]);
                    overwrite(scores, &q, &k.transpose(), [count, d, n]);
                    map.forward(n, live.as_deref(), scores, weights);
                    accumulate(&mut sum_v[..n * e], &Matrix::transposed(weights, n), &g, [n, count, e]);
                    overwrite(of_weights, &g, &v.transpose(), [count, e, n]);
                    map.vjp(n, live.as_deref(), [scores, weights, of_weights], of_scores);
                    accumulate(&mut sum_k[..n * d], &Matrix::transposed(of_scores, n), &q, [n, count, d]);
                    let lines = &mut room.lines[..count * d];
                    overwrite(lines, &Matrix::rows(of_scores, n), &k, [count, n, d]);
                    dq[first..].iter_mut().zip(lines.chunks_exact(d)).for_each(|(to, from)| to.copy_from_slice(from));
                }
            }
            of_keys.into_iter().zip(sum_k.chunks_exact(d)).for_each(|(to, from)| to.copy_from_slice(from));
            of_values.into_iter().zip(sum_v.chunks_exact(e)).for_each(|(to, from)| to.copy_from_slice(from));
        });
    }
    [
        joined(dq, [rows, queries, heads, d]),
        joined(dk, [rows, keys, kv_heads, d]),
        joined(dv, [rows, keys, kv_heads, e]),
    ]
}

/// Values laid out as `[rows, length, heads, width]`, as a tensor `[rows, heads, length, width]`.
fn joined<R: Real>(values: Vec<R>, shape: [usize; 4]) -> FlexTensor {
    R::tensor(values, shape).transpose(1, 2)
}
