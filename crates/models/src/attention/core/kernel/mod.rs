//! Attention by features.
use burn::{module::Module, tensor::Tensor};
use kiln_activations::{Ctx, Keep};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Around, Attend, CoreInit, CoreSetting, Form, Heads, Properties,
    padding::{seen, settled, zeroed},
};
use crate::{
    Invalid,
    attention::{
        State,
        denominator::{Denominator, DenominatorConfig, Parts},
        features::{Elu1Config, Features, FeaturesConfig, Role, Scaled},
        inside,
    },
};

mod state;
pub mod sums;
#[cfg(test)]
mod tests;

pub use state::KernelState;
pub(super) use state::select_rows;
use sums::{Sum, Terms};

/// Parameters of [`Kernel`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KernelConfig {
    /// The feature map.
    pub features: FeaturesConfig,
    /// What the weighted values are divided by.
    pub denominator: DenominatorConfig,
    /// In which order sums are computed.
    pub form: Form,
    /// Tokens per chunk of the chunked form.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub chunk: usize,
}

impl Default for KernelConfig {
    /// The linear transformer: elu(x) + 1 over its sum. Chunks of 64 tokens keep the products of pairs in the cache.
    fn default() -> Self {
        Self {
            features: FeaturesConfig::Elu1(Elu1Config::default()),
            denominator: DenominatorConfig::default(),
            form: Form::Auto,
            chunk: 64,
        }
    }
}

impl Entry for KernelConfig {
    const SUMMARY: &'static str = "products of features as weights, linear in the length";
    const PAPER: &'static str = "Katharopoulos et al. 2020, arXiv:2006.16236";
}

impl KernelConfig {
    /// The core.
    pub fn init(&self, place: &CoreInit<'_>) -> Kernel {
        let part = |init| CoreInit { init, ..*place };
        Kernel {
            features: self.features.init(&part(&place.init.child("features"))),
            denominator: self.denominator.init(&part(&place.init.child("denominator"))),
            form: self.form,
            chunk: self.chunk,
        }
    }
}

impl CoreSetting for KernelConfig {
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
        if self.denominator.laws().uses_sum && !self.features.laws().denominator {
            let message = format!(
                "sums of \"{}\" features have either sign, so \"{}\" would divide by what may be 0; choose \"none\", \
                 \"rms\", \"l2\" or \"gate\", or other features",
                self.features.name(),
                self.denominator.name()
            );
            return Err(Invalid::new("denominator", message));
        }
        Ok(())
    }
}

/// Kernel attention.
/// ```text
/// o_i = Σ_j w_ij v_j / D(…),   w_ij = φ(q_i)·φ(k_j),   over all keys, or j ≤ i
/// ```
/// Work grows with the length times the product of the widths of features and values. Under a rotation the weights of the
/// numerator are those of rotated features, which may be below 0; the denominator sums the unrotated ones.
///
/// # References
/// Katharopoulos et al. 2020, arXiv:2006.16236; rotation: Su et al. 2021, arXiv:2104.09864, section 3.3.
#[derive(Module, Debug)]
pub struct Kernel {
    /// The feature map φ.
    pub features: Features,
    /// The denominator D.
    pub denominator: Denominator,
    #[module(skip)]
    form: Form,
    chunk: usize,
}

/// Features of queries and keys, before and after the rotation.
struct Mapped {
    queries: Scaled,
    keys: Scaled,
    rotated: Option<[Tensor<4>; 2]>,
    values: Tensor<4>,
}

impl Kernel {
    fn mapped(&self, heads: Heads, around: &Around<'_>, ctx: &Ctx) -> Mapped {
        let scope = around.scope;
        let Heads { q, k, v } = settled(heads, scope);
        let ctx = ctx.child("features");
        let queries = self.features.apply(q, Role::Query, scope, &ctx);
        let keys = self.features.apply(k, Role::Key, scope, &ctx);
        let keys = Scaled {
            values: zeroed(keys.values, &scope.keys),
            log_scale: keys.log_scale.map(|log| match scope.keys.kept_heads() {
                None => log,
                Some(kept) => sums::hide(log, kept.bool_not()),
            }),
        };
        let rotated = around
            .rotation
            .map(|rotation| [rotation.queries(queries.values.clone()), rotation.keys(keys.values.clone())]);
        Mapped { queries, keys, rotated, values: v }
    }

    /// Sums over `w` of the products of features, in the scope's order.
    fn sum(&self, terms: Terms, factor: Option<&Tensor<4>>, causal: bool, state: Option<Sum>) -> (Scaled, Option<Sum>) {
        let [_, _, queries, f] = terms.a.dims();
        let [_, _, keys, e] = terms.w.dims();
        let (summed, state) = if causal {
            let chunk = self.form.chunk(self.chunk, queries, [f, e]);
            let (terms, state) = terms.last(queries, state);
            let (summed, state) = sums::causal(terms, state, chunk);
            (summed, Some(state))
        } else {
            (sums::full(terms, self.form.is_quadratic(keys, [f, e])), None)
        };
        // The query's own factor joins that of the keys.
        let log_scale = match (summed.log_scale, factor) {
            (Some(keys), Some(query)) => Some(keys + query.clone()),
            (keys, query) => keys.or(query.cloned()),
        };
        (Scaled { values: summed.values, log_scale }, state)
    }

    fn mix(&self, heads: Heads, state: KernelState, around: &Around<'_>, ctx: &Ctx) -> (Tensor<4>, KernelState) {
        let (scope, causal, dtype) = (around.scope, around.scope.is_causal(), heads.dtype());
        let Mapped { queries, keys, rotated, values } = self.mapped(heads, around, ctx);
        let laws = self.denominator.laws();
        let [rows, n_heads, length, d_value] = values.dims();
        let one = || Tensor::ones([rows, n_heads, length, 1], (&values.device(), values.dtype()));
        let terms = |[a, b]: [Tensor<4>; 2], w| Terms { a, b, w, log: keys.log_scale.clone() };
        let plain = [queries.values, keys.values];
        let factor = queries.log_scale.as_ref();

        let (numerator, sum, values_state, features_state) = match (laws.uses_sum, rotated) {
            (false, rotated) => {
                let (numerator, after) =
                    self.sum(terms(rotated.unwrap_or(plain), values.clone()), factor, causal, state.values);
                (numerator, None, after, None)
            }
            (true, None) => {
                let w = Tensor::cat(vec![values.clone(), one()], 3);
                let (both, after) = self.sum(terms(plain, w), factor, causal, state.values);
                let column = |start, width| Scaled {
                    values: both.values.clone().narrow(3, start, width),
                    log_scale: both.log_scale.clone(),
                };
                (column(0, d_value), Some(column(d_value, 1)), after, None)
            }
            (true, Some(rotated)) => {
                let (numerator, after) = self.sum(terms(rotated, values.clone()), factor, causal, state.values);
                let (sum, sum_after) = self.sum(terms(plain, one()), factor, causal, state.features);
                (numerator, Some(sum), after, sum_after)
            }
        };
        let count = seen(scope, state.count, values.dtype());
        let last = count.clone().narrow(2, count.dims()[2] - 1, 1);
        let parts = Parts::new(numerator, sum, Some(count.clamp_min(1.0)), around.x, laws);
        let mixed = self.denominator.divide(parts, &ctx.child("denominator")).cast(dtype);
        (mixed, KernelState { values: values_state, features: features_state, count: Some(last) })
    }

    /// What stands where other cores have weights: `[rows, n_heads, queries, keys]`.
    fn weights(&self, heads: Heads, around: &Around<'_>, ctx: &Ctx) -> Tensor<4> {
        let [_, _, keys, _] = heads.k.dims();
        let [rows, n_heads, _, _] = heads.q.dims();
        let each = Tensor::<2>::eye(keys, &heads.v.device()).cast(heads.dtype());
        let v = each.unsqueeze::<4>().expand([rows, n_heads, keys, keys]);
        self.mix(Heads { v, ..heads.repeated() }, KernelState::default(), around, ctx).0
    }
}

impl Attend for Kernel {
    fn forward(&self, heads: Heads, around: &Around<'_>, ctx: &Ctx) -> Tensor<4> {
        if self.denominator.laws().uses_sum {
            ctx.record("attention", &Keep::All, || self.weights(heads.clone(), around, ctx));
        }
        self.mix(heads, KernelState::default(), around, ctx).0
    }

    fn state(&self, _: usize, _: usize) -> State {
        State::Kernel(KernelState::default())
    }

    fn extend(&self, heads: Heads, state: State, around: &Around<'_>, ctx: &Ctx) -> (Tensor<4>, State) {
        let State::Kernel(state) = state else { panic!("kernel attention goes on from a kernel state") };
        let (mixed, state) = self.mix(heads, state, around, ctx);
        (mixed, State::Kernel(state))
    }
}
