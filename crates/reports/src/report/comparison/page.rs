//! The comparison as a page: HTML and Markdown.

use std::collections::BTreeSet;

use serde::Serialize;

use super::curves::comparison_figures;
use super::environment::Environment;
use super::table::{Row, Table, reading};
use super::{ComparisonReport, RunState};
use crate::report::markup;

/// One HTML page that loads nothing from anywhere.
pub fn comparison_html(report: &ComparisonReport) -> String {
    markup::render("comparison.html", Page::of(report, true))
}

/// The same as Markdown, with links to the figures' files where the metrics name them.
pub fn comparison_markdown(report: &ComparisonReport) -> String {
    markup::render("comparison.md", Page::of(report, false))
}

#[derive(Serialize)]
struct Page<'a> {
    report: &'a ComparisonReport,
    /// Number of variants, seeds, baseline: `4 variants · seeds 0, 1, 2 · baseline softmax`.
    outline: String,
    absent: Vec<Absent<'a>>,
    varied: Varied<'a>,
    reading: Vec<String>,
    sections: Vec<Section<'a>>,
    environment: Environment<'a>,
}

/// A run that has not finished.
#[derive(Serialize)]
struct Absent<'a> {
    variant: &'a str,
    seed: u64,
    word: &'static str,
    reason: &'a str,
}

/// The keys on which variants differ, and what each has there.
#[derive(Serialize)]
struct Varied<'a> {
    keys: Vec<&'a str>,
    rows: Vec<(&'a str, Vec<Option<&'a str>>)>,
}

/// A metric: its table, and its figure if it has curves.
#[derive(Serialize)]
struct Section<'a> {
    table: Table<'a>,
    rows: Vec<Shown>,
    svg: String,
    caption: String,
}

/// What the templates need of a row beside its texts.
#[derive(Serialize)]
struct Shown {
    seeds: String,
    pairs: Option<String>,
}

impl<'a> Page<'a> {
    fn of(report: &'a ComparisonReport, with_svg: bool) -> Self {
        let tables = Table::all(report);
        let figures = comparison_figures(report);
        let band = report.band.to_string();
        let mut reading = reading(report, &tables);
        if with_svg && tables.iter().any(|table| table.compared && table.metric.better.is_some()) {
            reading.push("Differences with a bold p are green where they are for the better, red where for the worse; all others are grey.".into());
        }
        let sections = tables.into_iter().map(|table| {
            let figure = figures.iter().find(|(name, _)| *name == table.metric.name).map(|(_, figure)| figure);
            let has_band = figure.is_some_and(|figure| figure.series.iter().any(|series| series.band.is_some()));
            let caption = match figure {
                Some(_) if has_band => {
                    format!("{}: mean over the seeds, where every seed has a point; {band}.", table.metric.name)
                }
                Some(_) => format!("{}, a line per seed.", table.metric.name),
                None => String::new(),
            };
            let shown = |row: &Row<'_>| Shown { seeds: row.seeds(), pairs: row.pairs() };
            Section {
                rows: table.rows.iter().map(shown).collect(),
                svg: figure.filter(|_| with_svg).map_or_else(String::new, crate::Figure::to_svg),
                caption,
                table,
            }
        });
        Self {
            report,
            outline: outline(report),
            absent: absent(report),
            varied: Varied::of(report),
            reading,
            sections: sections.collect(),
            environment: Environment::of(report),
        }
    }
}

fn outline(report: &ComparisonReport) -> String {
    let count = |n: usize, one: &str| if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") };
    let seeds: BTreeSet<u64> = report.variants.iter().flat_map(|variant| variant.runs.keys().copied()).collect();
    let mut parts = Vec::new();
    if !report.variants.is_empty() {
        parts.push(count(report.variants.len(), "variant"));
    }
    if !seeds.is_empty() {
        let list = seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
        parts.push(if seeds.len() == 1 { format!("seed {list}") } else { format!("seeds {list}") });
    }
    if let Some(baseline) = report.baseline() {
        parts.push(format!("baseline {}", baseline.name));
    }
    parts.join(" · ")
}

fn absent(report: &ComparisonReport) -> Vec<Absent<'_>> {
    let of_variant = report.variants.iter().flat_map(|variant| variant.runs.iter().map(move |run| (variant, run)));
    let absent = of_variant.filter_map(|(variant, (&seed, run))| {
        let (word, reason) = match &run.state {
            RunState::Finished => return None,
            RunState::Failed(reason) => ("failed", reason),
            RunState::Missing(reason) => ("missing", reason),
        };
        Some(Absent { variant: &variant.name, seed, word, reason })
    });
    absent.collect()
}

impl<'a> Varied<'a> {
    fn of(report: &'a ComparisonReport) -> Self {
        let value = |variant: &'a super::Variant, key: &str| {
            variant.settings.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
        };
        let mut keys: Vec<&str> = Vec::new();
        for (key, _) in report.variants.iter().flat_map(|variant| &variant.settings) {
            if !keys.contains(&key.as_str()) {
                keys.push(key);
            }
        }
        keys.retain(|key| report.variants.windows(2).any(|pair| value(&pair[0], key) != value(&pair[1], key)));
        let row = |variant: &'a super::Variant| {
            (variant.name.as_str(), keys.iter().map(|key| value(variant, key)).collect::<Vec<_>>())
        };
        let rows = if keys.is_empty() { Vec::new() } else { report.variants.iter().map(row).collect() };
        Self { keys, rows }
    }
}
