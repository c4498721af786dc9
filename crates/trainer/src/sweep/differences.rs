//! What variants differ in, as a table shows it.
use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::{
    config::{
        Loaded,
        leaves::{leaves, text},
    },
    plan::Plan,
};

/// The config of one variant.
struct Config<'a> {
    loaded: &'a Loaded,
    resolved: BTreeMap<String, Value>,
}

impl Config<'_> {
    /// Keys that a file, or the sweep, wrote. A choice goes by its table: `model.normalizer`, not `model.normalizer.name`.
    fn written(&self) -> impl Iterator<Item = String> {
        let keys = self.loaded.document.leaves().into_iter().map(|leaf| leaf.path);
        keys.filter(|key| !key.starts_with("run."))
            .map(|key| key.strip_suffix(".name").map_or_else(|| key.clone(), str::to_owned))
    }

    /// The value that runs: a default where nothing was written; what was written where it stands for something else.
    fn value(&self, key: &str) -> Option<String> {
        let resolved = self.resolved.get(key).or_else(|| self.resolved.get(&format!("{key}.name")));
        let written = || self.loaded.document.value(key).filter(|value| !value.is_table());
        resolved.map(text).or_else(|| serde_json::to_value(written()?).ok().as_ref().map(text))
    }
}

/// For each of these configs, the keys on which they differ and what they are there; keys it lacks are left out. Defaults that
/// belong to a choice, such as the parameters of another normalizer, are no differences of their own. A run of the plan is
/// said by its variant: its folder differs from seed to seed.
pub(super) fn differences(configs: &[&Loaded], plan: &Plan) -> Vec<Vec<(String, String)>> {
    let configs: Vec<Config<'_>> =
        configs.iter().map(|loaded| Config { loaded, resolved: leaves(&loaded.experiment) }).collect();
    let keys: BTreeSet<String> = configs.iter().flat_map(Config::written).collect();
    let values = keys.into_iter().map(|key| {
        let values: Vec<Option<String>> = configs.iter().map(|config| config.value(&key)).collect();
        (key, values)
    });
    let differing: Vec<_> = values.filter(|(_, values)| values.windows(2).any(|pair| pair[0] != pair[1])).collect();
    let folders: BTreeMap<String, &str> =
        plan.jobs.iter().map(|job| (plan.folder(job).display().to_string(), job.run.as_str())).collect();
    let shown = |value: &String| folders.get(value).map_or_else(|| value.clone(), |run| (*run).to_owned());
    let of = |i: usize| {
        let value = |(key, values): &(String, Vec<Option<String>>)| Some((key.clone(), shown(values[i].as_ref()?)));
        differing.iter().filter_map(value).collect()
    };
    (0..configs.len()).map(of).collect()
}
