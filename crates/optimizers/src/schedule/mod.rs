//! Learning-rate schedules: pure functions of the step, so there is no state to save.
use std::fmt::Debug;

use kiln_registry::registry;

use crate::Invalid;

mod constant;
mod cosine;
mod linear;
mod linear_warmup;
mod step;

pub use constant::ConstantConfig;
pub use cosine::CosineConfig;
pub use linear::LinearConfig;
pub use linear_warmup::LinearWarmupConfig;
pub use step::StepConfig;

registry! {
    /// A schedule of the learning rate, by name.
    config ScheduleConfig("schedule"): dyn Schedule;
    "constant" => Constant(ConstantConfig),
    "linear_warmup" => LinearWarmup(LinearWarmupConfig),
    "linear" => Linear(LinearConfig),
    "cosine" => Cosine(CosineConfig),
    "step" => Step(StepConfig),
}

impl Default for ScheduleConfig {
    fn default() -> Self {
        Self::Constant(ConstantConfig {})
    }
}

/// The contract of a schedule.
pub trait Schedule: Debug + Send + Sync {
    /// What to multiply the base learning rate with in the update from `w_step` to `w_{step+1}`; the first
    /// update of a run has step 0.
    fn factor(&self, step: u64) -> f64;

    /// Whether the keys go together.
    ///
    /// # Errors
    /// If two of them do not.
    fn check(&self) -> Result<(), Invalid> {
        Ok(())
    }
}

/// A linear rise that reaches 1 in the last of `steps` updates and is never 0: a first step of size 0 would
/// still move Adam's moments.
fn warmup(step: u64, steps: u64) -> f64 {
    if step >= steps { 1.0 } else { (step + 1) as f64 / steps as f64 }
}

/// Whether a schedule of `steps` updates goes on after its warm-up.
fn check_warmup(warmup: u64, steps: u64) -> Result<(), Invalid> {
    if warmup < steps {
        return Ok(());
    }
    let message = format!("warmup = {warmup} leaves nothing of steps = {steps}; make it smaller");
    Err(Invalid::new("warmup", message))
}
