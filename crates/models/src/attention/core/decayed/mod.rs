//! Linear attention that forgets.
use burn::{
    module::Module,
    tensor::{Int, Tensor},
};
use kiln_activations::Ctx;
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Around, Attend, CoreInit, CoreSetting, Form, Heads, Properties,
    padding::{accumulator, settled, zeroed},
};
use crate::{
    Invalid,
    attention::{
        State,
        denominator::{Denominator, DenominatorConfig, Parts, RmsConfig},
        features::{Features, FeaturesConfig, IdentityConfig, Role},
        inside,
        state::{Remember, tensor_bytes},
    },
};

mod decay;
pub mod sums;

#[cfg(test)]
mod tests;

pub use decay::{Decay, DecayConfig, Fade, Retention, RetentionConfig, Scalar, ScalarConfig, Vector, VectorConfig};
use sums::{Fading, Pairs, fading, safe_chunk};

/// Parameters of [`Decayed`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DecayedConfig {
    /// How fast keys fade.
    pub decay: DecayConfig,
    /// The feature map of queries and keys.
    pub features: FeaturesConfig,
    /// What the fading sum is divided by; one that needs no sum of weights.
    pub denominator: DenominatorConfig,
    /// The factor on queries; 1/√d_head if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale: Option<f64>,
    /// The least logarithm of a factor: what is below it fades as it says.
    #[schemars(range(max = 0.0))]
    pub min_log_decay: f64,
    /// In which order sums are computed.
    pub form: Form,
    /// Tokens per chunk of the chunked form; fewer are taken where `min_log_decay` would overflow.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub chunk: usize,
}

impl Default for DecayedConfig {
    /// Gated linear attention. −5 forgets all but 1/150 in one token.
    fn default() -> Self {
        Self {
            decay: DecayConfig::Vector(VectorConfig::default()),
            features: FeaturesConfig::Identity(IdentityConfig::default()),
            denominator: DenominatorConfig::Rms(RmsConfig::default()),
            scale: None,
            min_log_decay: -5.0,
            form: Form::Auto,
            chunk: 64,
        }
    }
}

impl Entry for DecayedConfig {
    const SUMMARY: &'static str = "linear attention whose state fades: gated linear attention, retention";
    const PAPER: &'static str = "Yang et al. 2023, arXiv:2312.06635";
}

impl DecayedConfig {
    /// The core.
    pub fn init(&self, place: &CoreInit<'_>) -> Decayed {
        let part = |init| CoreInit { init, ..*place };
        Decayed {
            decay: self.decay.init(&part(&place.init.child("decay"))),
            features: self.features.init(&part(&place.init.child("features"))),
            denominator: self.denominator.init(&part(&place.init.child("denominator"))),
            scale: self.scale.unwrap_or((place.d_head as f64).powf(-0.5)),
            min_log_decay: self.min_log_decay,
            form: self.form,
            chunk: self.chunk,
        }
    }
}

impl CoreSetting for DecayedConfig {
    fn properties(&self) -> Properties {
        let laws = self.features.laws();
        Properties {
            causal: true,
            patterns: false,
            bias: false,
            rotation: self.features.width(1) == 1,
            exact_step: laws.exact_step,
            any_queries: false,
            products: false,
            normalizer: false,
        }
    }

    fn check(&self, d_head: usize, causal: bool) -> Result<(), Invalid> {
        if !causal {
            let message = "a state that fades reads tokens in their order; it needs a causal pattern";
            return Err(Invalid::new("name", message.into()));
        }
        self.features.check(causal).map_err(|invalid| inside("features", invalid))?;
        let width = self.features.width(d_head);
        if matches!(self.decay, DecayConfig::Vector(_)) && width != d_head {
            let message = format!(
                "\"{}\" makes {width} features of {d_head} channels, but the decay has a factor per channel; choose decay = \
                 \"scalar\" or \"retention\", or features of the width of a head",
                self.features.name()
            );
            return Err(Invalid::new("features", message));
        }
        if self.denominator.laws().uses_sum {
            let message = format!(
                "\"{}\" divides by the sum of the weights, which a fading sum does not keep; choose \"rms\", \"l2\", \
                 \"gate\" or \"none\"",
                self.denominator.name()
            );
            return Err(Invalid::new("denominator", message));
        }
        if !(self.min_log_decay < 0.0 && self.min_log_decay.is_finite()) {
            let message = format!("{} is out of range; expected a number below 0", self.min_log_decay);
            return Err(Invalid::new("min_log_decay", message));
        }
        Ok(())
    }
}

/// Fading linear attention.
/// ```text
/// S_t = diag(α_t) S_{t−1} + φ(k_t) v_tᵀ,   o_t = scale · φ(q_t) S_t / D(…)
/// ```
/// The decay hits the state before the token, not the token itself.
///
/// # References
/// Yang et al. 2023, arXiv:2312.06635 (a factor per channel); Sun et al. 2023, arXiv:2307.08621 (a constant per head).
#[derive(Module, Debug)]
pub struct Decayed {
    /// α.
    pub decay: Decay,
    /// The feature map φ.
    pub features: Features,
    /// The denominator D.
    pub denominator: Denominator,
    scale: f64,
    min_log_decay: f64,
    #[module(skip)]
    form: Form,
    chunk: usize,
}

/// The state of fading attention: `[rows, heads, f, d_value]`; `None` before the first token.
#[derive(Clone, Debug, Default)]
pub struct DecayedState {
    /// S
    pub sum: Option<Tensor<4>>,
}

impl Remember for DecayedState {
    fn select(self, rows: &Tensor<1, Int>) -> Self {
        Self { sum: self.sum.map(|sum| sum.select(0, rows.clone())) }
    }

    fn reset(self) -> Self {
        Self::default()
    }

    fn bytes(&self) -> usize {
        self.sum.as_ref().map_or(0, tensor_bytes)
    }
}

impl Decayed {
    fn mix(&self, heads: Heads, state: DecayedState, around: &Around<'_>, ctx: &Ctx) -> (Tensor<4>, DecayedState) {
        let (scope, dtype) = (around.scope, heads.dtype());
        let Heads { q, k, v } = settled(heads, scope);
        let features = ctx.child("features");
        let mut q = self.features.apply(q, Role::Query, scope, &features).unscaled().mul_scalar(self.scale);
        let mut k = zeroed(self.features.apply(k, Role::Key, scope, &features).unscaled(), &scope.keys);
        if let Some(rotation) = around.rotation {
            (q, k) = (rotation.queries(q), rotation.keys(k));
        }
        let log_decay = self.decay.log_decay(around.x).cast(accumulator(dtype)).clamp_min(self.min_log_decay);
        let log_decay = match scope.keys.kept_heads() {
            None => log_decay,
            Some(kept) => {
                let [rows, _, length, _] = kept.dims();
                let [_, heads, _, channels] = log_decay.dims();
                let whole = [rows, heads, length, channels];
                log_decay.expand(whole).mask_fill(kept.bool_not().expand(whole), 0.0)
            }
        };
        let [_, _, length, f] = q.dims();
        let [_, _, _, e] = v.dims();
        let chunk = match self.form.chunk(self.chunk, length, [f, e]) {
            chunk if self.form == Form::Quadratic => chunk,
            chunk => safe_chunk(chunk, self.decay.largest().min(-self.min_log_decay)),
        };
        let pairs = if self.form == Form::Quadratic { Pairs::Exact } else { Pairs::Split };
        let (sum, after) = fading(Fading { q, k, v, log_decay }, state.sum, chunk, pairs);
        let parts = Parts { numerator: sum, sum: None, count: None, x: around.x };
        let mixed = self.denominator.divide(parts, &ctx.child("denominator")).cast(dtype);
        (mixed, DecayedState { sum: Some(after) })
    }
}

impl Attend for Decayed {
    fn forward(&self, heads: Heads, around: &Around<'_>, ctx: &Ctx) -> Tensor<4> {
        self.mix(heads, DecayedState::default(), around, ctx).0
    }

    fn state(&self, _: usize, _: usize) -> State {
        State::Decayed(DecayedState::default())
    }

    fn extend(&self, heads: Heads, state: State, around: &Around<'_>, ctx: &Ctx) -> (Tensor<4>, State) {
        let State::Decayed(state) = state else { panic!("fading attention goes on from a fading state") };
        let (mixed, state) = self.mix(heads, state, around, ctx);
        (mixed, State::Decayed(state))
    }
}
