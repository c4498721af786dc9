//! Sums over keys of products of features.
//!
//! ```text
//! y_i = Σ_j (a_i·b_j) w_j e^(l_j)
//! ```
//! over all keys, or over j ≤ i. The causal sum is computed chunk by chunk: what came before a chunk enters through one
//! matrix `S = Σ b_j w_jᵀ`, what is in it through the products of its own pairs. A chunk as long as the sequence is the
//! quadratic form, one of a single token the recurrence; what autodiff keeps is a matrix per chunk, never one per token.
use burn::tensor::Tensor;

use crate::{
    attention::{core::chunks::Chunks, features::Scaled},
    kernel::scan,
};

/// A logarithm that stands for that of 0: finite, so that the difference of two is 0 and not NaN.
const NOTHING: f64 = -1e30;

/// What enters a sum.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Features of the queries: `[rows, heads, queries, f]`.
    pub a: Tensor<4>,
    /// Features of the keys, 0 at hidden ones: `[rows, heads, keys, f]`.
    pub b: Tensor<4>,
    /// What is summed, finite everywhere: `[rows, heads, keys, e]`.
    pub w: Tensor<4>,
    /// The logarithm l of a factor of each key, a constant for the backward pass: `[rows, heads, keys, 1]`.
    pub log: Option<Tensor<4>>,
}

/// The sum over the keys so far: `e^shift · total`.
#[derive(Clone, Debug)]
pub struct Sum {
    /// `[rows, heads, f, e]`
    pub total: Tensor<4>,
    /// The largest l so far, `[rows, heads, 1, 1]`, where keys have factors.
    pub shift: Option<Tensor<4>>,
}

impl Sum {
    /// The sum after further keys `b`, `w`, `log`; see [`Terms`].
    pub fn add(state: Option<Self>, b: Tensor<4>, w: Tensor<4>, log: Option<Tensor<4>>) -> Self {
        let Some(log) = log else {
            let added = b.swap_dims(2, 3).matmul(w);
            return Self { total: state.map_or(added.clone(), |state| state.total + added), shift: None };
        };
        let largest = log.clone().max_dim(2);
        let Some(Self { total, shift: Some(before) }) = state else {
            let b = b * (log - largest.clone()).exp();
            return Self { total: b.swap_dims(2, 3).matmul(w), shift: Some(largest) };
        };
        let shift = before.clone().max_pair(largest);
        let b = b * (log - shift.clone()).exp();
        let total = total * (before - shift.clone()).exp() + b.swap_dims(2, 3).matmul(w);
        Self { total, shift: Some(shift) }
    }

    /// What queries `a` get from the keys so far.
    pub fn read(&self, a: Tensor<4>) -> Scaled {
        let [rows, heads, queries, _] = a.dims();
        let log_scale = self.shift.clone().map(|shift| shift.expand([rows, heads, queries, 1]));
        Scaled { values: a.matmul(self.total.clone()), log_scale }
    }
}

/// The factors of hidden keys, set to 0; `hidden` is `[rows, 1, keys, 1]`.
pub fn hide(log: Tensor<4>, hidden: Tensor<4, burn::tensor::Bool>) -> Tensor<4> {
    let dims = log.dims();
    log.mask_fill(hidden.expand(dims), NOTHING)
}

impl Terms {
    /// The terms of the last `queries` keys alone, and what the keys before them add to `state`.
    pub fn last(self, queries: usize, state: Option<Sum>) -> (Self, Option<Sum>) {
        let [_, _, keys, _] = self.b.dims();
        if queries == keys {
            return (self, state);
        }
        let before = keys - queries;
        let part = |x: &Tensor<4>, start, length| x.clone().narrow(2, start, length);
        let log = |start, length| self.log.as_ref().map(|log| part(log, start, length));
        let state = Sum::add(state, part(&self.b, 0, before), part(&self.w, 0, before), log(0, before));
        let (b, w) = (part(&self.b, before, queries), part(&self.w, before, queries));
        (Self { log: log(before, queries), a: self.a, b, w }, Some(state))
    }
}

/// The sum over all keys, through the products of all pairs or through one matrix.
pub fn full(terms: Terms, quadratic: bool) -> Scaled {
    let Terms { a, b, w, log } = terms;
    if !quadratic {
        return Sum::add(None, b, w, log).read(a);
    }
    let [rows, heads, queries, _] = a.dims();
    let (b, log_scale) = match log {
        None => (b, None),
        Some(log) => {
            let largest = log.clone().max_dim(2);
            (b * (log - largest.clone()).exp(), Some(largest.expand([rows, heads, queries, 1])))
        }
    };
    Scaled { values: a.matmul(b.swap_dims(2, 3)).matmul(w), log_scale }
}

/// The sum over the keys before and at each query, after those in `state`, in chunks of `chunk` tokens; and the state after
/// them. Queries and keys are the same tokens.
///
/// # Panics
/// If there are no tokens or not as many queries as keys.
pub fn causal(terms: Terms, state: Option<Sum>, chunk: usize) -> (Scaled, Sum) {
    let Terms { a, b, w, log } = terms;
    let ([_, _, _, f], [_, _, _, e]) = (a.dims(), w.dims());
    let chunks = Chunks::of(&a, chunk);
    assert!(b.dims()[2] == chunks.length, "a causal sum has as many queries as keys");
    let (start, shift) = match state {
        Some(Sum { total, shift }) => (total.reshape([chunks.batch(), f, e]), shift),
        None => (Tensor::zeros([chunks.batch(), f, e], (&a.device(), a.dtype())), None),
    };
    let Some(log) = log else {
        let factors = Tensor::ones([chunks.batch(), chunks.count, 1], (&a.device(), a.dtype()));
        let (values, total) = chunks.summed(a, b, w, factors, start);
        return (Scaled::plain(values), Sum { total, shift: None });
    };

    let (a, b, w) = (chunks.split(a, 0.0), chunks.split(b, 0.0), chunks.split(w, 0.0));
    let pairs = a.clone().matmul(b.clone().swap_dims(2, 3));
    let log = chunks.split(log, NOTHING);
    let shift = match shift {
        Some(shift) => shift.reshape([chunks.batch(), 1, 1, 1]),
        None => Tensor::full([chunks.batch(), 1, 1, 1], NOTHING, (&a.device(), a.dtype())),
    };
    // The largest l so far: before each chunk, after it, and at each of its tokens.
    let ends = Tensor::cat(vec![shift, log.clone().max_dim(2)], 1).cummax(1);
    let (before, after) = (ends.clone().narrow(1, 0, chunks.count), ends.clone().narrow(1, 1, chunks.count));
    let so_far = log.clone().cummax(2);
    let so_far = so_far.clone().max_pair(before.clone().expand(so_far.dims()));

    // Later keys have no say, however large: their exponent is cut before it can overflow.
    let factor = (log.clone().swap_dims(2, 3) - so_far.clone()).clamp_max(0.0).exp();
    let own = lower(pairs * factor).matmul(w.clone());
    let added = (b * (log - after.clone()).exp()).swap_dims(2, 3).matmul(w);
    let (states, last) = chunks.carried(scan(added, (before.clone() - after).exp(), start));
    let values = own + a.matmul(states) * (before - so_far.clone()).exp();
    let shift = chunks.state(ends.narrow(1, chunks.count, 1));
    (
        Scaled { values: chunks.joined(values), log_scale: Some(chunks.joined(so_far)) },
        Sum { total: last, shift: Some(shift) },
    )
}

/// Pairs of which the key does not come after the query.
pub(in crate::attention) fn lower(pairs: Tensor<4>) -> Tensor<4> {
    if pairs.dims()[2] == 1 { pairs } else { pairs.tril(0) }
}
