//! Rotary positions whose angles the tokens choose.
use burn::{
    module::{Module, Param},
    tensor::{DType, Tensor, TensorData, activation},
};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Angles, Place, PositionSetting, Positional, Rotation, Stage};
use crate::{
    Invalid,
    attention::Scope,
    block::{Draw, Linear},
    kernel::Epilogue,
};

/// Taps of the convolution over increments.
const TAPS: usize = 4;

/// Parameters of [`SelectiveRope`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SelectiveRopeConfig {
    /// Width between the two projections of the increments.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub rank: usize,
    /// Base of the pairs' factors.
    #[serde(deserialize_with = "range::positive")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub base: f64,
    /// The largest factor.
    #[serde(deserialize_with = "range::positive")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub tau: f64,
    /// Whether increments pass a causal convolution over the last 4 tokens.
    pub convolution: bool,
    /// Whether each head has a gate on its increments.
    pub gate: bool,
}

impl Default for SelectiveRopeConfig {
    /// The official code's, without its optional gate.
    fn default() -> Self {
        Self { rank: 16, base: 500_000.0, tau: 1.0, convolution: true, gate: false }
    }
}

impl Entry for SelectiveRopeConfig {
    const SUMMARY: &'static str = "queries and keys turned by angles that the tokens themselves add up";
    const PAPER: &'static str = "Movahedi et al. 2025, Selective Rotary Position Embedding, arXiv:2511.17388";
}

impl SelectiveRopeConfig {
    /// The scheme.
    pub fn init(&self, place: &Place<'_>) -> SelectiveRope {
        let (init, pairs) = (place.init, place.n_heads * place.d_head / 2);
        let linear = |name: &str, shape| Linear::new(&init.child(name), shape, false, Draw::Uniform);
        let gate = || Linear::new(&init.child("gate"), [place.d_model, place.n_heads], true, Draw::Uniform);
        SelectiveRope {
            down: linear("down", [place.d_model, self.rank]),
            up: linear("up", [self.rank, pairs]),
            taps: self.convolution.then(|| init.uniform("taps", [TAPS, pairs], 1.0 / (TAPS as f64).sqrt())),
            gate: self.gate.then(gate),
            base: self.base,
            tau: self.tau,
            n_heads: place.n_heads,
        }
    }
}

impl PositionSetting for SelectiveRopeConfig {
    fn stage(&self) -> Stage {
        Stage::Rotation
    }

    fn check(&self, _: usize, d_head: usize) -> Result<(), Invalid> {
        if d_head.is_multiple_of(2) {
            return Ok(());
        }
        let message = format!("channels turn in pairs, but a head has {d_head}; choose an even width");
        Err(Invalid::new("name", message))
    }
}

/// Rotary positions whose angles the tokens choose.
/// ```text
/// ω_t = conv(U₂ U₁ x_t / |x_t|)    or, with a gate, σ(w x_t + b) ω_t;      0 at padding
/// θ_t,c = τ base^(−2c/d) Σ_{u ≤ t} ω_u,c
/// ```
/// Pair c of the query and key at t turns by θ_t,c. With ω = 1 these are plain rotary positions. Where the network may look
/// ahead the sums run the same way. Sums are kept in f32 or wider.
#[derive(Module, Debug)]
pub struct SelectiveRope {
    /// U₁: `[d_model, rank]`
    pub down: Linear,
    /// U₂: `[rank, n_heads · d_head / 2]`
    pub up: Linear,
    /// One filter per pair, the last tap at the token itself: `[4, n_heads · d_head / 2]`.
    pub taps: Option<Param<Tensor<2>>>,
    /// `[d_model, n_heads]`
    pub gate: Option<Linear>,
    base: f64,
    tau: f64,
    n_heads: usize,
}

impl SelectiveRope {
    /// Increments before the convolution, `[rows, length, n_heads · pairs]`, 0 at padding.
    fn increments(&self, x: &Tensor<3>, scope: &Scope) -> Tensor<3> {
        let length = x.clone().square().sum_dim(2).clamp_min(1e-12).sqrt();
        let increments = self.up.forward(self.down.forward(x.clone() / length, Epilogue::None), Epilogue::None);
        match &scope.keys.kept {
            Some(kept) => {
                let [rows, length, width] = increments.dims();
                let hidden = kept.clone().bool_not().reshape([rows, length, 1]).expand([rows, length, width]);
                increments.mask_fill(hidden, 0.0)
            }
            None => increments,
        }
    }
}

impl Positional for SelectiveRope {
    fn rotation(&self, x: &Tensor<3>, scope: &Scope, past: Option<Angles>) -> (Option<Rotation>, Option<Angles>) {
        let increments = self.increments(x, scope);
        let [rows, length, width] = increments.dims();
        let pairs = width / self.n_heads;
        let device = x.device();
        let tail = match &past {
            Some(past) => past.tail.clone(),
            None => Tensor::zeros([rows, TAPS - 1, width], (&device, increments.dtype())),
        };
        let padded = Tensor::cat(vec![tail, increments.clone()], 1);
        let convolved = match &self.taps {
            Some(taps) => (0..TAPS)
                .map(|tap| {
                    let weight = taps.val().narrow(0, tap, 1).reshape([1, 1, width]);
                    padded.clone().narrow(1, tap, length) * weight
                })
                .reduce(|sum, term| sum + term)
                .expect("there are taps"),
            None => increments,
        };
        let omega = convolved.reshape([rows, length, self.n_heads, pairs]).swap_dims(1, 2);
        let omega = match &self.gate {
            Some(gate) => {
                let open = activation::sigmoid(gate.forward(x.clone(), Epilogue::None));
                omega * open.swap_dims(1, 2).reshape([rows, self.n_heads, length, 1])
            }
            None => omega,
        };
        // Padding stays without an increment, whatever the filter collected there.
        let omega = match scope.keys.kept_heads() {
            Some(kept) => omega.clone().mask_fill(kept.bool_not().expand(omega.dims()), 0.0),
            None => omega,
        };
        let wide = if x.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
        let sums = omega.cast(wide).cumsum(2);
        let sums = match past {
            Some(past) => sums + past.sums,
            None => sums,
        };
        let factors: Vec<f64> = (0..pairs).map(|c| self.tau * self.base.powf(-(c as f64) / pairs as f64)).collect();
        let factors = Tensor::from_data(TensorData::new(factors, [1, 1, 1, pairs]), (&device, wide));
        let angles = sums.clone() * factors;
        let [queries, _] = scope.lengths();
        let after = Angles { sums: sums.narrow(2, length - 1, 1), tail: padded.narrow(1, length, TAPS - 1) };
        let rotation = Rotation::Given { queries: angles.clone().narrow(2, length - queries, queries), keys: angles };
        (Some(rotation), Some(after))
    }
}
