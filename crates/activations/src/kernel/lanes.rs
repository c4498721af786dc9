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

/// Terms that are added in one go. Longer rows are cut into spans of so many, whose sums are added in the same order: a lane
/// of thousands of terms would lose digits.
const SPAN: usize = 1024;

/// The sum of `x` in 16 lanes: element i goes to lane i mod 16, the tail included; then neighbours are added
/// pairwise (0 + 1, 2 + 3, …; then pairs of those) until one is left. Rows longer than 1024 are cut into spans of that
/// length, and the sums of the spans are added likewise.
#[inline(always)]
pub fn lane_sum<T: Real>(x: &[T]) -> T {
    let [sum] = lane_fold([x], |[sum], [x]| [sum + x]);
    sum
}

/// The sum of products of two rows of equal length, in the order of [`lane_sum`].
#[inline(always)]
pub fn lane_dot<T: Real>(a: &[T], b: &[T]) -> T {
    let [sum] = lane_fold([a, b], |[sum], [a, b]| [a.mul_add(b, sum)]);
    sum
}

/// The sums of K terms of each element, in one pass and in the order of [`lane_sum`].
#[inline(always)]
pub fn lane_sums<T: Real, const K: usize>(x: &[T], terms: impl Fn(T) -> [T; K]) -> [T; K] {
    lane_fold([x], |sums, [x]| plus(sums, terms(x)))
}

/// As [`lane_sums`], of the elements of two rows of equal length.
#[inline(always)]
pub fn lane_sums_of_pairs<T: Real, const K: usize>(a: &[T], b: &[T], terms: impl Fn(T, T) -> [T; K]) -> [T; K] {
    lane_fold([a, b], |sums, [a, b]| plus(sums, terms(a, b)))
}

/// The sum of `term(a_i, b_i, …)` over rows of equal length, in the order of [`lane_sum`].
#[inline(always)]
pub fn lane_sum_of<T: Real, const R: usize>(rows: [&[T]; R], term: impl Fn([T; R]) -> T) -> T {
    let [sum] = lane_fold(rows, |[sum], values| [sum + term(values)]);
    sum
}

#[inline(always)]
fn plus<T: Real, const K: usize>(mut sums: [T; K], terms: [T; K]) -> [T; K] {
    for k in 0..K {
        sums[k] = sums[k] + terms[k];
    }
    sums
}

/// K sums over R rows of equal length: `step` takes one element of each row into the sums of its lane.
#[inline(always)]
fn lane_fold<T: Real, const R: usize, const K: usize>(
    rows: [&[T]; R],
    step: impl Fn([T; K], [T; R]) -> [T; K],
) -> [T; K] {
    let n = rows[0].len();
    if n <= SPAN {
        return pairwise(span_fold(rows, &step));
    }
    let mut lanes = [[T::zero(); LANES]; K];
    for (span, start) in (0..n).step_by(SPAN).enumerate() {
        let sums = pairwise(span_fold(rows.map(|row| &row[start..(start + SPAN).min(n)]), &step));
        for k in 0..K {
            lanes[k][span % LANES] = lanes[k][span % LANES] + sums[k];
        }
    }
    pairwise(lanes)
}

/// The lanes of one span.
#[inline(always)]
fn span_fold<T: Real, const R: usize, const K: usize>(
    rows: [&[T]; R],
    step: &impl Fn([T; K], [T; R]) -> [T; K],
) -> [[T; LANES]; K] {
    let whole = rows[0].len() / LANES * LANES;
    let mut lanes = [[T::zero(); LANES]; K];
    for at in (0..whole).step_by(LANES) {
        let chunks: [&[T; LANES]; R] = rows.map(|row| row[at..at + LANES].try_into().expect("a whole chunk"));
        for lane in 0..LANES {
            let sums = step(std::array::from_fn(|k| lanes[k][lane]), chunks.map(|chunk| chunk[lane]));
            for k in 0..K {
                lanes[k][lane] = sums[k];
            }
        }
        one_vector_per_turn();
    }
    let live = rows[0].len() - whole;
    let tails = rows.map(|row| padded(&row[whole..], T::zero()));
    for lane in 0..LANES {
        let sums = step(std::array::from_fn(|k| lanes[k][lane]), tails.map(|tail| tail[lane]));
        for k in 0..K {
            lanes[k][lane] = if lane < live { sums[k] } else { lanes[k][lane] };
        }
    }
    lanes
}

/// Neighbouring lanes added until one is left.
#[inline(always)]
fn pairwise<T: Real, const K: usize>(lanes: [[T; LANES]; K]) -> [T; K] {
    lanes.map(|lanes| {
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
    })
}

/// The sum of weights that a row is divided by: that of [`lane_sum`] in a short row, in `f64` in a long one, where a lane that
/// holds one large weight would lose its many small ones.
#[inline(always)]
pub fn row_sum<T: Real>(weights: &[T]) -> T {
    const LONG: usize = 256;
    if weights.len() > LONG { wide_sum_of([weights], |[weight]| weight) } else { lane_sum(weights) }
}

/// The sum of `term` over rows of equal length, in `f64` whatever the scalar: for the few sums that a whole gradient hangs on.
#[inline(always)]
pub fn wide_sum_of<T: Real, const R: usize>(rows: [&[T]; R], term: impl Fn([f64; R]) -> f64) -> T {
    let whole = rows[0].len() / LANES * LANES;
    let mut lanes = [0.0f64; LANES];
    for at in (0..whole).step_by(LANES) {
        let chunks: [&[T; LANES]; R] = rows.map(|row| row[at..at + LANES].try_into().expect("a whole chunk"));
        for lane in 0..LANES {
            lanes[lane] += term(chunks.map(|chunk| chunk[lane].wide()));
        }
        one_vector_per_turn();
    }
    let rest = (whole..rows[0].len()).map(|i| term(rows.map(|row| row[i].wide())));
    let [sum] = pairwise([lanes]);
    T::of(rest.fold(sum, |sum, term| sum + term))
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
