//! Row losses whose arithmetic is `f64` whatever the precision of the loss.
use std::fmt::Debug;

use crate::kernel::{Job, LossKernel, LossKernelOf, NllOut, NllRows, NllVjpOut, Precision, Real, in_vectors, lanes};

/// The maths of one row of a loss of classes, in `f64`: [`Wide`] makes a loss kernel of it, which rounds each result to the
/// precision of the loss, once.
///
/// Rows arrive as for [`RowNll`](crate::kernel::RowNll): compacted, not empty, finite. Implementations are
/// `#[inline(always)]`, so that they are compiled for each instruction set.
pub trait WideNll: Debug + Send + Sync + 'static {
    /// The loss of the row.
    fn loss(&self, x: &[f64], target: usize) -> f64;

    /// ∂loss/∂x. What `dx` holds before is unspecified.
    fn slopes(&self, x: &[f64], target: usize, dx: &mut [f64]);
}

/// A [`WideNll`] as a loss kernel. Its row sum is the one that a softmax loss would divide by.
#[derive(Clone, Copy, Debug)]
pub struct Wide<K>(pub K);

impl<K: WideNll> LossKernel for Wide<K> {
    fn n_params(&self) -> usize {
        0
    }
}

impl<K: WideNll, P: Precision> LossKernelOf<P> for Wide<K> {
    fn forward_rows(&self, rows: NllRows<'_, P::T>, out: NllOut<'_, P::T>) {
        let x: Vec<f64> = rows.x.iter().map(|x| x.wide()).collect();
        let mut found = vec![[0.0; 2]; rows.targets.len()];
        in_vectors(Forward { loss: &self.0, n: rows.n, x: &x, targets: rows.targets, out: &mut found });
        for ((loss, row_sum), found) in out.loss.iter_mut().zip(out.row_sum).zip(found) {
            [*loss, *row_sum] = found.map(rounded::<P>);
        }
    }

    fn vjp_rows(&self, rows: NllRows<'_, P::T>, out: NllVjpOut<'_, P::T>) {
        let x: Vec<f64> = rows.x.iter().map(|x| x.wide()).collect();
        let mut slopes = vec![0.0; x.len()];
        in_vectors(Slopes { loss: &self.0, n: rows.n, x: &x, targets: rows.targets, out: &mut slopes });
        for ((dx, slopes), g) in out.dx.chunks_exact_mut(rows.n).zip(slopes.chunks_exact(rows.n)).zip(out.g) {
            dx.iter_mut().zip(slopes).for_each(|(dx, slope)| *dx = rounded::<P>(slope * g.wide()));
        }
    }
}

fn rounded<P: Precision>(x: f64) -> P::T {
    P::round(P::T::of(x))
}

/// Losses and row sums of rows of n.
struct Forward<'a, K> {
    loss: &'a K,
    n: usize,
    x: &'a [f64],
    targets: &'a [usize],
    out: &'a mut [[f64; 2]],
}

impl<K: WideNll> Job for Forward<'_, K> {
    type Out = ();
    #[inline(always)]
    fn run(self) {
        for ((x, &target), out) in self.x.chunks_exact(self.n).zip(self.targets).zip(self.out) {
            let max = lanes::max(x);
            *out = [self.loss.loss(x, target), sum(x, |_, x| (x - max).exp_exact())];
        }
    }
}

/// Slopes of rows of n.
struct Slopes<'a, K> {
    loss: &'a K,
    n: usize,
    x: &'a [f64],
    targets: &'a [usize],
    out: &'a mut [f64],
}

impl<K: WideNll> Job for Slopes<'_, K> {
    type Out = ();
    #[inline(always)]
    fn run(self) {
        let rows = self.x.chunks_exact(self.n).zip(self.targets);
        for ((x, &target), dx) in rows.zip(self.out.chunks_exact_mut(self.n)) {
            self.loss.slopes(x, target, dx);
        }
    }
}

/// The sum of `term(j, x_j)` in the order of [`lanes::lane_sum`].
#[inline(always)]
pub(super) fn sum(x: &[f64], term: impl Fn(usize, f64) -> f64) -> f64 {
    let mut sums = [0.0; lanes::LANES];
    for (chunk, x) in x.chunks(lanes::LANES).enumerate() {
        for (lane, (sum, &x)) in sums.iter_mut().zip(x).enumerate() {
            *sum += term(chunk * lanes::LANES + lane, x);
        }
    }
    lanes::lane_sum(&sums)
}

/// max(t, 0) + ln(1 + e^−|t|).
#[inline(always)]
pub(super) fn softplus(t: f64) -> f64 {
    t.max(0.0) + (-t.abs()).exp_exact().ln_1p_exact()
}

/// 1/(1 + e^−t).
#[inline(always)]
pub(super) fn logistic(t: f64) -> f64 {
    let small = (-t.abs()).exp_exact();
    if t > 0.0 { 1.0 / (1.0 + small) } else { small / (1.0 + small) }
}

/// The rivals of a row's target, its logits multiplied by a scale: what is not the target, as one number and as shares.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rivals {
    max: f64,
    sum: f64,
    scale: f64,
    /// d = ln Σ_{j≠y} exp(scale x_j) − scale x_y; −∞ without rivals. The target's weight is 1/(1 + e^d).
    pub(super) lead: f64,
}

impl Rivals {
    #[inline(always)]
    pub(super) fn of(x: &[f64], target: usize, scale: f64) -> Self {
        let mut max = f64::NEG_INFINITY;
        for (place, &x) in x.iter().enumerate() {
            max = if place == target { max } else { max.max(x) };
        }
        let sum = sum(x, |place, x| if place == target { 0.0 } else { (scale * (x - max)).exp_exact() });
        let lead = if sum == 0.0 { f64::NEG_INFINITY } else { scale * (max - x[target]) + sum.ln_exact() };
        Self { max, sum, scale, lead }
    }

    /// ∂(−ln of the target's weight)/∂x, times `factor`.
    #[inline(always)]
    pub(super) fn slopes(&self, x: &[f64], target: usize, factor: f64, dx: &mut [f64]) {
        let factor = factor * self.scale * logistic(self.lead);
        // A row without rivals has no shares, and a factor of 0.
        let over = if self.sum == 0.0 { 0.0 } else { factor / self.sum };
        for (dx, &x) in dx.iter_mut().zip(x) {
            *dx = over * (self.scale * (x - self.max)).exp_exact();
        }
        dx[target] = -factor;
    }
}
