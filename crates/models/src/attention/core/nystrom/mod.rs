//! Softmax-free attention through landmarks.
use burn::{module::Module, tensor::Tensor};
use kiln_activations::Ctx;
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Around, Attend, CoreInit, CoreSetting, Heads, Properties,
    gaussian::square_distances,
    padding::{settled, zeroed},
};
use crate::{
    Invalid,
    attention::{KeyValue, Scope, State, inside},
};

mod inverse;
mod landmarks;

#[cfg(test)]
mod tests;

pub use inverse::{Inverse, inverse};
pub use landmarks::{
    LandmarkSetting, Landmarks, LandmarksConfig, Patches, PatchesConfig, Segments, SegmentsConfig, Summarise, Summary,
};

/// Parameters of [`Nystrom`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NystromConfig {
    /// The landmarks.
    pub landmarks: LandmarksConfig,
    /// Whether the inverse is scaled by the landmarks' own sums on both sides, as in SOFT++.
    pub symmetric: bool,
    /// How the landmarks' matrix is inverted.
    pub inverse: Inverse,
    /// Steps of Newton's iteration.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub steps: usize,
}

impl Default for NystromConfig {
    /// SOFT with 20 steps, exact up to a condition number of about 100.
    fn default() -> Self {
        Self {
            landmarks: LandmarksConfig::Segments(SegmentsConfig::default()),
            symmetric: false,
            inverse: Inverse::Newton,
            steps: 20,
        }
    }
}

impl Entry for NystromConfig {
    const SUMMARY: &'static str = "Gaussian attention through a few landmarks, linear in the length: SOFT, SOFT++";
    const PAPER: &'static str = "Lu et al. 2021, arXiv:2110.11945";
}

impl NystromConfig {
    /// The core.
    pub fn init(&self, place: &CoreInit<'_>) -> Nystrom {
        let landmarks = CoreInit { init: &place.init.child("landmarks"), ..*place };
        Nystrom {
            landmarks: self.landmarks.init(&landmarks),
            symmetric: self.symmetric,
            inverse: self.inverse,
            steps: self.steps,
        }
    }
}

impl CoreSetting for NystromConfig {
    fn properties(&self) -> Properties {
        Properties {
            causal: false,
            patterns: false,
            bias: false,
            rotation: false,
            exact_step: false,
            any_queries: true,
            products: false,
            normalizer: false,
        }
    }

    fn check(&self, _: usize, _: bool) -> Result<(), Invalid> {
        self.landmarks.check().map_err(|invalid| inside("landmarks", invalid))
    }
}

/// Attention with a Gaussian kernel that is completed from landmarks l of the keys.
/// ```text
/// κ(x, y) = exp(−|x − y|² / 2√d);   O = κ(Q, l) M κ(l, K) V,   A = κ(l, l),   D = diag(A 1)
/// M = A⁻¹ (SOFT),   D^(−1/2) A⁻¹ D^(−1/2) (SOFT++)
/// ```
/// The kernel of a shared projection (Q = K) is symmetric, as the authors have it; with landmarks at all keys it is then
/// exact. There is no normalisation over the keys, and no causal form, since a landmark stands for tokens before and after.
///
/// # References
/// Lu et al. 2021, arXiv:2110.11945; SOFT++: Lu et al. 2022, arXiv:2207.03341.
#[derive(Module, Debug)]
pub struct Nystrom {
    /// The landmarks.
    pub landmarks: Landmarks,
    symmetric: bool,
    #[module(skip)]
    inverse: Inverse,
    steps: usize,
}

impl Nystrom {
    fn mix(&self, heads: Heads, scope: &Scope) -> Tensor<4> {
        let dtype = heads.dtype();
        let Heads { q, k, v } = settled(heads, scope);
        let [_, _, _, d] = q.dims();
        let scale = (d as f64).powf(-0.25);
        let (q, k) = (q.mul_scalar(scale), k.mul_scalar(scale));
        let summary = self.landmarks.summarise(&k, &scope.keys);
        self.through([q, k, v], summary, scope).cast(dtype)
    }

    /// Values mixed through landmarks; queries, keys and landmarks come scaled.
    fn through(&self, [q, k, v]: [Tensor<4>; 3], summary: Summary, scope: &Scope) -> Tensor<4> {
        let Summary { landmarks, used } = summary;
        let kernel = |x: Tensor<4>| square_distances(x, landmarks.clone()).mul_scalar(-0.5).exp();
        let unused = used.map(|used| used.bool_not());
        // Nothing goes through a landmark that stands for no token.
        let kept = |c: Tensor<4>| match &unused {
            None => c,
            Some(unused) => {
                let dims = c.dims();
                c.mask_fill(unused.clone().swap_dims(2, 3).expand(dims), 0.0)
            }
        };
        let from = kept(kernel(q)); // [rows, heads, queries, m]
        let to = zeroed(kept(kernel(k)), &scope.keys);
        let own = kernel(landmarks.clone());
        let own = match &unused {
            None => own,
            Some(unused) => {
                // A row and a column of the identity in its place.
                let ([_, _, m, _], dims) = (own.dims(), own.dims());
                let own = kept(own).mask_fill(unused.clone().expand(dims), 0.0);
                let eye = Tensor::<2>::eye(m, &own.device()).cast(own.dtype()).unsqueeze::<4>().expand(dims);
                let others = unused.clone().bool_not().expand(dims);
                own + eye.mask_fill(others, 0.0)
            }
        };
        let inverse = inverse(own.clone(), self.inverse, self.steps);
        let inverse = if self.symmetric {
            let root = own.sum_dim(3).sqrt();
            inverse / (root.clone() * root.swap_dims(2, 3))
        } else {
            inverse
        };
        from.matmul(inverse.matmul(to.swap_dims(2, 3).matmul(v)))
    }
}

impl Attend for Nystrom {
    fn forward(&self, heads: Heads, around: &Around<'_>, _: &Ctx) -> Tensor<4> {
        self.mix(heads, around.scope)
    }

    fn state(&self, _: usize, _: usize) -> State {
        State::KeyValue(KeyValue::default())
    }

    /// All keys so far, with landmarks drawn from them anew: not what the whole sequence at once gives.
    fn extend(&self, heads: Heads, state: State, around: &Around<'_>, _: &Ctx) -> (Tensor<4>, State) {
        let State::KeyValue(state) = state else { panic!("landmarks go on from keys and values") };
        let (k, v, scope, state) = state.extended(heads.k, heads.v, around.scope);
        (self.mix(Heads { q: heads.q, k, v }, &scope), State::KeyValue(state))
    }
}
