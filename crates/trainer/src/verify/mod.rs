//! Promises held against the real thing: the same experiment run again, with other threads, or cut and resumed, ends with the
//! same bits.
//!
//! Every run is a process of its own, since the worker pool of a process has one size, in a folder that is gone afterwards.
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, anyhow, bail};
use serde::Serialize;

use crate::{
    Result, atomic,
    config::{
        self, Loaded,
        schema::{Experiment, StopConfig},
    },
    error::Sort,
    run::{self, RunFolder},
};

mod compare;

pub use compare::{Difference, runs as compare};

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// The config.
    pub config: String,
    /// `determinism` or `resume`.
    pub promise: &'static str,
    /// Whether it is kept; none if the config was skipped.
    pub holds: Option<bool>,
    /// What was compared with what, or why it was skipped.
    pub about: String,
    /// Steps of each run.
    pub steps: u64,
    /// Where the runs differ.
    pub differences: Vec<Difference>,
}

/// An experiment of few steps.
struct Trial<'a> {
    loaded: &'a Loaded,
    experiment: Experiment,
    steps: u64,
    scratch: tempfile::TempDir,
}

/// Runs once for each number of threads and compares all with the first.
///
/// # Errors
/// If the config does not fit, or a run fails.
pub fn determinism(loaded: &Loaded, steps: u64, threads: &[usize]) -> Result<Finding> {
    let trial = Trial::new(loaded, steps)?;
    let mut runs = Vec::new();
    for (i, &threads) in threads.iter().enumerate() {
        let config = trial.write(&format!("run{i}"), Some(threads)).failed()?;
        runs.push((threads, trial.train(&config, None)?));
    }
    let mut differences = Vec::new();
    if let Some(((_, first), others)) = runs.split_first() {
        for (i, (threads, other)) in others.iter().enumerate() {
            let name = format!("run {} with {threads} threads", i + 2);
            differences.extend(compare::runs(first, other, &name).failed()?);
        }
    }
    let listed: Vec<String> = threads.iter().map(usize::to_string).collect();
    let about = format!("{} runs, with {} threads", threads.len(), listed.join(", "));
    Ok(trial.finding("determinism", about, differences))
}

/// Runs once to the end, once to the middle and on from there, and compares.
///
/// # Errors
/// If the config does not fit, or a run fails.
pub fn resume(loaded: &Loaded, steps: u64) -> Result<Finding> {
    let mut trial = Trial::new(loaded, steps)?;
    // A row on the way, which the cut falls on.
    trial.experiment.eval.every = (trial.steps / 2).max(1);
    let threads = loaded.experiment.run.threads;
    let whole = trial.train(&trial.write("whole", threads).failed()?, None)?;
    let middle = trial.steps / 2;
    let cut = trial.train(&trial.write("cut", threads).failed()?, Some(middle))?;
    let differences = compare::runs(&whole, &cut, &format!("the run resumed at step {middle}")).failed()?;
    let about = format!("a whole run, and one cut at step {middle} and resumed");
    Ok(trial.finding("resume", about, differences))
}

impl<'a> Trial<'a> {
    /// The experiment with few steps. Warm-ups, data and evaluation sets stay as they are: schedules count their own steps, so
    /// a run of a few is the beginning of the long one. Early ends are left out, since a run must come to its last step.
    fn new(loaded: &'a Loaded, steps: u64) -> Result<Self> {
        // A mistake is told once and with its place, not by every run.
        let resolved = config::resolve(loaded)?;
        let steps = steps.min(resolved.steps);
        let mut experiment = loaded.experiment.clone();
        (experiment.train.steps, experiment.train.epochs) = (Some(steps), None);
        experiment.train.stop = StopConfig { nan: false, ..StopConfig::default() };
        experiment.train.checkpoint.every = steps.max(1);
        // The first and the last row are always there.
        experiment.eval.every = steps.max(1);
        let scratch = tempfile::tempdir().context("cannot make a temporary folder").failed()?;
        Ok(Self { loaded, experiment, steps, scratch })
    }

    /// Writes the config of a run that has a folder of its own.
    fn write(&self, name: &str, threads: Option<usize>) -> anyhow::Result<PathBuf> {
        let mut experiment = self.experiment.clone();
        experiment.run.threads = threads;
        experiment.run.dir = self.scratch.path().join(name);
        let path = self.scratch.path().join(format!("{name}.toml"));
        atomic::write(&path, config::to_toml(&experiment))?;
        Ok(path)
    }

    /// Trains, and goes on where it was told to stop.
    fn train(&self, config: &Path, stop_at: Option<u64>) -> Result<RunFolder> {
        let config = config.to_string_lossy().into_owned();
        let Some(step) = stop_at else {
            kiln(&["train", &config], 0).failed()?;
            return self.folder(&config);
        };
        kiln(&["train", &config, "--stop-at", &step.to_string()], 3).failed()?;
        let folder = self.folder(&config)?;
        kiln(&["train", "--resume", &folder.path().to_string_lossy()], 0).failed()?;
        Ok(folder)
    }

    fn folder(&self, config: &str) -> Result<RunFolder> {
        let dir = PathBuf::from(config).with_extension("");
        let run = run::list(&dir).pop();
        run.ok_or_else(|| anyhow!("the run of {} left no folder", self.loaded.path.display())).failed()
    }

    fn finding(&self, promise: &'static str, about: String, differences: Vec<Difference>) -> Finding {
        Finding {
            config: self.loaded.path.display().to_string(),
            promise,
            holds: Some(differences.is_empty()),
            about,
            steps: self.steps,
            differences,
        }
    }
}

/// Runs this program, which must end with this code.
fn kiln(arguments: &[&str], code: i32) -> anyhow::Result<()> {
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let output = Command::new(program).args(arguments).arg("--quiet").stdin(Stdio::null()).output()?;
    if output.status.code() == Some(code) {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    bail!("kiln {}: {}, {code} expected: {}", arguments.join(" "), output.status, said.trim())
}
