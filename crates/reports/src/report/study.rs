//! The report of a study: its claims, their verdicts, and everything they rest on.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Drawing, duration, markup, number};
use crate::Plot;

/// What came of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every condition holds.
    Reproduced,
    /// Every direction holds, some threshold fails.
    Partly,
    /// A direction fails.
    NotReproduced,
    /// A precondition fails, so nothing can be said.
    Void,
    /// The margin is finer than the baseline's own spread.
    Undecidable,
    /// Nothing was run, for a stated reason.
    NotRun,
    /// One seed was looked at; the conditions are shown, no verdict is given.
    NoVerdict,
}

impl Verdict {
    /// All verdicts, in the order of the summary line.
    pub const ALL: [Verdict; 7] = [
        Verdict::Reproduced,
        Verdict::Partly,
        Verdict::NotReproduced,
        Verdict::Void,
        Verdict::Undecidable,
        Verdict::NotRun,
        Verdict::NoVerdict,
    ];

    /// A mark that tells verdicts apart without colour.
    pub fn mark(self) -> &'static str {
        match self {
            Verdict::Reproduced => "✓",
            Verdict::Partly => "◐",
            Verdict::NotReproduced => "✗",
            Verdict::Void => "∅",
            Verdict::Undecidable => "?",
            Verdict::NotRun | Verdict::NoVerdict => "–",
        }
    }

    /// Class name in the style sheet.
    fn class(self) -> &'static str {
        match self {
            Verdict::Reproduced => "good",
            Verdict::Partly => "warning",
            Verdict::NotReproduced => "bad",
            Verdict::Void => "void",
            Verdict::Undecidable => "open",
            Verdict::NotRun | Verdict::NoVerdict => "neutral",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Reproduced => "reproduced",
            Verdict::Partly => "partly",
            Verdict::NotReproduced => "not reproduced",
            Verdict::Void => "void",
            Verdict::Undecidable => "undecidable",
            Verdict::NotRun => "not run",
            Verdict::NoVerdict => "n = 1, no verdict",
        })
    }
}

/// A reason to read a verdict with care.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flag {
    /// The claim was edited after its runs had been made.
    ChangedAfterTheRun,
    /// The runs were made by different versions of the code.
    MixedCodeVersions,
}

impl fmt::Display for Flag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Flag::ChangedAfterTheRun => "changed after the run",
            Flag::MixedCodeVersions => "mixed code versions",
        })
    }
}

/// What a condition is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConditionKind {
    /// Must hold for the claim to say anything: the control did train.
    Precondition,
    /// The sign of the effect.
    Direction,
    /// The size of the effect.
    Threshold,
}

impl fmt::Display for ConditionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ConditionKind::Precondition => "precondition",
            ConditionKind::Direction => "direction",
            ConditionKind::Threshold => "threshold",
        })
    }
}

/// The value of an expression over runs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reading {
    /// A number, in the metric's own unit.
    Number(f64),
    /// The event did not happen within the run.
    Never,
    /// There is no run or no logged row to read it from.
    Missing,
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reading::Number(value) => f.write_str(&number(*value)),
            Reading::Never => f.write_str("never"),
            Reading::Missing => f.write_str("–"),
        }
    }
}

/// A condition on one seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeedValue {
    /// The seed.
    pub seed: u64,
    /// What was measured.
    pub value: Reading,
    /// Whether the condition holds there; `None` if it was not decided.
    pub holds: Option<bool>,
}

/// One condition of a claim.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Condition {
    /// Precondition, direction or threshold.
    pub kind: ConditionKind,
    /// What is measured, as written in the study: `first(A4.test_accuracy ≥ 0.95)`.
    pub expression: String,
    /// What it is held against: `≤ 120`.
    pub required: String,
    /// The same quantity in the paper, if it says so.
    pub published: Option<String>,
    /// What was measured, seed by seed.
    pub values: Vec<SeedValue>,
    /// The mean over the seeds, where the claim is decided on it.
    pub mean: Option<Reading>,
    /// Whether the condition holds as a whole; `None` if it was not decided.
    pub holds: Option<bool>,
}

/// One claim of a study.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// Short and unique: `G2`.
    pub id: String,
    /// Speaking name: `perpgrad_fast`; may be empty.
    pub name: String,
    /// What is claimed, in a sentence.
    pub statement: String,
    /// Figure or table of the paper; empty for a claim of the study's own.
    pub figure: String,
    /// What came of it.
    pub verdict: Verdict,
    /// Why it was not run, is void or undecidable; else empty.
    pub reason: String,
    /// Reasons to read the verdict with care.
    pub flags: Vec<Flag>,
    /// The measured result in a few words; may be empty.
    pub headline: String,
    /// What the verdict rests on.
    pub conditions: Vec<Condition>,
}

/// The work that a study repeats.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Paper {
    /// Authors, year, title.
    pub citation: String,
    /// Address of the paper, for the reader to follow; may be empty. Only `https://` addresses become links.
    pub url: String,
}

/// A picture of a study.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StudyFigure {
    /// One sentence or two.
    pub caption: String,
    /// The picture, drawn into the HTML page.
    pub plot: Plot,
    /// Path of its SVG file beside `REPORT.md`.
    pub svg_path: String,
    /// Path of its PNG file beside `REPORT.md`; may be empty.
    pub png_path: String,
}

/// A metric at the end of a run, one value per seed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EndMetric {
    /// Name as in `summary.json`.
    pub name: String,
    /// Values in the order of the run's seeds.
    pub values: Vec<f64>,
}

/// A named run of the study, over its seeds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PlannedRun {
    /// Name in the study: `A3`.
    pub name: String,
    /// What it changes in the base config, a line each: `loss.normalizer = "stablemax"`.
    pub differences: Vec<String>,
    /// Seeds that finished.
    pub seeds: Vec<u64>,
    /// Steps of each.
    pub steps: u64,
    /// Mean wall time of one seed in seconds.
    pub seconds: f64,
    /// Metrics at the end.
    pub end: Vec<EndMetric>,
    /// Claims that read the run; `None` where that was not recorded.
    #[serde(default)]
    pub claims: Option<Vec<String>>,
}

/// All that the report of a study shows. Empty parts leave no heading behind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StudyReport {
    /// Heading.
    pub title: String,
    /// What the study asks.
    pub question: String,
    /// The work it repeats.
    pub paper: Paper,
    /// Name of the scale: glance, quick, paper.
    pub scale: String,
    /// How the scale differs from the paper's own; may be empty.
    pub scale_note: String,
    /// When the runs were made.
    pub dates: String,
    /// Where they were made.
    pub machine: String,
    /// Hash of the code that made them.
    pub code_hash: String,
    /// Hash of the claims as they stood before the first run.
    pub claims_hash: String,
    /// Seeds of the study.
    pub seeds: Vec<u64>,
    /// The command that makes this report.
    pub command: String,
    /// Remarks that concern the whole report.
    pub notes: Vec<String>,
    /// The claims, in the order of the study.
    pub claims: Vec<Claim>,
    /// The pictures.
    pub figures: Vec<StudyFigure>,
    /// The runs.
    pub runs: Vec<PlannedRun>,
}

/// Both forms of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StudyText {
    /// `REPORT.md`, with links to the figure files.
    pub markdown: String,
    /// `report.html`, one file that loads nothing from anywhere.
    pub html: String,
}

/// The report of a study, as Markdown and as HTML.
pub fn study_report(report: &StudyReport) -> StudyText {
    let page = Page::of(report);
    StudyText { markdown: markup::render("study.md", &page), html: markup::render("study.html", &page) }
}

#[derive(Serialize)]
struct Page<'a> {
    report: &'a StudyReport,
    seeds: String,
    paper_is_link: bool,
    tally: Vec<Tally>,
    claims: Vec<ClaimRows<'a>>,
    figures: Vec<Drawing<'a>>,
    run_metrics: Vec<&'a str>,
    has_readers: bool,
    runs: Vec<RunRow<'a>>,
}

#[derive(Serialize)]
struct Tally {
    text: String,
    class: &'static str,
}

#[derive(Serialize)]
struct ClaimRows<'a> {
    claim: &'a Claim,
    word: String,
    mark: &'static str,
    class: &'static str,
    flags: Vec<String>,
    seeds: Vec<u64>,
    has_published: bool,
    has_mean: bool,
    conditions: Vec<ConditionRow<'a>>,
}

#[derive(Serialize)]
struct ConditionRow<'a> {
    kind: String,
    expression: &'a str,
    required: &'a str,
    published: &'a str,
    cells: Vec<Cell>,
    mean: String,
    holds: Mark,
}

#[derive(Serialize)]
struct Cell {
    text: String,
    holds: Mark,
}

/// A mark for held, failed and undecided, and its class in the style sheet.
#[derive(Serialize)]
struct Mark {
    sign: &'static str,
    word: &'static str,
    class: &'static str,
}

#[derive(Serialize)]
struct RunRow<'a> {
    name: &'a str,
    differences: &'a [String],
    seeds: String,
    steps: u64,
    time: String,
    end: Vec<String>,
    readers: String,
}

impl<'a> Page<'a> {
    fn of(report: &'a StudyReport) -> Self {
        let tally = Verdict::ALL.into_iter().filter_map(|verdict| {
            let count = report.claims.iter().filter(|claim| claim.verdict == verdict).count();
            let text = match verdict {
                Verdict::NoVerdict => format!("{count} without a verdict (n = 1)"),
                _ => format!("{count} {verdict}"),
            };
            (count > 0).then(|| Tally { text, class: verdict.class() })
        });
        let mut run_metrics: Vec<&str> = Vec::new();
        for metric in report.runs.iter().flat_map(|run| &run.end) {
            if !run_metrics.contains(&metric.name.as_str()) {
                run_metrics.push(&metric.name);
            }
        }
        Self {
            report,
            seeds: joined(&report.seeds, ", "),
            paper_is_link: report.paper.url.starts_with("https://"),
            tally: tally.collect(),
            claims: report.claims.iter().map(ClaimRows::of).collect(),
            figures: report.figures.iter().map(|figure| Drawing::of(&figure.plot, &figure.caption)).collect(),
            runs: report.runs.iter().map(|run| RunRow::of(run, &run_metrics)).collect(),
            run_metrics,
            has_readers: report.runs.iter().any(|run| run.claims.is_some()),
        }
    }
}

impl<'a> ClaimRows<'a> {
    fn of(claim: &'a Claim) -> Self {
        let values = claim.conditions.iter().flat_map(|condition| &condition.values);
        let seeds: Vec<u64> = values.map(|value| value.seed).collect::<BTreeSet<_>>().into_iter().collect();
        Self {
            claim,
            word: claim.verdict.to_string(),
            mark: claim.verdict.mark(),
            class: claim.verdict.class(),
            flags: claim.flags.iter().map(Flag::to_string).collect(),
            has_published: claim.conditions.iter().any(|condition| condition.published.is_some()),
            has_mean: claim.conditions.iter().any(|condition| condition.mean.is_some()),
            conditions: claim.conditions.iter().map(|condition| ConditionRow::of(condition, &seeds)).collect(),
            seeds,
        }
    }
}

impl<'a> ConditionRow<'a> {
    fn of(condition: &'a Condition, seeds: &[u64]) -> Self {
        let cell = |&seed: &u64| match condition.values.iter().find(|value| value.seed == seed) {
            Some(found) => Cell { text: found.value.to_string(), holds: Mark::of(found.holds) },
            None => Cell { text: String::new(), holds: Mark::of(None) },
        };
        Self {
            kind: condition.kind.to_string(),
            expression: &condition.expression,
            required: &condition.required,
            published: condition.published.as_deref().unwrap_or(""),
            cells: seeds.iter().map(cell).collect(),
            mean: condition.mean.map_or_else(String::new, |mean| mean.to_string()),
            holds: Mark::of(condition.holds),
        }
    }
}

impl Mark {
    fn of(holds: Option<bool>) -> Self {
        match holds {
            Some(true) => Self { sign: "✓", word: "holds", class: "good" },
            Some(false) => Self { sign: "✗", word: "fails", class: "bad" },
            None => Self { sign: "–", word: "not decided", class: "neutral" },
        }
    }
}

impl<'a> RunRow<'a> {
    fn of(run: &'a PlannedRun, metrics: &[&str]) -> Self {
        let end = |name: &&str| {
            let values = run.end.iter().find(|metric| metric.name == *name).map_or(&[][..], |metric| &metric.values);
            values.iter().map(|&value| number(value)).collect::<Vec<_>>().join(" / ")
        };
        Self {
            name: &run.name,
            differences: &run.differences,
            seeds: joined(&run.seeds, ", "),
            steps: run.steps,
            time: duration(run.seconds),
            end: metrics.iter().map(end).collect(),
            readers: match run.claims.as_deref() {
                None => String::new(),
                Some([]) => "report only".into(),
                Some(claims) => claims.join(", "),
            },
        }
    }
}

fn joined(seeds: &[u64], separator: &str) -> String {
    seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(separator)
}
