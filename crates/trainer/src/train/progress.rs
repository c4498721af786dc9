//! What a person or a parent process sees while a run trains.
use std::{
    io::{IsTerminal, Write},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use serde::{Deserialize, Serialize};

use crate::run::metrics::Row;

/// How progress is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// A bar on stderr, if it is a terminal.
    #[default]
    Bar,
    /// One JSON object per report on stdout, for a parent process.
    Json,
    /// Nothing.
    Silent,
}

/// One report to a parent process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Steps done.
    pub step: u64,
    /// Steps to do.
    pub steps: u64,
    /// Test accuracy of the last logged row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_accuracy: Option<f64>,
}

/// The display of one run.
#[derive(Debug)]
pub struct Progress {
    mode: Mode,
    bar: ProgressBar,
    steps: u64,
    last: Instant,
    test_accuracy: Option<f64>,
}

impl Progress {
    /// Starts the display at `step` of `steps`.
    pub fn new(mode: Mode, step: u64, steps: u64) -> Self {
        let visible = mode == Mode::Bar && std::io::stderr().is_terminal();
        let target = if visible { ProgressDrawTarget::stderr_with_hz(10) } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(steps), target).with_style(style()).with_position(step);
        bar.reset_eta();
        Self { mode, bar, steps, last: Instant::now(), test_accuracy: None }
    }

    /// A step was made.
    pub fn step(&mut self, step: u64) {
        match self.mode {
            Mode::Bar => self.bar.set_position(step),
            Mode::Json if self.last.elapsed() > Duration::from_millis(200) => self.report(step),
            Mode::Json | Mode::Silent => {}
        }
    }

    /// A row was logged.
    pub fn row(&mut self, row: &Row) {
        self.test_accuracy = row.get("test_accuracy");
        if self.mode == Mode::Bar {
            let shown = [("loss", "train_loss"), ("train", "train_accuracy"), ("test", "test_accuracy")];
            let parts: Vec<String> = shown
                .iter()
                .filter_map(|(label, metric)| Some((label, metric, row.get(metric)?)))
                .map(|(label, metric, value)| match metric.ends_with("_accuracy") {
                    true => format!("{label} {:.1} %", 100.0 * value),
                    false => format!("{label} {value:.3e}"),
                })
                .collect();
            self.bar.set_message(parts.join("  "));
        }
    }

    /// Removes the bar.
    pub fn finish(&mut self, step: u64) {
        self.bar.finish_and_clear();
        if self.mode == Mode::Json {
            self.report(step);
        }
    }

    fn report(&mut self, step: u64) {
        self.last = Instant::now();
        let report = Report { step, steps: self.steps, test_accuracy: self.test_accuracy };
        // A parent that went away is no reason to stop training.
        if let Ok(line) = serde_json::to_string(&report) {
            let _ = writeln!(std::io::stdout(), "{line}");
        }
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{bar:24.cyan} {pos}/{len}  {rate}  {eta} left  {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .with_key("rate", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            let _ = write!(out, "{:.0} steps/s", state.per_sec());
        })
        .progress_chars("━╸─")
}
