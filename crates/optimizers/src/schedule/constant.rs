//! A learning rate that stays.
use kiln_registry::Entry;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Schedule;

/// No schedule: factor 1 at every step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConstantConfig {}

impl Entry for ConstantConfig {
    const SUMMARY: &'static str = "the base learning rate at every step";
}

impl Schedule for ConstantConfig {
    fn factor(&self, _step: u64) -> f64 {
        1.0
    }
}
