//! The loop: `prepare → (step → maybe log → maybe save → maybe stop)* → finish`.
//!
//! Row t of the log describes w_t after t updates. The gradient and the update of that row belong to the step
//! that starts there; in the last row they are computed once more and not applied. A checkpoint of step t is
//! w_t *before* row t is logged, so a resumed run writes that row again, bit for bit.
pub mod engine;
pub mod feed;
pub mod outline;
pub mod overfit;
mod pieces;
pub mod progress;
pub mod snapshot;
pub mod state;
pub mod stop;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};

use crate::{
    CODE_HASH, Error, Result,
    config::{self, Loaded, Resolved, leaves::leaves},
    error::Sort,
    run::{
        RunFolder,
        checkpoint::Checkpoints,
        metrics::{self, MetricsLog},
        report,
        summary::{Status, Summary},
    },
};
use engine::Engine;
use progress::{Mode, Progress};
use state::TrainState;
use stop::Stops;

/// A run that can go on.
pub struct Session {
    engine: Engine,
    steps: u64,
    folder: RunFolder,
    log: MetricsLog,
    checkpoints: Checkpoints,
    stops: Stops,
    stop_at: Option<u64>,
}

/// What `kiln train CONFIG` found to do.
pub enum Start {
    /// A new run, ready to go.
    New(Box<Session>),
    /// The same experiment has come to its end before.
    Finished(PathBuf),
    /// The same experiment was begun before and did not come to its end.
    Unfinished(PathBuf),
}

impl Session {
    /// Prepares the run of an experiment in its own folder below `run.dir`, unless it is there already.
    /// `again` makes another one beside it.
    ///
    /// # Errors
    /// If the parts do not fit each other or the folder cannot be written.
    pub fn start(loaded: &Loaded, again: bool) -> Result<Start> {
        let resolved = config::resolve(loaded)?;
        let dir = &loaded.experiment.run.dir;
        let name = RunFolder::name(&config::stem(&loaded.path), &loaded.experiment);
        let mut path = dir.join(&name);
        for copy in 2.. {
            // A folder without a checkpoint is a run that was killed before its first step: begin it anew.
            if !path.exists() || Checkpoints::of(&path).newest().is_err() {
                break;
            }
            if !again {
                let folder = RunFolder::open(&path)?;
                return Ok(if folder.finished() { Start::Finished(path) } else { Start::Unfinished(path) });
            }
            path = dir.join(format!("{name}-{copy}"));
        }
        Ok(Start::New(Box::new(Self::begin(loaded, resolved, &path)?)))
    }

    /// Prepares a new run in this folder, whatever is there.
    ///
    /// # Errors
    /// If the parts do not fit each other or the folder cannot be written.
    pub fn begin(loaded: &Loaded, resolved: Resolved, path: &Path) -> Result<Self> {
        set_threads(loaded.experiment.run.threads);
        let engine = ready(loaded, resolved.source, &resolved.device)?;
        let folder = RunFolder::create(path, loaded)?;
        let log = MetricsLog::open(&folder.file("metrics.jsonl"), 0).input()?;
        Self::assemble(engine, resolved.steps, folder, log, 0.0)
    }

    /// Continues a run from its newest complete checkpoint. `loaded` is the folder's config with the changes
    /// the user asked for. Returns the session and what was wrong with newer checkpoints.
    ///
    /// # Errors
    /// If another process trains it, no checkpoint is complete, or the config changed in a way that would
    /// make it another run.
    pub fn resume(mut folder: RunFolder, loaded: &Loaded) -> Result<(Self, Vec<String>)> {
        let (before, _) = config::load_as(&folder.file("config.toml"))?;
        may_resume(&before, loaded)?;
        let Resolved { device, source, steps } = config::resolve(loaded)?;
        set_threads(loaded.experiment.run.threads);
        folder.acquire().input()?;
        let checkpoints = Checkpoints::of(folder.path());
        checkpoints.sweep();
        let (_, files, damaged) = checkpoints.newest().input()?;
        let mut engine = ready(loaded, source, &device)?;
        let TrainState { model, chain, .. } = engine.state.clone();
        let (state, position) = TrainState::from_files(&files, model, chain)
            .with_context(|| format!("cannot resume {}", folder.path().display()))
            .input()?;
        if state.step > steps {
            let message = format!("the run is at step {} already; train.steps = {steps} is behind it", state.step);
            return Err(loaded.document.error_at("train.steps", &message, None).into());
        }
        engine.state = state;
        folder.write_config(&loaded.experiment).input()?;
        folder.write_environment().input()?;
        let log = MetricsLog::open(&folder.file("metrics.jsonl"), position.metrics_bytes).input()?;
        Ok((Self::assemble(engine, steps, folder, log, position.elapsed_s)?, damaged))
    }

    fn assemble(engine: Engine, steps: u64, folder: RunFolder, log: MetricsLog, elapsed_s: f64) -> Result<Self> {
        let stops = Stops::new(&engine.experiment().train.stop, elapsed_s).failed()?;
        let checkpoints = Checkpoints::of(folder.path());
        Ok(Self { engine, steps, folder, log, checkpoints, stops, stop_at: None })
    }

    /// The run's folder.
    pub fn folder(&self) -> &RunFolder {
        &self.folder
    }

    /// Stops the run, saved, when the parent process closes this one's standard input or is gone.
    pub fn listen_to_parent(&self) {
        self.stops.listen_to_parent();
    }

    /// Ends at a step as if a signal had asked for it there.
    pub fn stop_at(&mut self, step: u64) {
        self.stop_at = Some(step);
    }

    /// Trains to the end, or until something stops it, and writes summary, curves and report.
    ///
    /// # Errors
    /// [`Error::Interrupted`] if a signal asked for an end; [`Error::Run`] if the loss is not a number or the
    /// disk does not take the results.
    pub fn run(mut self, mode: Mode) -> Result<Summary> {
        let mut progress = Progress::new(mode, self.engine.state.step, self.steps);
        let status = self.train(&mut progress);
        progress.finish(self.engine.state.step);
        let status = status.failed()?;
        let summary = self.finish(status).failed()?;
        let (run, step) = (self.folder.path().to_owned(), self.engine.state.step);
        match status {
            Status::Interrupted => Err(Error::Interrupted { run, step }),
            Status::Nan => Err(anyhow!("the loss is not a number at step {step}; see {}", run.display())).failed(),
            _ => Ok(summary),
        }
    }

    fn train(&mut self, progress: &mut Progress) -> anyhow::Result<Status> {
        let every = self.engine.experiment().train.checkpoint.every;
        let log_every = self.engine.experiment().eval.every;
        loop {
            let step = self.engine.state.step;
            let ending = if step >= self.steps {
                Some(Status::Finished)
            } else if self.stop_at.is_some_and(|at| step >= at) {
                Some(Status::Interrupted)
            } else {
                self.stops.between_steps()
            };
            if ending.is_some() || step.is_multiple_of(every) {
                self.save()?;
            }
            if ending == Some(Status::Interrupted) {
                // No row: the resumed run logs it if it is due.
                return Ok(Status::Interrupted);
            }
            let pass = self.engine.pass();
            if ending.is_some() || step.is_multiple_of(log_every) {
                let (row, next) = self.engine.row(pass)?;
                self.log.append(&row)?;
                progress.row(&row);
                if let Some(status) = ending {
                    return Ok(status);
                }
                if let Some(status) = self.stops.after_row(&row)? {
                    self.save()?;
                    return Ok(status);
                }
                self.engine.adopt(next);
            } else {
                self.engine.advance(pass);
            }
            progress.step(self.engine.state.step);
        }
    }

    fn save(&self) -> anyhow::Result<()> {
        let files = self.engine.state.to_files(self.log.sync()?, self.stops.elapsed_s())?;
        self.checkpoints.save(self.engine.state.step, &files, self.engine.experiment().train.checkpoint.keep)
    }

    fn finish(&mut self, status: Status) -> anyhow::Result<Summary> {
        self.log.sync()?;
        let rows = metrics::read(&self.folder.file("metrics.jsonl"))?;
        crate::atomic::write(&self.folder.file("metrics.csv"), metrics::to_csv(&rows))?;
        let summary = Summary {
            status,
            identity: config::identity(self.engine.experiment()),
            code: CODE_HASH.into(),
            steps: self.engine.state.step,
            train_time_s: self.stops.elapsed_s(),
            parameters: self.engine.parameters(),
            metrics: Summary::reached(&rows),
        };
        report::write(&self.folder, &summary, &rows)?;
        // Last: its presence says that everything else is there.
        summary.write(&self.folder.file("summary.json"))?;
        Ok(summary)
    }
}

/// Builds the engine of a resolved experiment; a misfit points at the key in the config.
///
/// # Errors
/// If the optimizer does not fit the network's parameters.
pub fn build(
    loaded: &Loaded,
    source: Box<dyn kiln_datasets::BatchSource>,
    device: &burn::tensor::Device,
) -> Result<Engine> {
    Engine::new(loaded.experiment.clone(), source, device)
        .map_err(|invalid| loaded.document.error_at(&format!("optim.{}", invalid.key), &invalid.message, None).into())
}

/// As [`build`], with the task made ready to train.
///
/// # Errors
/// As for [`build`], and if something the task needs is not there.
pub fn ready(
    loaded: &Loaded,
    source: Box<dyn kiln_datasets::BatchSource>,
    device: &burn::tensor::Device,
) -> Result<Engine> {
    let mut engine = build(loaded, source, device)?;
    match engine.prepare() {
        Ok(_) => Ok(engine),
        Err(misfit) => Err(config::refuse_task(&loaded.document, &misfit)),
    }
}

/// Sizes the worker pool; only the first call of a process has an effect.
pub fn set_threads(threads: Option<usize>) {
    if let Some(threads) = threads {
        let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    }
}

/// Whether the changed config still describes the same run: place, threads, workers, logging, early ends and
/// checkpoints may change, and the number of steps may grow.
fn may_resume(before: &config::schema::Experiment, loaded: &Loaded) -> Result<()> {
    let now = &loaded.experiment;
    let mut then = before.clone();
    then.run.dir.clone_from(&now.run.dir);
    then.run.threads = now.run.threads;
    then.run.workers = now.run.workers;
    then.eval = now.eval.clone();
    then.train.checkpoint = now.train.checkpoint.clone();
    then.train.stop = now.train.stop.clone();
    if now.train.steps >= then.train.steps {
        then.train.steps = now.train.steps;
    }
    if now.train.epochs >= then.train.epochs {
        then.train.epochs = now.train.epochs;
    }
    if then == *now {
        return Ok(());
    }
    let (old, new) = (leaves(&then), leaves(now));
    let mut changed: Vec<&String> =
        new.iter().filter(|(key, value)| old.get(*key) != Some(*value)).map(|(k, _)| k).collect();
    changed.extend(old.keys().filter(|key| !new.contains_key(*key)));
    let key = changed.first().map_or("run", |key| key.as_str());
    let message = format!(
        "{key} was {} when this run began; a resumed run may change run.dir, run.threads, run.workers, [eval], \
         train.checkpoint, train.stop, and raise train.steps, nothing else. Train it as a new run",
        old.get(key).map_or_else(|| "absent".to_owned(), ToString::to_string),
    );
    Err(loaded.document.error_at(key, &message, None).into())
}
