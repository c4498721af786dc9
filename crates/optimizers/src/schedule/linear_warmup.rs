//! A linear rise, then the base learning rate.
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Schedule, warmup};

/// Factor `(t + 1)/steps` for `t < steps`, then 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LinearWarmupConfig {
    /// Updates until the base learning rate is reached, at least 1; required.
    #[serde(deserialize_with = "range::at_least_one_u64")]
    #[schemars(range(min = 1))]
    pub steps: u64,
}

impl Entry for LinearWarmupConfig {
    const SUMMARY: &'static str = "a linear rise over the first steps, then the base learning rate";
    const PAPER: &'static str = "Goyal et al. 2017, arXiv:1706.02677";
}

impl Schedule for LinearWarmupConfig {
    fn factor(&self, step: u64) -> f64 {
        warmup(step, self.steps)
    }
}
