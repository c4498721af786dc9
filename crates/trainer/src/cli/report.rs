//! `kiln report`.
use std::path::PathBuf;

use anyhow::anyhow;
use clap::Args;

use super::{Global, print};
use crate::{
    Result,
    error::Sort,
    run::{self, RunFolder, metrics},
};

/// Write the report of a run anew.
#[derive(Debug, Args)]
pub struct Report {
    /// Run folders.
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
}

impl Report {
    /// Draws curves and page of each run from its log.
    ///
    /// # Errors
    /// If a folder holds no run that has ended, or cannot be written.
    pub fn run(self, _: &Global) -> Result<()> {
        for path in self.runs {
            let folder = RunFolder::open(&path)?;
            let Some(summary) = folder.summary()? else {
                return Err(anyhow!("{} has not ended yet; it has no summary.json", path.display())).input();
            };
            let rows = metrics::read(&folder.file("metrics.jsonl")).input()?;
            run::report::write(&folder, &summary, &rows).failed()?;
            print(folder.file("report.html").display());
        }
        Ok(())
    }
}
