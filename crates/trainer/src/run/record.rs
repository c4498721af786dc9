//! What is kept of a finished run where many are committed: its config, machine and summary, and a thinned log.
use std::{collections::BTreeSet, fs, path::Path};

use anyhow::Context;

use super::{metrics::Row, summary::Summary};
use crate::atomic;

/// Most bytes a run's thinned log may take.
const LOG_BYTES: usize = 12_000;

/// Writes `config.toml`, `environment.json`, `summary.json` and `metrics.csv` of the run in `folder` into `place`; of the log the
/// columns `keep`, as far as there are such.
///
/// # Errors
/// If a file cannot be read or written.
pub fn write(
    folder: &Path,
    summary: &Summary,
    rows: &[Row],
    mut keep: BTreeSet<String>,
    place: &Path,
) -> anyhow::Result<()> {
    for file in ["config.toml", "environment.json"] {
        let path = folder.join(file);
        let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        atomic::write(&place.join(file), text)?;
    }
    // Per-tensor values are in the run's own folder; here they would drown the rest.
    let mut summary = summary.clone();
    summary.metrics.retain(|name, _| !name.contains('['));
    summary.write(&place.join("summary.json"))?;
    // Not every run has a test set or an attention head.
    keep.retain(|name| rows.iter().any(|row| row.get(name).is_some()));
    atomic::write(&place.join("metrics.csv"), thinned(rows, &keep))
}

/// The log's columns `keep` as CSV, every second row dropped until it is small enough; first and last row stay.
fn thinned(rows: &[Row], keep: &BTreeSet<String>) -> String {
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
