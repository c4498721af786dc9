//! The operation on the host.
use burn::{
    backend::{
        Backend, TensorMetadata,
        tensor::{FloatTensor, IntTensor},
    },
    tensor::{DType, TensorData},
};
use half::{bf16, f16};

use super::row::{Top, Vjp};
use crate::kernel::{
    Double, Precision, Real, RowKeep, Single,
    host::{Floats, HostBackend, tensor},
    isa,
    kept::{Kept, Kind, gather, scatter, settle},
    on_host::{HostKeep, with_storage},
    storage::Stored,
    tasks::{Tasks, of},
};

/// What the backward pass starts from.
#[derive(Debug, Clone)]
pub struct TopkSaved<B: Backend> {
    /// The scores.
    pub scores: FloatTensor<B>,
    /// Which entries took part.
    pub keep: RowKeep<B>,
    /// The places of the weights.
    pub indices: IntTensor<B>,
}

/// [`super::TopkOps::row_topk`].
pub(super) fn row_topk<B: HostBackend>(
    scores: FloatTensor<B>,
    keep: RowKeep<B>,
    k: usize,
) -> (FloatTensor<B>, IntTensor<B>) {
    let (shape, dtype, device) = (scores.shape(), scores.dtype(), scores.device());
    let (rows, n) = (shape[0], shape[1]);
    let keep = HostKeep::read(keep, rows, n);
    let scores = B::floats(scores);
    with_storage!(dtype, S, P => {
        let (mut weights, mut indices) = (vec![S::default(); rows * k], vec![0i32; rows * k]);
        forward::<S, P>(S::slice(&scores), n, k, keep.view(), &mut weights, &mut indices);
        let indices = B::int_from_data(TensorData::new(indices, [rows, k]), &device);
        (tensor::<B, S>(weights, [rows, k], &device), indices)
    })
}

/// [`super::TopkVjps::row_topk_vjp`].
pub(super) fn row_topk_vjp<B: HostBackend>(saved: TopkSaved<B>, g: FloatTensor<B>) -> FloatTensor<B> {
    let (shape, dtype, device) = (saved.scores.shape(), saved.scores.dtype(), saved.scores.device());
    let (rows, n, k) = (shape[0], shape[1], g.shape()[1]);
    let keep = HostKeep::read(saved.keep, rows, n);
    let (scores, g, indices) = (B::floats(saved.scores), B::floats(g), B::ints(saved.indices).places());
    with_storage!(dtype, S, P => {
        let mut dx = vec![S::default(); rows * n];
        let tasks = Tasks::new(rows, n);
        tasks.run(tasks.split(&mut dx, n), |rows, dx| {
            let mut row_of = Rows::<<P as Precision>::T>::new(n, k);
            for (here, row) in rows.enumerate() {
                let x = <S as Stored<P>>::load(&S::slice(&scores)[row * n..][..n], &mut row_of.x_room);
                let g = <S as Stored<P>>::load(&S::slice(&g)[row * k..][..k], &mut row_of.g_room);
                <S as Stored<P>>::fill(&mut dx[here * n..][..n], &mut row_of.dx_room, |dx| {
                    vjp_row(x, g, &indices[row * k..][..k], (keep.view(), row), dx, &mut row_of.spare);
                });
            }
        });
        tensor::<B, S>(dx, shape, &device)
    })
}

/// Room for the rows of one task.
struct Rows<T> {
    x_room: Vec<T>,
    g_room: Vec<T>,
    dx_room: Vec<T>,
    spare: Spare<T>,
}

/// Room for one compacted row.
struct Spare<T> {
    places: Vec<usize>,
    chosen: Vec<usize>,
    chosen_g: Vec<T>,
    x: Vec<T>,
    dx: Vec<T>,
}

impl<T: Real> Rows<T> {
    fn new(n: usize, k: usize) -> Self {
        let room = |width: usize| vec![T::zero(); width];
        let spare = Spare { places: Vec::new(), chosen: Vec::new(), chosen_g: Vec::new(), x: room(n), dx: room(n) };
        Self { x_room: room(n), g_room: room(k), dx_room: room(n), spare }
    }
}

fn forward<S: Stored<P>, P: Precision>(
    x: &[S],
    n: usize,
    k: usize,
    kept: Kept<'_>,
    weights: &mut [S],
    indices: &mut [i32],
) {
    let tasks = Tasks::new(weights.len() / k, n);
    let pieces = tasks.split(weights, k).into_iter().zip(tasks.split(indices, k)).collect();
    tasks.run(pieces, |rows, (weights, indices): (&mut [S], &mut [i32])| {
        let zero = P::T::of(0.0);
        let (mut x_room, mut compact, mut room) = (vec![zero; n], vec![zero; n], vec![zero; k]);
        let (mut places, mut best) = (Vec::new(), Vec::with_capacity(k));
        for (here, row) in rows.enumerate() {
            let x = S::load(&x[row * n..][..n], &mut x_room);
            let indices = &mut indices[of(&(here..here + 1), k)];
            S::fill(&mut weights[of(&(here..here + 1), k)], &mut room, |weights| {
                weights.fill(zero);
                match settle(x, kept, row, &mut places) {
                    Kind::Empty => {}
                    Kind::Nan => weights.fill(P::T::of(f64::NAN)),
                    Kind::Infinite(count) => {
                        let share = P::T::of(1.0 / count as f64);
                        let infinite = places.iter().filter(|&&place| x[place] == P::T::of(f64::INFINITY));
                        for ((weight, index), &place) in weights.iter_mut().zip(indices).zip(infinite) {
                            (*weight, *index) = (share, place as i32);
                        }
                    }
                    Kind::Finite => {
                        let sum = isa::run(Top { x: gather(x, &places, &mut compact), k, best: &mut best });
                        let max = best[0].0;
                        for ((weight, index), &(score, at)) in weights.iter_mut().zip(indices).zip(&best) {
                            (*weight, *index) = ((score - max).exp_exact() / sum, places[at] as i32);
                        }
                    }
                }
            });
        }
    });
}

fn vjp_row<T: Real>(
    x: &[T],
    g: &[T],
    indices: &[usize],
    (kept, row): (Kept<'_>, usize),
    dx: &mut [T],
    spare: &mut Spare<T>,
) {
    dx.fill(T::zero());
    match settle(x, kept, row, &mut spare.places) {
        // The limit is constant around the row.
        Kind::Empty | Kind::Infinite(_) => {}
        Kind::Nan => spare.places.iter().for_each(|&place| dx[place] = T::of(f64::NAN)),
        Kind::Finite => {
            let places = &spare.places;
            // Weights of 0 behind the last kept entry belong to no entry.
            let live = indices.len().min(places.len());
            spare.chosen.clear();
            spare.chosen.extend(indices[..live].iter().map(|index| places.binary_search(index).unwrap_or(0)));
            spare.chosen_g.clear();
            spare.chosen_g.extend_from_slice(&g[..live]);
            let out = &mut spare.dx[..places.len()];
            let x = gather(x, places, &mut spare.x);
            isa::run(Vjp { x, places: &spare.chosen, g: &spare.chosen_g, dx: &mut *out });
            scatter(out, places, dx);
        }
    }
}
