//! The factor on the products of queries and keys.
use burn::{
    module::{Module, Param},
    tensor::Tensor,
};
use kiln_activations::Init;
use kiln_registry::range;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Scope;

/// Products are at most multiplied by this where queries and keys have length 1; beyond, softmax is one-hot anyway.
const LARGEST: f64 = 100.0;

/// A factor that grows with the logarithm of the number of keys.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LognConfig {
    /// Keys of a row in training: where the factor is 1.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 2))]
    pub n_train: usize,
    /// Whether rows shorter than that keep the factor 1.
    pub clamp: bool,
}

impl Default for LognConfig {
    fn default() -> Self {
        Self { n_train: 512, clamp: true }
    }
}

/// The factor on products of queries and keys, applied to the queries; a bias of the scores is not scaled.
/// ```text
/// c_ih = s_h · ln n_i / ln n_train
/// ```
/// with the fixed or learned scale s_h of the head and n_i keys that query i sees; the second factor only with
/// [`LognConfig`], and not below 1 if clamped.
///
/// # References
/// Learned scale: Henry et al. 2020, arXiv:2010.04245. Length: Su 2021, "Attention's scale operation from entropy
/// invariance"; Chiang and Cholak 2022, arXiv:2202.12172.
#[derive(Module, Debug)]
pub struct Scale {
    /// ln s_h, if learned: `[n_heads]`.
    pub log: Option<Param<Tensor<1>>>,
    fixed: f64,
    bounded: bool,
    #[module(skip)]
    logn: Option<LognConfig>,
}

impl Scale {
    /// The scale `fixed`, or one per head that starts there. `bounded` keeps a learned one at most 100.
    pub fn new(
        init: &Init,
        n_heads: usize,
        fixed: f64,
        learned: bool,
        bounded: bool,
        logn: Option<LognConfig>,
    ) -> Self {
        Self { log: learned.then(|| init.constant([n_heads], fixed.ln())), fixed, bounded, logn }
    }

    /// Queries `[rows, n_heads, queries, d_head]`, scaled.
    pub fn forward(&self, q: Tensor<4>, scope: &Scope) -> Tensor<4> {
        let q = match &self.log {
            // Heads that were just split lie side by side in each token: seen so, they are one block of memory, forwards and
            // backwards, which is passed ten times faster than by strides.
            None => q.swap_dims(1, 2).mul_scalar(self.fixed).swap_dims(1, 2),
            Some(log) => {
                let [heads] = log.dims();
                let log = if self.bounded { log.val().clamp_max(LARGEST.ln()) } else { log.val() };
                q * log.exp().reshape([1, heads, 1, 1])
            }
        };
        let Some(logn) = self.logn else { return q };
        let counts = scope.counts(&q.device(), q.dtype());
        let factor = counts.clamp_min(1.0).log().mul_scalar(1.0 / (logn.n_train as f64).ln());
        q * if logn.clamp { factor.clamp_min(1.0) } else { factor }
    }
}
