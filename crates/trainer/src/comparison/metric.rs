//! Which metrics a comparison shows.
use anyhow::anyhow;
use kiln_reports::{Better, ComparedMetric, Scale};

use super::Finished;
use crate::{Result, error::Sort, run::metrics};

/// The named metrics, or the accuracies and, where there are none, the losses of the evaluation sets.
///
/// # Errors
/// If no run logged one of the names; the message says which there are.
pub(super) fn chosen(runs: &[Finished], names: &[String]) -> Result<Vec<ComparedMetric>> {
    let mut known: Vec<String> = Vec::new();
    for name in runs.iter().flat_map(|run| metrics::names(&run.rows)) {
        if !known.contains(&name) {
            known.push(name);
        }
    }
    if let Some(name) = names.iter().find(|name| !known.contains(name)) {
        let known: Vec<&str> = known.iter().map(String::as_str).filter(|name| !name.contains('[')).collect();
        return Err(anyhow!("no run logged a metric {name:?}; there are: {}", known.join(", "))).input();
    }
    if !names.is_empty() {
        return Ok(names.iter().map(|name| described(name)).collect());
    }
    let of_a_set = |of: fn(&str) -> Option<&str>| -> Vec<ComparedMetric> {
        known.iter().filter(|name| of(name).is_some_and(|set| set != "train")).map(|name| described(name)).collect()
    };
    let accuracies = of_a_set(metrics::accuracy_of);
    Ok(if accuracies.is_empty() { of_a_set(metrics::loss_of) } else { accuracies })
}

/// What is known of a metric by its name.
fn described(name: &str) -> ComparedMetric {
    let loss = metrics::loss_of(name).is_some();
    let better = match metrics::accuracy_of(name) {
        Some(_) => Some(Better::Larger),
        None => loss.then_some(Better::Smaller),
    };
    ComparedMetric {
        name: name.to_owned(),
        better,
        scale: if loss { Scale::Log } else { Scale::Linear },
        figure_path: format!("figures/{name}.svg"),
        ..ComparedMetric::default()
    }
}
