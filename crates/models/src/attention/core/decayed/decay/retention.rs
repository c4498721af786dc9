//! A constant decay per head.
use burn::{
    module::Module,
    tensor::{Tensor, TensorData},
};
use kiln_registry::Entry;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Fade;
use crate::attention::core::CoreInit;

/// Parameters of [`Retention`]: none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RetentionConfig {}

impl Entry for RetentionConfig {
    const SUMMARY: &'static str = "a constant per head, from 1 − 1/32 towards 1";
    const PAPER: &'static str = "Sun et al. 2023, arXiv:2307.08621";
}

impl RetentionConfig {
    /// The decay.
    pub fn init(&self, place: &CoreInit<'_>) -> Retention {
        Retention { n_heads: place.n_heads }
    }
}

/// `α = 1 − 2^(−5 − h)` in head h.
#[derive(Module, Debug)]
pub struct Retention {
    n_heads: usize,
}

impl Fade for Retention {
    fn log_decay(&self, x: &Tensor<3>) -> Tensor<4> {
        let [_, length, _] = x.dims();
        let logs: Vec<f64> = (0..self.n_heads).map(|h| (-(-5.0 - h as f64).exp2()).ln_1p()).collect();
        let logs = TensorData::new(logs, [1, self.n_heads, 1, 1]);
        Tensor::<4>::from_data(logs, (&x.device(), x.dtype())).expand([1, self.n_heads, length, 1])
    }

    fn largest(&self) -> f64 {
        -(-1.0 / 32.0f64).ln_1p()
    }
}
