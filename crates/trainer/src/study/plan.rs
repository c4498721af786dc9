//! The frozen plan of a study or sweep: every run resolved before the first one starts.
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::ClaimHashes;
use crate::{
    Result, atomic,
    config::{self, Loaded},
    error::Sort,
    run::RunFolder,
};

/// One run of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The run's name in the study.
    pub run: String,
    /// Its seed.
    pub seed: u64,
    /// Its resolved config, written when the plan was frozen.
    pub config: PathBuf,
    /// Where it goes.
    pub folder: PathBuf,
    /// Places in the plan of the runs it needs.
    pub needs: Vec<usize>,
    /// What it changes in its base config, as `key = value`.
    pub differences: Vec<String>,
}

impl Job {
    /// Name and seed: `A3-s2`.
    pub fn label(&self) -> String {
        format!("{}-s{}", self.run, self.seed)
    }
}

/// Every run of a study at one scale.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The folder of plan, locks and runs.
    pub dir: PathBuf,
    /// The runs.
    pub jobs: Vec<Job>,
    /// The claims that will be judged, by the hash of what decides them.
    pub claims: ClaimHashes,
}

/// What a plan asks for one run.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The run's name.
    pub run: String,
    /// Its seed.
    pub seed: u64,
    /// The config it starts from.
    pub base: PathBuf,
    /// Changes, as `--set` takes them.
    pub sets: Vec<String>,
    /// Names of runs (of the same seed) it needs.
    pub needs: Vec<String>,
}

impl Plan {
    /// Resolves every run and writes the plan. Nothing is trained if one config does not fit.
    ///
    /// # Errors
    /// If a config does not fit, a needed run is missing, or the folder cannot be written.
    pub fn freeze(dir: &Path, wishes: Vec<Wish>, threads: usize, claims: ClaimHashes) -> Result<Self> {
        let mut jobs = Vec::new();
        for wish in &wishes {
            let mut sets = wish.sets.clone();
            sets.push(format!("run.seed={}", wish.seed));
            sets.push(format!("run.threads={threads}"));
            let mut loaded = config::load(&wish.base, &sets)?;
            config::resolve(&loaded)?;
            loaded.experiment.run.dir = dir.join("runs");
            let needs = wish
                .needs
                .iter()
                .filter_map(|need| wishes.iter().position(|other| other.run == *need && other.seed == wish.seed));
            jobs.push(Self::job(dir, wish, &loaded, needs.collect())?);
        }
        let plan = Self { dir: dir.to_owned(), jobs, claims };
        let text = serde_json::to_string_pretty(&plan).failed()?;
        atomic::write(&dir.join("plan.json"), text + "\n").input()?;
        Ok(plan)
    }

    /// Where the claims' hashes are kept as they stood when a run was started.
    pub fn claims_file(&self, job: &Job) -> PathBuf {
        self.dir.join("claims").join(format!("{}.json", job.label()))
    }

    fn job(dir: &Path, wish: &Wish, loaded: &Loaded, needs: Vec<usize>) -> Result<Job> {
        let config = dir.join("plan").join(format!("s{}", wish.seed)).join(format!("{}.toml", wish.run));
        atomic::write(&config, config::to_toml(&loaded.experiment)).input()?;
        Ok(Job {
            run: wish.run.clone(),
            seed: wish.seed,
            folder: loaded.experiment.run.dir.join(RunFolder::name(&wish.run, &loaded.experiment)),
            config,
            needs,
            differences: wish.sets.clone(),
        })
    }
}
