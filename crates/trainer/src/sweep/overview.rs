//! How far a sweep is, and what a comparison of its variants needs to know.
use std::path::PathBuf;

use serde_json::json;

use super::SweepPlan;
use crate::plan::state::State;

/// A sweep at this moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Overview {
    /// Heading.
    pub title: String,
    /// What is asked; may be empty.
    pub question: String,
    /// The variant that the others are compared with.
    pub baseline: Option<String>,
    /// Logged metrics to show, the most important first; may be empty.
    pub metrics: Vec<String>,
    /// Seeds of every variant.
    pub seeds: Vec<u64>,
    /// The variants, in the order of the sweep file.
    pub variants: Vec<VariantView>,
}

/// One variant.
#[derive(Clone, Debug, PartialEq)]
pub struct VariantView {
    /// Its name, unique.
    pub name: String,
    /// What it is called in a comparison.
    pub label: String,
    /// Keys on which variants differ, and what they are here.
    pub settings: Vec<(String, String)>,
    /// Its runs, one per seed.
    pub runs: Vec<RunView>,
}

/// One run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunView {
    /// Its seed.
    pub seed: u64,
    /// Its folder; there is none before the run is begun.
    pub folder: PathBuf,
    /// How far it is.
    pub state: State,
    /// The step of its newest checkpoint.
    pub step: Option<u64>,
}

/// The states of a run, as they are written.
pub const STATES: [&str; 4] = ["done", "running", "failed", "missing"];

impl RunView {
    /// The word for its state, one of [`STATES`].
    pub fn word(&self) -> &'static str {
        match self.state {
            State::Done(_) => "done",
            State::Running => "running",
            State::Failed(_) => "failed",
            State::Missing => "missing",
        }
    }
}

impl SweepPlan {
    /// The state of every run, from their folders.
    pub fn overview(&self) -> Overview {
        let run = |job: &crate::plan::Job| RunView {
            seed: job.seed,
            folder: self.runs.folder(job),
            state: self.runs.state(job),
            step: self.runs.step(job),
        };
        let variants = self.variants.iter().map(|variant| VariantView {
            name: variant.name.clone(),
            label: variant.label.clone(),
            settings: variant.settings.clone(),
            runs: self.runs.jobs.iter().filter(|job| job.run == variant.name).map(run).collect(),
        });
        Overview {
            title: self.title.clone(),
            question: self.question.clone(),
            baseline: self.baseline.clone(),
            metrics: self.metrics.clone(),
            seeds: self.seeds.clone(),
            variants: variants.collect(),
        }
    }
}

impl Overview {
    /// All runs, each with the name of its variant.
    pub fn runs(&self) -> impl Iterator<Item = (&str, &RunView)> {
        self.variants.iter().flat_map(|variant| variant.runs.iter().map(|run| (variant.name.as_str(), run)))
    }

    /// Number of runs in a state, one of [`STATES`].
    pub fn count(&self, word: &str) -> usize {
        self.runs().filter(|(_, run)| run.word() == word).count()
    }

    /// The overview as an object of JSON.
    pub fn to_json(&self) -> serde_json::Value {
        let run = |run: &RunView| {
            let mut object = json!({
                "seed": run.seed, "state": run.word(), "folder": run.folder, "step": run.step,
            });
            match &run.state {
                State::Done(status) => object["status"] = json!(status),
                State::Failed(reason) => object["reason"] = json!(reason),
                _ => {}
            }
            object
        };
        let variant = |variant: &VariantView| {
            let settings: serde_json::Map<_, _> =
                variant.settings.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
            let runs: Vec<_> = variant.runs.iter().map(run).collect();
            json!({ "name": variant.name, "label": variant.label, "settings": settings, "runs": runs })
        };
        let counts: serde_json::Map<_, _> =
            STATES.iter().map(|word| ((*word).to_owned(), json!(self.count(word)))).collect();
        json!({
            "title": self.title,
            "question": self.question,
            "baseline": self.baseline,
            "metrics": self.metrics,
            "seeds": self.seeds,
            "counts": counts,
            "variants": self.variants.iter().map(variant).collect::<Vec<_>>(),
        })
    }
}
