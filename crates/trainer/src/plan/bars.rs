//! What a person sees while a plan is carried out: a bar for the plan, a line per running job.
use std::{io::IsTerminal, time::Duration};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Job, Plan};
use crate::train::progress::Report;

/// The display of a plan.
pub(super) struct Bars {
    all: MultiProgress,
    total: ProgressBar,
    width: usize,
}

/// The line of one job.
pub(super) struct JobBar {
    all: MultiProgress,
    bar: ProgressBar,
}

impl Bars {
    /// Starts it, on stderr if that is a terminal and the user wants to hear of it.
    pub(super) fn new(plan: &Plan, quiet: bool) -> Self {
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

    /// A line for a job that begins.
    pub(super) fn job(&self, job: &Job) -> JobBar {
        let bar = ProgressBar::new(0).with_style(style("{prefix} {bar:24.cyan} {pos}/{len}  {eta} left  {msg}"));
        let bar = self.all.insert_before(&self.total, bar);
        bar.set_prefix(format!("{:<width$}", job.label(), width = self.width));
        JobBar { all: self.all.clone(), bar }
    }

    /// One run more is settled.
    pub(super) fn done(&self) {
        self.total.inc(1);
    }

    /// A line that stays, above the bars.
    pub(super) fn say(&self, line: &str) {
        let _ = self.all.println(line);
    }

    /// Removes the display.
    pub(super) fn finish(&self) {
        self.total.finish_and_clear();
    }
}

impl JobBar {
    /// Shows what the job reported.
    pub(super) fn show(&self, report: &Report) {
        self.bar.set_length(report.steps);
        self.bar.set_position(report.step);
        if let Some(accuracy) = report.test_accuracy {
            self.bar.set_message(format!("test {:.1} %", 100.0 * accuracy));
        }
    }

    /// Removes the line.
    pub(super) fn finish(&self) {
        self.all.remove(&self.bar);
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸─")
}
