//! What is different between a plan and the file it was made from.
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use serde_json::Value;

use super::SweepPlan;
use crate::{
    config::{
        self,
        leaves::{leaves_of, text},
    },
    plan::{Draft, Job},
};

/// A line per change, those of all variants first.
pub(super) fn between(before: &SweepPlan, now: &SweepPlan, draft: &Draft) -> Vec<String> {
    let names = |plan: &SweepPlan| plan.variants.iter().map(|v| v.name.clone()).collect::<BTreeSet<String>>();
    let seeds = |plan: &SweepPlan| plan.seeds.iter().copied().collect::<BTreeSet<u64>>();
    let (old_names, new_names) = (names(before), names(now));
    let (old_seeds, new_seeds) = (seeds(before), seeds(now));
    let mut lines = Vec::new();
    lines.extend(new_seeds.difference(&old_seeds).map(|seed| format!("  seed {seed} is new")));
    lines.extend(old_seeds.difference(&new_seeds).map(|seed| format!("  seed {seed} is gone")));
    lines.extend(new_names.difference(&old_names).map(|name| format!("  variant \"{name}\" is new")));
    lines.extend(old_names.difference(&new_names).map(|name| format!("  variant \"{name}\" is gone")));

    // The variants that each change of a key concerns.
    let mut changes: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for (job, loaded) in now.runs.jobs.iter().zip(&draft.loaded) {
        let same = |old: &&Job| old.run == job.run && old.seed == job.seed;
        let Some(old) = before.runs.jobs.iter().find(same) else { continue };
        if old.name == job.name {
            continue;
        }
        let old = fs::read_to_string(before.runs.config(old)).ok();
        let (Some(old), Some(new)) = (old.as_deref().and_then(tree), tree(&config::to_toml(&loaded.experiment))) else {
            changes.entry("its old config cannot be read".into()).or_default().insert(&job.run);
            continue;
        };
        for key in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
            let value = |leaves: &BTreeMap<String, Value>| leaves.get(key).map_or_else(|| "absent".to_owned(), text);
            // The folder of a run that this one needs changes with that run.
            let own = key != "task.teacher.run" || !value(&old).starts_with(&*before.runs.dir.to_string_lossy());
            if old.get(key) != new.get(key) && own {
                let line = format!("{key} was {}, now {}", value(&old), value(&new));
                changes.entry(line).or_default().insert(&job.run);
            }
        }
    }
    let common = old_names.intersection(&new_names).count();
    let (all, some): (Vec<_>, Vec<_>) = changes.into_iter().partition(|(_, runs)| runs.len() == common && common > 1);
    lines.extend(all.into_iter().map(|(line, _)| format!("  all variants: {line}")));
    lines.extend(some.into_iter().map(|(line, runs)| {
        let runs: Vec<&str> = runs.into_iter().collect();
        format!("  {}: {line}", runs.join(", "))
    }));
    if lines.is_empty() {
        lines.push("  the order of the runs, or what they need".into());
    }
    lines
}

fn tree(text: &str) -> Option<BTreeMap<String, Value>> {
    let table: toml::Table = toml::from_str(text).ok()?;
    Some(leaves_of(&serde_json::to_value(table).ok()?))
}
