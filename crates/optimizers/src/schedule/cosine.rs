//! Half a cosine wave down, after an optional warm-up.
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de::Error};

use super::{Schedule, check_warmup, warmup};
use crate::Invalid;

/// Factor `(t + 1)/warmup` while `t < warmup`, then
/// ```text
/// r + (1 − r) (1 + cos(π (t − warmup)/(steps − warmup)))/2
/// ```
/// with `r = min_ratio`: 1 at `t = warmup`, `r` from `t = steps` on. No restarts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CosineConfig {
    /// The step at which the lowest learning rate is reached, at least 1, warm-up included; required.
    #[serde(deserialize_with = "range::at_least_one_u64")]
    #[schemars(range(min = 1))]
    pub steps: u64,
    /// Updates of linear rise before the wave; default 0.
    #[serde(default)]
    pub warmup: u64,
    /// Lowest factor, in [0, 1]; default 0.
    #[serde(default, deserialize_with = "unit")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub min_ratio: f64,
}

fn unit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let value = f64::deserialize(deserializer)?;
    if (0.0..=1.0).contains(&value) {
        Ok(value)
    } else {
        Err(D::Error::custom(format!("{value} is out of range; expected a number in [0, 1]")))
    }
}

impl Entry for CosineConfig {
    const SUMMARY: &'static str = "half a cosine wave from the base learning rate down, after an optional warm-up";
    const PAPER: &'static str = "Loshchilov and Hutter 2017, arXiv:1608.03983";
}

impl Schedule for CosineConfig {
    fn factor(&self, step: u64) -> f64 {
        if step < self.warmup {
            return warmup(step, self.warmup);
        }
        if step >= self.steps {
            return self.min_ratio;
        }
        let progress = (step - self.warmup) as f64 / (self.steps - self.warmup) as f64;
        let wave = (1.0 + (std::f64::consts::PI * progress).cos()) / 2.0;
        self.min_ratio + (1.0 - self.min_ratio) * wave
    }

    fn check(&self) -> Result<(), Invalid> {
        check_warmup(self.warmup, self.steps)
    }
}
