//! The algebraic softmax.
use std::sync::Arc;

use burn::{module::Module, tensor::Tensor};
use kiln_registry::Entry;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Laws, Normalize, Rows};
use crate::{
    Ctx, Init,
    kernel::{AtInfinity, Real, RowKernel, RowMap, VjpRow, lanes},
};

/// Parameters of [`Algebraic`]: none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AlgebraicConfig {}

impl Entry for AlgebraicConfig {
    const SUMMARY: &'static str = "x + √(x² + 1) over its sum: the softmax of arsinh x";
}

impl AlgebraicConfig {
    /// The map.
    pub fn init(&self, _: &Init) -> Algebraic {
        Algebraic
    }
}

/// The algebraic softmax: `y_i = f(x_i) / Σ_j f(x_j)`, `f(x) = x + √(x² + 1)`.
#[derive(Module, Debug)]
pub struct Algebraic;

impl Normalize for Algebraic {
    fn laws(&self) -> Laws {
        Laws { shift_invariant: false, ..Laws::SOFTMAX }
    }

    fn kernel(&self, _: &Ctx) -> Arc<dyn RowKernel> {
        Arc::new(AlgebraicRow)
    }

    fn composed(&self, rows: &Rows<'_>, _: &Ctx) -> Tensor<2> {
        // A removed score is −∞ or means nothing: 0 in its place keeps the root finite, and its weight is filled with 0.
        let (removed, x) = (rows.removed(), rows.scores.clone());
        let x = x.mask_fill(removed.clone(), 0.0);
        let root = x.clone().square().add_scalar(1.0).sqrt();
        let f = (x.clone().clamp_min(0.0) + root.clone()).mask_where(
            x.clone().lower_elem(0.0),
            (root - x.clamp_max(0.0)).recip(), // x + √(x² + 1) without cancellation
        );
        let f = f.mask_fill(removed, 0.0);
        let sum = f.clone().sum_dim(1);
        f / sum.clone().mask_fill(sum.equal_elem(0.0), 1.0)
    }
}

/// dx_i = y_i (g_i − ⟨y, g⟩) / √(x_i² + 1).
#[derive(Clone, Copy, Debug)]
pub struct AlgebraicRow;

impl RowMap for AlgebraicRow {
    const AT_INFINITY: AtInfinity = AtInfinity::OneHot;

    #[inline(always)]
    fn forward<T: Real>(&self, x: &[T], _: &[T], y: &mut [T]) {
        for (y, &x) in y.iter_mut().zip(x) {
            let size = x.abs() + (x * x + T::one()).sqrt();
            *y = if x < T::zero() { T::one() / size } else { size };
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
            *dx = y * (g - mean) / (x * x + T::one()).sqrt();
        }
    }
}
