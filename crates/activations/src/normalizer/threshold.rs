//! Threshold search: the number that, subtracted from a row, leaves weights that sum to what they should.
//!
//! No sorting and no fixed number of halvings: each search is Newton's method on a monotone function, kept inside a
//! bracket, so that a handful of passes over the row reach the last bit.

use crate::kernel::{Real, VjpRow, lanes};

/// Moves the scores that lie less than `reach` below the maximum m, as scale (x − m), to the front of `room`: no other can
/// be in the support of a map whose threshold is at least scale · reach below the top.
#[inline(always)]
fn candidates<'a, T: Real>(x: &[T], max: T, scale: T, reach: T, room: &'a mut [T]) -> &'a [T] {
    let mut live = 0;
    // Without a branch: which scores are near is chance.
    for &x in x {
        room[live] = scale * (x - max);
        live += usize::from(x - max > -reach);
    }
    &room[..live]
}

/// τ with `Σ [x_i − m − τ]₊ = 1`, m the maximum of `x`. `room` is as long as the row and is left unspecified.
///
/// f(τ) = Σ [x − m − τ]₊ is convex, piecewise linear and falling. A Newton step from below solves the piece it stands on
/// and cannot overshoot, so the support only shrinks, and the search ends when it no longer does.
#[inline(always)]
pub(super) fn sparsemax_threshold<T: Real>(x: &[T], max: T, room: &mut [T]) -> T {
    // A single score holds all the weight at τ = −1, and more scores only raise it.
    let shifted = candidates(x, max, T::one(), T::one(), room);
    let mut threshold = -T::one();
    let mut size = T::of(f64::INFINITY);
    loop {
        let [sum, count] = lanes::lane_sums(shifted, |shifted| {
            let inside = shifted > threshold;
            [if inside { shifted } else { T::zero() }, if inside { T::one() } else { T::zero() }]
        });
        // Rounding may empty the support in the end; what stood before is the answer then.
        if count >= size || count == T::zero() {
            return threshold;
        }
        size = count;
        threshold = (sum - T::one()) / count;
    }
}

/// τ with `Σ [(x_i − m)/2 − τ]₊² = 1`, m the maximum of `x`. `room` is as long as the row and is left unspecified.
///
/// f is convex and falling, so Newton's method from below stays below, and doubles the right digits at every step.
#[inline(always)]
pub(super) fn entmax15_threshold<T: Real>(x: &[T], max: T, room: &mut [T]) -> T {
    let half = T::of(0.5);
    let shifted = candidates(x, max, half, T::of(2.0), room);
    let mut threshold = -T::one();
    // Quadratic convergence: the cap is never the reason to stop.
    for _ in 0..64 {
        let [sum, squares] = lanes::lane_sums(shifted, |shifted| {
            let above = shifted - threshold;
            let above = if above > T::zero() { above } else { T::zero() };
            [above, above * above]
        });
        let next = threshold + half * (squares - T::one()) / sum;
        // Also where `next` is not a number.
        if next.partial_cmp(&threshold) != Some(std::cmp::Ordering::Greater) {
            break;
        }
        threshold = next;
    }
    threshold
}

/// c = −τ of entmax with ε = α − 1: the root of `S(c) = Σ (c + ε (x_i − m))₊^(1/ε) = 1`, m the maximum of `x`.
///
/// S grows in c, and c lies between n^−ε, where n equal scores have their root, and 1. In ln c the function ln S is close to
/// a line of slope 1/ε, so Newton's method on these logarithms needs few steps from 1, the exact root of a lone score; a
/// step that leaves the bracket is replaced by its middle. `room` is as long as the row and is left unspecified.
#[inline(always)]
pub(super) fn entmax_scale<T: Real>(x: &[T], max: T, order: T, room: &mut [T]) -> T {
    let (zero, one) = (T::zero(), T::one());
    let root = one / order;
    // Every later c is smaller than the first, 1.
    let scaled = candidates(x, max, order, root, room);
    let (mut low, mut high) = ((-order * T::of(x.len() as f64).ln_exact()).exp_exact(), one);
    // What the last bit of c is worth in ln S, and the rounding of ln S itself.
    let near = T::epsilon() * (T::of(16.0) + root + root);
    let mut c = one;
    for turn in 0..200 {
        let inverse = one / c;
        // S/c^root and its slope in ln c over root, a common factor apart.
        let [sum, slope] = lanes::lane_sums(scaled, |s| {
            let r = s * inverse;
            let inside = r > -one;
            let r = if inside { r } else { zero };
            let power = (root * r.ln_1p_lane()).exp_exact();
            if inside { [power, power / (one + r)] } else { [zero; 2] }
        });
        let log = root * c.ln_exact() + sum.ln_exact();
        if log >= zero {
            high = c;
        } else {
            low = c;
        }
        if log.abs() <= near || high - low <= T::epsilon() * high {
            break;
        }
        let newton = c * (-(log * order) * (sum / slope)).exp_exact();
        // Above alpha 2 the slope is infinite where a weight begins, and Newton's method creeps there: every other turn
        // halves the bracket once the quick way has had its chance.
        let creeping = turn > 8 && turn % 2 == 1;
        c = if newton > low && newton < high && !creeping { newton } else { T::of(0.5) * (low + high) };
    }
    c
}

/// The shift t of a soft top-k row, as a score p near −t and the rest: `x + t = (x − p) + rest`, whose rounding is that of the
/// difference, however far from 0 the threshold lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shift<T> {
    pivot: T,
    rest: T,
}

impl<T: Real> Shift<T> {
    /// α (x + t).
    #[inline(always)]
    pub(super) fn z(self, alpha: T, x: T) -> T {
        alpha * ((x - self.pivot) + self.rest)
    }
}

/// t with `Σ σ(α (x_i + t)) = k`, for 0 < k < n.
///
/// The sum grows in t. At the lower end of the bracket even the largest score has at most the mean membership k/n, at the
/// upper end even the smallest has at least that.
#[inline(always)]
pub(super) fn soft_topk_shift<T: Real>(x: &[T], k: T, alpha: T) -> Shift<T> {
    let n = T::of(x.len() as f64);
    let share = (k / (n - k)).ln_exact() / alpha;
    let bracket = (share - lanes::max(x), share - lanes::min(x));
    let first = search(x, k, alpha, T::zero(), bracket, T::of(0.5) * (bracket.0 + bracket.1));
    if alpha * first.abs() < T::one() {
        return Shift { pivot: T::zero(), rest: first };
    }
    // Far enough from 0 for the rounding of the threshold to show.
    let nearer = |a: T, b: T| if (a + first).abs() < (b + first).abs() { a } else { b };
    let pivot = x.iter().copied().fold(x[0], nearer);
    let bracket = (bracket.0 + pivot, bracket.1 + pivot);
    Shift { pivot, rest: search(x, k, alpha, pivot, bracket, first + pivot) }
}

/// The t with `Σ σ(α (x_i − pivot + t)) = k` in a bracket, by Newton's method.
#[inline(always)]
fn search<T: Real>(x: &[T], k: T, alpha: T, pivot: T, (mut low, mut high): (T, T), start: T) -> T {
    let (zero, one) = (T::zero(), T::one());
    let mut shift = start;
    for turn in 0..200 {
        // Σ σ − k as the count above the step less k, and what the others and they themselves are away from their side:
        // summed as it stands, a row whose scores lie far apart would be k to the last bit at many t.
        let [above, rest, slope] = lanes::lane_sums(x, |x| {
            let z = alpha * ((x - pivot) + shift);
            let small = (-z.abs()).exp_exact();
            let inverse = one / (one + small);
            let far = small * inverse;
            let over = z >= zero;
            [if over { one } else { zero }, if over { -far } else { far }, far * inverse]
        });
        let in_a_gap = above == k && slope <= faint();
        let [rest, slope] = if in_a_gap { nearest_tails(x, alpha, pivot, shift) } else { [rest, slope] };
        let excess = (above - k) + rest;
        if excess >= zero {
            high = shift;
        } else {
            low = shift;
        }
        let newton = shift - excess / (alpha * slope);
        if (newton - shift).abs() <= T::epsilon() * shift.abs() {
            break;
        }
        // Between two scores far apart a step is about 1/α long: every other turn halves the bracket once the quick way has
        // had its chance.
        let creeping = turn > 12 && turn % 2 == 1;
        let next = if newton >= low && newton <= high && !creeping { newton } else { T::of(0.5) * (low + high) };
        if next == shift {
            break;
        }
        shift = next;
    }
    shift
}

/// Below this a sum of slopes is no longer a number to divide by: what made it has lost its digits.
#[inline(always)]
pub(super) fn faint<T: Real>() -> T {
    T::min_positive_value() / T::epsilon()
}

/// What memberships are away from their side, and the slopes, both as sums in units in which the nearest score's is about 1:
/// what decides where the threshold stands in a gap so wide that nothing is left of the memberships themselves.
#[inline(always)]
fn nearest_tails<T: Real>(x: &[T], alpha: T, pivot: T, shift: T) -> [T; 2] {
    let z = |x: T| alpha * ((x - pivot) + shift);
    let least = x.iter().fold(T::infinity(), |least, &x| least.min(z(x).abs()));
    lanes::lane_sums(x, |x| {
        let z = z(x);
        // The nearest membership is 0 or 1 to the last digit, so a tail is as good as its exponential.
        let tail = (least - z.abs()).exp_exact();
        [if z >= T::zero() { -tail } else { tail }, tail]
    })
}

/// [`soft_topk_shift`], and in `shares` how it answers to the scores: `−∂t/∂x_i = v_i / Σ v`, `v = σ (1 − σ)`. The largest v
/// is brought to 1 first, or none would be left where every score is in or out to the last digit.
#[inline(always)]
pub(super) fn soft_topk_shares<T: Real>(x: &[T], k: T, alpha: T, shares: &mut [T]) -> Shift<T> {
    let shift = soft_topk_shift(x, k, alpha);
    for (z, &x) in shares.iter_mut().zip(x) {
        *z = shift.z(alpha, x).abs();
    }
    let least = lanes::min(shares);
    for share in shares.iter_mut() {
        let rest = T::one() + (-*share).exp_exact();
        *share = (least - *share).exp_exact() / (rest * rest);
    }
    let inverse = T::one() / lanes::lane_sum(shares);
    for share in shares.iter_mut() {
        *share = *share * inverse;
    }
    shift
}

/// The gradient that maps with a threshold share: with the slope s of each weight on the support and 0 outside,
/// `dx = s (g − ⟨s, g⟩ / Σ s)`.
#[inline(always)]
pub(super) fn support_gradient<T: Real>(row: VjpRow<'_, T>, dx: &mut [T], slope: impl Fn(T) -> T) {
    let [along, size] = lanes::lane_sums_of_pairs(row.y, row.g, |y, g| {
        let slope = slope(y);
        // Outside the support nothing of g counts, not even if it is not a number.
        [if slope > T::zero() { slope * g } else { T::zero() }, slope]
    });
    let mean = along / size;
    for ((dx, &y), &g) in dx.iter_mut().zip(row.y).zip(row.g) {
        let slope = slope(y);
        *dx = if slope > T::zero() { slope * (g - mean) } else { T::zero() };
    }
}
