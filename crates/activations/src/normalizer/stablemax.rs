//! StableMax.
use std::sync::Arc;

use burn::{
    module::Module,
    tensor::{Int, Tensor},
};
use kiln_registry::Entry;
use num_traits::Float;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Laws, Normalize, Rows, composed};
use crate::{
    Ctx, Init,
    kernel::{AtInfinity, LossKernel, NllBack, NllRow, Precision, Real, RowKernel, RowMap, RowNll, VjpRow, lanes},
    loss::SumOrder,
};

/// Parameters of [`StableMax`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StableMaxConfig {
    /// How a loss computes −ln of a weight; weights do not depend on it.
    pub form: StableMaxForm,
}

/// How a loss computes −ln of a StableMax weight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StableMaxForm {
    /// `ln(1 + R)`, `R = Σ_{j≠y} s_j / s_y`: exact, and not 0 before R underflows.
    #[default]
    Log1p,
    /// `−ln(s_y / S)`, as in the paper's code: loses digits at large margins and rounds to 0 in the end.
    Ratio,
}

impl Entry for StableMaxConfig {
    const SUMMARY: &'static str = "a softmax that grows linearly instead of exponentially";
    const PAPER: &'static str = "Prieto et al. 2025, Grokking at the Edge of Numerical Stability, arXiv:2501.04697";
}

impl StableMaxConfig {
    /// The map.
    pub fn init(&self, _: &Init) -> StableMax {
        StableMax { form: self.form }
    }
}

/// StableMax: a softmax whose growth is linear instead of exponential, which keeps sums from absorbing small terms.
/// ```text
/// y_i = s(x_i) / Σ_j s(x_j),   s(x) = x + 1 if x ≥ 0, 1 / (1 − x) otherwise
/// ```
/// It is the softmax of sign(x) ln(1 + |x|). Not shift invariant, unlike softmax.
///
/// # Numerics
/// A score of +∞ takes all the weight; several share it evenly. That is the map's limit, although two large finite
/// scores share in proportion to their size.
/// # References
/// Prieto et al. 2025, arXiv:2501.04697. Their code adds an epsilon to 1 − x for the sake of autodiff at x = 1; the
/// hand-written gradient needs none.
#[derive(Module, Debug)]
pub struct StableMax {
    /// How a loss computes −ln of a weight.
    #[module(skip)]
    pub form: StableMaxForm,
}

impl Normalize for StableMax {
    fn laws(&self) -> Laws {
        Laws { shift_invariant: false, ..Laws::SOFTMAX }
    }

    fn kernel(&self, _: &Ctx) -> Arc<dyn RowKernel> {
        Arc::new(StableMaxRow)
    }

    fn log_kernel(&self, _: &Ctx) -> Option<Arc<dyn RowKernel>> {
        Some(Arc::new(LogStableMaxRow))
    }

    fn nll(&self, sum: SumOrder) -> Option<Arc<dyn LossKernel>> {
        Some(Arc::new(StableMaxNll { sum, form: self.form }))
    }

    fn composed(&self, rows: &Rows<'_>, _: &Ctx) -> Tensor<2> {
        let growth = composed_growth(rows);
        growth.clone() / composed::sum_or_one(growth)
    }

    fn composed_log(&self, rows: &Rows<'_>, _: &Ctx) -> Option<Tensor<2>> {
        let removed = rows.removed();
        let scores = composed::fill(rows.scores.clone(), removed.clone(), 0.0);
        // Two branches rather than a sign, which would have no gradient at 0.
        let below = composed::log_1p(scores.clone().clamp_max(0.0).neg()).neg();
        let above = composed::log_1p(scores.clone().clamp_min(0.0));
        let log = below.mask_where(scores.greater_equal_elem(0.0), above);
        let sum = composed::sum_or_one(composed::fill(log.clone().exp(), removed.clone(), 0.0));
        Some(composed::fill(log - sum.log(), removed, f64::NEG_INFINITY))
    }

    /// By the form of the loss: a difference of logarithms would collapse where `ln(1 + R)` does not.
    fn composed_nll(&self, rows: &Rows<'_>, classes: &Tensor<1, Int>, _: &Ctx) -> Option<Tensor<1>> {
        let growth = composed_growth(rows);
        let own = composed::at_class(growth.clone(), classes);
        let is_own = composed::is_class(classes, &growth);
        let rivals = composed::fill(growth, is_own, 0.0).sum_dim(1).squeeze_dim::<1>(1);
        Some(match self.form {
            StableMaxForm::Log1p => composed::log_1p(rivals / own),
            StableMaxForm::Ratio => (own.clone() / (rivals + own)).log().neg(),
        })
    }
}

/// s(x) with 0 at removed entries.
fn composed_growth(rows: &Rows<'_>) -> Tensor<2> {
    let (scores, removed) = (rows.scores.clone(), rows.removed());
    // The argument of the branch not taken is clamped: at x = 1 it would divide by 0.
    let below = scores.clone().clamp_max(0.0).neg().add_scalar(1.0).recip();
    let above = scores.clone().add_scalar(1.0);
    let growth = below.mask_where(scores.greater_equal_elem(0.0), above);
    composed::fill(growth, removed, 0.0)
}

/// s(x): one division whatever the sign.
#[inline(always)]
fn growth<T: Real>(x: T) -> T {
    let size = T::one() + x.abs();
    let inverse = T::one() / size;
    if x >= T::zero() { size } else { inverse }
}

/// s′(x) from x and s(x): 1, or s² below 0; both are s/(1 + |x|).
#[inline(always)]
fn slope<T: Real>(x: T, growth: T) -> T {
    let square = growth * growth;
    if x >= T::zero() { T::one() } else { square }
}

/// ln s(x) = sign(x) ln(1 + |x|).
#[inline(always)]
fn log_growth<T: Real>(x: T) -> T {
    x.abs().ln_1p_exact().copysign(x)
}

/// y = s(x) / S;  dx = y (g − ⟨y, g⟩) / (1 + |x|).
#[derive(Clone, Copy, Debug)]
pub struct StableMaxRow;

impl RowMap for StableMaxRow {
    const AT_INFINITY: AtInfinity = AtInfinity::OneHot;

    #[inline(always)]
    fn forward<T: Real>(&self, x: &[T], _: &[T], y: &mut [T]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = growth(x);
        }
        let scale = T::one() / lanes::lane_sum(y);
        for y in y.iter_mut() {
            *y = *y * scale;
        }
    }

    #[inline(always)]
    fn vjp<T: Real>(&self, row: VjpRow<'_, T>, dx: &mut [T], _: &mut [T]) {
        let mean = lanes::lane_dot(row.y, row.g);
        for (((dx, &x), &y), &g) in dx.iter_mut().zip(row.x).zip(row.y).zip(row.g) {
            *dx = y * (g - mean) / (T::one() + x.abs());
        }
    }

    #[cfg(feature = "cube")]
    fn cube(&self) -> Option<crate::kernel::cube::CubeMap> {
        Some(crate::kernel::cube::CubeMap::ratio::<StableMaxRow>())
    }
}

/// y = ln s(x) − ln S;  dx = (g − exp(y) Σ g) / (1 + |x|).
#[derive(Clone, Copy, Debug)]
pub struct LogStableMaxRow;

impl RowMap for LogStableMaxRow {
    const IS_LOG: bool = true;
    const AT_INFINITY: AtInfinity = AtInfinity::OneHot;

    #[inline(always)]
    fn forward<T: Real>(&self, x: &[T], _: &[T], y: &mut [T]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = growth(x);
        }
        let log_sum = lanes::lane_sum(y).ln_exact();
        for (y, &x) in y.iter_mut().zip(x) {
            *y = log_growth(x) - log_sum;
        }
    }

    #[inline(always)]
    fn vjp<T: Real>(&self, row: VjpRow<'_, T>, dx: &mut [T], _: &mut [T]) {
        let sum = lanes::lane_sum(row.g);
        for (((dx, &x), &y), &g) in dx.iter_mut().zip(row.x).zip(row.y).zip(row.g) {
            *dx = (g - y.exp_exact() * sum) / (T::one() + x.abs());
        }
    }

    #[cfg(feature = "cube")]
    fn cube(&self) -> Option<crate::kernel::cube::CubeMap> {
        Some(crate::kernel::cube::CubeMap::log_ratio::<StableMaxRow>())
    }
}

/// f = s(x).
#[cfg(feature = "cube")]
mod on_cube {
    use super::StableMaxRow;
    use crate::kernel::cube::{
        CubeRatio,
        cubecl::{self, prelude::*},
        log_1p,
    };

    #[cube]
    impl CubeRatio for StableMaxRow {
        const SHIFTED: bool = false;

        fn numerator<C: Float>(x: C, _shift: C, _params: &Sequence<C>) -> C {
            let size = C::new(1.0_f32) + x.abs();
            select(x >= C::new(0.0_f32), size, C::new(1.0_f32) / size)
        }

        fn log_numerator<C: Float>(x: C, _shift: C, _params: &Sequence<C>) -> C {
            let log = log_1p::<C>(x.abs());
            select(x >= C::new(0.0_f32), log, C::new(0.0_f32) - log)
        }

        fn slope<C: Float>(x: C, _params: &Sequence<C>) -> C {
            C::new(1.0_f32) / (C::new(1.0_f32) + x.abs())
        }

        fn param_slope<C: Float>(_x: C, _params: &Sequence<C>, #[comptime] _which: u32) -> C {
            C::new(0.0_f32)
        }
    }
}

/// The StableMax loss.
/// ```text
/// log1p:  loss = ln(1 + R),     dx_y = −g (S − s_y)/S / (1 + |x_y|)
/// ratio:  loss = −ln(s_y / S),  dx_y = g (s_y/S − 1) / (1 + |x_y|)
/// both:   dx_j = g s′(x_j) / S
/// ```
/// S − s_y is summed over the rivals, never subtracted, so the target's gradient stays above 0.
#[derive(Clone, Copy, Debug)]
pub struct StableMaxNll {
    /// The order of the sum.
    pub sum: SumOrder,
    /// The form of the logarithm.
    pub form: StableMaxForm,
}

/// The sums of one row.
struct Sums<T> {
    target: T,
    rivals: T,
    all: T,
}

impl StableMaxNll {
    /// The sums of s; `growths` is left with s and an unspecified target entry.
    #[inline(always)]
    fn sums<P: Precision>(&self, row: NllRow<'_, P::T>, growths: &mut [P::T]) -> Sums<P::T> {
        for (s, &x) in growths.iter_mut().zip(row.x) {
            *s = P::round(growth(x));
        }
        let target = growths[row.target];
        match self.form {
            StableMaxForm::Log1p => {
                growths[row.target] = P::T::of(0.0);
                let rivals = P::round(lanes::sum(growths, self.sum));
                Sums { target, rivals, all: P::round(rivals + target) }
            }
            StableMaxForm::Ratio => {
                let all = P::round(lanes::sum(growths, self.sum));
                Sums { target, rivals: all - target, all }
            }
        }
    }
}

impl RowNll for StableMaxNll {
    #[inline(always)]
    fn forward<P: Precision>(&self, row: NllRow<'_, P::T>, scratch: &mut [P::T]) -> (P::T, P::T) {
        let Sums { target, rivals, all } = self.sums::<P>(row, scratch);
        let loss = match self.form {
            StableMaxForm::Log1p => P::round(P::round(rivals / target).ln_1p_exact()),
            StableMaxForm::Ratio => P::T::of(0.0) - P::round(P::round(target / all).ln_exact()),
        };
        (loss, all)
    }

    #[inline(always)]
    fn vjp<P: Precision>(&self, row: NllRow<'_, P::T>, back: NllBack<P::T>, dx: &mut [P::T], _: &mut [P::T]) {
        let g = back.g;
        let Sums { target, rivals, all } = self.sums::<P>(row, dx);
        let scale = g / all;
        for (dx, &x) in dx.iter_mut().zip(row.x) {
            *dx = P::round(slope(x, *dx) * scale);
        }
        let size = P::T::of(1.0) + row.x[row.target].abs();
        dx[row.target] = P::round(match self.form {
            StableMaxForm::Log1p => -(rivals / all) * g / size,
            StableMaxForm::Ratio => (P::round(target / all) - P::T::of(1.0)) * g / size,
        });
    }
}
