//! A comparison as files.
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use kiln_reports::{
    comparison_csv_seeds, comparison_csv_summary, comparison_figures, comparison_html, comparison_latex,
    comparison_markdown, svg_to_png,
};

use super::Comparison;
use crate::{atomic, run};

/// Writes page, tables and figures into `folder`, and what is kept of every run if `records`; returns the page.
///
/// # Errors
/// If a file cannot be written or drawn.
pub fn write(comparison: &Comparison, folder: &Path, records: bool) -> anyhow::Result<PathBuf> {
    let Comparison { report, runs } = comparison;
    for (name, figure) in comparison_figures(report) {
        let svg = figure.to_svg();
        let place = folder.join("figures");
        atomic::write(&place.join(format!("{name}.png")), svg_to_png(&svg, 2.0)?)?;
        atomic::write(&place.join(format!("{name}.svg")), svg)?;
    }
    atomic::write(&folder.join("REPORT.md"), comparison_markdown(report))?;
    atomic::write(&folder.join("table.tex"), comparison_latex(report))?;
    atomic::write(&folder.join("summary.csv"), comparison_csv_summary(report))?;
    atomic::write(&folder.join("seeds.csv"), comparison_csv_seeds(report))?;
    if records {
        let always = ["train_loss", "train_accuracy", "test_loss", "test_accuracy"].map(String::from);
        let keep: BTreeSet<String> =
            always.into_iter().chain(report.metrics.iter().map(|metric| metric.name.clone())).collect();
        for finished in runs {
            let place = folder.join("records").join(&finished.label);
            run::record::write(&finished.folder, &finished.summary, &finished.rows, keep.clone(), &place)?;
        }
    }
    let page = folder.join("report.html");
    atomic::write(&page, comparison_html(report))?;
    Ok(page)
}
