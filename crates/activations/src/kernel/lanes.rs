//! Reductions over a row in an order that no compiler, CPU or thread count changes.
use super::Real;
use crate::loss::SumOrder;

/// Number of lanes of the fixed order: one 512-bit vector of `f32`.
pub const LANES: usize = 16;

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
    }
    for (lane, &term) in lanes.iter_mut().zip(chunks.remainder()) {
        *lane = *lane + term;
    }
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
    }
    for ((lane, &a), &b) in lanes.iter_mut().zip(a_chunks.remainder()).zip(b_chunks.remainder()) {
        *lane = a.mul_add(b, *lane);
    }
    lane_sum(&lanes)
}

/// The largest of finite `x`; −∞ of nothing.
#[inline(always)]
pub fn max<T: Real>(x: &[T]) -> T {
    let mut lanes = [T::neg_infinity(); LANES];
    let mut chunks = x.chunks_exact(LANES);
    let larger = |a: T, b: T| if a > b { a } else { b };
    for chunk in &mut chunks {
        for lane in 0..LANES {
            lanes[lane] = larger(chunk[lane], lanes[lane]);
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(chunks.remainder()) {
        *lane = larger(x, *lane);
    }
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] = larger(lanes[lane], lanes[lane + width]);
        }
        width /= 2;
    }
    lanes[0]
}

/// Whether every element of `x` is finite.
#[inline(always)]
pub fn all_finite<T: Real>(x: &[T]) -> bool {
    let mut lanes = [true; LANES];
    let mut chunks = x.chunks_exact(LANES);
    for chunk in &mut chunks {
        for lane in 0..LANES {
            lanes[lane] &= chunk[lane].abs() <= T::max_value();
        }
    }
    lanes.iter().all(|&ok| ok) && chunks.remainder().iter().all(|x| x.is_finite())
}
