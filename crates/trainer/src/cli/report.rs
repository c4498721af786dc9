//! `kiln report`.
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::{Args, ValueEnum};
use kiln_reports::BandKind;

use super::{Global, print};
use crate::{
    Result,
    comparison::{self, Choice},
    error::Sort,
    run::{self, RunFolder, metrics},
    sweep::{self, SweepPlan},
};

/// Write the page of a run anew, or compare several runs, or the variants of a sweep.
///
/// A comparison is a page without outside parts (report.html), the same as Markdown (REPORT.md), its table for LaTeX (table.tex)
/// and as CSV (summary.csv, seeds.csv), and its figures. Runs whose configs differ in the seed alone are one variant; its table
/// has mean, sample standard deviation, n, a 95 % interval, and the paired difference to a baseline on equal seeds.
#[derive(Debug, Args)]
pub struct Report {
    /// Run folders, or a sweep: its TOML file or its folder.
    #[arg(required = true, value_name = "RUN|SWEEP")]
    paths: Vec<PathBuf>,
    /// The variant that the others are compared with.
    #[arg(long, value_name = "VARIANT")]
    baseline: Option<String>,
    /// A logged metric to compare by, may be given several times; otherwise those of the sweep, or the accuracies of all sets.
    #[arg(long = "metric", value_name = "NAME")]
    metrics: Vec<String>,
    /// What the band around a mean curve shows.
    #[arg(long, value_enum, default_value_t = Band::Range)]
    band: Band,
    /// Where the comparison is written; otherwise the sweep's folder, or `comparison`.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Beside the comparison, keep config, machine, summary and a thinned log of every run, as is committed.
    #[arg(long)]
    record: bool,
    /// The folder that sweeps' folders are in.
    #[arg(long, default_value = sweep::DIR)]
    dir: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Band {
    /// From the lowest to the highest seed.
    Range,
    /// The 95 % t interval of the mean.
    Interval,
}

impl Report {
    /// Draws what the paths name.
    ///
    /// # Errors
    /// If a path is neither a run that has ended nor a planned sweep, a name is unknown, or a file cannot be written.
    pub fn run(self, _: &Global) -> Result<()> {
        let choice = Choice {
            baseline: self.baseline.clone(),
            metrics: self.metrics.clone(),
            band: match self.band {
                Band::Range => BandKind::Range,
                Band::Interval => BandKind::Interval,
            },
        };
        if let [path] = &self.paths[..] {
            if let Some(plan) = self.plan(path)? {
                let compared = comparison::of_sweep(&plan.overview(), &choice)?;
                let out = self.out.clone().unwrap_or_else(|| plan.runs.dir.clone());
                print(comparison::write(&compared, &out, self.record).failed()?.display());
                return Ok(());
            }
            if self.out.is_none() {
                return rewrite(path);
            }
        }
        if let Some(path) = self.paths.iter().find(|path| is_sweep(path)) {
            return Err(anyhow!("{} is a sweep; give it alone, or give runs", path.display())).input();
        }
        let folders = self.paths.iter().map(|path| RunFolder::open(path)).collect::<Result<Vec<_>>>()?;
        let compared = comparison::of_runs(&folders, &choice)?;
        let out = self.out.clone().unwrap_or_else(|| "comparison".into());
        print(comparison::write(&compared, &out, self.record).failed()?.display());
        Ok(())
    }

    /// The plan of the sweep that a path names; `None` if it names a run.
    fn plan(&self, path: &Path) -> Result<Option<SweepPlan>> {
        if !is_sweep(path) {
            return Ok(None);
        }
        let dir = if path.is_dir() { path.to_owned() } else { self.dir.join(crate::config::stem(path)) };
        SweepPlan::find_in(&dir, path).map(Some)
    }
}

/// Whether a path names a sweep: a TOML file, or a folder with a plan.
fn is_sweep(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "toml") || path.join(crate::plan::Plan::FILE).is_file()
}

/// Draws curves and page of a run from its log.
fn rewrite(path: &Path) -> Result<()> {
    let folder = RunFolder::open(path)?;
    let Some(summary) = folder.summary()? else {
        return Err(anyhow!("{} has not ended yet; it has no summary.json", path.display())).input();
    };
    let rows = metrics::read(&folder.file("metrics.jsonl")).input()?;
    run::report::write(&folder, &summary, &rows).failed()?;
    print(folder.file("report.html").display());
    Ok(())
}
