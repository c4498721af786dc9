//! Softmax with a sink.
use std::sync::Arc;

use burn::{
    module::{Module, Param},
    tensor::Tensor,
};
use kiln_registry::Entry;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Heads, Laws, Normalize, Rows, composed};
use crate::{
    Ctx, Init,
    kernel::{AtInfinity, Real, RowKernel, RowMap, VjpRow, lanes},
};

/// Parameters of [`Softmax1`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Softmax1Config {
    /// The score b of the sink; where it starts if it is learned. 0 adds the 1 that gave the map its name.
    pub sink: f64,
    /// Whether the sink's score is learned, one per head.
    pub learn_sink: bool,
}

impl Entry for Softmax1Config {
    const SUMMARY: &'static str = "softmax with one more entry that takes weight and is dropped";
    const PAPER: &'static str = "Miller 2023, Attention Is Off By One, essay";
}

impl Softmax1Config {
    /// The map.
    pub fn init(&self, init: &Init) -> Softmax1 {
        Softmax1 { sink: self.sink, learned_sink: self.learn_sink.then(|| init.constant([init.heads], self.sink)) }
    }
}

/// Softmax with a sink, also known as quiet softmax: the softmax of the row and one more score b, whose weight is dropped.
/// ```text
/// y_i = exp(x_i − m) / (exp(b − m) + Σ_j exp(x_j − m)),   m = max(b, max_j x_j)
/// dx = y (g − ⟨y, g⟩),   db = −(1 − Σ y) ⟨y, g⟩
/// ```
/// A row sums to less than 1, and to almost nothing where every score is far below b: a head can be silent.
///
/// # Numerics
/// A score of +∞ takes all the weight; several share it evenly.
/// # References
/// Miller 2023, Attention Is Off By One (an essay).
#[derive(Module, Debug)]
pub struct Softmax1 {
    /// The fixed score of the sink, or where the learned one started.
    #[module(skip)]
    pub sink: f64,
    /// The score of the sink, if learned: `[heads]`.
    pub learned_sink: Option<Param<Tensor<1>>>,
}

impl Normalize for Softmax1 {
    /// A row is all zeros once its scores are so far below b that their exponentials underflow.
    fn laws(&self) -> Laws {
        Laws { sums_to_one: false, shift_invariant: false, row_can_be_zero: true, ..Laws::SOFTMAX }
    }

    fn kernel(&self, _: &Ctx) -> Arc<dyn RowKernel> {
        match &self.learned_sink {
            None => Arc::new(Softmax1Row::<0> { sink: self.sink }),
            Some(_) => Arc::new(Softmax1Row::<1> { sink: self.sink }),
        }
    }

    fn row_params(&self, scores: &Tensor<2>, heads: Heads) -> Option<Tensor<2>> {
        self.learned_sink.as_ref().map(|sink| heads.column(sink.val(), scores))
    }

    fn composed(&self, rows: &Rows<'_>, _: &Ctx) -> Tensor<2> {
        let (scores, removed) = (rows.scores.clone(), rows.removed());
        let sink = match &self.learned_sink {
            None => rows.column(self.sink),
            Some(_) => rows.param(0),
        };
        let max = composed::fill(scores.clone().detach(), removed.clone(), f64::MIN).max_dim(1);
        let max = max.max_pair(sink.clone().detach());
        let shifted = composed::fill(scores - max.clone(), removed.clone(), 0.0);
        let exp = composed::fill(shifted.exp(), removed, 0.0);
        let sum = exp.clone().sum_dim(1) + (sink - max).exp();
        exp / sum
    }
}

/// y = exp(x − m) / (exp(b − m) + Σ exp(x − m));  dx = y (g − ⟨y, g⟩), db = −(1 − Σ y) ⟨y, g⟩.
///
/// P = 1 takes b from the row's parameter.
#[derive(Clone, Copy, Debug)]
pub struct Softmax1Row<const P: usize> {
    /// The score of the sink; not used for P = 1.
    pub sink: f64,
}

impl<const P: usize> RowMap for Softmax1Row<P> {
    const N_PARAMS: usize = P;
    const AT_INFINITY: AtInfinity = AtInfinity::OneHot;

    #[inline(always)]
    fn forward<T: Real>(&self, x: &[T], params: &[T], y: &mut [T]) {
        let sink = if P == 1 { params[0] } else { T::of(self.sink) };
        let max = lanes::max(x).max(sink);
        for (y, &x) in y.iter_mut().zip(x) {
            *y = (x - max).exp_exact();
        }
        let inverse = T::one() / (lanes::lane_sum(y) + (sink - max).exp_exact());
        for y in y.iter_mut() {
            *y = *y * inverse;
        }
    }

    #[inline(always)]
    fn vjp<T: Real>(&self, row: VjpRow<'_, T>, dx: &mut [T], dparams: &mut [T]) {
        let mean = lanes::lane_dot(row.y, row.g);
        for ((dx, &y), &g) in dx.iter_mut().zip(row.y).zip(row.g) {
            *dx = y * (g - mean);
        }
        if P == 1 {
            // A small weight of the sink would drown in 1 − Σ y; its ratio to the largest weight does not.
            let sum = lanes::lane_sum(row.y);
            let sink = if sum < T::of(0.5) {
                T::one() - sum
            } else {
                lanes::max(row.y) * (row.params[0] - lanes::max(row.x)).exp_exact()
            };
            dparams[0] = -sink * mean;
        }
    }
}
