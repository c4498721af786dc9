//! One run, one folder: what was asked, where it ran, what came out.
//!
//! ```text
//! runs/stablemax-s0-1f2e3d4c/
//!   config.toml  overrides.toml  environment.json   what was asked, what was changed, where it ran
//!   metrics.jsonl  metrics.csv                      one row per logged step
//!   summary.json                                    status, final and best value of each metric
//!   checkpoints/step-000000500/                     states to resume from
//!   curves.svg  curves.png  report.html             what a person looks at
//! ```
pub mod checkpoint;
pub mod compare;
pub mod environment;
pub mod metrics;
pub mod record;
pub mod report;
pub mod summary;

use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow, bail};

use crate::{
    atomic,
    config::{self, Loaded, schema::Experiment},
    error::{Result, Sort},
};
use summary::Summary;

/// A run's folder.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// Held while this process writes to the folder.
    lock: Option<File>,
}

impl RunFolder {
    /// The name of the folder of an experiment: the config's stem, the seed, the first eight digits of its identity.
    pub fn name(stem: &str, experiment: &Experiment) -> String {
        format!("{stem}-s{}-{}", experiment.run.seed, &config::identity(experiment)[..8])
    }

    /// A folder that already holds a run.
    ///
    /// # Errors
    /// If there is no run at `path`.
    pub fn open(path: &Path) -> Result<Self> {
        let folder = Self { path: path.to_owned(), lock: None };
        if !folder.file("config.toml").is_file() {
            return Err(anyhow!("{} is not a run folder: it holds no config.toml", path.display())).input();
        }
        Ok(folder)
    }

    /// Makes a new run's folder and writes what was asked and where it runs.
    ///
    /// # Errors
    /// If the folder cannot be made or written.
    pub fn create(path: &Path, loaded: &Loaded) -> Result<Self> {
        let make = || -> anyhow::Result<Self> {
            fs::create_dir_all(path).with_context(|| format!("cannot make the run folder {}", path.display()))?;
            let mut folder = Self { path: path.to_owned(), lock: None };
            folder.acquire()?;
            folder.write_config(&loaded.experiment)?;
            let overrides: String = loaded.sets.iter().map(|set| format!("{set}\n")).collect();
            let head = format!("# {}\n", loaded.path.display());
            atomic::write(&folder.file("overrides.toml"), head + &overrides)?;
            folder.write_environment()?;
            Ok(folder)
        };
        make().input()
    }

    /// Claims the folder for this process.
    ///
    /// # Errors
    /// If another process holds it.
    pub fn acquire(&mut self) -> anyhow::Result<()> {
        let path = self.file(".lock");
        let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => self.lock = Some(file),
            Err(TryLockError::WouldBlock) => {
                bail!("{} is being trained by another process", self.path.display())
            }
            // A file system without locks: run unguarded rather than not at all.
            Err(TryLockError::Error(_)) => {}
        }
        Ok(())
    }

    /// Writes the resolved config.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write_config(&self, experiment: &Experiment) -> anyhow::Result<()> {
        atomic::write(&self.file("config.toml"), config::to_toml(experiment))
    }

    /// Writes the machine, the code and the threads of this process.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write_environment(&self) -> anyhow::Result<()> {
        let environment = serde_json::to_string_pretty(&environment::Environment::here())?;
        atomic::write(&self.file("environment.json"), environment + "\n")
    }

    /// The folder's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file in the folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The run's summary; `None` before its first end.
    ///
    /// # Errors
    /// If the file is there and cannot be read.
    pub fn summary(&self) -> Result<Option<Summary>> {
        Summary::read(&self.file("summary.json")).input()
    }

    /// Whether the run came to its own end.
    pub fn finished(&self) -> bool {
        matches!(self.summary(), Ok(Some(summary)) if summary.status.is_final())
    }

    /// Bytes of all files below the folder.
    pub fn size(&self) -> u64 {
        fn walk(path: &Path) -> u64 {
            let Ok(entries) = fs::read_dir(path) else { return 0 };
            entries
                .flatten()
                .map(|entry| match entry.metadata() {
                    Ok(data) if data.is_dir() => walk(&entry.path()),
                    Ok(data) => data.len(),
                    Err(_) => 0,
                })
                .sum()
        }
        walk(&self.path)
    }
}

/// Every run folder directly below `dir`, by name.
pub fn list(dir: &Path) -> Vec<RunFolder> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut runs: Vec<_> = entries.flatten().filter_map(|entry| RunFolder::open(&entry.path()).ok()).collect();
    runs.sort_by(|a, b| a.path.cmp(&b.path));
    runs
}
