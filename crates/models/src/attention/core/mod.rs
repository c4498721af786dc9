//! What an attention layer does with its queries, keys and values.
use std::fmt::Debug;

use burn::tensor::{DType, Tensor};
use kiln_activations::{Ctx, Init, normalizer::NormalizerConfig};
use kiln_registry::registry;

use super::{Scope, State};
use crate::{
    Invalid,
    position::{Positional, Rotation},
};

mod centred;
mod chunks;
mod decayed;
mod form;
mod gaussian;
mod kernel;
#[cfg(test)]
mod laws;
mod nystrom;
mod padding;
mod ratio;
mod scores;
#[cfg(test)]
mod testing;

pub use centred::{Centred, CentredConfig, CentredState, Centring};
pub use decayed::{
    Decay, DecayConfig, Decayed, DecayedConfig, DecayedState, Fade, Retention, RetentionConfig, Scalar, ScalarConfig,
    Vector, VectorConfig,
};
pub use form::Form;
pub use gaussian::{Gaussian, GaussianConfig, GaussianNormalize};
pub use kernel::{Kernel, KernelConfig, KernelState};
pub use nystrom::{
    Inverse, LandmarkSetting, Landmarks, LandmarksConfig, Nystrom, NystromConfig, Patches, PatchesConfig, Segments,
    SegmentsConfig, Summarise, Summary,
};
pub(super) use padding::zeroed;
pub use ratio::{Numerator, Ratio, RatioConfig};
pub use scores::{Scores, ScoresConfig};

registry! {
    /// A core of attention, by name.
    config CoreConfig("core"): dyn CoreSetting;
    module Core: dyn Attend, init(&CoreInit<'_>);
    "scores" => Scores(ScoresConfig),
    "kernel" => Kernel(KernelConfig),
    "decayed" => Decayed(DecayedConfig),
    "centred" => Centred(CentredConfig),
    "nystrom" => Nystrom(NystromConfig),
    "gaussian" => Gaussian(GaussianConfig),
    "ratio" => Ratio(RatioConfig),
}

impl Default for CoreConfig {
    /// Scores that a normalizer turns into weights.
    fn default() -> Self {
        Self::Scores(ScoresConfig::default())
    }
}

/// What a core is built for.
#[derive(Clone, Copy, Debug)]
pub struct CoreInit<'a> {
    /// Where parameters are made.
    pub init: &'a Init,
    /// Width of the layer's input.
    pub d_model: usize,
    /// Query heads.
    pub n_heads: usize,
    /// Width of a query or key of one head.
    pub d_head: usize,
    /// Width of a value of one head.
    pub d_value: usize,
    /// Tokens of the longest row.
    pub length: usize,
    /// The map of the `scores` core.
    pub normalizer: &'a NormalizerConfig,
    /// Dropout on the weights of the `scores` core.
    pub dropout: f64,
}

/// What a core can do; the config is checked against it before anything is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Properties {
    /// Whether it has a form in which no query sees a later key.
    pub causal: bool,
    /// Whether it takes patterns beyond full and causal: windows, prefixes, documents.
    pub patterns: bool,
    /// Whether it adds a bias to its scores, so that positions may act as one.
    pub bias: bool,
    /// Whether queries and keys, or their features, may be rotated.
    pub rotation: bool,
    /// Whether one token after the other gives exactly what all at once give.
    pub exact_step: bool,
    /// Whether it may be asked for some of the queries only.
    pub any_queries: bool,
    /// Whether it starts from products of queries and keys, so that the layer's scale acts on them.
    pub products: bool,
    /// Whether the normalizer of the config is used.
    pub normalizer: bool,
}

/// What the parameters of a core must answer before it is built.
pub trait CoreSetting {
    /// What the core can do.
    fn properties(&self) -> Properties;

    /// Whether the parameters fit each other and heads of this width; `causal` says whether the layer is.
    ///
    /// # Errors
    /// The first that does not; the key is relative to the core's own table.
    fn check(&self, d_head: usize, causal: bool) -> Result<(), Invalid> {
        let _ = (d_head, causal);
        Ok(())
    }
}

/// Queries, keys and values of every head.
#[derive(Clone, Debug)]
pub struct Heads {
    /// `[rows, n_heads, queries, d_head]`
    pub q: Tensor<4>,
    /// `[rows, kv_heads, keys, d_head]`; `kv_heads` divides `n_heads`
    pub k: Tensor<4>,
    /// `[rows, kv_heads, keys, d_value]`
    pub v: Tensor<4>,
}

impl Heads {
    /// The same with a key and value head for each query head: head h takes that of group `⌊h / (n_heads / kv_heads)⌋`.
    #[must_use]
    pub fn repeated(self) -> Self {
        let ([_, n_heads, _, _], [_, kv_heads, _, _]) = (self.q.dims(), self.k.dims());
        if n_heads == kv_heads {
            return self;
        }
        let repeat = |x: Tensor<4>| {
            let [rows, heads, length, width] = x.dims();
            let x = x.reshape([rows, heads, 1, length, width]);
            x.expand([rows, heads, n_heads / kv_heads, length, width]).reshape([rows, n_heads, length, width])
        };
        Self { q: self.q, k: repeat(self.k), v: repeat(self.v) }
    }

    /// The storage type.
    pub fn dtype(&self) -> DType {
        self.q.dtype()
    }
}

/// What surrounds the heads in one pass.
#[derive(Clone, Copy, Debug)]
pub struct Around<'a> {
    /// Which keys each query may see. In [`Attend::extend`] both sides are the new tokens.
    pub scope: &'a Scope,
    /// How queries and keys, or their features, are rotated.
    pub rotation: Option<&'a Rotation>,
    /// The layer's position scheme, which may add a bias to scores.
    pub position: &'a dyn Positional,
    /// The layer's input at the queries, `[rows, queries, d_model]`, for gates and decays.
    pub x: &'a Tensor<3>,
}

/// The contract of a core.
pub trait Attend: Debug {
    /// What every query gets: `[rows, n_heads, queries, d_value]`.
    ///
    /// A key that is hidden has weight and gradient 0, whatever it holds; a query that sees none gets zeros.
    fn forward(&self, heads: Heads, around: &Around<'_>, ctx: &Ctx) -> Tensor<4>;

    /// The state before the first token, for `rows` rows with `kv_heads` key heads.
    fn state(&self, rows: usize, kv_heads: usize) -> State;

    /// Goes on after `state` with new tokens, many or one: what their queries get, and the state after them.
    ///
    /// # Panics
    /// If the state is of another core.
    fn extend(&self, heads: Heads, state: State, around: &Around<'_>, ctx: &Ctx) -> (Tensor<4>, State);
}
