//! The record of a study: what is committed beside its file.
//!
//! ```text
//! experiments/grokking/
//!   REPORT.md  report.html            all recorded scales; the page of the first of them
//!   figures/
//!   records/quick/report.json         verdicts and values, from which the report can be drawn anew
//!   records/quick/A3-s2/              config.toml, environment.json, summary.json, metrics.csv (thinned)
//! ```
use std::{collections::BTreeSet, fs, path::Path};

use anyhow::Context;
use kiln_claims::Scale;
use kiln_reports::StudyReport;

use super::{Book, evidence::Evidence, report};
use crate::{atomic, plan::Plan};

/// Most bytes a run's thinned log may take.
const LOG_BYTES: usize = 12_000;

/// Writes the record of a scale and the report over all recorded scales.
///
/// # Errors
/// If a file cannot be read or written.
pub fn write(book: &Book, scale: Scale, plan: &Plan, evidence: &Evidence, report: &StudyReport) -> anyhow::Result<()> {
    let folder = book.path.parent().unwrap_or(Path::new("."));
    let records = folder.join("records").join(scale.name());
    for job in &plan.jobs {
        let Some(finished) = evidence.run(&job.run, job.seed) else { continue };
        let place = records.join(job.label());
        for file in ["config.toml", "environment.json"] {
            let path = plan.folder(job).join(file);
            let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            atomic::write(&place.join(file), text)?;
        }
        // Per-tensor values are in the run's own folder; here they would drown the rest.
        let mut summary = finished.summary.clone();
        summary.metrics.retain(|name, _| !name.contains('['));
        summary.write(&place.join("summary.json"))?;
        let mut read: BTreeSet<String> =
            ["train_loss", "train_accuracy", "test_loss", "test_accuracy"].map(String::from).into();
        read.extend(book.study.report.end_metrics().map(String::from));
        for claim in &book.study.claims {
            read.extend(
                claim
                    .conditions
                    .iter()
                    .flat_map(|c| c.expr.metrics())
                    .filter(|m| m.run == job.run)
                    .map(|m| m.name.clone()),
            );
        }
        // Not every run has a test set or an attention head.
        read.retain(|name| finished.rows.iter().any(|row| row.get(name).is_some()));
        atomic::write(&place.join("metrics.csv"), thinned(&finished.rows, &read))?;
    }
    atomic::write(&records.join("report.json"), serde_json::to_string(report)? + "\n")?;

    let mut markdown = String::new();
    let mut page = true;
    for scale in [Scale::Quick, Scale::Paper, Scale::Glance] {
        let path = folder.join("records").join(scale.name()).join("report.json");
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let stored: StudyReport =
            serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))?;
        let html = if page { "report.html".to_owned() } else { format!("report-{scale}.html") };
        report::write(&stored, folder, "REPORT.md", &html)?;
        if !markdown.is_empty() {
            markdown.push_str("\n---\n\n");
        }
        markdown.push_str(&kiln_reports::study_report(&stored).markdown);
        page = false;
    }
    atomic::write(&folder.join("REPORT.md"), markdown)
}

/// The log's columns `keep` as CSV, every second row dropped until it is small enough; first and last row stay.
fn thinned(rows: &[crate::run::metrics::Row], keep: &BTreeSet<String>) -> String {
    let mut step = 1;
    loop {
        let mut text = format!("step,{}\n", keep.iter().cloned().collect::<Vec<_>>().join(","));
        for (i, row) in rows.iter().enumerate() {
            if i % step == 0 || i + 1 == rows.len() {
                text.push_str(&row.step.to_string());
                for name in keep {
                    text.push(',');
                    if let Some(value) = row.get(name) {
                        text.push_str(&kiln_reports::number(value));
                    }
                }
                text.push('\n');
            }
        }
        if text.len() <= LOG_BYTES || step > rows.len() {
            return text;
        }
        step *= 2;
    }
}
