//! Soft top-k.
use std::sync::Arc;

use burn::{
    module::Module,
    tensor::{Bool, Tensor},
};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Laws, Normalize, Rows, composed, series,
    threshold::{faint, soft_topk_shares, soft_topk_shift},
};
use crate::{
    Ctx, Init,
    kernel::{LossKernel, NllBack, NllRow, Precision, Real, RowKernel, RowMap, RowNll, VjpRow, lanes},
    loss::SumOrder,
};

/// Parameters of [`SoftTopk`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SoftTopkConfig {
    /// What the weights of a row sum to; a row of no more than k scores gets weight 1 everywhere.
    #[serde(deserialize_with = "range::positive")]
    pub k: f64,
    /// How sharp the step between in and out is, per unit of score.
    #[serde(deserialize_with = "range::positive")]
    pub alpha: f64,
}

impl Default for SoftTopkConfig {
    /// The operator of the authors' code; its loss uses alpha 2.
    fn default() -> Self {
        Self { k: 5.0, alpha: 1.0 }
    }
}

impl Entry for SoftTopkConfig {
    const SUMMARY: &'static str = "sigmoids with one shift per row, so that the weights sum to k";
    const PAPER: &'static str =
        "Gupta et al. 2024, Dual-Encoders for Extreme Multi-Label Classification, arXiv:2310.10636";
}

impl SoftTopkConfig {
    /// The map.
    pub fn init(&self, _: &Init) -> SoftTopk {
        SoftTopk { k: self.k, alpha: self.alpha }
    }
}

/// Soft top-k: a smooth membership in the k largest scores.
/// ```text
/// y_i = σ(α (x_i + t)),   Σ_i y_i = k
/// ```
/// # Numerics
/// t is found by Newton's method inside a bracket that always holds it. The backward pass differentiates the condition, not
/// the search.
/// # References
/// Gupta et al. 2024, arXiv:2310.10636. The authors bisect from `[−max − 10/α, −min + 10/α]`, which misses the root of very
/// long rows; the bracket here is `[−max, −min] + ln(k/(n − k))/α`.
#[derive(Module, Debug)]
pub struct SoftTopk {
    k: f64,
    alpha: f64,
}

impl Normalize for SoftTopk {
    fn laws(&self) -> Laws {
        Laws { sums_to_one: self.k == 1.0, needs_n: true, ..Laws::SOFTMAX }
    }

    fn kernel(&self, _: &Ctx) -> Arc<dyn RowKernel> {
        Arc::new(SoftTopkRow { k: self.k, alpha: self.alpha })
    }

    fn log_kernel(&self, _: &Ctx) -> Option<Arc<dyn RowKernel>> {
        Some(Arc::new(LogSoftTopkRow { k: self.k, alpha: self.alpha }))
    }

    fn nll(&self, _: SumOrder) -> Option<Arc<dyn LossKernel>> {
        Some(Arc::new(SoftTopkNll { k: self.k, alpha: self.alpha }))
    }

    fn composed(&self, rows: &Rows<'_>, ctx: &Ctx) -> Tensor<2> {
        let log = self.composed_log(rows, ctx).expect("the map has a log form");
        composed::fill(log.exp(), rows.removed(), 0.0)
    }

    fn composed_log(&self, rows: &Rows<'_>, _: &Ctx) -> Option<Tensor<2>> {
        let removed = rows.removed();
        let n = rows.count();
        let all = n.clone().lower_equal_elem(self.k);
        let scores = composed::fill(rows.scores.clone(), removed.clone(), 0.0);
        // Twice: the second time relative to the score nearest to the threshold, so that a threshold far from 0 does not cost
        // the scores around it their digits.
        let fixed = scores.clone().detach();
        let first = self.shift_by_bisection(&fixed, &removed, &n);
        let distance = (fixed.clone() + first).abs().mask_fill(removed.clone(), f64::MAX);
        let pivot = fixed.clone().gather(1, distance.argmin(1));
        let (fixed, scores) = (fixed - pivot.clone(), scores - pivot);
        let low = self.shift_by_bisection(&fixed, &removed, &n);
        // What is 0 in value carries the gradient of the implicit shift, −v_i / Σ v with v = σ (1 − σ), the largest v brought
        // to 1 first.
        let size = ((fixed + low.clone()) * self.alpha).abs();
        let least = size.clone().mask_fill(removed.clone(), f64::MAX).min_dim(1);
        let v = (least - size.clone()).clamp_max(0.0).exp() / (size.neg().exp() + 1.0).powi_scalar(2);
        let v = composed::fill(v, removed.clone(), 0.0);
        let moved = (scores.clone() * (v.clone() / composed::sum_or_one(v))).sum_dim(1);
        let shift = low - (moved.clone() - moved.detach());
        let z = (scores + shift) * self.alpha;
        let log = log_sigmoid_of(&z).mask_fill(all.expand(rows.scores.dims()), 0.0);
        Some(composed::fill(log, removed, f64::NEG_INFINITY))
    }
}

impl SoftTopk {
    /// The shift t of each row of these scores (`[rows, 1]`), n of which take part, by halving a bracket.
    fn shift_by_bisection(&self, scores: &Tensor<2>, removed: &Tensor<2, Bool>, n: &Tensor<2>) -> Tensor<2> {
        // The logit of k/n; a full row is settled elsewhere.
        let share = (n.clone() / self.k - 1.0).clamp_min(1e-30).log().neg() / self.alpha;
        let empty = n.clone().equal_elem(0.0);
        let max = scores.clone().mask_fill(removed.clone(), f64::MIN).max_dim(1);
        let min = scores.clone().mask_fill(removed.clone(), f64::MAX).min_dim(1);
        let (mut low, mut high) =
            ((share.clone() - max).mask_fill(empty.clone(), 0.0), (share - min).mask_fill(empty, 0.0));
        for _ in 0..80 {
            let middle = (low.clone() + high.clone()) * 0.5;
            let z = (scores.clone() + middle.clone()) * self.alpha;
            let over = z.clone().greater_equal_elem(0.0);
            // The sum less k: a whole number, and what each membership is away from 0 or 1 summed apart, the nearest one's
            // exponential taken out. Scores far from each other would make the sum k to the last bit at many shifts.
            let size = z.abs();
            let least = size.clone().mask_fill(removed.clone(), f64::MAX).min_dim(1);
            let tails = (least.clone() - size.clone()).clamp_max(0.0).exp() / (size.neg().exp() + 1.0);
            let tails = composed::fill(tails, removed.clone(), 0.0);
            let tails = tails.clone().mask_where(over.clone(), tails.neg()).sum_dim(1);
            let over = composed::fill(over.float().cast(tails.dtype()), removed.clone(), 0.0);
            let count = over.sum_dim(1) - self.k;
            let level = count.clone().equal_elem(0.0);
            let excess = (count + tails.clone() * least.neg().exp()).mask_where(level, tails);
            let too_high = excess.greater_equal_elem(0.0);
            high = high.mask_where(too_high.clone(), middle.clone());
            low = middle.mask_where(too_high, low);
        }
        low
    }
}

/// −softplus(−z): its gradient keeps all digits where the logistic is near 1, which that of the logistic itself does not.
fn log_sigmoid_of(z: &Tensor<2>) -> Tensor<2> {
    composed::softplus(z.clone().neg()).neg()
}

/// 1/(1 + e^−z).
#[inline(always)]
fn sigmoid<T: Real>(z: T) -> T {
    let small = (-z.abs()).exp_exact();
    let inverse = T::one() / (T::one() + small);
    if z >= T::zero() { inverse } else { small * inverse }
}

/// −ln(1 + e^−z).
#[inline(always)]
fn log_sigmoid<T: Real>(z: T) -> T {
    let below = if z < T::zero() { z } else { T::zero() };
    below - (-z.abs()).exp_exact().ln_1p_lane()
}

/// y = σ(α (x + t));  v = α y (1 − y),  dx = v g − v ⟨v, g⟩ / Σ v.
#[derive(Clone, Copy, Debug)]
pub struct SoftTopkRow {
    k: f64,
    alpha: f64,
}

impl RowMap for SoftTopkRow {
    #[inline(always)]
    fn forward<T: Real>(&self, x: &[T], _: &[T], y: &mut [T]) {
        let (k, alpha) = (T::of(self.k), T::of(self.alpha));
        if k >= T::of(x.len() as f64) {
            return y.fill(T::one());
        }
        let shift = soft_topk_shift(x, k, alpha);
        for (y, &x) in y.iter_mut().zip(x) {
            *y = sigmoid(shift.z(alpha, x));
        }
    }

    #[inline(always)]
    fn vjp<T: Real>(&self, row: VjpRow<'_, T>, dx: &mut [T], _: &mut [T]) {
        let one = T::one();
        if T::of(self.k) >= T::of(row.x.len() as f64) {
            return dx.fill(T::zero());
        }
        let [along, size] = lanes::lane_sums_of_pairs(row.y, row.g, |y, g| {
            let v = y * (one - y);
            [v * g, v]
        });
        let alpha = T::of(self.alpha);
        let mean = if size > faint() {
            along / size
        } else {
            soft_topk_shares(row.x, T::of(self.k), alpha, dx);
            lanes::lane_dot(dx, row.g)
        };
        for ((dx, &y), &g) in dx.iter_mut().zip(row.y).zip(row.g) {
            *dx = alpha * y * (one - y) * (g - mean);
        }
    }
}

/// y = −softplus(−α (x + t));  u = α (1 − σ) g,  dx = u − v Σ u / Σ v.
#[derive(Clone, Copy, Debug)]
pub struct LogSoftTopkRow {
    k: f64,
    alpha: f64,
}

impl RowMap for LogSoftTopkRow {
    const IS_LOG: bool = true;

    #[inline(always)]
    fn forward<T: Real>(&self, x: &[T], _: &[T], y: &mut [T]) {
        let (k, alpha) = (T::of(self.k), T::of(self.alpha));
        if k >= T::of(x.len() as f64) {
            return y.fill(T::zero());
        }
        let shift = soft_topk_shift(x, k, alpha);
        for (y, &x) in y.iter_mut().zip(x) {
            *y = log_sigmoid(shift.z(alpha, x));
        }
    }

    #[inline(always)]
    fn vjp<T: Real>(&self, row: VjpRow<'_, T>, dx: &mut [T], _: &mut [T]) {
        if T::of(self.k) >= T::of(row.x.len() as f64) {
            return dx.fill(T::zero());
        }
        let [pull, size] = lanes::lane_sums_of_pairs(row.y, row.g, |y, g| {
            let (p, rest) = membership(y);
            [rest * g, rest * p]
        });
        let alpha = T::of(self.alpha);
        if size > faint() {
            let mean = pull / size;
            for ((dx, &y), &g) in dx.iter_mut().zip(row.y).zip(row.g) {
                let (p, rest) = membership(y);
                *dx = alpha * rest * (g - p * mean);
            }
        } else {
            soft_topk_shares(row.x, T::of(self.k), alpha, dx);
            for ((dx, &y), &g) in dx.iter_mut().zip(row.y).zip(row.g) {
                *dx = alpha * (membership(y).1 * g - *dx * pull);
            }
        }
    }
}

/// p = e^y and 1 − p, each to its own last digit: one minus the other would lose what a membership near 0 or 1 still is.
#[inline(always)]
fn membership<T: Real>(y: T) -> (T, T) {
    let p = y.exp_exact();
    (p, -series::exp_m1(y, p))
}

/// The top-k loss of one class: minus the logarithm of its soft membership in the k largest.
#[derive(Clone, Copy, Debug)]
pub struct SoftTopkNll {
    k: f64,
    alpha: f64,
}

impl RowNll for SoftTopkNll {
    #[inline(always)]
    fn forward<P: Precision>(&self, row: NllRow<'_, P::T>, _: &mut [P::T]) -> (P::T, P::T) {
        let (k, alpha) = (P::T::of(self.k), P::T::of(self.alpha));
        if k >= P::T::of(row.x.len() as f64) {
            return (P::T::of(0.0), P::T::of(row.x.len() as f64));
        }
        let shift = soft_topk_shift(row.x, k, alpha);
        let log = log_sigmoid(P::round(shift.z(alpha, row.x[row.target])));
        (P::round(P::T::of(0.0) - log), k)
    }

    #[inline(always)]
    fn vjp<P: Precision>(&self, row: NllRow<'_, P::T>, back: NllBack<P::T>, dx: &mut [P::T], _: &mut [P::T]) {
        let (k, alpha) = (P::T::of(self.k), P::T::of(self.alpha));
        if k >= P::T::of(row.x.len() as f64) {
            return dx.fill(P::T::of(0.0));
        }
        let shift = soft_topk_shares(row.x, k, alpha, dx);
        let pull = alpha * back.g * sigmoid(-shift.z(alpha, row.x[row.target]));
        for dx in dx.iter_mut() {
            *dx = P::round(*dx * pull);
        }
        dx[row.target] = P::round(dx[row.target] - pull);
    }
}
