//! Studies: many runs, judged against what a paper claims.
//!
//! A [`StudyPlan`] holds every run, resolved before the first one starts, [`evidence`] reads what came out, [`report`]
//! judges and draws it, [`record`] keeps it beside the study file.
pub mod evidence;
pub mod record;
pub mod report;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::anyhow;
use kiln_claims::{Claim, Scale, Study};
use serde::{Deserialize, Serialize};

use crate::{
    Result, atomic,
    config::{self, places},
    error::Sort,
    plan::{Draft, Job, Plan, Wish},
};

/// A study file, read and checked.
#[derive(Clone, Debug)]
pub struct Book {
    /// The study's name: the folder of its file.
    pub name: String,
    /// The file, as found.
    pub path: PathBuf,
    /// What it says.
    pub study: Study,
}

impl Book {
    /// Opens a study by name (`grokking`) or by the path of its file.
    ///
    /// # Errors
    /// If there is no such study or its parts contradict each other.
    pub fn open(name: &str) -> Result<Self> {
        let path = match name.ends_with(".toml") {
            true => PathBuf::from(name),
            false => Path::new("experiments").join(name).join("study.toml"),
        };
        let path = places::find(&path);
        if !path.exists() && places::embedded(&path).is_none() {
            let known: Vec<&str> = places::shipped("experiments/")
                .filter_map(|path| path.strip_prefix("experiments/")?.strip_suffix("/study.toml"))
                .collect();
            return Err(anyhow!("there is no study \"{name}\"; known: {}", known.join(", "))).input();
        }
        let (study, document) = config::load_as::<Study>(&path)?;
        study.check().map_err(|invalid| document.error_at(&invalid.key, &invalid.message, None))?;
        let name =
            path.parent().and_then(Path::file_name).map_or_else(|| config::stem(&path), |n| n.to_string_lossy().into());
        Ok(Self { name, path, study })
    }

    /// Resolves the runs of a scale and writes the plan; `only` keeps those whose name, or one of whose claims, is in the list.
    ///
    /// # Errors
    /// If the scale is not declared, a config does not fit, `only` names nothing, or the folder cannot be written.
    pub fn plan(&self, scale: Scale, only: &[String], threads: usize) -> Result<StudyPlan> {
        let study = &self.study;
        let Some(spec) = study.scales.get(scale) else {
            let known: Vec<_> = study.scales.iter().map(|(scale, _)| scale.name()).collect();
            return Err(anyhow!("study {} has no scale {scale}; it has {}", self.name, known.join(", "))).input();
        };
        let claims: Vec<&Claim> = study.claims_at(study.source_of(scale)).collect();
        let mut wishes = Vec::new();
        for run in study.plan(scale) {
            let wanted = |word: &String| {
                *word == run.name
                    || claims.iter().any(|claim| claim.id == *word && claim.runs().contains(&run.name.as_str()))
            };
            if only.is_empty() || only.iter().any(wanted) {
                let differences = run.assignments();
                let own = [format!("run.seed={}", run.seed), format!("run.threads={threads}")];
                let sets: Vec<String> = differences.iter().cloned().chain(own).collect();
                let loaded = config::load(&places::beside(&self.path, &run.config), &sets)?;
                config::resolve(&loaded)?;
                wishes.push(Wish { run: run.name, loaded, needs: run.needs, differences });
            }
        }
        if wishes.is_empty() {
            let runs: Vec<_> = study.runs_at(scale).into_iter().collect();
            return Err(anyhow!("nothing at scale {scale} is named {}; runs: {}", only.join(", "), runs.join(", ")))
                .input();
        }
        let hashes = claims.iter().map(|claim| (claim.id.clone(), self.claim_hash(claim, &spec.seeds))).collect();
        StudyPlan::freeze(Draft::new(&self.dir(scale), wishes), hashes)
    }

    /// Where runs and reports of a scale go.
    pub fn dir(&self, scale: Scale) -> PathBuf {
        Path::new("runs/studies").join(&self.name).join(scale.name())
    }

    /// Hash of everything that decides a claim's verdict.
    pub fn claim_hash(&self, claim: &Claim, seeds: &[u64]) -> String {
        atomic::sha256(claim.judged_text(seeds))
    }

    /// Hash of every claim judged at a scale.
    pub fn claims_hash(&self, scale: Scale, seeds: &[u64]) -> String {
        let texts: Vec<_> = self.study.claims_at(scale).map(|claim| claim.judged_text(seeds)).collect();
        atomic::sha256(texts.join("\n"))
    }
}

/// Claim id to hash, as it stood when a run was started.
pub type ClaimHashes = BTreeMap<String, String>;

/// Every run of a study at one scale.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StudyPlan {
    /// The runs.
    #[serde(flatten)]
    pub runs: Plan,
    /// The claims that will be judged, by the hash of what decides them.
    pub claims: ClaimHashes,
}

impl StudyPlan {
    fn freeze(draft: Draft, claims: ClaimHashes) -> Result<Self> {
        draft.write_configs().input()?;
        let plan = Self { runs: draft.plan, claims };
        let text = serde_json::to_string_pretty(&plan).failed()?;
        atomic::write(&plan.runs.dir.join(Plan::FILE), text + "\n").input()?;
        Ok(plan)
    }

    /// Keeps the claims' hashes as they stand before a run is begun; an edit made after it will show.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub fn note_claims(&self, job: &Job) -> anyhow::Result<()> {
        atomic::write(&self.claims_file(job), serde_json::to_string_pretty(&self.claims)? + "\n")
    }

    /// The claims and their hashes when a run was begun.
    pub fn claims_before(&self, job: &Job) -> ClaimHashes {
        let text = std::fs::read_to_string(self.claims_file(job)).ok();
        text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
    }

    fn claims_file(&self, job: &Job) -> PathBuf {
        self.runs.dir.join("claims").join(format!("{}.json", job.label()))
    }
}
