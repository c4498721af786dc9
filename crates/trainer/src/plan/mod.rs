//! Many runs, planned before the first one starts and made by child processes. Studies and sweeps share it.
//!
//! ```text
//! DIR/plan.json                       the plan: of a study or a sweep, each with what it needs beside the runs
//! DIR/plan/softmax-s2-1f2e3d4c.toml   the resolved config of a run, named like its folder
//! DIR/runs/softmax-s2-1f2e3d4c/       the run
//! DIR/locks/  DIR/failures/           who makes a run, and why one failed
//! ```
//!
//! [`Draft`] names the runs, [`pool`] trains what is missing, [`state`] says how far each is.
mod bars;
pub mod lock;
pub mod pool;
pub mod state;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{
    atomic,
    config::{self, Loaded},
    run::RunFolder,
};

/// One run of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The run's name in the study or sweep.
    pub run: String,
    /// Its seed.
    pub seed: u64,
    /// The name of its folder: that of the run in plain letters, the seed, and the first digits of the hash of its
    /// resolved config.
    pub name: String,
    /// Places in the plan of the runs it needs.
    pub needs: Vec<usize>,
    /// What it changes in its base config, as `key=value`.
    pub differences: Vec<String>,
}

impl Job {
    /// Name and seed: `A3-s2`.
    pub fn label(&self) -> String {
        format!("{}-s{}", self.run, self.seed)
    }
}

/// Every run of a study at one scale, or of a sweep.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The folder of plan, locks and runs; where the plan was read from.
    #[serde(skip)]
    pub dir: PathBuf,
    /// The runs.
    pub jobs: Vec<Job>,
}

impl Plan {
    /// The file of the plan in its folder.
    pub const FILE: &str = "plan.json";

    /// Where a run goes.
    pub fn folder(&self, job: &Job) -> PathBuf {
        self.dir.join("runs").join(&job.name)
    }

    /// The resolved config of a run.
    pub fn config(&self, job: &Job) -> PathBuf {
        self.dir.join("plan").join(format!("{}.toml", job.name))
    }

    /// Held by the process that has a run made.
    pub(crate) fn lock(&self, job: &Job) -> PathBuf {
        self.dir.join("locks").join(format!("{}.lock", job.name))
    }

    /// Held by the child process that makes a run; it may outlive the parent by a step.
    pub(crate) fn child_lock(&self, job: &Job) -> PathBuf {
        self.dir.join("locks").join(format!("{}.child.lock", job.name))
    }
}

/// What is asked of one run.
#[derive(Debug)]
pub struct Wish {
    /// The run's name.
    pub run: String,
    /// Its config, with its seed.
    pub loaded: Loaded,
    /// Names of runs (of the same seed) it needs.
    pub needs: Vec<String>,
    /// What it changes in its base config, as `key=value`.
    pub differences: Vec<String>,
}

/// A plan that is not written yet.
#[derive(Debug)]
pub struct Draft {
    /// The runs.
    pub plan: Plan,
    /// Their configs, in the same order.
    pub loaded: Vec<Loaded>,
}

impl Draft {
    /// Names every run by its config. A need that is not wished for itself is passed over.
    pub fn new(dir: &Path, mut wishes: Vec<Wish>) -> Self {
        for wish in &mut wishes {
            wish.loaded.experiment.run.dir = dir.join("runs");
        }
        let seed = |wish: &Wish| wish.loaded.experiment.run.seed;
        let job = |wish: &Wish| {
            let place = |need: &String| wishes.iter().position(|w| w.run == *need && seed(w) == seed(wish));
            Job {
                run: wish.run.clone(),
                seed: seed(wish),
                name: run_name(&wish.run, &wish.loaded),
                needs: wish.needs.iter().filter_map(place).collect(),
                differences: wish.differences.clone(),
            }
        };
        let jobs = wishes.iter().map(job).collect();
        let loaded = wishes.into_iter().map(|wish| wish.loaded).collect();
        Self { plan: Plan { dir: dir.to_owned(), jobs }, loaded }
    }

    /// Writes the config of every run. The plan itself is the owner's to write, after this.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub fn write_configs(&self) -> anyhow::Result<()> {
        let mut all = self.plan.jobs.iter().zip(&self.loaded);
        all.try_for_each(|(job, loaded)| atomic::write(&self.plan.config(job), config::to_toml(&loaded.experiment)))
    }
}

/// The name of a run's folder in a plan.
pub fn run_name(run: &str, loaded: &Loaded) -> String {
    RunFolder::name(&kiln_sweeps::file_name(run), &loaded.experiment)
}
