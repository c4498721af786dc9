//! A straight line down to 0, after an optional warm-up.
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Schedule, check_warmup, warmup};
use crate::Invalid;

/// Factor `(t + 1)/warmup` while `t < warmup`, then
/// ```text
/// 1 − (t − warmup)/(steps − warmup)
/// ```
/// which is 1 at `t = warmup` and 0 from `t = steps` on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LinearConfig {
    /// The step at which the learning rate is 0, at least 1, warm-up included; required.
    #[serde(deserialize_with = "range::at_least_one_u64")]
    #[schemars(range(min = 1))]
    pub steps: u64,
    /// Updates of linear rise before the line; default 0.
    #[serde(default)]
    pub warmup: u64,
}

impl Entry for LinearConfig {
    const SUMMARY: &'static str = "a straight line from the base learning rate to 0, after an optional warm-up";
    const PAPER: &'static str = "Devlin et al. 2018, arXiv:1810.04805";
}

impl Schedule for LinearConfig {
    fn factor(&self, step: u64) -> f64 {
        if step < self.warmup {
            return warmup(step, self.warmup);
        }
        if step >= self.steps {
            return 0.0;
        }
        1.0 - (step - self.warmup) as f64 / (self.steps - self.warmup) as f64
    }

    fn check(&self) -> Result<(), Invalid> {
        check_warmup(self.warmup, self.steps)
    }
}
