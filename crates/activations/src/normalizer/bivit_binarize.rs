//! Softmax with binary weights.
use std::sync::Arc;

use burn::{module::Module, tensor::Tensor};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Gradient, Laws, Normalize, Rows, Softmax,
    after_softmax::{composed_straight_through, straight_through},
    composed,
};
use crate::{
    Ctx, Init,
    kernel::{AtInfinity, Real, RowKernel, RowMap, VjpRow, lanes},
};

/// Parameters of [`BivitBinarize`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BivitBinarizeConfig {
    /// The threshold as a share of the row's largest weight, in (0, 1); 0.25, as in published code.
    #[serde(deserialize_with = "range::open_unit")]
    #[schemars(extend("exclusiveMinimum" = 0, "exclusiveMaximum" = 1))]
    pub lambda: f64,
    /// Where the gradient goes.
    pub ste: BinarizeGradient,
}

impl Default for BivitBinarizeConfig {
    fn default() -> Self {
        Self { lambda: 0.25, ste: BinarizeGradient::default() }
    }
}

/// Where the gradient of binary weights goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BinarizeGradient {
    /// Unchanged to the scores x with |x| < 1, as in published code.
    #[default]
    Scores,
    /// To the weights of softmax, and on to all scores by its derivative.
    Prob,
}

impl Entry for BivitBinarizeConfig {
    const SUMMARY: &'static str = "softmax with each weight rounded to 0 or one value per row";
    const PAPER: &'static str =
        "He et al. 2022, BiViT: Extremely Compressed Binary Vision Transformer, arXiv:2211.07091";
}

impl BivitBinarizeConfig {
    /// The map.
    pub fn init(&self, _: &Init) -> BivitBinarize {
        BivitBinarize { row: BinarizeRow { lambda: self.lambda, ste: self.ste } }
    }
}

/// Softmax-aware binarisation: weights of 0 or one value per row.
/// ```text
/// y = α b,   b_i = 1 where p_i ≥ λ max p, else 0,   α = ⟨p, b⟩ / Σ b,   p = softmax(x)
/// ```
/// α is the least-squares scale for the chosen entries; the largest weight is always among them. In the backward pass α
/// is constant and the step is passed straight through: see [`BinarizeGradient`].
///
/// # Numerics
/// The step compares exp(x − max x) with λ, so it does not depend on the sum. A score of +∞ takes all the weight; several
/// share it evenly.
/// # References
/// He et al. 2022, arXiv:2211.07091; threshold and gradient follow published code of binary vision transformers.
#[derive(Module, Debug)]
pub struct BivitBinarize {
    #[module(skip)]
    row: BinarizeRow,
}

impl Normalize for BivitBinarize {
    fn laws(&self) -> Laws {
        Laws { sums_to_one: false, can_be_zero: true, gradient: Gradient::StraightThrough, ..Laws::SOFTMAX }
    }

    fn kernel(&self, _: &Ctx) -> Arc<dyn RowKernel> {
        Arc::new(self.row)
    }

    fn composed(&self, rows: &Rows<'_>, ctx: &Ctx) -> Tensor<2> {
        let softmax = Softmax::default().composed(rows, ctx);
        let p = softmax.clone().detach();
        let small = p.clone().lower(p.clone().max_dim(1).expand(p.dims()) * self.row.lambda);
        let small = small.bool_or(rows.removed());
        let b = composed::fill(p.ones_like(), small, 0.0);
        let alpha = (p * b.clone()).sum_dim(1) / composed::sum_or_one(b.clone());
        let y = alpha * b;
        match self.row.ste {
            BinarizeGradient::Prob => composed_straight_through(softmax, y),
            BinarizeGradient::Scores => {
                let x = composed::fill(rows.scores.clone(), rows.removed(), 0.0);
                let far = x.clone().detach().abs().greater_equal_elem(1.0);
                composed_straight_through(composed::fill(x, far, 0.0), y)
            }
        }
    }
}

/// The row maths of [`BivitBinarize`].
#[derive(Clone, Copy, Debug)]
pub struct BinarizeRow {
    /// The threshold as a share of the largest weight.
    pub lambda: f64,
    /// Where the gradient goes.
    pub ste: BinarizeGradient,
}

impl RowMap for BinarizeRow {
    const AT_INFINITY: AtInfinity = AtInfinity::OneHot;

    #[inline(always)]
    fn forward<T: Real>(&self, x: &[T], _: &[T], y: &mut [T]) {
        let (max, lambda) = (lanes::max(x), T::of(self.lambda));
        for (y, &x) in y.iter_mut().zip(x) {
            *y = (x - max).exp_exact();
        }
        let large = |exp: T, value: T| if exp >= lambda { value } else { T::zero() };
        let chosen = lanes::lane_sum_of([y], |[exp]| large(exp, exp));
        let count = lanes::lane_sum_of([y], |[exp]| large(exp, T::one()));
        let alpha = chosen / (lanes::lane_sum(y) * count);
        for y in y.iter_mut() {
            *y = large(*y, alpha);
        }
    }

    #[inline(always)]
    fn vjp<T: Real>(&self, row: VjpRow<'_, T>, dx: &mut [T], _: &mut [T]) {
        match self.ste {
            BinarizeGradient::Prob => straight_through(row.x, row.g, dx),
            BinarizeGradient::Scores => {
                for ((dx, &x), &g) in dx.iter_mut().zip(row.x).zip(row.g) {
                    *dx = if x.abs() < T::one() { g } else { T::zero() };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        normalizer::{Heads, Keep},
        testing::{assert_close, device, normal, tensor, values},
    };
    use burn::tensor::DType;

    /// The relative error of rounding at ½ and of binarisation on rows of scores of variance 4, known from random rows.
    #[test]
    fn errors_on_random_rows() {
        for (n, want) in [(16, [0.789, 0.355]), (64, [0.902, 0.410]), (197, [0.955, 0.447])] {
            let x = tensor(&normal(n as u64, n * 1000, 2.0), n, DType::F64);
            let ctx = Ctx::eval(0, 0);
            let p = values(Softmax::default().rows(x.clone(), &Keep::All, Heads::ONE, &ctx));
            let map = BivitBinarizeConfig::default().init(&Init::new(0, &device(), DType::F64));
            let y = values(map.rows(x, &Keep::All, Heads::ONE, &ctx));
            let squares = p.iter().map(|p| p * p).sum::<f64>();
            let error = |y: Vec<f64>| (p.iter().zip(y).map(|(p, y)| (p - y).powi(2)).sum::<f64>() / squares).sqrt();
            let got = [error(p.iter().map(|p| p.round()).collect()), error(y)];
            assert_close(&format!("errors at n = {n}"), &got, &want, 0.05, 0.0);
        }
    }
}
