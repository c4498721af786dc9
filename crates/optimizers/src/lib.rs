//! What turns gradients into new weights: update rules, gradient transforms, learning-rate schedules.
//!
//! `[optim]` of a config names one [rule](RuleParams) and holds, flat in the same table, the rule's own keys
//! and the keys that every rule shares:
//!
//! ```toml
//! [optim]
//! name = "adamw"
//! lr = 3e-3
//! betas = [0.9, 0.99]
//! eps = 1e-25
//! weight_decay = 0.1
//! transforms = [{ name = "perp_grad" }]                  # in this order, before the rule
//! schedule = { name = "linear_warmup", steps = 10 }
//! state_dtype = "f32"                                    # default: each parameter's own
//! groups = [{ match = "bias$", weight_decay = 0.0 }]     # later groups win
//! ```
//!
//! [`OptimConfig::init`] makes the [`Chain`] that a training loop calls once per step: transforms, then
//! the rule, then the mask of frozen groups. Hyper-parameters are `f64` throughout; the state is kept,
//! saved and restored in its own dtype, so a resumed run continues with the same bits.
//!
//! `sgd`, `adam` and `adamw` are Kiln's own. The other rules are Burn's, wrapped: those keep their
//! hyper-parameters in `f32`.
#![forbid(unsafe_code)]

mod burn_rule;
mod chain;
mod group;
mod invalid;
mod params;
mod record;
mod rule;
mod schedule;
mod state_dtype;
mod transform;

pub use burn_rule::{
    AdafactorConfig, AdagradConfig, AdanConfig, AdjustLr, LambConfig, LionConfig, MuonConfig, RmspropConfig,
};
pub use chain::Chain;
pub use group::{GroupConfig, Pattern};
pub use invalid::Invalid;
pub use params::{RuleParams, Shared, SharedParams};
pub use record::StateError;
pub use rule::{
    Adam, AdamConfig, AdamOps, AdamState, AdamStep, Adamw, AdamwConfig, Moments, Rule, RuleOptimizer, Sgd, SgdConfig,
    SgdState, VZero,
};
pub use schedule::{
    ConstantConfig, CosineConfig, LinearConfig, LinearWarmupConfig, Schedule, ScheduleConfig, StepConfig,
};
pub use state_dtype::StateDtype;
pub use transform::{ClipNormConfig, Leaf, PerpGradConfig, Transform, TransformConfig};

use kiln_registry::registry;

registry! {
    /// An update rule with the keys that all of them share, by name.
    config OptimConfig("optimizer"): dyn RuleParams;
    "sgd" => Sgd(SgdConfig),
    "adam" => Adam(AdamConfig),
    "adamw" => Adamw(AdamwConfig),
    "adagrad" => Adagrad(AdagradConfig),
    "rmsprop" => Rmsprop(RmspropConfig),
    "lion" => Lion(LionConfig),
    "adan" => Adan(AdanConfig),
    "lamb" => Lamb(LambConfig),
    "adafactor" => Adafactor(AdafactorConfig),
    "muon" => Muon(MuonConfig),
}
