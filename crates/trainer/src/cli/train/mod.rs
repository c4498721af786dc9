//! `kiln train`.
use std::path::PathBuf;

use anyhow::anyhow;
use clap::Args;

use super::{Global, print};
use crate::{
    Result, config,
    error::Sort,
    plan::lock,
    run::{RunFolder, checkpoint::Checkpoints, summary::Summary},
    train::{Session, Start, progress::Mode},
};

mod trial;

/// Train the experiment of a config file, or go on with a run.
#[derive(Debug, Args)]
pub struct Train {
    /// A TOML file; looked for here, in the parent folders, then among the copies inside the binary.
    #[arg(required_unless_present = "resume")]
    config: Option<PathBuf>,
    /// Change a key: --set optim.lr=3e-4. May be given several times.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Go on with this run folder from its newest complete checkpoint.
    #[arg(long, value_name = "RUN", conflicts_with_all = ["config", "again"])]
    resume: Option<PathBuf>,
    /// Train once more although the same experiment has run.
    #[arg(long)]
    again: bool,
    /// Build everything, print parameters, memory, steps and data sizes, and stop; nothing is written.
    #[arg(long, group = "trial", conflicts_with_all = ["resume", "again"])]
    dry_run: bool,
    /// Train on the first batch alone, for train.steps steps, and say whether the loss fell (exit code 0) or not (1); no run
    /// is written.
    #[arg(long, group = "trial", conflicts_with_all = ["resume", "again"])]
    overfit_one_batch: bool,
    /// Write the loss before every step of --overfit-one-batch to this file, a JSON object per line.
    #[arg(long, value_name = "FILE", requires = "overfit_one_batch")]
    log: Option<PathBuf>,
    /// Print the findings of --dry-run or --overfit-one-batch as an object.
    #[arg(long, requires = "trial")]
    json: bool,
    /// Stop at this step as if a signal had asked for it: saved, to be resumed, exit code 3. For tests of resuming.
    #[arg(long, value_name = "STEP", hide = true)]
    stop_at: Option<u64>,
    /// Report progress as JSON lines on stdout, for a parent process.
    #[arg(long, hide = true)]
    progress_json: bool,
    /// Train in this folder, or go on with what is there, for a parent process.
    #[arg(long, hide = true, requires = "lock", conflicts_with_all = ["resume", "again"])]
    place: Option<PathBuf>,
    /// Wait for this lock, and hold it.
    #[arg(long, hide = true)]
    lock: Option<PathBuf>,
}

impl Train {
    /// Trains.
    ///
    /// # Errors
    /// If the input does not fit, the run fails or is interrupted.
    pub fn run(self, global: &Global) -> Result<()> {
        let mode = match (self.progress_json, global.quiet) {
            (true, _) => Mode::Json,
            (_, true) => Mode::Silent,
            _ => Mode::Bar,
        };
        let sets = global.sets(&self.set);
        if let Some(path) = self.config.as_ref().filter(|_| self.dry_run) {
            return trial::dry_run(path, &sets, self.json, global);
        }
        if let Some(path) = self.config.as_ref().filter(|_| self.overfit_one_batch) {
            return trial::one_batch(path, &sets, self.log.as_deref(), self.json, mode, global);
        }
        // Until the child of a parent that was killed has saved and ended, its folder is not settled.
        let _alone = self.lock.as_deref().map(lock::wait).transpose().input()?;
        let begun = self.place.clone().filter(|place| Checkpoints::of(place).newest().is_ok());
        if begun.as_deref().is_some_and(|place| RunFolder::open(place).is_ok_and(|run| run.finished())) {
            return Ok(());
        }
        let mut session = match self.resume.or(begun) {
            Some(path) => {
                let folder = RunFolder::open(&path)?;
                let loaded = config::load(&folder.file("config.toml"), &sets)?;
                let (session, damaged) = Session::resume(folder, &loaded)?;
                for problem in damaged {
                    global.say(format_args!("warning: passed over a damaged checkpoint: {problem}"));
                }
                session
            }
            None => {
                let path = self.config.ok_or_else(|| anyhow!("give a config file")).input()?;
                let loaded = config::load(&path, &sets)?;
                let start = match &self.place {
                    Some(place) => Session::begin(&loaded, config::resolve(&loaded)?, place)
                        .map(|session| Start::New(Box::new(session))),
                    None => Session::start(&loaded, self.again),
                };
                match start? {
                    Start::New(session) => *session,
                    Start::Finished(run) => {
                        global.say("this experiment has been trained already; --again makes another run");
                        if !self.progress_json {
                            print(run.display());
                        }
                        return Ok(());
                    }
                    Start::Unfinished(run) => {
                        let run = run.display();
                        return Err(anyhow!(
                            "this experiment was begun and not finished; go on with: kiln train --resume {run}\n\
                             (--again makes another run)"
                        ))
                        .input();
                    }
                }
            }
        };
        if let Some(step) = self.stop_at {
            session.stop_at(step);
        }
        let folder = session.folder().path().to_owned();
        global.say(format_args!("run: {}", folder.display()));
        if self.progress_json {
            session.listen_to_parent();
        }
        let summary = session.run(mode)?;
        if !self.progress_json {
            print(table(&summary));
            print(format_args!("report: {}", folder.join("report.html").display()));
        }
        Ok(())
    }
}

/// Last and best values of losses and accuracies.
fn table(summary: &Summary) -> comfy_table::Table {
    let mut table = super::table(["metric", "final", "best", "at step"]);
    for (name, reached) in &summary.metrics {
        if let Some(best) = reached.best {
            let number = kiln_reports::number;
            let step = reached.best_step.map_or_else(String::new, |step| step.to_string());
            table.add_row([name.clone(), number(reached.last), number(best), step]);
        }
    }
    table
}
