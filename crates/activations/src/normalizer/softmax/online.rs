//! The online algorithm.
use crate::kernel::{AtInfinity, Real, RowMap, VjpRow, lanes::LANES};

use super::softmax_vjp;

/// Softmax with maximum and sum in one pass: the row is read twice instead of three times.
/// ```text
/// (m, d) ← (−∞, 0);   for each x: m′ = max(m, x), d = d exp(m − m′) + exp(x − m′)
/// y_i = exp(x_i − m) / d
/// ```
/// Only one of the two exponentials differs from 1, so one is computed.
/// # References
/// Milakov and Gimelshein 2018, Online normalizer calculation for softmax, arXiv:1805.02867.
#[derive(Clone, Copy, Debug)]
pub struct OnlineSoftmaxRow;

/// A maximum m and the sum d of exp(x − m): what is known of a part of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OnlineState<T> {
    /// The maximum; −∞ of nothing.
    pub max: T,
    /// The sum relative to it.
    pub sum: T,
}

impl<T: Real> OnlineState<T> {
    /// Of nothing.
    #[inline(always)]
    pub fn empty() -> Self {
        Self { max: T::neg_infinity(), sum: T::zero() }
    }

    /// With one more finite score.
    #[inline(always)]
    pub fn with(self, x: T) -> Self {
        let ratio = (-(x - self.max).abs()).exp_exact();
        if x > self.max {
            Self { max: x, sum: ratio.mul_add(self.sum, T::one()) }
        } else {
            Self { max: self.max, sum: self.sum + ratio }
        }
    }

    /// Of two parts together; the order does not matter.
    #[inline(always)]
    pub fn merge(self, other: Self) -> Self {
        let (high, low) = if self.max >= other.max { (self, other) } else { (other, self) };
        // Of an empty part exp(−∞) = 0 times 0; of two empty parts −∞ − −∞ would be no number.
        let ratio = if low.max == T::neg_infinity() { T::zero() } else { (low.max - high.max).exp_exact() };
        Self { max: high.max, sum: ratio.mul_add(low.sum, high.sum) }
    }

    /// Of a row.
    #[inline(always)]
    pub fn of(x: &[T]) -> Self {
        // One state per lane, merged in the order of neighbours.
        let (mut max, mut sum) = ([T::neg_infinity(); LANES], [T::zero(); LANES]);
        let mut chunks = x.chunks_exact(LANES);
        for chunk in &mut chunks {
            for lane in 0..LANES {
                let state = Self { max: max[lane], sum: sum[lane] }.with(chunk[lane]);
                (max[lane], sum[lane]) = (state.max, state.sum);
            }
        }
        for (lane, &x) in chunks.remainder().iter().enumerate() {
            let state = Self { max: max[lane], sum: sum[lane] }.with(x);
            (max[lane], sum[lane]) = (state.max, state.sum);
        }
        (0..LANES).fold(Self::empty(), |state, lane| state.merge(Self { max: max[lane], sum: sum[lane] }))
    }
}

impl RowMap for OnlineSoftmaxRow {
    const AT_INFINITY: AtInfinity = AtInfinity::OneHot;

    #[inline(always)]
    fn forward<T: Real>(&self, x: &[T], _: &[T], y: &mut [T]) {
        let OnlineState { max, sum } = OnlineState::of(x);
        let scale = T::one() / sum;
        for (y, &x) in y.iter_mut().zip(x) {
            *y = (x - max).exp_exact() * scale;
        }
    }

    #[inline(always)]
    fn vjp<T: Real>(&self, row: VjpRow<'_, T>, dx: &mut [T], _: &mut [T]) {
        softmax_vjp(row.y, row.g, dx);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{assert_close, normal};

    #[test]
    fn golden_states() {
        let x = [0.5, 2.0, 3.0, -1.0];
        let want = [(0.5, 1.0), (2.0, 1.22313016), (3.0, 1.44996444), (3.0, 1.468280079)];
        let mut state = OnlineState::empty();
        for (x, (max, sum)) in x.into_iter().zip(want) {
            state = state.with(x);
            assert_close("state", &[state.max, state.sum], &[max, sum], 1e-8, 0.0);
        }
        let (left, right) = (OnlineState::of(&x[..2]), OnlineState::of(&x[2..]));
        assert_close("left", &[left.max, left.sum], &[2.0, 1.22313016], 1e-8, 0.0);
        assert_close("right", &[right.max, right.sum], &[3.0, 1.018315639], 1e-8, 0.0);
        let merged = left.merge(right);
        assert_close("merged", &[merged.max, merged.sum], &[3.0, 1.468280079], 1e-8, 0.0);
        assert_eq!(merged, right.merge(left));
        assert_eq!(OnlineState::<f64>::empty().merge(OnlineState::empty()), OnlineState::empty());
        assert_eq!(OnlineState::empty().merge(merged), merged);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

        /// Any cut into blocks, merged in any order.
        #[test]
        fn blocks_merge_to_the_row(n in 1usize..200, cut in 0usize..200, scale in 0.01..100.0f64) {
            let x = normal(n as u64, n, scale);
            let (left, right) = x.split_at(cut.min(n));
            let (whole, parts) = (OnlineState::of(&x), OnlineState::of(right).merge(OnlineState::of(left)));
            assert_close("sum", &[parts.max, parts.sum], &[whole.max, whole.sum], 1e-13, 0.0);
        }
    }
}
