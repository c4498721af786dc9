//! Softmax attention taken apart: any numerator over any denominator.
use burn::{
    module::Module,
    tensor::{Tensor, activation},
};
use kiln_activations::Ctx;
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Around, Attend, CoreInit, CoreSetting, Heads, Properties,
    padding::zeroed,
    scores::{products, turned, weighted, without_padding},
};
use crate::{
    attention::{
        KeyValue, Scope, State,
        denominator::{Denominator, DenominatorConfig, Parts, SumConfig},
        features::Scaled,
    },
    block::dropout,
};

/// Parameters of [`Ratio`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RatioConfig {
    /// The weight of a key before anything divides it, as a function of its score.
    pub numerator: Numerator,
    /// Terms of the series beyond 1, for `taylor`.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub order: usize,
    /// What the weighted values are divided by.
    pub denominator: DenominatorConfig,
}

impl Default for RatioConfig {
    /// Softmax attention.
    fn default() -> Self {
        Self { numerator: Numerator::Exp, order: 2, denominator: DenominatorConfig::Sum(SumConfig::default()) }
    }
}

/// The weight of a key before anything divides it, as a function of its score z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Numerator {
    /// `e^z`
    #[default]
    Exp,
    /// `Σ_{n ≤ order} zⁿ / n!`: the first terms of the recurrence that softmax attention is.
    Taylor,
    /// `max(z, 0)`
    Relu,
    /// `z + 1` above 0, `e^z` below.
    Elu1,
}

impl Entry for RatioConfig {
    const SUMMARY: &'static str = "weights from an exponential, its series or a rectifier, over any denominator";
    const PAPER: &'static str =
        "Mongaras and Larson 2025, On the Expressiveness of Softmax Attention, arXiv:2507.23632";
}

impl CoreSetting for RatioConfig {
    fn properties(&self) -> Properties {
        Properties {
            causal: true,
            patterns: true,
            bias: true,
            rotation: true,
            exact_step: true,
            any_queries: true,
            products: true,
            normalizer: false,
        }
    }
}

impl RatioConfig {
    /// The core.
    pub fn init(&self, place: &CoreInit<'_>) -> Ratio {
        let init = place.init.child("denominator");
        Ratio {
            denominator: self.denominator.init(&CoreInit { init: &init, ..*place }),
            numerator: self.numerator,
            order: self.order,
            dropout: place.dropout,
        }
    }
}

/// Attention as a quotient.
/// ```text
/// o_i = D(Σ_j f(z_ij) v_j,  Σ_j f(z_ij)),   z_ij = ⟨q_i, k_j⟩ + b_ij
/// ```
/// with the weight f and the denominator D. With the exponential and the sum this is softmax attention; with the
/// polynomial of order n it is what a recurrence over the first n tensor powers of the keys computes.
///
/// # Numerics
/// The exponential is shifted by its row's largest score where the denominator cancels the factor (`sum`, `rms`, `l2`, …);
/// elsewhere it overflows in f32 above z = 88, and `qk_norm` keeps scores small.
#[derive(Module, Debug)]
pub struct Ratio {
    /// What the weighted values are divided by.
    pub denominator: Denominator,
    #[module(skip)]
    numerator: Numerator,
    order: usize,
    dropout: f64,
}

impl Ratio {
    fn mix(&self, heads: Heads, scope: &Scope, around: &Around<'_>, ctx: &Ctx) -> Tensor<4> {
        let scores = products(&heads, scope, around.position);
        let dims = scores.dims();
        let hidden = scope.mask().map(|mask| mask.bool_not().expand(dims));
        ctx.record("scores", &scope.keep(dims), || scores.clone());
        // A hidden key's score may be anything, and its weight may not depend on it.
        let scores = match &hidden {
            Some(hidden) => scores.mask_fill(hidden.clone(), 0.0),
            None => scores,
        };
        let laws = self.denominator.laws();
        let (weights, shift) = self.weights(scores, &hidden, laws.scale_free);
        let weights = match &hidden {
            Some(hidden) => weights.mask_fill(hidden.clone(), 0.0),
            None => weights,
        };
        let scaled = |values: Tensor<4>| match &shift {
            Some(shift) => Scaled::new(values, shift.clone()),
            None => Scaled::plain(values),
        };
        let sum = laws.uses_sum.then(|| scaled(weights.clone().sum_dim(3)));
        let weights = dropout(weights, self.dropout, &ctx.child("dropout"));
        let count = scope.counts(&weights.device(), weights.dtype()).clamp_min(1.0);
        let numerator = scaled(weighted(weights, heads.v));
        let parts = Parts::new(numerator, sum, Some(count), around.x, laws);
        self.denominator.divide(parts, &ctx.child("denominator"))
    }

    /// f of the scores, and the logarithm of a factor of each row that was taken out.
    fn weights(
        &self,
        scores: Tensor<4>,
        hidden: &Option<Tensor<4, burn::tensor::Bool>>,
        shifted: bool,
    ) -> (Tensor<4>, Option<Tensor<4>>) {
        match self.numerator {
            Numerator::Exp if shifted => {
                let seen = match hidden {
                    Some(hidden) => scores.clone().mask_fill(hidden.clone(), f64::NEG_INFINITY),
                    None => scores.clone(),
                };
                // Not a constant: a denominator's eps keeps the factor from cancelling in full.
                let largest = seen.max_dim(3);
                let none = largest.clone().equal_elem(f64::NEG_INFINITY);
                let largest = largest.mask_fill(none, 0.0);
                ((scores - largest.clone()).clamp_max(0.0).exp(), Some(largest))
            }
            Numerator::Exp => (scores.exp(), None),
            Numerator::Taylor => {
                // Horner: 1 + z (1 + z/2 (1 + z/3 (…)))
                let one = scores.ones_like();
                let series = (1..=self.order)
                    .rev()
                    .fold(one, |inner, n| (inner * scores.clone()).mul_scalar(1.0 / n as f64).add_scalar(1.0));
                (series, None)
            }
            Numerator::Relu => (activation::relu(scores), None),
            Numerator::Elu1 => {
                let above = activation::relu(scores.clone());
                (scores.clamp_max(0.0).exp() + above, None)
            }
        }
    }
}

/// Turned heads with zeros in the place of padding, queries too: every score is computed.
fn clean(heads: Heads, around: &Around<'_>) -> Heads {
    let heads = without_padding(turned(heads, around), around);
    Heads { q: zeroed(heads.q, &around.scope.queries), ..heads }
}

impl Attend for Ratio {
    fn forward(&self, heads: Heads, around: &Around<'_>, ctx: &Ctx) -> Tensor<4> {
        self.mix(clean(heads, around), around.scope, around, ctx)
    }

    fn state(&self, _: usize, _: usize) -> State {
        State::KeyValue(KeyValue::default())
    }

    fn extend(&self, heads: Heads, state: State, around: &Around<'_>, ctx: &Ctx) -> (Tensor<4>, State) {
        let State::KeyValue(state) = state else { panic!("the state of another core") };
        let heads = clean(heads, around);
        let (k, v, scope, state) = state.extended(heads.k, heads.v, around.scope);
        let mixed = self.mix(Heads { q: heads.q, k, v }, &scope, around, ctx);
        (mixed, State::KeyValue(state))
    }
}
