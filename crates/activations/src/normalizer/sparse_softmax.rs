//! Sparse-softmax: softmax over the k largest scores.
use std::sync::Arc;

use burn::{
    module::Module,
    tensor::{Bool, Tensor},
};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Laws, Normalize, Rows, Softmax, composed, softmax::softmax_vjp};
use crate::{
    Ctx, Init,
    kernel::{
        AtInfinity, LossKernel, NllBack, NllRow, Precision, Real, RowKernel, RowMap, RowNll, VjpRow, lanes, largest,
    },
    loss::SumOrder,
};

/// Parameters of [`SparseSoftmax`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SparseSoftmaxConfig {
    /// How many scores of a row keep a weight; a row of fewer is plain softmax.
    #[serde(deserialize_with = "range::at_least_one")]
    pub k: usize,
}

impl Default for SparseSoftmaxConfig {
    /// The value of the authors' code.
    fn default() -> Self {
        Self { k: 10 }
    }
}

impl Entry for SparseSoftmaxConfig {
    const SUMMARY: &'static str = "softmax over the k largest scores, 0 for the rest";
    const PAPER: &'static str =
        "Sun et al. 2021, Sparse-softmax: A Simpler and Faster Alternative Softmax Transformation, arXiv:2112.12433";
}

impl SparseSoftmaxConfig {
    /// The map.
    pub fn init(&self, _: &Init) -> SparseSoftmax {
        SparseSoftmax { k: self.k }
    }
}

/// Sparse-softmax: softmax over the set Ω of the k largest scores.
/// ```text
/// y_i = exp(x_i) / Σ_{j∈Ω} exp(x_j) for i in Ω, else 0
/// ```
/// Of equal scores at the k-th place those with the lowest index are in Ω. Ω counts as constant in the backward pass, which
/// is the derivative wherever there is one.
///
/// # Numerics
/// No sorting: the k-th largest score is found by partial selection. A score of +∞ takes all the weight; several share it
/// evenly.
/// # References
/// Sun et al. 2021, arXiv:2112.12433.
#[derive(Module, Debug)]
pub struct SparseSoftmax {
    k: usize,
}

impl Normalize for SparseSoftmax {
    fn laws(&self) -> Laws {
        // Of two equal scores one may be in Ω and the other not, so equal scores need not get equal weights; a larger one
        // never gets less.
        Laws { can_be_zero: true, ..Laws::SOFTMAX }
    }

    fn kernel(&self, _: &Ctx) -> Arc<dyn RowKernel> {
        Arc::new(SparseSoftmaxRow { k: self.k })
    }

    fn fenchel_young(&self, sum: SumOrder) -> Option<Arc<dyn LossKernel>> {
        Some(Arc::new(SparseSoftmaxLoss { k: self.k, sum }))
    }

    fn composed(&self, rows: &Rows<'_>, ctx: &Ctx) -> Tensor<2> {
        let outside = outside_of_largest(rows, self.k);
        let scores = rows.scores.clone().mask_fill(outside, f64::NEG_INFINITY);
        Softmax::default().composed(&Rows { scores, params: None, keep: rows.keep }, ctx)
    }

    fn entropy(&self, weights: Tensor<2>, _: &Rows<'_>) -> Option<Tensor<2>> {
        Some(composed::shannon(weights))
    }
}

/// Where an entry is not among the k largest: by sorting, with the rank of each entry counted from the sorted order.
fn outside_of_largest(rows: &Rows<'_>, k: usize) -> Tensor<2, Bool> {
    let [count, n] = rows.scores.dims();
    let removed = rows.removed();
    if k >= n {
        return removed;
    }
    let scores = composed::fill(rows.scores.clone().detach(), removed.clone(), f64::MIN);
    let kth = scores.clone().sort_descending(1).narrow(1, k - 1, 1).expand([count, n]);
    let above = scores.clone().greater(kth.clone());
    let ties = scores.equal(kth);
    // A tie is in while there is room, counted from the left.
    let room = above.clone().int().sum_dim(1).neg().add_scalar(k as i64).expand([count, n]);
    let first = ties.clone().int().cumsum(1).lower_equal(room);
    above.bool_or(ties.bool_and(first)).bool_not().bool_or(removed)
}

/// Up to here Ω is found by a sorted list, which most scores never enter; beyond, by partial selection.
const FEW: usize = 64;

/// Leaves in `y` the scores of Ω, and −∞ for the rest.
#[inline(always)]
fn select<T: Real>(x: &[T], k: usize, y: &mut [T]) {
    if k >= x.len() {
        y.copy_from_slice(x);
        return;
    }
    if k <= FEW {
        let mut best = Vec::with_capacity(k);
        largest(x, k, &mut best);
        y.fill(T::neg_infinity());
        best.iter().for_each(|&(score, place)| y[place] = score);
        return;
    }
    y.copy_from_slice(x);
    let descending = |a: &T, b: &T| b.partial_cmp(a).expect("rows reach a map without NaN");
    let (_, &mut kth, _) = y.select_nth_unstable_by(k - 1, descending);
    let [above, not_below] = lanes::lane_sums(x, |x| {
        [if x > kth { T::one() } else { T::zero() }, if x >= kth { T::one() } else { T::zero() }]
    });
    let outside = T::neg_infinity();
    if not_below == T::of(k as f64) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = if x >= kth { x } else { outside };
        }
        return;
    }
    let mut room = T::of(k as f64) - above;
    for (y, &x) in y.iter_mut().zip(x) {
        let tied = x == kth && room > T::zero();
        room = room - if tied { T::one() } else { T::zero() };
        *y = if tied || x > kth { x } else { outside };
    }
}

/// y = softmax over Ω;  dx = y (g − ⟨y, g⟩).
#[derive(Clone, Copy, Debug)]
pub struct SparseSoftmaxRow {
    k: usize,
}

impl RowMap for SparseSoftmaxRow {
    const AT_INFINITY: AtInfinity = AtInfinity::OneHot;

    #[inline(always)]
    fn forward<T: Real>(&self, x: &[T], _: &[T], y: &mut [T]) {
        select(x, self.k, y);
        // The largest score is always in Ω.
        let max = lanes::max(x);
        for y in y.iter_mut() {
            *y = (*y - max).exp_exact();
        }
        let scale = T::one() / lanes::lane_sum(y);
        for y in y.iter_mut() {
            *y = *y * scale;
        }
    }

    #[inline(always)]
    fn vjp<T: Real>(&self, row: VjpRow<'_, T>, dx: &mut [T], _: &mut [T]) {
        softmax_vjp(row.y, row.g, dx);
    }
}

/// The sparse-softmax loss. The target is not forced into Ω: outside it is pulled up with a gradient of −1.
/// ```text
/// L = ln Σ_{j∈Ω} exp x_j − x_y,   dx = g (y − e_y)
/// ```
/// It is the Fenchel-Young loss of the map: Ω holds the scores that make the sum largest.
#[derive(Clone, Copy, Debug)]
pub struct SparseSoftmaxLoss {
    k: usize,
    sum: SumOrder,
}

impl RowNll for SparseSoftmaxLoss {
    #[inline(always)]
    fn forward<P: Precision>(&self, row: NllRow<'_, P::T>, scratch: &mut [P::T]) -> (P::T, P::T) {
        let max = lanes::max(row.x);
        select(row.x, self.k, scratch);
        for exp in scratch.iter_mut() {
            *exp = P::round(P::round(*exp - max).exp_exact());
        }
        let sum = P::round(lanes::sum(scratch, self.sum));
        (P::round(P::round(sum.ln_exact()) - P::round(row.x[row.target] - max)), sum)
    }

    #[inline(always)]
    fn vjp<P: Precision>(&self, row: NllRow<'_, P::T>, back: NllBack<P::T>, dx: &mut [P::T], _: &mut [P::T]) {
        let max = lanes::max(row.x);
        select(row.x, self.k, dx);
        let scale = P::T::of(1.0) / back.row_sum;
        for dx in dx.iter_mut() {
            *dx = P::round(P::round(P::round(*dx - max).exp_exact()) * scale * back.g);
        }
        dx[row.target] = P::round(dx[row.target] - back.g);
    }
}
