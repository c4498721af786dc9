//! Parallel runs: child processes over a frozen plan, with locks on files.
//!
//! Any number of processes may work on one plan, and no server is between them. Whoever has a run made holds its lock, and
//! a lock ends with its holder. Children are told to stop by closing their standard input, so they also stop (and save)
//! when the parent is killed; until they have, they hold a second lock, for which the next child of that run waits.
use std::{
    fs,
    io::{BufRead, BufReader, Read},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};

use super::{
    Job, Plan,
    bars::Bars,
    lock,
    state::{is_done, now_ms},
};
use crate::{
    Error, Result,
    error::Sort,
    run::{RunFolder, checkpoint::Checkpoints},
    train::{progress::Report, stop},
};

/// How the runs of a plan are made.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// Runs at a time.
    pub jobs: usize,
    /// Whether runs of another code version are made anew.
    pub rerun_stale: bool,
    /// Whether the first failure stops the others, which can be gone on with.
    pub fail_fast: bool,
    /// Whether nothing is shown.
    pub quiet: bool,
    /// Called before a run is begun anew.
    pub before: &'a (dyn Fn(&Job) -> anyhow::Result<()> + Sync),
}

/// What became of a plan.
#[derive(Clone, Debug, Default)]
pub struct Execution {
    /// Whether a signal ended it.
    pub interrupted: bool,
    /// Name and seed of every run that failed, and why.
    pub failures: Vec<(String, String)>,
}

impl Execution {
    /// Success, if every run is there.
    ///
    /// # Errors
    /// [`Error::Stopped`] after a signal, else the runs that failed with their reasons.
    pub fn check(&self) -> Result<()> {
        if self.interrupted {
            return Err(Error::Stopped);
        }
        let lines: Vec<String> = self.failures.iter().map(|(label, reason)| format!("{label}: {reason}")).collect();
        if lines.is_empty() { Ok(()) } else { Err(anyhow!("{}", lines.join("\n"))).failed() }
    }
}

/// Trains every run of the plan that is missing. A run that fails leaves the others alone, except those that need it.
///
/// # Errors
/// If signals cannot be listened to.
pub fn execute(plan: &Plan, options: &Options<'_>) -> Result<Execution> {
    let signal = stop::signals().failed()?;
    let pool = Pool {
        plan,
        options,
        queue: Mutex::new(vec![State::Waiting(None); plan.jobs.len()]),
        failures: Mutex::new(Vec::new()),
        signal: &signal,
        halt: AtomicBool::new(false),
        bars: Bars::new(plan, options.quiet),
        begun_ms: now_ms(),
    };
    std::thread::scope(|scope| {
        for _ in 0..options.jobs.clamp(1, plan.jobs.len().max(1)) {
            scope.spawn(|| pool.work());
        }
    });
    pool.bars.finish();
    let failures = pool.failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    // A signal to a child alone stops the rest as well.
    let stopped = pool.halt.load(Ordering::Relaxed) && failures.is_empty();
    Ok(Execution { interrupted: stopped || signal.load(Ordering::Relaxed), failures })
}

/// A job, as this process sees it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// To be made; another process had it at this time.
    Waiting(Option<Instant>),
    Running,
    Done,
    Failed,
}

enum Outcome {
    /// The run is there, finished.
    Done,
    /// Another process is making it.
    Elsewhere,
    /// It ended unfinished because it was told to.
    Stopped,
    /// It did not come to an end of its own.
    Failed(String),
}

/// How long a run that another process makes is left alone.
const PATIENCE: Duration = Duration::from_millis(300);

/// Everything the workers share.
struct Pool<'a> {
    plan: &'a Plan,
    options: &'a Options<'a>,
    queue: Mutex<Vec<State>>,
    failures: Mutex<Vec<(String, String)>>,
    /// Raised by a signal.
    signal: &'a AtomicBool,
    /// Raised when nothing more is to be begun and what runs is to stop.
    halt: AtomicBool,
    bars: Bars,
    begun_ms: u64,
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool<'_> {
    fn stopping(&self) -> bool {
        self.signal.load(Ordering::Relaxed) || self.halt.load(Ordering::Relaxed)
    }

    fn work(&self) {
        while !self.stopping() {
            let Some(i) = self.next() else {
                if !held(&self.queue).iter().any(|state| matches!(state, State::Waiting(_) | State::Running)) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(50));
                continue;
            };
            let job = &self.plan.jobs[i];
            let outcome = self.attempt(job).unwrap_or_else(|error| Outcome::Failed(format!("{error:#}")));
            match outcome {
                Outcome::Done => self.settle(i, State::Done),
                Outcome::Elsewhere => held(&self.queue)[i] = State::Waiting(Some(Instant::now())),
                Outcome::Stopped => {
                    held(&self.queue)[i] = State::Waiting(None);
                    self.halt.store(true, Ordering::Relaxed);
                }
                Outcome::Failed(reason) => self.fail(i, reason),
            }
        }
    }

    /// The first job that can be begun, which is then this worker's. A job whose need has failed fails with it.
    fn next(&self) -> Option<usize> {
        loop {
            let mut queue = held(&self.queue);
            let waiting = |i: &usize| matches!(queue[*i], State::Waiting(_));
            let needs = |i: usize, state: State| self.plan.jobs[i].needs.iter().find(|need| queue[**need] == state);
            let doomed = (0..queue.len()).filter(waiting).find_map(|i| Some((i, *needs(i, State::Failed)?)));
            if let Some((i, need)) = doomed {
                drop(queue);
                self.fail(i, format!("needs {}, which failed", self.plan.jobs[need].label()));
                continue;
            }
            let patient = |i: &usize| !matches!(queue[*i], State::Waiting(Some(at)) if at.elapsed() < PATIENCE);
            let ready = |i: &usize| self.plan.jobs[*i].needs.iter().all(|need| queue[*need] == State::Done);
            let next = (0..queue.len()).find(|i| waiting(i) && patient(i) && ready(i))?;
            queue[next] = State::Running;
            return Some(next);
        }
    }

    fn settle(&self, i: usize, state: State) {
        held(&self.queue)[i] = state;
        self.bars.done();
    }

    fn fail(&self, i: usize, reason: String) {
        let job = &self.plan.jobs[i];
        let label = job.label();
        if let Err(error) = self.plan.note_failure(job, &reason) {
            self.bars.say(&format!("warning: {error:#}"));
        }
        self.bars.say(&format!("{label} failed: {}", reason.lines().next().unwrap_or_default()));
        held(&self.failures).push((label, reason));
        self.settle(i, State::Failed);
        if self.options.fail_fast {
            self.halt.store(true, Ordering::Relaxed);
        }
    }

    fn attempt(&self, job: &Job) -> anyhow::Result<Outcome> {
        let Self { plan, options, .. } = self;
        let Some(_lock) = lock::claim(&plan.lock(job))? else { return Ok(Outcome::Elsewhere) };
        let folder = plan.folder(job);
        if is_done(&folder, options.rerun_stale) {
            plan.forget_failure(job);
            return Ok(Outcome::Done);
        }
        // Another process has just tried; a later start of the command tries again.
        if let Some(failure) = plan.failure(job).filter(|failure| failure.at_ms >= self.begun_ms) {
            return Ok(Outcome::Failed(failure.reason));
        }
        if RunFolder::open(&folder).is_ok_and(|folder| folder.finished()) {
            // Only a stale run comes here; its folder would be taken for the new one's.
            fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        }
        if Checkpoints::of(&folder).newest().is_err() {
            (options.before)(job)?;
        }
        let mut child = self.spawn(job)?;
        let stderr = child.stderr.take();
        let said = std::thread::spawn(move || {
            let mut text = String::new();
            let _ = stderr.map(|mut stderr| stderr.read_to_string(&mut text));
            text
        });
        let status = self.watch(job, &mut child)?;
        let said = said.join().unwrap_or_default();
        match status.code() {
            // A run that ended by its own rules in a NaN is a result, not a failure of the plan.
            Some(0 | 1) if is_done(&folder, options.rerun_stale) => {
                plan.forget_failure(job);
                Ok(Outcome::Done)
            }
            Some(3) => Ok(Outcome::Stopped),
            // A signal to the whole group may have met the child before it listened.
            _ if self.stopping() => Ok(Outcome::Stopped),
            _ => Ok(Outcome::Failed(match said.trim().trim_start_matches("error: ") {
                "" => status.to_string(),
                said => said.to_owned(),
            })),
        }
    }

    fn spawn(&self, job: &Job) -> anyhow::Result<Child> {
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        let mut command = Command::new(program);
        command.arg("train").arg(self.plan.config(job)).args(["--quiet", "--progress-json"]);
        command.arg("--place").arg(self.plan.folder(job)).arg("--lock").arg(self.plan.child_lock(job));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().context("cannot start this program once more")
    }

    /// Shows what the child reports until it ends.
    fn watch(&self, job: &Job, child: &mut Child) -> std::io::Result<ExitStatus> {
        let (mut stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let bar = self.bars.job(job);
        let status = std::thread::scope(|scope| {
            scope.spawn(|| {
                for line in stdout.map(BufReader::new).into_iter().flat_map(BufRead::lines).map_while(Result::ok) {
                    if let Ok(report) = serde_json::from_str::<Report>(&line) {
                        bar.show(&report);
                    }
                }
            });
            loop {
                if self.stopping() {
                    // The child takes a closed standard input as the wish to stop.
                    stdin = None;
                }
                if let Some(status) = child.try_wait()? {
                    return Ok(status);
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        drop(stdin);
        bar.finish();
        status
    }
}
