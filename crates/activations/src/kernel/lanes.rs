//! Reductions over a row in an order that no compiler, CPU or thread count changes.
use std::{
    hint::black_box,
    sync::atomic::{Ordering, compiler_fence},
};

use super::Real;
use crate::loss::SumOrder;

/// Number of lanes of the fixed order: one 512-bit vector of `f32`.
pub const LANES: usize = 16;

/// Keeps the compiler from vectorising across the turns of a loop whose body is one vector wide: it would gather lane by
/// lane, which is far slower. No instruction comes of it.
#[inline(always)]
fn one_vector_per_turn() {
    compiler_fence(Ordering::SeqCst);
}

/// The last, incomplete chunk as a full one: the lanes themselves are never indexed by a number known only at run time,
/// which would keep them out of registers.
#[inline(always)]
fn padded<T: Copy>(tail: &[T], fill: T) -> [T; LANES] {
    let mut chunk = [fill; LANES];
    chunk[..tail.len()].copy_from_slice(tail);
    chunk
}

/// The sum of `x` in the given order.
#[inline(always)]
pub fn sum<T: Real>(x: &[T], order: SumOrder) -> T {
    match order {
        SumOrder::Lanes => lane_sum(x),
        SumOrder::Sequential => x.iter().fold(T::zero(), |sum, &term| sum + term),
    }
}

/// The sum of `x` in 16 lanes: element i goes to lane i mod 16, the tail included; then neighbours are added
/// pairwise (0 + 1, 2 + 3, …; then pairs of those) until one is left.
#[inline(always)]
pub fn lane_sum<T: Real>(x: &[T]) -> T {
    let mut lanes = [T::zero(); LANES];
    let mut chunks = x.chunks_exact(LANES);
    for chunk in &mut chunks {
        for lane in 0..LANES {
            lanes[lane] = lanes[lane] + chunk[lane];
        }
        one_vector_per_turn();
    }
    // A sum that began at +0 is never −0, so adding +0 to the other lanes changes none of them.
    let tail = padded(chunks.remainder(), T::zero());
    for lane in 0..LANES {
        lanes[lane] = lanes[lane] + tail[lane];
    }
    // In memory once, in their own order: otherwise the compiler shuffles every chunk into the order of the pairs.
    let mut lanes = black_box(lanes);
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] = lanes[2 * lane] + lanes[2 * lane + 1];
        }
        width /= 2;
    }
    lanes[0]
}

/// The sum of products of two rows of equal length, in the order of [`lane_sum`].
#[inline(always)]
pub fn lane_dot<T: Real>(a: &[T], b: &[T]) -> T {
    let mut lanes = [T::zero(); LANES];
    let mut a_chunks = a.chunks_exact(LANES);
    let mut b_chunks = b.chunks_exact(LANES);
    for (a, b) in (&mut a_chunks).zip(&mut b_chunks) {
        for lane in 0..LANES {
            lanes[lane] = a[lane].mul_add(b[lane], lanes[lane]);
        }
        one_vector_per_turn();
    }
    let (a, b) = (padded(a_chunks.remainder(), T::zero()), padded(b_chunks.remainder(), T::zero()));
    for lane in 0..LANES {
        lanes[lane] = a[lane].mul_add(b[lane], lanes[lane]);
    }
    lane_sum(&lanes)
}

/// The sums of K terms of each element, in one pass and in the order of [`lane_sum`].
#[inline(always)]
pub fn lane_sums<T: Real, const K: usize>(x: &[T], terms: impl Fn(T) -> [T; K]) -> [T; K] {
    let mut lanes = [[T::zero(); LANES]; K];
    let mut chunks = x.chunks_exact(LANES);
    for chunk in &mut chunks {
        for lane in 0..LANES {
            let terms = terms(chunk[lane]);
            for k in 0..K {
                lanes[k][lane] = lanes[k][lane] + terms[k];
            }
        }
        one_vector_per_turn();
    }
    let live = chunks.remainder().len();
    let tail = padded(chunks.remainder(), T::zero());
    for lane in 0..LANES {
        let terms = terms(tail[lane]);
        for k in 0..K {
            lanes[k][lane] = lanes[k][lane] + if lane < live { terms[k] } else { T::zero() };
        }
    }
    lanes.map(|lanes| lane_sum(&lanes))
}

/// As [`lane_sums`], of the elements of two rows of equal length.
#[inline(always)]
pub fn lane_sums_of_pairs<T: Real, const K: usize>(a: &[T], b: &[T], terms: impl Fn(T, T) -> [T; K]) -> [T; K] {
    let mut lanes = [[T::zero(); LANES]; K];
    let mut a_chunks = a.chunks_exact(LANES);
    let mut b_chunks = b.chunks_exact(LANES);
    for (a, b) in (&mut a_chunks).zip(&mut b_chunks) {
        for lane in 0..LANES {
            let terms = terms(a[lane], b[lane]);
            for k in 0..K {
                lanes[k][lane] = lanes[k][lane] + terms[k];
            }
        }
        one_vector_per_turn();
    }
    let live = a_chunks.remainder().len();
    let (a, b) = (padded(a_chunks.remainder(), T::zero()), padded(b_chunks.remainder(), T::zero()));
    for lane in 0..LANES {
        let terms = terms(a[lane], b[lane]);
        for k in 0..K {
            lanes[k][lane] = lanes[k][lane] + if lane < live { terms[k] } else { T::zero() };
        }
    }
    lanes.map(|lanes| lane_sum(&lanes))
}

/// The sum of `term(a_i, b_i, …)` over rows of equal length, in the order of [`lane_sum`]. The term of zeros must be 0.
#[inline(always)]
pub fn lane_sum_of<T: Real, const K: usize>(rows: [&[T]; K], term: impl Fn([T; K]) -> T) -> T {
    let whole = rows[0].len() / LANES * LANES;
    let mut lanes = [T::zero(); LANES];
    for at in (0..whole).step_by(LANES) {
        let chunks: [&[T; LANES]; K] = rows.map(|row| row[at..at + LANES].try_into().expect("a whole chunk"));
        for lane in 0..LANES {
            lanes[lane] = lanes[lane] + term(chunks.map(|chunk| chunk[lane]));
        }
        one_vector_per_turn();
    }
    let tails = rows.map(|row| padded(&row[whole..], T::zero()));
    for lane in 0..LANES {
        lanes[lane] = lanes[lane] + term(tails.map(|tail| tail[lane]));
    }
    lane_sum(&lanes)
}

/// The largest of finite `x`; −∞ of nothing.
#[inline(always)]
pub fn max<T: Real>(x: &[T]) -> T {
    extreme(x, T::neg_infinity(), |a, b| if a > b { a } else { b })
}

/// The smallest of finite `x`; +∞ of nothing.
#[inline(always)]
pub fn min<T: Real>(x: &[T]) -> T {
    extreme(x, T::infinity(), |a, b| if a < b { a } else { b })
}

/// The largest magnitude of finite `x`; 0 of nothing.
#[inline(always)]
pub fn max_abs<T: Real>(x: &[T]) -> T {
    extreme(x, T::zero(), |a, b| if a.abs() > b { a.abs() } else { b })
}

/// What is left of `x` when of two elements one wins, whichever way round they are asked; `none` loses to all of them.
#[inline(always)]
fn extreme<T: Real>(x: &[T], none: T, winner: impl Fn(T, T) -> T) -> T {
    let mut lanes = [none; LANES];
    let mut chunks = x.chunks_exact(LANES);
    for chunk in &mut chunks {
        for lane in 0..LANES {
            lanes[lane] = winner(chunk[lane], lanes[lane]);
        }
        one_vector_per_turn();
    }
    let tail = padded(chunks.remainder(), none);
    for lane in 0..LANES {
        lanes[lane] = winner(tail[lane], lanes[lane]);
    }
    let mut lanes = black_box(lanes);
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] = winner(lanes[lane], lanes[lane + width]);
        }
        width /= 2;
    }
    lanes[0]
}

/// Whether every element of `x` is finite.
#[inline(always)]
pub fn all_finite<T: Real>(x: &[T]) -> bool {
    x.iter().fold(true, |finite, x| finite & (x.abs() <= T::max_value()))
}
