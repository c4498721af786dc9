//! The experiment config as it is written: sections, keys, defaults. No logic.
use std::path::PathBuf;

use kiln_activations::loss::LossConfig;
use kiln_datasets::DataConfig;
use kiln_models::ModelConfig;
use kiln_optimizers::OptimConfig;
use kiln_registry::range;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{measure::MeasureConfig, task::TaskConfig};

/// One experiment: everything that decides what is trained and what is recorded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Kiln experiment")]
pub struct Experiment {
    /// Seed, device, threads and place.
    #[serde(default)]
    pub run: RunConfig,
    /// What is learned.
    pub data: DataConfig,
    /// The network.
    pub model: ModelConfig,
    /// The training loss and its precision.
    pub loss: LossConfig,
    /// Optimizer, gradient transforms and schedule.
    pub optim: OptimConfig,
    /// How a step is made.
    #[serde(default)]
    pub task: TaskConfig,
    /// How long, in which batches, and what ends it early.
    pub train: TrainConfig,
    /// What is logged.
    #[serde(default)]
    pub eval: EvalConfig,
}

/// `[run]`: where and under which seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RunConfig {
    /// The seed of every draw: split, initial weights, order, dropout.
    pub seed: u64,
    /// `flex` (CPU), `ndarray`, `wgpu`, `vulkan`, `cuda` or `cuda:N`; those not compiled in are refused.
    pub device: String,
    /// Worker threads on the CPU; all cores if left out. Results do not depend on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub threads: Option<usize>,
    /// Threads that make batches ahead of their use; as many as the data set thinks good if left out, none for most.
    /// Results do not depend on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 64))]
    pub workers: Option<usize>,
    /// The folder that run folders are made in.
    pub dir: PathBuf,
}

impl Default for RunConfig {
    fn default() -> Self {
        Self { seed: 0, device: "flex".into(), threads: None, workers: None, dir: "runs".into() }
    }
}

/// `[train]`: length, batches, checkpoints, early ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Number of optimizer steps; give this or `epochs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub steps: Option<u64>,
    /// Number of passes over the training set; give this or `steps`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub epochs: Option<u64>,
    /// Rows per step; the whole training set if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub batch_size: Option<usize>,
    /// When states are saved; one is always saved at step 0, at the end and when the run is interrupted.
    #[serde(default)]
    pub checkpoint: CheckpointConfig,
    /// What ends the run before its last step.
    #[serde(default)]
    pub stop: StopConfig,
}

/// `[train.checkpoint]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CheckpointConfig {
    /// Steps between saved states.
    #[serde(deserialize_with = "range::at_least_one_u64")]
    #[schemars(range(min = 1))]
    pub every: u64,
    /// How many of the newest are kept.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub keep: usize,
}

impl Default for CheckpointConfig {
    /// 500 steps are some seconds of the small studies; 2, so that a damaged newest one has a predecessor.
    fn default() -> Self {
        Self { every: 500, keep: 2 }
    }
}

/// `[train.stop]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StopConfig {
    /// Seconds of training after which the run ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_s: Option<f64>,
    /// A metric that is good enough.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetConfig>,
    /// Whether a loss that is not a number ends the run as failed.
    pub nan: bool,
}

impl Default for StopConfig {
    fn default() -> Self {
        Self { time_s: None, target: None, nan: true }
    }
}

/// `[train.stop.target]`: ends the run at the first logged row at which the metric reaches the value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TargetConfig {
    /// A logged metric, such as `test_accuracy`.
    pub metric: String,
    /// Ends when the metric is at least this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above: Option<f64>,
    /// Ends when the metric is at most this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below: Option<f64>,
}

/// `[eval]`: how often and what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EvalConfig {
    /// Steps between logged rows; the first and the last step are always logged.
    #[serde(deserialize_with = "range::at_least_one_u64")]
    #[schemars(range(min = 1))]
    pub every: u64,
    /// Diagnostics beside losses and accuracies. They read a snapshot and never change the run.
    pub measures: Vec<MeasureConfig>,
}

impl Default for EvalConfig {
    fn default() -> Self {
        Self { every: 50, measures: Vec::new() }
    }
}
