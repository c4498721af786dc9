//! Sweeps: one experiment, varied, over several seeds.
//!
//! A [`SweepFile`] says what is varied ([`kiln_sweeps`] lists the variants), [`draft()`] resolves the config of every run,
//! [`prepare`] freezes them into one [`SweepPlan`], [`plan`](crate::plan) has its runs made, and
//! [`SweepPlan::overview`] says how far each is. Everything stands in `runs/sweeps/NAME/`.
//!
//! For a comparison of the variants, [`SweepPlan::find`] opens the plan of a sweep file or a sweep's folder, and its
//! overview lists variants, what they differ in, the baseline, and the folder and state of every run.
mod changes;
mod differences;
mod draft;
mod freeze;
mod overview;

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use kiln_config::Document;
use kiln_sweeps::{Sweep, Variant};
use serde::{Deserialize, Serialize};

pub use draft::draft;
pub use freeze::{Prepared, Wanted, prepare};
pub use overview::{Overview, RunView, VariantView};

use crate::{
    Result,
    config::{self, places},
    error::Sort,
    plan::Plan,
};

/// Where sweeps go if nothing else is said.
pub const DIR: &str = "runs/sweeps";

/// A sweep file, read and checked.
#[derive(Debug)]
pub struct SweepFile {
    /// The sweep's name: the stem of its file.
    pub name: String,
    /// The file, as found.
    pub path: PathBuf,
    /// What it says.
    pub sweep: Sweep,
    /// The variants that follow from it, in its order.
    pub variants: Vec<Variant>,
    /// Its text, with the position of every key.
    document: Document,
}

impl SweepFile {
    /// Opens a sweep file; it is looked for as configs are.
    ///
    /// # Errors
    /// If there is no such file or its parts contradict each other.
    pub fn open(path: &Path) -> Result<Self> {
        let path = places::find(path);
        let (sweep, document) = config::load_as::<Sweep>(&path)?;
        let refuse = |invalid: kiln_sweeps::Invalid| document.error_at(&invalid.key, &invalid.message, None);
        sweep.check().map_err(refuse)?;
        let variants = sweep.variants().map_err(refuse)?;
        Ok(Self { name: config::stem(&path), path, sweep, variants, document })
    }

    /// The sweep's folder below `root`.
    pub fn dir(&self, root: &Path) -> PathBuf {
        root.join(&self.name)
    }
}

/// A frozen sweep: what its file said, and every run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SweepPlan {
    /// Heading of the comparison.
    pub title: String,
    /// What is asked; may be empty.
    pub question: String,
    /// The variant that the others are compared with.
    pub baseline: Option<String>,
    /// Logged metrics that the comparison shows, the most important first; may be empty.
    pub metrics: Vec<String>,
    /// Worker threads of each run.
    pub threads: usize,
    /// Seeds of every variant.
    pub seeds: Vec<u64>,
    /// The variants, in the order of the file.
    pub variants: Vec<PlannedVariant>,
    /// The runs.
    #[serde(flatten)]
    pub runs: Plan,
}

/// One variant of a frozen sweep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedVariant {
    /// Its name.
    pub name: String,
    /// What it is called in a comparison.
    pub label: String,
    /// Keys on which the configs of variants differ, and what they are here; keys it lacks are left out.
    pub settings: Vec<(String, String)>,
}

impl SweepPlan {
    /// Reads the plan in a sweep's folder; `None` if there is none yet.
    ///
    /// # Errors
    /// If the file is there and cannot be read.
    pub fn read(dir: &Path) -> Result<Option<Self>> {
        let path = dir.join(Plan::FILE);
        let text = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            text => text.with_context(|| format!("cannot read {}", path.display())).input()?,
        };
        let damaged = || format!("{} is not the plan of a sweep, or damaged", path.display());
        let mut plan: Self = serde_json::from_str(&text).with_context(damaged).input()?;
        plan.runs.dir = dir.to_owned();
        Ok(Some(plan))
    }

    /// The plan of a sweep, by the sweep's folder or by its file (then in [`DIR`]).
    ///
    /// # Errors
    /// If nothing was planned yet, or the plan cannot be read.
    pub fn find(path: &Path) -> Result<Self> {
        let dir = if path.is_dir() { path.to_owned() } else { Path::new(DIR).join(config::stem(path)) };
        Self::find_in(&dir, path)
    }

    /// The plan in a sweep's folder; `path` is what the user called the sweep.
    ///
    /// # Errors
    /// As for [`Self::find`].
    pub fn find_in(dir: &Path, path: &Path) -> Result<Self> {
        Self::read(dir)?.map_or_else(|| Err(no_plan(dir, path)).input(), Ok)
    }
}

fn no_plan(dir: &Path, path: &Path) -> anyhow::Error {
    let path = path.display();
    anyhow!("{} holds no plan yet; make it with: kiln sweep plan {path}, or: kiln sweep run {path}", dir.display())
}
