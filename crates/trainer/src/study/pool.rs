//! Parallel runs: child processes over a frozen plan, with a lock file per run.
//!
//! Two processes may work on one plan: each run is locked while a child trains it, and a lock ends with its
//! holder. Children are told to stop by closing their standard input, so they also stop (and save) when the
//! parent is killed.
use std::{
    fs::{self, File, TryLockError},
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, anyhow, bail};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::plan::{Job, Plan};
use crate::{
    CODE_HASH, Error, Result,
    error::Sort,
    run::{RunFolder, checkpoint::Checkpoints},
    train::{progress::Report, stop},
};

/// How the runs of a plan are made.
#[derive(Clone, Debug)]
pub struct Options {
    /// Runs at a time.
    pub jobs: usize,
    /// Whether runs of another code version are made anew.
    pub rerun_stale: bool,
    /// Whether nothing is shown.
    pub quiet: bool,
}

/// Trains every run of the plan that is missing.
///
/// # Errors
/// If a run fails (the others are finished first), or a signal asks for an end.
pub fn execute(plan: &Plan, options: &Options) -> Result<()> {
    let stop = stop::signals().failed()?;
    let bars = Bars::new(plan, options.quiet);
    let queue = Mutex::new(vec![State::Waiting; plan.jobs.len()]);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..options.jobs.clamp(1, plan.jobs.len().max(1)) {
            scope.spawn(|| work(plan, options, &queue, &failures, &stop, &bars));
        }
    });
    bars.finish();
    if stop.load(Ordering::Relaxed) {
        return Err(Error::Interrupted { run: plan.dir.clone(), step: 0 });
    }
    let failures = failures.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    match failures.is_empty() {
        true => Ok(()),
        false => Err(anyhow!("{}", failures.join("\n"))).failed(),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    Running,
    Done,
}

fn work(
    plan: &Plan,
    options: &Options,
    queue: &Mutex<Vec<State>>,
    failures: &Mutex<Vec<String>>,
    stop: &AtomicBool,
    bars: &Bars,
) {
    let lock = |states: &Mutex<Vec<State>>, i: usize, state| {
        states.lock().unwrap_or_else(std::sync::PoisonError::into_inner)[i] = state;
    };
    while !stop.load(Ordering::Relaxed) {
        let next = {
            let mut states = queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let ready = |job: &Job| job.needs.iter().all(|need| states[*need] == State::Done);
            let next = (0..states.len()).find(|&i| states[i] == State::Waiting && ready(&plan.jobs[i]));
            if let Some(i) = next {
                states[i] = State::Running;
            } else if !states.contains(&State::Running) {
                return;
            }
            next
        };
        let Some(i) = next else {
            std::thread::sleep(Duration::from_millis(50));
            continue;
        };
        let job = &plan.jobs[i];
        match attempt(plan, job, options, stop, bars) {
            Ok(Outcome::Done) => {
                lock(queue, i, State::Done);
                bars.done();
            }
            Ok(Outcome::Elsewhere) => {
                lock(queue, i, State::Waiting);
                std::thread::sleep(Duration::from_millis(300));
            }
            Ok(Outcome::Stopped) => return stop.store(true, Ordering::Relaxed),
            Err(error) => {
                let mut failures = failures.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                failures.push(format!("{}: {error:#}", job.label()));
                lock(queue, i, State::Done);
                bars.done();
            }
        }
    }
}

enum Outcome {
    /// The run is there, finished.
    Done,
    /// Another process is making it.
    Elsewhere,
    /// A signal ended it.
    Stopped,
}

/// Whether the run is there and may be used.
pub fn is_done(folder: &Path, rerun_stale: bool) -> bool {
    let Ok(folder) = RunFolder::open(folder) else { return false };
    match folder.summary() {
        Ok(Some(summary)) => summary.status.is_final() && (!rerun_stale || summary.code == CODE_HASH),
        _ => false,
    }
}

fn attempt(plan: &Plan, job: &Job, options: &Options, stop: &AtomicBool, bars: &Bars) -> anyhow::Result<Outcome> {
    let Some(_lock) = claim(&plan.dir.join("locks").join(format!("{}.lock", job.label())))? else {
        return Ok(Outcome::Elsewhere);
    };
    if is_done(&job.folder, options.rerun_stale) {
        return Ok(Outcome::Done);
    }
    let finished = RunFolder::open(&job.folder).is_ok_and(|folder| folder.finished());
    if finished {
        // Only a stale run comes here; its folder would be taken for the new one's.
        fs::remove_dir_all(&job.folder).with_context(|| format!("cannot remove {}", job.folder.display()))?;
    }
    let resumable = Checkpoints::of(&job.folder).newest().is_ok();
    if !resumable {
        // What the claims said before the run; an edit made after it will show.
        crate::atomic::write(&plan.claims_file(job), serde_json::to_string_pretty(&plan.claims)? + "\n")?;
    }
    let mut command = Command::new(std::env::current_exe().context("cannot find this program's own file")?);
    command.arg("train").args(["--quiet", "--progress-json"]);
    match resumable {
        true => command.arg("--resume").arg(&job.folder),
        false => command.arg(&job.config),
    };
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (mut stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let said = std::thread::spawn(move || {
        let mut text = String::new();
        let _ = stderr.map(|mut stderr| stderr.read_to_string(&mut text));
        text
    });
    let bar = bars.job(job);
    let status = std::thread::scope(|scope| {
        scope.spawn(|| {
            for line in stdout.map(BufReader::new).into_iter().flat_map(BufRead::lines).map_while(Result::ok) {
                if let Ok(report) = serde_json::from_str::<Report>(&line) {
                    bar.show(&report);
                }
            }
        });
        loop {
            if stop.load(Ordering::Relaxed) {
                // The child takes a closed standard input as the wish to stop.
                stdin = None;
            }
            if let Some(status) = child.try_wait()? {
                return Ok::<_, std::io::Error>(status);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    })?;
    drop(stdin);
    bar.finish();
    let said = said.join().unwrap_or_default();
    match status.code() {
        Some(0) => Ok(Outcome::Done),
        Some(3) => Ok(Outcome::Stopped),
        // A run that ended by its own rules in a NaN is a result, not a failure of the plan.
        Some(1) if is_done(&job.folder, options.rerun_stale) => Ok(Outcome::Done),
        _ => bail!("{status}: {}", said.trim()),
    }
}

fn claim(path: &Path) -> anyhow::Result<Option<File>> {
    let folder: PathBuf = path.parent().map_or_else(PathBuf::new, Path::to_owned);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Ok(None),
        // A file system without locks: one process at a time then has to be the user's care.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(Some(file)),
    }
}

/// One bar for the plan, a line per running job.
struct Bars {
    all: MultiProgress,
    total: ProgressBar,
    width: usize,
}

struct JobBar {
    all: MultiProgress,
    bar: ProgressBar,
}

impl Bars {
    fn new(plan: &Plan, quiet: bool) -> Self {
        use std::io::IsTerminal;
        let visible = !quiet && std::io::stderr().is_terminal();
        let target = if visible { ProgressDrawTarget::stderr_with_hz(10) } else { ProgressDrawTarget::hidden() };
        let all = MultiProgress::with_draw_target(target);
        let total = all.add(
            ProgressBar::new(plan.jobs.len() as u64).with_style(style("runs {bar:24.green} {pos}/{len}  {elapsed}")),
        );
        total.enable_steady_tick(Duration::from_millis(500));
        let width = plan.jobs.iter().map(|job| job.label().len()).max().unwrap_or(0);
        Self { all, total, width }
    }

    fn job(&self, job: &Job) -> JobBar {
        let bar = ProgressBar::new(0).with_style(style("{prefix} {bar:24.cyan} {pos}/{len}  {eta} left  {msg}"));
        let bar = self.all.insert_before(&self.total, bar);
        bar.set_prefix(format!("{:<width$}", job.label(), width = self.width));
        JobBar { all: self.all.clone(), bar }
    }

    fn done(&self) {
        self.total.inc(1);
    }

    fn finish(&self) {
        self.total.finish_and_clear();
    }
}

impl JobBar {
    fn show(&self, report: &Report) {
        self.bar.set_length(report.steps);
        self.bar.set_position(report.step);
        if let Some(accuracy) = report.test_accuracy {
            self.bar.set_message(format!("test {:.1} %", 100.0 * accuracy));
        }
    }

    fn finish(&self) {
        self.all.remove(&self.bar);
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸─")
}
