//! Random features whose products are exponentials in the mean.
use burn::{module::Module, tensor::Tensor};
use kiln_activations::Ctx;
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FeatureLaws, FeatureMap, FeatureSetting, Projection, ProjectionConfig, Role, RowNorm, Scaled, half_scale};
use crate::{
    Invalid,
    attention::{Scope, core::CoreInit},
};

/// Parameters of [`Favor`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FavorConfig {
    /// Number of random directions.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub m: usize,
    /// Whether directions are orthogonal in blocks of d.
    pub orthogonal: bool,
    /// The length of an orthogonal direction.
    pub row_norm: RowNorm,
    /// Training steps after which the directions are drawn anew; 0 keeps the first ones.
    pub redraw: u64,
    /// Which function of a projection the features are.
    pub variant: FavorVariant,
    /// What keeps the exponentials in range, for the positive variant.
    pub stabilizer: Stabilizer,
    /// What is added to each stabilised feature of the positive variant.
    #[serde(deserialize_with = "range::non_negative")]
    #[schemars(range(min = 0.0))]
    pub eps: f64,
}

impl Default for FavorConfig {
    /// 256 orthogonal directions that stay and 1e-6, as the authors' code has them (which draws anew, however); stabilised per
    /// token, which no later key can move.
    fn default() -> Self {
        let ProjectionConfig { m, orthogonal, row_norm, redraw } = ProjectionConfig::default();
        let (variant, stabilizer) = (FavorVariant::Positive, Stabilizer::Token);
        Self { m, orthogonal, row_norm, redraw, variant, stabilizer, eps: 1e-6 }
    }
}

/// Which function of a projection the features are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FavorVariant {
    /// Exponentials: never below 0, with small errors where the weight is small.
    #[default]
    Positive,
    /// Sines and cosines: errors as large as `exp((|q|² + |k|²) / 2)`, sums of either sign.
    SineCosine,
}

/// What is subtracted in the exponent so that it stays in range; the denominator cancels it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stabilizer {
    /// Each token's own largest exponent.
    #[default]
    Token,
    /// For a query its largest projection, for a key that of all keys of its head, as the authors' code does. A key's
    /// features then depend on all keys, the later ones too.
    Global,
    /// Nothing: for queries and keys that are known to be small.
    None,
}

impl Entry for FavorConfig {
    const SUMMARY: &'static str = "random features of which products are exp(q·k/√d) in the mean (Performer)";
    const PAPER: &'static str = "Choromanski et al. 2020, arXiv:2009.14794";
}

impl FavorConfig {
    /// The map.
    pub fn init(&self, place: &CoreInit<'_>) -> Favor {
        let Self { m, orthogonal, row_norm, redraw, variant, stabilizer, eps } = self.clone();
        let projection = ProjectionConfig { m, orthogonal, row_norm, redraw };
        Favor { projection: projection.init(&place.init.child("projection"), place.d_head), variant, stabilizer, eps }
    }

    fn looks_at_all_keys(&self) -> bool {
        self.variant == FavorVariant::Positive && self.stabilizer == Stabilizer::Global
    }
}

impl FeatureSetting for FavorConfig {
    fn laws(&self) -> FeatureLaws {
        let per_token = !self.looks_at_all_keys();
        let exact_step = per_token && self.redraw == 0;
        let non_negative = self.variant == FavorVariant::Positive;
        FeatureLaws { non_negative, per_token, exact_step, ..FeatureLaws::POSITIVE }
    }

    fn width(&self, _: usize) -> usize {
        match self.variant {
            FavorVariant::Positive => self.m,
            FavorVariant::SineCosine => 2 * self.m,
        }
    }

    fn check(&self, causal: bool) -> Result<(), Invalid> {
        if causal && self.looks_at_all_keys() {
            let message = "\"global\" lets a query see later keys through their largest projection; choose \"token\" (or \
                           \"none\", where queries and keys are normalised)";
            return Err(Invalid::new("stabilizer", message.into()));
        }
        Ok(())
    }
}

/// Features of `x' = x / d^(1/4)` along random directions W (rows):
/// ```text
/// positive:     φ(x) = m^(−1/2) [exp(W x' − |x'|²/2 − c) + eps] · eᶜ
/// sine_cosine:  φ(x) = m^(−1/2) [sin(W x'), cos(W x')] · exp(|x'|²/2)
/// E φ(q)·φ(k) = exp(q·k / √d)         for eps = 0
/// ```
/// The relative variance of a product, for directions drawn independently, is `(exp(|q' + k'|²) − 1) / m` (positive) and
/// `exp(|q' − k'|²) (1 − exp(−|q' − k'|²))² / 2m` (sine_cosine): exponential in the norm, so queries and keys must be
/// small. No gradient passes c, which eps = 0 makes exact.
#[derive(Module, Debug)]
pub struct Favor {
    /// The directions.
    pub projection: Projection,
    #[module(skip)]
    variant: FavorVariant,
    #[module(skip)]
    stabilizer: Stabilizer,
    eps: f64,
}

impl FeatureMap for Favor {
    fn apply(&self, x: Tensor<4>, role: Role, scope: &Scope, ctx: &Ctx) -> Scaled {
        let scale = half_scale(&x);
        let x = x.mul_scalar(scale);
        let half_square = x.clone().square().sum_dim(3).mul_scalar(0.5);
        let projected = self.projection.project(x, &ctx.child("projection"));
        let [_, _, _, m] = projected.dims();
        let norm = (m as f64).powf(-0.5);
        match self.variant {
            FavorVariant::Positive => {
                let shift = self.shift(&projected, &half_square, role, scope);
                let exponent = projected - half_square;
                let features = match &shift {
                    None => exponent.exp(),
                    Some(shift) => (exponent - shift.clone()).exp(),
                };
                let values = features.add_scalar(self.eps).mul_scalar(norm);
                Scaled { values, log_scale: shift }
            }
            FavorVariant::SineCosine => {
                // The factor is 1 in value; its derivative is that of exp(|x'|²/2) over itself.
                let constant = half_square.clone().detach();
                let factor = (half_square - constant.clone()).exp().mul_scalar(norm);
                let waves = Tensor::cat(vec![projected.clone().sin(), projected.cos()], 3);
                Scaled::new(waves * factor, constant)
            }
        }
    }
}

impl Favor {
    /// What is subtracted from the exponents, `[rows, heads, length, 1]`.
    fn shift(&self, projected: &Tensor<4>, half_square: &Tensor<4>, role: Role, scope: &Scope) -> Option<Tensor<4>> {
        let largest = projected.clone().detach().max_dim(3);
        match (self.stabilizer, role) {
            (Stabilizer::None, _) => None,
            (Stabilizer::Token, _) => Some(largest - half_square.clone().detach()),
            (Stabilizer::Global, Role::Query) => Some(largest),
            (Stabilizer::Global, Role::Key) => {
                let dims = largest.dims();
                let largest = match role.side(scope).kept_heads() {
                    None => largest.max_dim(2),
                    Some(kept) => {
                        let seen = largest.mask_fill(kept.bool_not().expand(dims), f64::NEG_INFINITY).max_dim(2);
                        let none = seen.clone().equal_elem(f64::NEG_INFINITY);
                        seen.mask_fill(none, 0.0)
                    }
                };
                Some(largest.expand(dims))
            }
        }
    }
}
