//! Sigmoid attention.
use std::{num::NonZeroUsize, sync::Arc};

use burn::{
    module::{Module, Param},
    tensor::{Tensor, activation},
};
use kiln_registry::Entry;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Gradient, Heads, Laws, Normalize, Rows, composed};
use crate::{
    Ctx, Init,
    kernel::{Real, RowKernel, RowMap, VjpRow, lanes},
};

/// Parameters of [`Sigmoid`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SigmoidConfig {
    /// What is added to the scores: `"neg_log_n"`, `{ const = -10.0 }` or `{ learnable = -10.0 }`.
    pub bias: SigmoidBias,
    /// The logarithm t of what the scores are multiplied by. 0 as in the paper: the scores as they are.
    pub temp: f64,
    /// What n is in `"neg_log_n"`: `"row"` or `{ context = 1024 }`.
    pub n_mode: CountMode,
}

/// What [`Sigmoid`] adds to the scores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SigmoidBias {
    /// −ln n: with scores around 0 a row sums to about 1, as a softmax does.
    #[default]
    NegLogN,
    /// This number.
    Const(f64),
    /// A number per head, learned from this one.
    Learnable(f64),
}

/// What counts as the length n of a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CountMode {
    /// The number of its kept entries.
    #[default]
    Row,
    /// This number for every row, such as the context length of the training data (what the paper does).
    Context(NonZeroUsize),
}

impl Entry for SigmoidConfig {
    const SUMMARY: &'static str = "a logistic function of each score by itself, with a bias against the row's length";
    const PAPER: &'static str = "Ramapuram et al. 2024, Theory, Analysis, and Best Practices for Sigmoid Self-Attention, \
                                 arXiv:2409.04431";
}

impl SigmoidConfig {
    /// The map.
    pub fn init(&self, init: &Init) -> Sigmoid {
        let bias = match (self.bias, self.n_mode) {
            (SigmoidBias::NegLogN, CountMode::Row) => None,
            (SigmoidBias::NegLogN, CountMode::Context(n)) => Some(-(n.get() as f64).ln_exact()),
            (SigmoidBias::Const(bias) | SigmoidBias::Learnable(bias), _) => Some(bias),
        };
        let learned_bias = match self.bias {
            SigmoidBias::Learnable(start) => Some(init.constant([init.heads], start)),
            _ => None,
        };
        Sigmoid { scale: self.temp.exp_exact(), bias, learned_bias }
    }
}

/// Sigmoid attention: a logistic function of each score by itself; nothing competes.
/// ```text
/// y_i = σ(e^t x_i + b),   b = −ln n, a constant or learned
/// dx = e^t g y (1 − y),   db = Σ g y (1 − y)
/// ```
/// n is the number of kept entries, or a fixed context length. Without the bias a row sums to n/2 at the start of training,
/// which is what broke earlier sigmoid attention.
///
/// # Numerics
/// A score of +∞ makes its row NaN: it gets weight 1, but takes nothing from the others.
/// # References
/// Ramapuram et al. 2024, arXiv:2409.04431. They take n from the training context; here it is the row's own unless
/// `n_mode` says otherwise.
#[derive(Module, Debug)]
pub struct Sigmoid {
    /// e^t.
    #[module(skip)]
    pub scale: f64,
    /// The fixed bias, or where the learned one started; `None` is −ln n of the row.
    #[module(skip)]
    pub bias: Option<f64>,
    /// The bias, if learned: `[heads]`.
    pub learned_bias: Option<Param<Tensor<1>>>,
}

impl Normalize for Sigmoid {
    /// A row is all zeros once its scores are so negative that the exponentials overflow.
    fn laws(&self) -> Laws {
        Laws {
            sums_to_one: false,
            non_negative: true,
            removes_masked: true,
            shift_invariant: false,
            order_preserving: true,
            can_be_zero: false,
            row_can_be_zero: true,
            needs_n: self.bias.is_none(),
            stochastic: false,
            gradient: Gradient::Exact,
        }
    }

    fn kernel(&self, _: &Ctx) -> Arc<dyn RowKernel> {
        let Self { scale, bias, .. } = *self;
        match &self.learned_bias {
            None => Arc::new(SigmoidRow::<0> { scale, bias }),
            Some(_) => Arc::new(SigmoidRow::<1> { scale, bias }),
        }
    }

    fn row_params(&self, scores: &Tensor<2>, heads: Heads) -> Option<Tensor<2>> {
        self.learned_bias.as_ref().map(|bias| heads.column(bias.val(), scores))
    }

    fn composed(&self, rows: &Rows<'_>, _: &Ctx) -> Tensor<2> {
        let bias = match (&self.learned_bias, self.bias) {
            (Some(_), _) => rows.param(0),
            (None, Some(bias)) => rows.column(bias),
            (None, None) => rows.log_count().neg(),
        };
        let removed = rows.removed();
        let scores = composed::fill(rows.scores.clone(), removed.clone(), 0.0);
        composed::fill(activation::sigmoid(scores.mul_scalar(self.scale) + bias), removed, 0.0)
    }
}

/// y = 1 / (1 + exp(−(c x + b)));  dx = c g y (1 − y), db = Σ g y (1 − y).
///
/// P = 1 takes b from the row's parameter.
#[derive(Clone, Copy, Debug)]
pub struct SigmoidRow<const P: usize> {
    /// The scale c.
    pub scale: f64,
    /// The bias b, `None` for −ln n; not used for P = 1.
    pub bias: Option<f64>,
}

impl<const P: usize> RowMap for SigmoidRow<P> {
    const N_PARAMS: usize = P;

    #[inline(always)]
    fn forward<T: Real>(&self, x: &[T], params: &[T], y: &mut [T]) {
        let scale = T::of(self.scale);
        let bias = if P == 1 { params[0] } else { T::of(self.bias.unwrap_or(-(x.len() as f64).ln_exact())) };
        for (y, &x) in y.iter_mut().zip(x) {
            *y = T::one() / (T::one() + (-x.mul_add(scale, bias)).exp_exact());
        }
    }

    #[inline(always)]
    fn vjp<T: Real>(&self, row: VjpRow<'_, T>, dx: &mut [T], dparams: &mut [T]) {
        let scale = T::of(self.scale);
        for ((dx, &y), &g) in dx.iter_mut().zip(row.y).zip(row.g) {
            *dx = g * y * (T::one() - y);
        }
        if P == 1 {
            dparams[0] = lanes::lane_sum(dx);
        }
        for dx in dx.iter_mut() {
            *dx = *dx * scale;
        }
    }
}
