//! Maps of the form f(x_i) / Σ_j f(x_j) with a positive f: the row maths they share.
use std::fmt::Debug;

use burn::tensor::{Bool, Tensor};
use num_traits::{Float as _, Zero as _};

use super::{Rows, composed};
use crate::{
    kernel::{AtInfinity, NllBack, NllRow, Precision, Real, RowMap, RowNll, VjpRow, lanes},
    loss::SumOrder,
};

/// The function f of a ratio map, positive everywhere, and growing like a power far out.
///
/// A row with scores beyond [`LARGE`] is computed in units of its largest, so that no power overflows: everything below
/// is then f times one factor of the row's own, which the ratio does not see. The unit is 1 / max |x_j| there and 1
/// elsewhere.
pub trait Growth: Copy + Debug + Send + Sync + 'static {
    /// f(x) times the factor of this unit.
    fn values<T: Real>(&self, x: &[T], unit: T, f: &mut [T]);

    /// f′(x) times the same factor.
    fn slopes<T: Real>(&self, x: &[T], unit: T, slope: &mut [T]);

    /// f in tensor operations.
    fn composed(&self, scores: Tensor<2>) -> Tensor<2>;
}

/// Where a row begins to be computed in units of its largest score: the twelfth power of this is far from overflow.
const LARGE: f64 = 1024.0;

#[inline(always)]
fn unit<T: Real>(x: &[T]) -> T {
    let largest = lanes::max_abs(x);
    if largest > T::of(LARGE) { T::one() / largest } else { T::one() }
}

/// f, and its row sum with 1 for an empty row; f is 0 at removed entries.
fn composed_terms<G: Growth>(growth: &G, rows: &Rows<'_>) -> (Tensor<2>, Tensor<2>, Tensor<2, Bool>) {
    let removed = rows.removed();
    let f = growth.composed(composed::fill(rows.scores.clone(), removed.clone(), 0.0));
    let f = composed::fill(f, removed.clone(), 0.0);
    let sum = composed::sum_or_one(f.clone());
    (f, sum, removed)
}

/// f / S.
pub(super) fn weights<G: Growth>(growth: &G, rows: &Rows<'_>) -> Tensor<2> {
    let (f, sum, _) = composed_terms(growth, rows);
    f / sum
}

/// ln f − ln S.
pub(super) fn log_weights<G: Growth>(growth: &G, rows: &Rows<'_>) -> Tensor<2> {
    let (f, sum, removed) = composed_terms(growth, rows);
    let log = composed::fill(f, removed.clone(), 1.0).log() - sum.log();
    composed::fill(log, removed, f64::NEG_INFINITY)
}

/// y = f(x) / S;  dx = f′(x) / S (g − ⟨y, g⟩).
#[derive(Clone, Copy, Debug)]
pub struct RatioRow<G>(
    /// The function f.
    pub G,
);

impl<G: Growth> RowMap for RatioRow<G> {
    const AT_INFINITY: AtInfinity = AtInfinity::OneHot;

    #[inline(always)]
    fn forward<T: Real>(&self, x: &[T], _: &[T], y: &mut [T]) {
        self.0.values(x, unit(x), y);
        // A division each: the weight of a lone entry is 1 to the last bit, and its gradient 0.
        let sum = lanes::lane_sum(y);
        for y in y.iter_mut() {
            *y = *y / sum;
        }
    }

    #[inline(always)]
    fn vjp<T: Real>(&self, row: VjpRow<'_, T>, dx: &mut [T], _: &mut [T]) {
        let unit = unit(row.x);
        self.0.values(row.x, unit, dx);
        let inverse = T::one() / lanes::lane_sum(dx);
        let mean = lanes::lane_dot(row.y, row.g);
        self.0.slopes(row.x, unit, dx);
        for (dx, &g) in dx.iter_mut().zip(row.g) {
            *dx = *dx * inverse * (g - mean);
        }
    }
}

/// Entries that are looked at together where f and f′ are needed at once and a row has room for one of them.
const BLOCK: usize = 64;

/// y = ln f(x) − ln S;  dx = f′(x) (g / f(x) − Σ g / S).
#[derive(Clone, Copy, Debug)]
pub struct LogRatioRow<G>(
    /// The function f.
    pub G,
);

impl<G: Growth> RowMap for LogRatioRow<G> {
    const IS_LOG: bool = true;
    const AT_INFINITY: AtInfinity = AtInfinity::OneHot;

    #[inline(always)]
    fn forward<T: Real>(&self, x: &[T], _: &[T], y: &mut [T]) {
        self.0.values(x, unit(x), y);
        let log_sum = lanes::lane_sum(y).ln_exact();
        for y in y.iter_mut() {
            *y = y.ln_exact() - log_sum;
        }
    }

    #[inline(always)]
    fn vjp<T: Real>(&self, row: VjpRow<'_, T>, dx: &mut [T], _: &mut [T]) {
        let unit = unit(row.x);
        self.0.values(row.x, unit, dx);
        let share = lanes::lane_sum(row.g) / lanes::lane_sum(dx);
        let mut f = [T::zero(); BLOCK];
        for ((dx, x), g) in dx.chunks_mut(BLOCK).zip(row.x.chunks(BLOCK)).zip(row.g.chunks(BLOCK)) {
            let f = &mut f[..dx.len()];
            f.copy_from_slice(dx);
            self.0.slopes(x, unit, dx);
            for ((dx, &f), &g) in dx.iter_mut().zip(f.iter()).zip(g) {
                *dx = *dx * (g / f - share);
            }
        }
    }
}

/// The loss of a ratio map in a form that keeps small losses.
/// ```text
/// R = Σ_{j≠y} f_j,   S = R + f_y,   loss = ln(1 + R / f_y)
/// dx_j = g f′_j / S,   dx_y = −g f′_y R / (f_y S)
/// ```
#[derive(Clone, Copy, Debug)]
pub struct RatioNll<G> {
    /// The function f.
    pub growth: G,
    /// The order of the sum.
    pub sum: SumOrder,
}

impl<G: Growth> RatioNll<G> {
    /// f of the target and the sum of f over its rivals; `scratch` is left with f, and 0 at the target.
    #[inline(always)]
    fn sums<P: Precision>(&self, row: NllRow<'_, P::T>, unit: P::T, scratch: &mut [P::T]) -> (P::T, P::T) {
        self.growth.values(row.x, unit, scratch);
        for f in scratch.iter_mut() {
            *f = P::round(*f);
        }
        let target = scratch[row.target];
        scratch[row.target] = P::T::zero();
        (target, P::round(lanes::sum(scratch, self.sum)))
    }
}

impl<G: Growth> RowNll for RatioNll<G> {
    #[inline(always)]
    fn forward<P: Precision>(&self, row: NllRow<'_, P::T>, scratch: &mut [P::T]) -> (P::T, P::T) {
        let (target, rivals) = self.sums::<P>(row, unit(row.x), scratch);
        let ratio = P::round(rivals / target);
        let loss = if ratio.is_finite() {
            ratio.ln_1p_exact()
        } else {
            // Beyond the largest number of the precision, where 1 + R is R.
            P::round(rivals.ln_exact()) - P::round(target.ln_exact())
        };
        (P::round(loss), P::round(rivals + target))
    }

    #[inline(always)]
    fn vjp<P: Precision>(&self, row: NllRow<'_, P::T>, back: NllBack<P::T>, dx: &mut [P::T], _: &mut [P::T]) {
        let unit = unit(row.x);
        let (target, rivals) = self.sums::<P>(row, unit, dx);
        let scale = back.g / back.row_sum;
        self.growth.slopes(row.x, unit, dx);
        let slope = dx[row.target];
        for dx in dx.iter_mut() {
            *dx = P::round(*dx * scale);
        }
        dx[row.target] = P::round(-(slope / target) * (rivals * scale));
    }
}
