//! The page of one training run.

use serde::{Deserialize, Serialize};

use super::{Drawing, markup, number};
use crate::Plot;

/// How a word of state is coloured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tone {
    /// Finished as it should.
    Good,
    /// Stopped early, or still under way.
    Warning,
    /// Failed.
    Bad,
    /// Neither.
    #[default]
    Neutral,
}

/// A number that opens the page in large type.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Headline {
    /// What it is.
    pub label: String,
    /// Its value.
    pub value: f64,
    /// A few words below it, such as "best 0.998 at step 2100"; may be empty.
    pub note: String,
}

/// A row of the table of metrics.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// Name as in `metrics.jsonl`.
    pub name: String,
    /// Value in the last logged row.
    pub last: f64,
    /// Best value of all rows; `None` where better has no meaning.
    pub best: Option<f64>,
    /// Step of the best value.
    pub best_step: Option<u64>,
}

/// A command that the reader may want to copy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// What it does.
    pub purpose: String,
    /// The command line.
    pub line: String,
}

/// All that the page of a run shows. Empty parts leave no heading behind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    /// Name of the run.
    pub title: String,
    /// One line below it, such as "seed 2 · 2500 steps · 43 s"; may be empty.
    pub subtitle: String,
    /// One word or two: finished, stopped, failed.
    pub status: String,
    /// Colour of the status.
    pub tone: Tone,
    /// The numbers in large type.
    pub headlines: Vec<Headline>,
    /// Warnings of the run, in plain sentences.
    pub notes: Vec<String>,
    /// Curves first, then each group of diagnostics.
    pub plots: Vec<Plot>,
    /// Final and best value of each metric.
    pub metrics: Vec<Metric>,
    /// How to resume, repeat or evaluate.
    pub commands: Vec<Command>,
    /// What was changed by hand, as TOML; may be empty.
    pub overrides: String,
    /// The resolved config, as TOML.
    pub config: String,
    /// Machine, versions, hashes: name and value.
    pub environment: Vec<(String, String)>,
}

/// The page of a run: one HTML file that loads nothing from anywhere.
pub fn run_report(report: &RunReport) -> String {
    markup::render("run.html", Page::of(report))
}

#[derive(Serialize)]
struct Page<'a> {
    report: &'a RunReport,
    headlines: Vec<(&'a str, String, &'a str)>,
    metrics: Vec<Row<'a>>,
    figures: Vec<Drawing<'a>>,
}

#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    last: String,
    best: String,
    best_step: String,
}

impl<'a> Page<'a> {
    fn of(report: &'a RunReport) -> Self {
        let headline = |h: &'a Headline| (h.label.as_str(), number(h.value), h.note.as_str());
        let row = |metric: &'a Metric| Row {
            name: &metric.name,
            last: number(metric.last),
            best: metric.best.map_or_else(String::new, number),
            best_step: metric.best_step.map_or_else(String::new, |step| step.to_string()),
        };
        Self {
            report,
            headlines: report.headlines.iter().map(headline).collect(),
            metrics: report.metrics.iter().map(row).collect(),
            figures: report.plots.iter().map(|plot| Drawing::of(plot, "")).collect(),
        }
    }
}
