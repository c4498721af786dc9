//! Linear attention with weights that are centred instead of divided.
use burn::{
    module::Module,
    tensor::{Int, Tensor},
};
use kiln_activations::{Ctx, Keep};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Around, Attend, CoreInit, CoreSetting, Form, Heads, Properties,
    kernel::{
        select_rows,
        sums::{self, Sum, Terms},
    },
    padding::{seen, settled, zeroed},
};
use crate::{
    Invalid,
    attention::{
        State,
        features::{Features, FeaturesConfig, IdentityConfig, Role},
        inside,
        state::{Remember, tensor_bytes},
    },
};

#[cfg(test)]
mod tests;

/// Parameters of [`Centred`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CentredConfig {
    /// How the weights are centred.
    pub rule: Centring,
    /// The feature map.
    pub features: FeaturesConfig,
    /// The factor on the products of features; 1/√d_head if left out, and 1 for `mala_sums`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale: Option<f64>,
    /// What is added to the mean product that [`Centring::Mala`] divides by.
    #[serde(deserialize_with = "range::non_negative")]
    #[schemars(range(min = 0.0))]
    pub eps: f64,
    /// In which order sums are computed.
    pub form: Form,
    /// Tokens per chunk of the chunked form.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub chunk: usize,
}

impl Default for CentredConfig {
    /// InLine attention with the identity, as its authors' DeiT has it; the eps is that of MALA's authors.
    fn default() -> Self {
        Self {
            rule: Centring::Inline,
            features: FeaturesConfig::Identity(IdentityConfig::default()),
            scale: None,
            eps: 1e-6,
            form: Form::Auto,
            chunk: 64,
        }
    }
}

/// How the weights `w_ij` come from products `s_ij = scale · φ(q_i)·φ(k_j)` of n keys with mean `z_i`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Centring {
    /// `w = (1 + s − z) / n`. Han et al. 2024, arXiv:2412.06590.
    #[default]
    Inline,
    /// `w = ((1 + 1/z) s − z) / n`, as the authors' code has it. Fan et al. 2025, arXiv:2507.00698.
    Mala,
    /// `w = (1 + 1/nz) s − z`, as MALA's paper writes it: the centred part grows with n.
    MalaSums,
}

impl Entry for CentredConfig {
    const SUMMARY: &'static str = "linear attention whose weights sum to one by subtraction: InLine, MALA";
    const PAPER: &'static str = "Han et al. 2024, arXiv:2412.06590; Fan et al. 2025, arXiv:2507.00698";
}

impl CentredConfig {
    /// The core.
    pub fn init(&self, place: &CoreInit<'_>) -> Centred {
        let features = CoreInit { init: &place.init.child("features"), ..*place };
        let scale = match self.rule {
            Centring::Inline | Centring::Mala => (place.d_head as f64).powf(-0.5),
            Centring::MalaSums => 1.0,
        };
        Centred {
            features: self.features.init(&features),
            rule: self.rule,
            scale: self.scale.unwrap_or(scale),
            eps: self.eps,
            form: self.form,
            chunk: self.chunk,
        }
    }
}

impl CoreSetting for CentredConfig {
    fn properties(&self) -> Properties {
        let laws = self.features.laws();
        Properties {
            causal: laws.per_token,
            patterns: false,
            bias: false,
            rotation: self.features.width(1) == 1,
            exact_step: laws.exact_step,
            any_queries: true,
            products: false,
            normalizer: false,
        }
    }

    fn check(&self, _: usize, causal: bool) -> Result<(), Invalid> {
        self.features.check(causal).map_err(|invalid| inside("features", invalid))?;
        if self.rule != Centring::Inline && !self.features.laws().denominator {
            let message = format!(
                "the mean product of \"{}\" features may be 0, and MALA divides by it; choose \"elu1\", as its authors do, or \
                 rule = \"inline\"",
                self.features.name()
            );
            return Err(Invalid::new("features", message));
        }
        Ok(())
    }
}

/// Centred linear attention: `o_i = Σ_j w_ij v_j` with the weights of a [`Centring`], over all keys or j ≤ i.
///
/// Rows sum to one; weights may be below 0. Unlike weights that are divided by their sum they grow with φ(q), so that no
/// two queries collide. Under a rotation the products are those of rotated features, their mean that of unrotated ones.
///
/// MALA is plain linear attention plus InLine's centred products: `w = s / Σs + (s − z) / n`.
#[derive(Module, Debug)]
pub struct Centred {
    /// The feature map φ.
    pub features: Features,
    #[module(skip)]
    rule: Centring,
    scale: f64,
    eps: f64,
    #[module(skip)]
    form: Form,
    chunk: usize,
}

/// The sums of centred attention over the keys so far; its size does not grow.
#[derive(Clone, Debug, Default)]
pub struct CentredState {
    /// `Σ φ(k_j) v_jᵀ`, with rotated features under a rotation: `[rows, heads, f, d_value]`; `None` before the first token.
    pub products: Option<Sum>,
    /// `Σ φ(k_j)`: `[rows, heads, f, 1]`.
    pub features: Option<Sum>,
    /// `Σ v_jᵀ`: `[rows, heads, 1, d_value]`.
    pub values: Option<Tensor<4>>,
    /// n: `[rows or 1, 1, 1, 1]`.
    pub count: Option<Tensor<4>>,
}

impl Remember for CentredState {
    fn select(self, rows: &Tensor<1, Int>) -> Self {
        let select = |sum: Sum| sum.select(rows);
        Self {
            products: self.products.map(select),
            features: self.features.map(select),
            values: self.values.map(|values| values.select(0, rows.clone())),
            count: self.count.map(|count| select_rows(count, rows)),
        }
    }

    fn reset(self) -> Self {
        Self::default()
    }

    fn bytes(&self) -> usize {
        let sums = [&self.products, &self.features].into_iter().flatten().map(Sum::bytes).sum::<usize>();
        sums + [&self.values, &self.count].into_iter().flatten().map(tensor_bytes).sum::<usize>()
    }
}

impl Centred {
    fn mix(&self, heads: Heads, state: CentredState, around: &Around<'_>, ctx: &Ctx) -> (Tensor<4>, CentredState) {
        let (scope, causal, dtype) = (around.scope, around.scope.is_causal(), heads.dtype());
        let Heads { q, k, v } = settled(heads, scope);
        let ctx = ctx.child("features");
        let a = self.features.apply(q, Role::Query, scope, &ctx).unscaled().mul_scalar(self.scale);
        let b = zeroed(self.features.apply(k, Role::Key, scope, &ctx).unscaled(), &scope.keys);
        let [rows, n_heads, keys, e] = v.dims();
        let [_, _, queries, f] = a.dims();
        let one = Tensor::ones([rows, n_heads, keys, 1], (&v.device(), v.dtype()));
        let sum = |[a, b]: [Tensor<4>; 2], w: Tensor<4>, state| {
            let terms = Terms { a, b, w, log: None };
            if !causal {
                return (sums::full(terms, self.form.is_quadratic(keys, [f, e])).values, None);
            }
            let (terms, state) = terms.last(queries, state);
            let (summed, state) = sums::causal(terms, state, self.form.chunk(self.chunk, queries, [f, e]));
            (summed.values, Some(state))
        };
        let turned = match around.rotation {
            None => [a.clone(), b.clone()],
            Some(rotation) => [rotation.queries(a.clone()), rotation.keys(b.clone())],
        };
        let (products, products_after) = sum(turned, v.clone(), state.products);
        let (total, features_after) = sum([a, b], one, state.features);

        let values = if causal {
            let so_far = v.cumsum(2);
            let so_far = match state.values {
                None => so_far,
                Some(before) => so_far.clone() + before.expand(so_far.dims()),
            };
            so_far.narrow(2, keys - queries, queries)
        } else {
            v.sum_dim(2)
        };
        let seen = seen(scope, state.count, products.dtype());
        let state = CentredState {
            products: products_after,
            features: features_after,
            values: Some(last(&values)),
            count: Some(last(&seen)),
        };
        let mixed = self.centred(Sums { products, total, values, n: seen.clamp_min(1.0) });
        (mixed.cast(dtype), state)
    }

    /// The weighted values from their sums.
    fn centred(&self, sums: Sums) -> Tensor<4> {
        let Sums { products, total, values, n } = sums;
        let mean = total.clone() / n.clone(); // z
        match self.rule {
            Centring::Inline => (products + (mean.neg().add_scalar(1.0)) * values) / n,
            Centring::Mala => {
                let factor = mean.clone().add_scalar(self.eps).recip().add_scalar(1.0);
                (factor * products - mean * values) / n
            }
            Centring::MalaSums => {
                let factor = total.add_scalar(self.eps).recip().add_scalar(1.0);
                factor * products - mean * values
            }
        }
    }

    /// The weights themselves: `[rows, n_heads, queries, keys]`.
    fn weights(&self, heads: Heads, around: &Around<'_>, ctx: &Ctx) -> Tensor<4> {
        let [rows, n_heads, _, _] = heads.q.dims();
        let [_, _, keys, _] = heads.k.dims();
        let each = Tensor::<2>::eye(keys, &heads.v.device()).cast(heads.dtype());
        let v = each.unsqueeze::<4>().expand([rows, n_heads, keys, keys]);
        self.mix(Heads { v, ..heads.repeated() }, CentredState::default(), around, ctx).0
    }
}

/// What the weighted values are made of.
struct Sums {
    /// `Σ_j s_ij v_j`: `[rows, heads, queries, d_value]`.
    products: Tensor<4>,
    /// `Σ_j s_ij`: `[rows, heads, queries, 1]`.
    total: Tensor<4>,
    /// `Σ_j v_j`: `[rows, heads, queries or 1, d_value]`.
    values: Tensor<4>,
    /// Keys seen, at least 1: `[rows or 1, 1, queries, 1]`.
    n: Tensor<4>,
}

fn last(x: &Tensor<4>) -> Tensor<4> {
    let [_, _, length, _] = x.dims();
    x.clone().narrow(2, length - 1, 1)
}

impl Attend for Centred {
    fn forward(&self, heads: Heads, around: &Around<'_>, ctx: &Ctx) -> Tensor<4> {
        ctx.record("attention", &Keep::All, || self.weights(heads.clone(), around, ctx));
        self.mix(heads, CentredState::default(), around, ctx).0
    }

    fn state(&self, _: usize, _: usize) -> State {
        State::Centred(Box::default())
    }

    fn extend(&self, heads: Heads, state: State, around: &Around<'_>, ctx: &Ctx) -> (Tensor<4>, State) {
        let State::Centred(state) = state else { panic!("centred attention goes on from a centred state") };
        let (mixed, state) = self.mix(heads, *state, around, ctx);
        (mixed, State::Centred(Box::new(state)))
    }
}
