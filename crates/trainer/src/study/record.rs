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
use crate::{atomic, plan::Plan, run};

/// Writes the record of a scale and the report over all recorded scales.
///
/// # Errors
/// If a file cannot be read or written.
pub fn write(book: &Book, scale: Scale, plan: &Plan, evidence: &Evidence, report: &StudyReport) -> anyhow::Result<()> {
    let folder = book.path.parent().unwrap_or(Path::new("."));
    let records = folder.join("records").join(scale.name());
    for job in &plan.jobs {
        let Some(finished) = evidence.run(&job.run, job.seed) else { continue };
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
        run::record::write(&plan.folder(job), &finished.summary, &finished.rows, read, &records.join(job.label()))?;
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
