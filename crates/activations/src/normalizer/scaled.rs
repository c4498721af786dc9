//! Softmax of scores times one number per row: the row maths that temperatures and length scales share.
use std::fmt::Debug;

use burn::tensor::Tensor;
use num_traits::{Float as _, Zero as _};

use super::{Rows, composed};
use crate::{
    kernel::{AtInfinity, NllBack, NllRow, Precision, Real, RowMap, RowNll, VjpRow, lanes},
    loss::SumOrder,
};

/// What the scores of a row are multiplied by.
pub trait RowScale: Copy + Debug + Send + Sync + 'static {
    /// Number of per-row parameters.
    const N_PARAMS: usize;
    /// What becomes of a row in which a score is +∞. One-hot is the limit as long as no scale is negative.
    const AT_INFINITY: AtInfinity;

    /// The scale of a row of n scores.
    fn scale<T: Real>(&self, params: &[T], n: usize) -> T;

    /// The gradient at the row's parameters, from the one at its scale.
    fn vjp<T: Real>(&self, params: &[T], n: usize, d_scale: T, d_params: &mut [T]);
}

/// The rows with scores times `scale` (`[rows, 1]`), on which softmax's composed form is the scaled softmax.
pub(super) fn rows<'a>(rows: &Rows<'a>, scale: Tensor<2>) -> Rows<'a> {
    let removed = rows.removed();
    // −∞ times a scale of 0 would be NaN. Shifted first: softmax does not see it, and the gradient of the scale is a sum of
    // the scores times what cancels.
    let shifted = rows.scores.clone() - composed::max(rows);
    let scores = composed::fill(shifted, removed.clone(), 0.0) * scale;
    Rows { scores: composed::fill(scores, removed, f64::NEG_INFINITY), params: None, keep: rows.keep }
}

/// The score that becomes the largest: the smallest one under a negative scale, which a learned scale can reach.
#[inline(always)]
pub(super) fn peak<T: Real>(x: &[T], scale: T) -> T {
    if scale < T::zero() { lanes::min(x) } else { lanes::max(x) }
}

/// exp((x − peak) c).
#[inline(always)]
fn exponentials<T: Real>(x: &[T], scale: T, exp: &mut [T]) {
    let peak = peak(x, scale);
    for (exp, &x) in exp.iter_mut().zip(x) {
        *exp = ((x - peak) * scale).exp_exact();
    }
}

/// y = exp((x − peak) c) / S.
#[inline(always)]
pub(super) fn forward<T: Real>(x: &[T], scale: T, y: &mut [T]) {
    exponentials(x, scale, y);
    let inverse = T::one() / lanes::row_sum(y);
    for y in y.iter_mut() {
        *y = *y * inverse;
    }
}

/// From t, the gradient at c x: `dx = c t` in place, and the gradient at the parameters from dc = ⟨t, x⟩.
#[inline(always)]
fn through_scale<S: RowScale, T: Real>(law: &S, x: &[T], params: &[T], dx: &mut [T], dparams: &mut [T]) {
    let scale = law.scale(params, x.len());
    if S::N_PARAMS > 0 {
        // The sum of t is 0, so the scores may be shifted to where their size does not cost digits.
        let peak = peak(x, scale);
        let d_scale = lanes::lane_sum_of([dx, x], |[t, x]| t * (x - peak));
        law.vjp(params, x.len(), d_scale, dparams);
    }
    for dx in dx.iter_mut() {
        *dx = *dx * scale;
    }
}

/// y = exp(c (x − m)) / S;  t = y (g − ⟨y, g⟩), dx = c t, dc = ⟨t, x⟩.
#[derive(Clone, Copy, Debug)]
pub struct ScaledSoftmaxRow<S>(
    /// The scale c.
    pub S,
);

impl<S: RowScale> RowMap for ScaledSoftmaxRow<S> {
    const N_PARAMS: usize = S::N_PARAMS;
    const AT_INFINITY: AtInfinity = S::AT_INFINITY;

    #[inline(always)]
    fn forward<T: Real>(&self, x: &[T], params: &[T], y: &mut [T]) {
        forward(x, self.0.scale(params, x.len()), y);
    }

    #[inline(always)]
    fn vjp<T: Real>(&self, row: VjpRow<'_, T>, dx: &mut [T], dparams: &mut [T]) {
        let mean = lanes::lane_dot(row.y, row.g);
        for ((dx, &y), &g) in dx.iter_mut().zip(row.y).zip(row.g) {
            *dx = y * (g - mean);
        }
        through_scale(&self.0, row.x, row.params, dx, dparams);
    }
}

/// y = c (x − m) − ln S;  t = g − exp(y) Σ g, dx = c t, dc = ⟨t, x⟩.
#[derive(Clone, Copy, Debug)]
pub struct LogScaledSoftmaxRow<S>(
    /// The scale c.
    pub S,
);

impl<S: RowScale> RowMap for LogScaledSoftmaxRow<S> {
    const N_PARAMS: usize = S::N_PARAMS;
    const IS_LOG: bool = true;
    const AT_INFINITY: AtInfinity = S::AT_INFINITY;

    #[inline(always)]
    fn forward<T: Real>(&self, x: &[T], params: &[T], y: &mut [T]) {
        let scale = self.0.scale(params, x.len());
        let peak = peak(x, scale);
        exponentials(x, scale, y);
        let log_sum = lanes::lane_sum(y).ln_exact();
        for (y, &x) in y.iter_mut().zip(x) {
            *y = (x - peak) * scale - log_sum;
        }
    }

    #[inline(always)]
    fn vjp<T: Real>(&self, row: VjpRow<'_, T>, dx: &mut [T], dparams: &mut [T]) {
        // The weights from the scores: the exponential of a logarithm that was rounded is off by as many digits as that has.
        exponentials(row.x, self.0.scale(row.params, row.x.len()), dx);
        // One factor for all, so that each entry is rounded once less.
        let [sum_g, sum]: [f64; 2] =
            [row.g, dx].map(|row| lanes::wide_sum_of([row], |[term]| term)).map(|sum: T| sum.wide());
        let factor = T::of(sum_g / sum);
        for (dx, &g) in dx.iter_mut().zip(row.g) {
            *dx = g - *dx * factor;
        }
        through_scale(&self.0, row.x, row.params, dx, dparams);
    }
}

/// The loss of a scaled softmax, rounded step by step as that of softmax is.
/// ```text
/// q = c (x − m),   S = Σ exp q,   l = q − ln S,   loss = −l_y
/// t_j = g exp l_j,   t_y = g exp l_y − g (rounded once),   dx = c t,   dc = ⟨t, x⟩
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ScaledSoftmaxNll<S> {
    /// The scale c.
    pub scale: S,
    /// The order of the sum.
    pub sum: SumOrder,
}

/// q of one score.
#[inline(always)]
fn exponent<P: Precision>(x: P::T, peak: P::T, scale: P::T) -> P::T {
    P::round(P::round(x - peak) * scale)
}

impl<S: RowScale> RowNll for ScaledSoftmaxNll<S> {
    const N_PARAMS: usize = S::N_PARAMS;

    #[inline(always)]
    fn forward<P: Precision>(&self, row: NllRow<'_, P::T>, scratch: &mut [P::T]) -> (P::T, P::T) {
        let scale = self.scale.scale(row.params, row.x.len());
        let peak = peak(row.x, scale);
        for (exp, &x) in scratch.iter_mut().zip(row.x) {
            *exp = P::round(exponent::<P>(x, peak, scale).exp_exact());
        }
        let sum = P::round(lanes::sum(scratch, self.sum));
        let log_weight = P::round(exponent::<P>(row.x[row.target], peak, scale) - P::round(sum.ln_exact()));
        // 0 − l rather than −l: a collapsed row's loss is +0.
        (P::T::zero() - log_weight, sum)
    }

    #[inline(always)]
    fn vjp<P: Precision>(&self, row: NllRow<'_, P::T>, back: NllBack<P::T>, dx: &mut [P::T], dparams: &mut [P::T]) {
        let NllBack { row_sum, g } = back;
        let scale = self.scale.scale(row.params, row.x.len());
        let (peak, log_sum) = (peak(row.x, scale), P::round(row_sum.ln_exact()));
        for (dx, &x) in dx.iter_mut().zip(row.x) {
            *dx = P::round(exponent::<P>(x, peak, scale) - log_sum).exp_exact() * g;
        }
        let log_weight = P::round(exponent::<P>(row.x[row.target], peak, scale) - log_sum);
        dx[row.target] = log_weight.exp_exact().mul_add(g, -g);
        through_scale(&self.scale, row.x, row.params, dx, dparams);
        for dx in dx.iter_mut() {
            *dx = P::round(*dx);
        }
    }
}

/// The scale that grows with the logarithm of the number n of kept entries.
/// ```text
/// c = max(floor, s ln n + b)
/// ```
/// P = 2 takes s and b from the row's parameters. Such a scale can become negative, and a score of +∞ makes its row NaN.
#[derive(Clone, Copy, Debug)]
pub struct LogLengthScale<const P: usize> {
    /// The slope, at least 0; not used for P = 2.
    pub s: f64,
    /// The offset, at least 0; not used for P = 2.
    pub b: f64,
    /// The least scale; not used for P = 2.
    pub floor: f64,
}

impl<const P: usize> RowScale for LogLengthScale<P> {
    const N_PARAMS: usize = P;
    const AT_INFINITY: AtInfinity = if P == 0 { AtInfinity::OneHot } else { AtInfinity::Nan };

    #[inline(always)]
    fn scale<T: Real>(&self, params: &[T], n: usize) -> T {
        let log_n = (n as f64).ln_exact();
        if P == 2 {
            return params[0] * T::of(log_n) + params[1];
        }
        T::of((self.s * log_n + self.b).max(self.floor))
    }

    #[inline(always)]
    fn vjp<T: Real>(&self, _: &[T], n: usize, d_scale: T, d_params: &mut [T]) {
        if P == 2 {
            d_params[0] = d_scale * T::of((n as f64).ln_exact());
            d_params[1] = d_scale;
        }
    }
}
