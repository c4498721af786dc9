//! How far the runs of a plan are, read from their folders: nobody needs to be asked.
use std::{
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use super::{Job, Plan, lock};
use crate::{
    CODE_HASH, atomic,
    run::{RunFolder, checkpoint::Checkpoints, summary::Status},
};

/// How far a run is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It came to its own end; a loss that is no number is one, too.
    Done(Status),
    /// A process makes it now, or will in a moment.
    Running,
    /// The last attempt failed.
    Failed(String),
    /// It is still to be made, or to be gone on with.
    Missing,
}

/// Why a run failed, kept in the plan's folder until it succeeds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What the run said, or what became of it.
    pub reason: String,
    /// When, in milliseconds of 1970.
    pub at_ms: u64,
}

/// The present, in milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Whether the run is there and may be used.
pub fn is_done(folder: &Path, rerun_stale: bool) -> bool {
    let Ok(folder) = RunFolder::open(folder) else { return false };
    match folder.summary() {
        Ok(Some(summary)) => summary.status.is_final() && (!rerun_stale || summary.code == CODE_HASH),
        _ => false,
    }
}

impl Plan {
    /// How far a run is.
    pub fn state(&self, job: &Job) -> State {
        // Before the folder is looked at: a run that ends between the two looks is then running, not missing.
        let held = [self.lock(job), self.child_lock(job)].iter().any(|lock| lock::is_held(lock));
        let summary = RunFolder::open(&self.folder(job)).ok().and_then(|folder| folder.summary().ok().flatten());
        match summary {
            Some(summary) if summary.status.is_final() => State::Done(summary.status),
            _ if held => State::Running,
            _ => self.failure(job).map_or(State::Missing, |failure| State::Failed(failure.reason)),
        }
    }

    /// The step of a run's newest checkpoint; `None` if there is none.
    pub fn step(&self, job: &Job) -> Option<u64> {
        Checkpoints::of(&self.folder(job)).steps().last().copied()
    }

    /// Why the last attempt at a run failed; `None` if it did not, or there was none.
    pub fn failure(&self, job: &Job) -> Option<Failure> {
        serde_json::from_str(&std::fs::read_to_string(self.failure_file(job)).ok()?).ok()
    }

    pub(super) fn note_failure(&self, job: &Job, reason: &str) -> anyhow::Result<()> {
        let failure = Failure { reason: reason.to_owned(), at_ms: now_ms() };
        atomic::write(&self.failure_file(job), serde_json::to_string_pretty(&failure)? + "\n")
    }

    pub(super) fn forget_failure(&self, job: &Job) {
        // Mostly there is none.
        let _ = std::fs::remove_file(self.failure_file(job));
    }

    fn failure_file(&self, job: &Job) -> PathBuf {
        self.dir.join("failures").join(format!("{}.json", job.name))
    }
}
