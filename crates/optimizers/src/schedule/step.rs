//! A staircase.
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Schedule;

/// Factor `factor^⌊t/every⌋`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StepConfig {
    /// Updates between two changes, at least 1; required.
    #[serde(deserialize_with = "range::at_least_one_u64")]
    #[schemars(range(min = 1))]
    pub every: u64,
    /// What each change multiplies the learning rate with, above 0; default 0.1.
    #[serde(default = "tenth", deserialize_with = "range::positive")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub factor: f64,
}

fn tenth() -> f64 {
    0.1
}

impl Entry for StepConfig {
    const SUMMARY: &'static str = "the learning rate times a factor after every so many steps";
}

impl Schedule for StepConfig {
    fn factor(&self, step: u64) -> f64 {
        self.factor.powf((step / self.every) as f64)
    }
}
