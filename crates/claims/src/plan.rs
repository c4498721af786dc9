//! Which runs a scale trains, in an order that respects their needs.
use std::collections::BTreeSet;

use serde_json::Value;

use crate::study::{Scale, Study};

/// One training to be made: a config, what is set on top of it, and a seed.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedRun {
    /// The run's name in the study.
    pub name: String,
    /// Its seed, to be set as `run.seed`.
    pub seed: u64,
    /// The config file, a path from the top of the source tree.
    pub config: String,
    /// Dotted keys and values to set on top of the config, in this order; steps come last. The seed is not among them.
    pub set: Vec<(String, Value)>,
    /// Runs (of the same seed) that must be finished first.
    pub needs: Vec<String>,
}

impl PlannedRun {
    /// The settings as `key=value` with TOML values, the way `--set` takes them.
    pub fn assignments(&self) -> Vec<String> {
        self.set.iter().map(|(key, value)| assignment(key, value)).collect()
    }
}

/// A setting as `key=value` with a TOML value, the way `--set` takes it.
pub fn assignment(key: &str, value: &Value) -> String {
    format!("{key}={}", toml(value))
}

/// A value in TOML's inline form. JSON's strings, numbers, booleans and lists are TOML as they stand.
fn toml(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(toml).collect::<Vec<_>>().join(", ")),
        Value::Object(table) => {
            let entries: Vec<String> =
                table.iter().map(|(key, value)| format!("{} = {}", Value::from(key.as_str()), toml(value))).collect();
            format!("{{ {} }}", entries.join(", "))
        }
        scalar => scalar.to_string(),
    }
}

impl Study {
    /// The names of the runs that a scale trains: those it declares, without those that only claims marked
    /// `not_run` would read. Runs that no claim reads are made for their curves.
    pub fn runs_at(&self, scale: Scale) -> BTreeSet<&str> {
        let source = self.source_of(scale);
        let read_by = |judged: bool| -> BTreeSet<&str> {
            let claims = self.claims_at(source).filter(|claim| claim.not_run.is_none() == judged);
            claims.flat_map(|claim| claim.runs()).collect()
        };
        let (judged, declared_only) = (read_by(true), read_by(false));
        let wanted = self.runs.iter().filter(|(name, run)| {
            let name = name.as_str();
            run.scales.contains(&scale) && (judged.contains(name) || !declared_only.contains(name))
        });
        let mut names: BTreeSet<&str> = BTreeSet::new();
        let mut open: Vec<&str> = wanted.map(|(name, _)| name.as_str()).collect();
        while let Some(name) = open.pop() {
            if names.insert(name) {
                open.extend(self.runs[name].needs.iter().map(String::as_str));
            }
        }
        names
    }

    /// Every training of a scale: all seeds of all its runs, a run after those it needs.
    ///
    /// The study must have passed [`Study::check`]; a circle of needs would leave its runs out.
    pub fn plan(&self, scale: Scale) -> Vec<PlannedRun> {
        let Some(spec) = self.scales.get(scale) else { return Vec::new() };
        let mut waiting = self.runs_at(scale);
        let mut plan = Vec::new();
        loop {
            let ready: Vec<&str> = waiting
                .iter()
                .copied()
                .filter(|name| self.runs[*name].needs.iter().all(|needed| !waiting.contains(needed.as_str())))
                .collect();
            if ready.is_empty() {
                return plan;
            }
            for name in ready {
                waiting.remove(name);
                plan.extend(spec.seeds.iter().map(|seed| self.planned(name, scale, *seed)));
            }
        }
    }

    fn planned(&self, name: &str, scale: Scale, seed: u64) -> PlannedRun {
        let run = &self.runs[name];
        let overrides = run.per_scale.get(scale);
        let tables = std::iter::once(&run.set).chain(overrides.map(|overrides| &overrides.set));
        let mut set: Vec<(String, Value)> = tables.flatten().map(|(key, value)| (key.clone(), value.clone())).collect();
        if let Some(steps) = overrides.and_then(|overrides| overrides.steps).or(run.steps) {
            set.push(("train.steps".into(), steps.into()));
        }
        PlannedRun { name: name.into(), seed, config: run.config.clone(), set, needs: run.needs.clone() }
    }
}
