//! `kiln runs`.
use std::path::PathBuf;

use anyhow::{Context, anyhow};
use clap::{Args, Subcommand};

use super::{Global, print};
use crate::{
    Result,
    error::Sort,
    run::{self, RunFolder, checkpoint::Checkpoints},
};

/// List runs, compare their sizes, remove them.
#[derive(Debug, Args)]
pub struct Runs {
    #[command(subcommand)]
    verb: Option<Action>,
    /// The folder that holds the run folders.
    #[arg(long, default_value = "runs", global = true)]
    dir: PathBuf,
    /// Print an array of objects.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Status, steps, accuracy and size of every run (the default).
    List,
    /// Bytes per run, largest first.
    Sizes,
    /// Remove runs, or only their checkpoints.
    Prune {
        /// Which runs, by folder name.
        #[arg(value_name = "RUN")]
        runs: Vec<String>,
        /// Every run that is not finished.
        #[arg(long)]
        unfinished: bool,
        /// Keep everything but the checkpoints.
        #[arg(long)]
        checkpoints_only: bool,
        /// Do it; without this the command only says what it would remove.
        #[arg(long)]
        yes: bool,
    },
}

impl Runs {
    /// Lists or prunes.
    ///
    /// # Errors
    /// If a named run does not exist or cannot be removed.
    pub fn run(self, global: &Global) -> Result<()> {
        let runs = run::list(&self.dir);
        match self.verb.unwrap_or(Action::List) {
            Action::List => list(&runs, self.json),
            Action::Sizes => sizes(runs, self.json),
            Action::Prune { runs: names, unfinished, checkpoints_only, yes } => {
                let mut chosen = Vec::new();
                for name in &names {
                    let found = runs.iter().find(|run| base(run) == *name || run.path() == std::path::Path::new(name));
                    chosen
                        .push(found.ok_or_else(|| anyhow!("{} holds no run \"{name}\"", self.dir.display())).input()?);
                }
                if unfinished {
                    chosen.extend(runs.iter().filter(|run| !run.finished()));
                }
                let mut removed = Vec::new();
                for run in chosen {
                    let target = match checkpoints_only {
                        true => run.file("checkpoints"),
                        false => run.path().to_owned(),
                    };
                    if yes {
                        let context = || format!("cannot remove {}", target.display());
                        std::fs::remove_dir_all(&target).with_context(context).failed()?;
                    }
                    match self.json {
                        true => removed.push(serde_json::json!({ "path": target, "removed": yes })),
                        false => print(target.display()),
                    }
                }
                if self.json {
                    print(format_args!("{:#}", serde_json::Value::from(removed)));
                }
                if !yes {
                    global.say("nothing removed; add --yes to remove these");
                }
                Ok(())
            }
        }
    }
}

fn base(run: &RunFolder) -> String {
    run.path().file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

fn list(runs: &[RunFolder], json: bool) -> Result<()> {
    let mut rows = Vec::new();
    for run in runs {
        let summary = run.summary()?;
        let steps = summary
            .as_ref()
            .map_or_else(|| Checkpoints::of(run.path()).steps().last().copied().unwrap_or(0), |summary| summary.steps);
        let accuracy = summary.as_ref().and_then(|s| s.metrics.get("test_accuracy")).map(|reached| reached.last);
        let status = summary.map_or_else(|| "unfinished".to_owned(), |summary| summary.status.to_string());
        rows.push((base(run), status, steps, accuracy, run.size()));
    }
    if json {
        let object = |(run, status, steps, accuracy, bytes): &(String, String, u64, Option<f64>, u64)| serde_json::json!({ "run": run, "status": status, "steps": steps, "test_accuracy": accuracy, "bytes": bytes });
        print(serde_json::to_string_pretty(&rows.iter().map(object).collect::<Vec<_>>()).unwrap_or_default());
        return Ok(());
    }
    let mut table = super::table(["run", "status", "steps", "test accuracy", "size"]);
    for (run, status, steps, accuracy, bytes) in rows {
        let accuracy = accuracy.map_or_else(String::new, kiln_reports::number);
        table.add_row([run, status, steps.to_string(), accuracy, human(bytes)]);
    }
    print(table);
    Ok(())
}

fn sizes(runs: Vec<RunFolder>, json: bool) -> Result<()> {
    let mut sizes: Vec<(u64, String)> = runs.iter().map(|run| (run.size(), base(run))).collect();
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    if json {
        let object = |(bytes, run): &(u64, String)| serde_json::json!({ "run": run, "bytes": bytes });
        print(serde_json::to_string_pretty(&sizes.iter().map(object).collect::<Vec<_>>()).unwrap_or_default());
        return Ok(());
    }
    let total: u64 = sizes.iter().map(|(bytes, _)| bytes).sum();
    for (bytes, run) in sizes {
        print(format_args!("{:>10}  {run}", human(bytes)));
    }
    print(format_args!("{:>10}  total", human(total)));
    Ok(())
}

fn human(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}
