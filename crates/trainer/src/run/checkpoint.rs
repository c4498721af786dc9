//! Checkpoints: one folder each, complete once its manifest is there.
//!
//! A checkpoint is written into a temporary folder, file by file, synced, the manifest (size and SHA-256 of
//! each file) last, and then renamed. A kill at any moment leaves either no folder of that name or a
//! complete one, and the newest complete one wins.
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use crate::atomic;

const MANIFEST: &str = "manifest.json";

/// Size and hash of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Sealed {
    bytes: u64,
    sha256: String,
}

/// The files of one checkpoint, by name.
pub type Files = BTreeMap<String, Vec<u8>>;

/// A run's `checkpoints` folder.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    dir: PathBuf,
}

impl Checkpoints {
    /// The checkpoints below a run folder.
    pub fn of(run: &Path) -> Self {
        Self { dir: run.join("checkpoints") }
    }

    /// Saves the state at `step` and drops all but the newest `keep`.
    ///
    /// # Errors
    /// If the disk does not take it; earlier checkpoints are then untouched.
    pub fn save(&self, step: u64, files: &Files, keep: usize) -> anyhow::Result<()> {
        // Training is deterministic, so an intact checkpoint of this step already holds this state.
        if self.load(step).is_ok() {
            return Ok(());
        }
        let save = || -> anyhow::Result<()> {
            fs::create_dir_all(&self.dir)?;
            let staging = tempfile::Builder::new().prefix(".saving-").tempdir_in(&self.dir)?;
            let mut manifest = BTreeMap::new();
            for (name, bytes) in files {
                atomic::write(&staging.path().join(name), bytes)?;
                manifest.insert(name, Sealed { bytes: bytes.len() as u64, sha256: atomic::sha256(bytes) });
            }
            atomic::write(&staging.path().join(MANIFEST), serde_json::to_string_pretty(&manifest)?)?;
            let place = self.place(step);
            if place.exists() {
                fs::remove_dir_all(&place)?;
            }
            fs::rename(staging.path(), &place)?;
            atomic::sync_folder(&self.dir);
            Ok(())
        };
        save().with_context(|| format!("cannot save the checkpoint of step {step} in {}", self.dir.display()))?;
        for old in self.steps().into_iter().rev().skip(keep) {
            // A leftover costs space, not correctness.
            let _ = fs::remove_dir_all(self.place(old));
        }
        Ok(())
    }

    /// Steps of all checkpoints, oldest first, complete or not.
    pub fn steps(&self) -> Vec<u64> {
        let Ok(entries) = fs::read_dir(&self.dir) else { return Vec::new() };
        let mut steps: Vec<u64> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.strip_prefix("step-")?.parse().ok())
            .collect();
        steps.sort_unstable();
        steps
    }

    /// The newest complete checkpoint and what was wrong with newer ones.
    ///
    /// # Errors
    /// If none is complete; the message lists what is wrong with each.
    pub fn newest(&self) -> anyhow::Result<(u64, Files, Vec<String>)> {
        let mut damaged = Vec::new();
        for step in self.steps().into_iter().rev() {
            match self.load(step) {
                Ok(files) => return Ok((step, files, damaged)),
                Err(error) => damaged.push(format!("{error:#}")),
            }
        }
        if damaged.is_empty() {
            bail!("{} holds no checkpoint", self.dir.display());
        }
        bail!("{} holds no complete checkpoint: {}", self.dir.display(), damaged.join("; "));
    }

    /// The checkpoint of one step, verified against its manifest.
    ///
    /// # Errors
    /// If a file is missing, truncated or changed; the message names it.
    pub fn load(&self, step: u64) -> anyhow::Result<Files> {
        let place = self.place(step);
        let path = place.join(MANIFEST);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let manifest: BTreeMap<String, Sealed> =
            serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))?;
        let mut files = Files::new();
        for (name, sealed) in manifest {
            let path = place.join(&name);
            let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            if bytes.len() as u64 != sealed.bytes {
                bail!("{} is truncated: {} bytes, {} expected", path.display(), bytes.len(), sealed.bytes);
            }
            if atomic::sha256(&bytes) != sealed.sha256 {
                bail!("{} was changed: its SHA-256 is not the one in the manifest", path.display());
            }
            files.insert(name, bytes);
        }
        Ok(files)
    }

    /// Removes what a kill during a save left behind.
    pub fn sweep(&self) {
        let Ok(entries) = fs::read_dir(&self.dir) else { return };
        for entry in entries.flatten() {
            if entry.file_name().to_string_lossy().starts_with(".saving-") {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }

    fn place(&self, step: u64) -> PathBuf {
        self.dir.join(format!("step-{step:09}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(text: &str) -> Files {
        Files::from([("state.json".to_owned(), text.as_bytes().to_vec())])
    }

    #[test]
    fn the_newest_complete_one_wins_and_old_ones_go() {
        let run = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::of(run.path());
        assert!(checkpoints.newest().unwrap_err().to_string().contains("holds no checkpoint"));
        for step in [0, 10, 20, 30] {
            checkpoints.save(step, &files(&step.to_string()), 3).unwrap();
        }
        assert_eq!(checkpoints.steps(), [10, 20, 30]);
        fs::write(checkpoints.place(30).join("state.json"), "3").unwrap();
        fs::write(checkpoints.place(20).join("state.json"), "99").unwrap();
        let (step, found, damaged) = checkpoints.newest().unwrap();
        assert_eq!((step, found), (10, files("10")));
        assert!(damaged[0].contains("truncated") && damaged[1].contains("was changed"), "{damaged:?}");
        fs::remove_file(checkpoints.place(10).join(MANIFEST)).unwrap();
        assert!(checkpoints.newest().unwrap_err().to_string().contains("no complete checkpoint"));
    }

    #[test]
    fn a_damaged_step_is_saved_again_and_leftovers_are_swept() {
        let run = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::of(run.path());
        checkpoints.save(5, &files("a"), 2).unwrap();
        fs::write(checkpoints.place(5).join("state.json"), "").unwrap();
        checkpoints.save(5, &files("a"), 2).unwrap();
        assert_eq!(checkpoints.load(5).unwrap(), files("a"));
        fs::create_dir(run.path().join("checkpoints/.saving-x")).unwrap();
        checkpoints.sweep();
        assert_eq!(fs::read_dir(run.path().join("checkpoints")).unwrap().count(), 1);
    }
}
