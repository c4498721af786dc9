//! What ends a run before its last step.
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use anyhow::{Context, bail};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::{
    config::schema::StopConfig,
    run::{metrics::Row, summary::Status},
};

/// The conditions of one run.
#[derive(Debug)]
pub struct Stops {
    config: StopConfig,
    signal: Arc<AtomicBool>,
    started: Instant,
    /// Seconds spent by earlier sessions of this run.
    before_s: f64,
}

impl Stops {
    /// Starts the clock and listens to signals.
    ///
    /// # Errors
    /// If the signal handlers cannot be installed.
    pub fn new(config: &StopConfig, before_s: f64) -> anyhow::Result<Self> {
        Ok(Self { config: config.clone(), signal: signals()?, started: Instant::now(), before_s })
    }

    /// Takes the end of standard input for a signal: a parent process closes it to stop the run, or is gone.
    pub fn listen_to_parent(&self) {
        let signal = self.signal.clone();
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            signal.store(true, Ordering::Relaxed);
        });
    }

    /// Seconds of training so far, over all sessions.
    pub fn elapsed_s(&self) -> f64 {
        self.before_s + self.started.elapsed().as_secs_f64()
    }

    /// Whether to end now, asked between two steps.
    pub fn between_steps(&self) -> Option<Status> {
        if self.signal.load(Ordering::Relaxed) {
            return Some(Status::Interrupted);
        }
        self.config.time_s.is_some_and(|budget| self.elapsed_s() >= budget).then_some(Status::TimeUp)
    }

    /// Whether a logged row ends the run.
    ///
    /// # Errors
    /// If the target's metric is not logged; the message lists what is.
    pub fn after_row(&self, row: &Row) -> anyhow::Result<Option<Status>> {
        if self.config.nan && row.get("train_loss").is_some_and(f64::is_nan) {
            return Ok(Some(Status::Nan));
        }
        let Some(target) = &self.config.target else { return Ok(None) };
        let Some(value) = row.get(&target.metric) else {
            let logged: Vec<_> = row.iter().map(|(name, _)| name).collect();
            bail!("train.stop.target: \"{}\" is not logged; logged are: {}", target.metric, logged.join(", "));
        };
        let reached = target.above.is_some_and(|at| value >= at) || target.below.is_some_and(|at| value <= at);
        Ok(reached.then_some(Status::TargetReached))
    }
}

/// A flag that SIGINT and SIGTERM raise. A second signal ends the process at once.
///
/// # Errors
/// If the signal handlers cannot be installed.
pub fn signals() -> anyhow::Result<Arc<AtomicBool>> {
    let signal = Arc::new(AtomicBool::new(false));
    for number in [SIGINT, SIGTERM] {
        // Order matters: the conditional shutdown sees the flag of an *earlier* signal.
        signal_hook::flag::register_conditional_shutdown(number, 3, signal.clone())
            .and_then(|_| signal_hook::flag::register(number, signal.clone()))
            .context("cannot listen to signals")?;
    }
    Ok(signal)
}
