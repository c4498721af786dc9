//! Runs beside one another: what a comparison shows, from the folders of runs or from a sweep.
//!
//! ```text
//! report.html  REPORT.md              the page
//! table.tex  summary.csv  seeds.csv   the same numbers for a paper, for a spreadsheet, and seed by seed
//! figures/                            curves of every metric
//! records/VARIANT-sSEED/              of every run, if asked: config.toml, environment.json, summary.json, metrics.csv (thinned)
//! ```
mod grouped;
mod metric;
mod write;

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use kiln_reports::{BandKind, ComparisonReport, RunState, SeedRun, Variant};

use crate::{
    Result,
    error::Sort,
    plan::state::State,
    run::{
        RunFolder,
        environment::Environment,
        metrics::{self, Row},
        report::points,
        summary::{Status, Summary},
    },
    sweep::Overview,
};

pub use grouped::of_runs;
pub use write::write;

/// What the reader of a comparison chose; what is left open follows from the runs.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// The variant that the others are compared with.
    pub baseline: Option<String>,
    /// The metrics, in the order of the page.
    pub metrics: Vec<String>,
    /// What bands around curves show.
    pub band: BandKind,
}

/// A comparison, with what is needed to record its runs.
#[derive(Debug)]
pub struct Comparison {
    /// What the page shows.
    pub report: ComparisonReport,
    /// The finished runs.
    pub runs: Vec<Finished>,
}

/// A finished run of a comparison.
#[derive(Debug)]
pub struct Finished {
    /// `VARIANT-sSEED`.
    pub label: String,
    /// Its folder.
    pub folder: PathBuf,
    /// How it ended.
    pub summary: Summary,
    /// Its log.
    pub rows: Vec<Row>,
}

/// The comparison of a sweep's variants as far as its runs are made.
///
/// # Errors
/// If a run cannot be read, nothing was made yet, or the choice names a variant or a metric that is not there.
pub fn of_sweep(overview: &Overview, choice: &Choice) -> Result<Comparison> {
    let mut runs = Vec::new();
    let mut variants = Vec::new();
    for view in &overview.variants {
        let mut variant = Variant { name: view.label.clone(), settings: view.settings.clone(), ..Variant::default() };
        for run in &view.runs {
            let step = run.step.map(|step| format!(" (step {step})")).unwrap_or_default();
            let (state, finished) = match &run.state {
                State::Done(_) => {
                    let finished = finished(&RunFolder::open(&run.folder)?, &view.name, run.seed)?;
                    (RunState::Finished, Some(finished))
                }
                State::Running => (RunState::Missing(format!("being made{step}")), None),
                State::Failed(reason) => (RunState::Failed(reason.clone()), None),
                State::Missing => (RunState::Missing(format!("not made yet{step}")), None),
            };
            variant.runs.insert(run.seed, shown(state, finished.as_ref()));
            runs.extend(finished);
        }
        variants.push(variant);
    }
    let label = |name: &str| overview.variants.iter().find(|view| view.name == name).map(|view| view.label.clone());
    let baseline = choice.baseline.as_deref().or(overview.baseline.as_deref());
    let baseline = baseline.map(|name| label(name).unwrap_or_else(|| name.to_owned()));
    let metrics = if choice.metrics.is_empty() { &overview.metrics } else { &choice.metrics };
    let choice = Choice { baseline, metrics: metrics.clone(), band: choice.band };
    let report =
        ComparisonReport { title: overview.title.clone(), question: overview.question.clone(), ..Default::default() };
    assemble(report, variants, runs, &choice)
}

/// Puts variants, metrics and baseline together.
fn assemble(
    mut report: ComparisonReport,
    variants: Vec<Variant>,
    runs: Vec<Finished>,
    choice: &Choice,
) -> Result<Comparison> {
    if runs.is_empty() {
        return Err(anyhow!("no run is finished yet, so there is nothing to compare")).input();
    }
    if let Some(baseline) = &choice.baseline {
        let names: Vec<&str> = variants.iter().map(|variant| variant.name.as_str()).collect();
        if !names.contains(&baseline.as_str()) {
            return Err(anyhow!("no variant is called {baseline:?}; there are: {}", names.join(", "))).input();
        }
        report.baseline.clone_from(baseline);
    }
    report.metrics = metric::chosen(&runs, &choice.metrics)?;
    report.variants = variants;
    report.band = choice.band;
    report.x = "step".into();
    report.notes.extend(
        runs.iter()
            .filter(|run| run.summary.status != Status::Finished)
            .map(|run| format!("{} ended after {} steps: {}", run.label, run.summary.steps, run.summary.status)),
    );
    Ok(Comparison { report, runs })
}

/// Reads a run that has ended.
fn finished(folder: &RunFolder, variant: &str, seed: u64) -> Result<Finished> {
    let path = folder.path().to_owned();
    let Some(summary) = folder.summary()?.filter(|summary| summary.status.is_final()) else {
        return Err(anyhow!("{} has not ended yet; go on with: kiln train --resume {0}", path.display())).input();
    };
    let rows = metrics::read(&folder.file("metrics.jsonl")).input()?;
    Ok(Finished { label: format!("{variant}-s{seed}"), folder: path, summary, rows })
}

/// A run as the page shows it.
fn shown(state: RunState, finished: Option<&Finished>) -> SeedRun {
    let mut run = SeedRun { state, ..SeedRun::default() };
    let Some(Finished { folder, rows, .. }) = finished else { return run };
    for name in metrics::names(rows) {
        let curve = points(rows, &name);
        // A row may lack what another has; the last one that says it counts.
        run.end.extend(curve.last().map(|(_, value)| (name.clone(), *value)));
        run.curves.insert(name, curve);
    }
    run.environment = environment(folder);
    run
}

/// Machine, versions and threads of a run, without what differs from run to run in any case.
fn environment(folder: &Path) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(folder.join("environment.json")).unwrap_or_default();
    let Ok(environment) = serde_json::from_str::<Environment>(&text) else { return Vec::new() };
    vec![
        ("Kiln".into(), environment.kiln),
        ("code (SHA-256)".into(), environment.code),
        ("platform".into(), environment.platform),
        ("processor".into(), environment.cpu),
        ("cores / threads".into(), format!("{} / {}", environment.cores, environment.threads)),
    ]
}
