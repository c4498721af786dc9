//! Length-scaled softplus attention.
use std::{f64::consts::LN_2, sync::Arc};

use burn::{
    module::Module,
    tensor::{DType, Tensor},
};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de::Error};

use super::{
    Laws, Normalize, Rows, composed,
    series::{self, LN_COSH},
};
use crate::{
    Ctx, Init,
    kernel::{AtInfinity, Real, RowKernel, RowMap, VjpRow, lanes},
};

/// Parameters of [`Lssa`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LssaConfig {
    /// Width d of a head, for the factor `c = ln d · ln n`; 64, the usual one.
    #[serde(deserialize_with = "at_least_two")]
    #[schemars(range(min = 2))]
    pub d_head: usize,
    /// A constant factor of the scores instead.
    #[serde(deserialize_with = "range::positive_if_given")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub c: Option<f64>,
    /// Added to the sum that the weights are divided by. 0, so that they sum to 1; 1e-8 in published code.
    #[serde(deserialize_with = "range::non_negative")]
    #[schemars(range(min = 0))]
    pub eps: f64,
}

impl Default for LssaConfig {
    fn default() -> Self {
        Self { d_head: 64, c: None, eps: 0.0 }
    }
}

impl Entry for LssaConfig {
    const SUMMARY: &'static str = "softplus of scores scaled by the row's length, over the sum";
    const PAPER: &'static str = "Gao & Spratling 2025, Softplus Attention with Re-weighting Boosts Length Extrapolation \
                                 in Large Language Models, arXiv:2501.13428";
}

impl LssaConfig {
    /// The map.
    pub fn init(&self, _: &Init) -> Lssa {
        Lssa { growth: LengthScaledSoftplus { d_head: self.d_head, c: self.c, eps: self.eps } }
    }
}

/// A whole number of at least 2, so that its logarithm is not 0.
pub(super) fn at_least_two<'de, D: Deserializer<'de>>(d: D) -> Result<usize, D::Error> {
    match usize::deserialize(d)? {
        value @ (0 | 1) => {
            Err(D::Error::custom(format!("{value} is out of range; expected a whole number of at least 2")))
        }
        value => Ok(value),
    }
}

/// Length-scaled softplus attention: the first stage of softplus attention with re-weighting.
/// ```text
/// y_i = u_i / (Σ_j u_j + eps),   u = softplus(c x) = ln(1 + exp(c x)),   c = ln d · ln n
/// ```
/// n is the number of kept entries, d the width of a head. Scores are meant to be cosines of query and key, or
/// q·k/√d. Far below 0 it is the softmax of c x, far above it is linear in x.
///
/// # Numerics
/// Rows far below 0, whose softplus would underflow, are shifted first. A score of +∞ takes all the weight; several
/// share it evenly.
/// # References
/// Gao & Spratling 2025, arXiv:2501.13428. Published code has eps = 1e-8.
#[derive(Module, Debug)]
pub struct Lssa {
    /// What the weights are proportional to.
    #[module(skip)]
    pub growth: LengthScaledSoftplus,
}

impl Normalize for Lssa {
    fn laws(&self) -> Laws {
        let LengthScaledSoftplus { c, eps, .. } = self.growth;
        Laws {
            sums_to_one: eps == 0.0,
            shift_invariant: false,
            row_can_be_zero: eps > 0.0,
            needs_n: c.is_none(),
            ..Laws::SOFTMAX
        }
    }

    fn kernel(&self, _: &Ctx) -> Arc<dyn RowKernel> {
        Arc::new(LssaRow { growth: self.growth })
    }

    fn composed(&self, rows: &Rows<'_>, _: &Ctx) -> Tensor<2> {
        self.growth.composed_share(rows)
    }
}

/// u = softplus(c x) with c = ln d · ln n, or constant: the numerator of [`Lssa`].
#[derive(Clone, Copy, Debug)]
pub struct LengthScaledSoftplus {
    /// Width d of a head.
    pub d_head: usize,
    /// The factor, if it is constant.
    pub c: Option<f64>,
    /// What is added to the sum of u.
    pub eps: f64,
}

/// The u of one row, in units in which they do not underflow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scaled<T> {
    /// The factor c of the scores.
    c: T,
    /// The shift t of a row that lies far below 0, where u = exp(c x − t) stands for the softplus.
    far: Option<T>,
    /// eps in the same units as u.
    pub(super) eps: T,
}

/// u of the rows in tensor operations.
pub(super) struct ComposedGrowth {
    /// u (`[rows, n]`), 0 at removed entries.
    pub(super) u: Tensor<2>,
    /// u − base, which keeps its digits where u is all but the base; 0 at removed entries.
    pub(super) above: Tensor<2>,
    /// `[rows, 1]`
    pub(super) base: Tensor<2>,
    /// eps in the same units (`[rows, 1]`).
    pub(super) eps: Tensor<2>,
}

impl LengthScaledSoftplus {
    /// What u is for a row whose largest score is `max`.
    #[inline(always)]
    pub(super) fn scaled<T: Real>(&self, n: usize, max: T) -> Scaled<T> {
        let c = self.c.unwrap_or_else(|| (self.d_head as f64).ln_exact() * (n as f64).ln_exact());
        let c = T::of(c);
        let top = c * max;
        // Below the logarithm of the type's epsilon softplus(x) rounds to exp(x).
        let far = top < T::epsilon().ln_exact() - T::one();
        let unit = if far { (-top).exp_exact() } else { T::one() };
        // Not 0 · ∞.
        let eps = if self.eps > 0.0 { T::of(self.eps) * unit } else { T::zero() };
        Scaled { c, far: far.then_some(top), eps }
    }

    /// Weights by the first stage, in tensor operations.
    fn composed_share(&self, rows: &Rows<'_>) -> Tensor<2> {
        let ComposedGrowth { u, eps, .. } = self.composed(rows);
        u.clone() / (composed::sum_or_one(u) + eps)
    }

    /// u of a row in tensor operations, in units in which it does not underflow.
    pub(super) fn composed(&self, rows: &Rows<'_>) -> ComposedGrowth {
        let removed = rows.removed();
        let x = composed::fill(rows.scores.clone(), removed.clone(), 0.0);
        let x = match self.c {
            Some(c) => x * c,
            None => x * (rows.count().clamp_min(1.0).log() * (self.d_head as f64).ln_exact()),
        };
        let (softplus, above) = (composed::softplus(x.clone()), composed::softplus_above_ln_2(x.clone()));
        // Where softplus is exp to the last digit, a row is shifted, or all of it would underflow.
        let top = composed::fill(x.clone().detach(), removed.clone(), f64::MIN).max_dim(1);
        let far = top.clone().lower_elem(match x.dtype() {
            DType::F64 => -37.0,
            DType::F32 => -17.0,
            _ => -9.0,
        });
        let top = top.mask_fill(far.clone().bool_not(), 0.0);
        let (all, shifted) = (far.clone().expand(x.dims()), (x - top.clone()).clamp_max(0.0));
        let u = softplus.mask_where(all.clone(), shifted.clone().exp());
        let above = above.mask_where(all, composed::exp_m1(shifted));
        let base = top.full_like(LN_2).mask_fill(far, 1.0);
        let eps = if self.eps > 0.0 { top.neg().exp() * self.eps } else { top.zeros_like() };
        let [u, above] = [u, above].map(|u| composed::fill(u, removed.clone(), 0.0));
        ComposedGrowth { u, above, base, eps }
    }
}

impl<T: Real> Scaled<T> {
    /// u of one score.
    #[inline(always)]
    pub(super) fn u(self, x: T) -> T {
        let x = self.c * x;
        match self.far {
            Some(top) => (x - top).exp_exact(),
            None => (if x > T::zero() { x } else { T::zero() }) + (-x.abs()).exp_exact().ln_1p_lane(),
        }
    }

    /// [`Self::base`], and u minus it, which keeps its digits where u is all but the base.
    #[inline(always)]
    pub(super) fn above_base(self, x: T) -> T {
        let t = self.c * x;
        match self.far {
            Some(top) => {
                let t = t - top;
                series::exp_m1(t, t.exp_exact())
            }
            None => {
                // ln((1 + e^t)/2) = t/2 + ln cosh(t/2), the second by its series around 0.
                let (half, one) = (T::of(0.5) * t, T::one());
                let square = half * half;
                let mut series = T::of(LN_COSH[0]);
                let mut k = 1;
                while k < LN_COSH.len() {
                    series = series * square + T::of(LN_COSH[k]);
                    k += 1;
                }
                let near = half + square * series;
                if t.abs() <= one { near } else { self.u(x) - T::LN_2() }
            }
        }
    }

    /// What u is where it is least steep to subtract from: at a score of 0, or at the largest of a row far below 0.
    #[inline(always)]
    pub(super) fn base(self) -> T {
        if self.far.is_some() { T::one() } else { T::LN_2() }
    }

    /// du/dx of one score: c σ(c x).
    #[inline(always)]
    pub(super) fn slope(self, x: T) -> T {
        let x = self.c * x;
        let sigmoid = match self.far {
            Some(top) => (x - top).exp_exact(),
            None => {
                let small = (-x.abs()).exp_exact();
                (if x > T::zero() { T::one() } else { small }) / (T::one() + small)
            }
        };
        self.c * sigmoid
    }
}

/// y = u / (Σ u + eps);  dx = u′ (g − ⟨y, g⟩) / (Σ u + eps).
#[derive(Clone, Copy, Debug)]
pub struct LssaRow {
    /// u.
    pub growth: LengthScaledSoftplus,
}

impl RowMap for LssaRow {
    const AT_INFINITY: AtInfinity = AtInfinity::OneHot;

    #[inline(always)]
    fn forward<T: Real>(&self, x: &[T], _: &[T], y: &mut [T]) {
        let scaled = self.growth.scaled(x.len(), lanes::max(x));
        for (y, &x) in y.iter_mut().zip(x) {
            *y = scaled.u(x);
        }
        let share = T::one() / (lanes::lane_sum(y) + scaled.eps);
        for y in y.iter_mut() {
            *y = *y * share;
        }
    }

    #[inline(always)]
    fn vjp<T: Real>(&self, row: VjpRow<'_, T>, dx: &mut [T], _: &mut [T]) {
        let max = lanes::max(row.x);
        let scaled = self.growth.scaled(row.x.len(), max);
        // The sum need not be formed again: the largest weight is the largest u over it.
        let share = lanes::max(row.y) / scaled.u(max);
        let mean = lanes::lane_dot(row.y, row.g);
        for ((dx, &x), &g) in dx.iter_mut().zip(row.x).zip(row.g) {
            *dx = scaled.slope(x) * ((g - mean) * share);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{normalizer::SoftmaxRow, testing::assert_close};

    #[test]
    fn values_out_of_range_are_refused() {
        let refused = |text: &str| toml::from_str::<LssaConfig>(text).unwrap_err().to_string();
        for (text, want) in [
            ("d_head = 1", "1 is out of range; expected a whole number of at least 2"),
            ("c = 0.0", "0 is out of range; expected a number above 0"),
            ("eps = -1e-8", "expected a number of at least 0"),
        ] {
            assert!(refused(text).contains(want), "{text}: {}", refused(text));
        }
    }

    /// Softplus underflows here, its ratios do not: the row is the softmax of c x.
    #[test]
    fn far_below_0_it_is_softmax() {
        let growth = LengthScaledSoftplus { d_head: 64, c: Some(2.0), eps: 0.0 };
        let (mut y, mut want) = ([0.0; 3], [0.0; 3]);
        for shift in [-30.0, -300.0, -3000.0] {
            let x = [0.5, -0.3, 0.1].map(|x| x + shift);
            LssaRow { growth }.forward(&x, &[], &mut y);
            SoftmaxRow.forward(&x.map(|x| 2.0 * x), &[], &mut want);
            assert_close(&format!("at {shift}"), &y, &want, 1e-11, 0.0);
        }
    }
}
