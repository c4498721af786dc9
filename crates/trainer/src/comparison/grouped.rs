//! Runs that no sweep knows: those whose configs differ in the seed alone are one variant.
use std::collections::{BTreeMap, BTreeSet};

use anyhow::anyhow;
use kiln_reports::{ComparisonReport, RunState, Variant};
use serde_json::Value;

use super::{Choice, Comparison, assemble, finished, shown};
use crate::{
    Result,
    config::{
        self,
        leaves::{leaves, text},
    },
    error::Sort,
    run::RunFolder,
};

type Leaves = BTreeMap<String, Value>;

/// The comparison of these runs, variants in the order in which they first appear.
///
/// # Errors
/// If a run cannot be read or has not ended, two runs have one config and one seed, or the choice names a variant or a
/// metric that is not there.
pub fn of_runs(folders: &[RunFolder], choice: &Choice) -> Result<Comparison> {
    let mut groups: Vec<(Leaves, BTreeMap<u64, &RunFolder>)> = Vec::new();
    for folder in folders {
        let experiment = config::load(&folder.file("config.toml"), &[])?.experiment;
        let mut config = leaves(&experiment);
        // Seed, folder, threads and device are the run's, not the experiment's.
        config.retain(|key, _| !key.starts_with("run."));
        let at = groups.iter().position(|(known, _)| *known == config).unwrap_or_else(|| {
            groups.push((config, BTreeMap::new()));
            groups.len() - 1
        });
        if let Some(other) = groups[at].1.insert(experiment.run.seed, folder) {
            let (one, other) = (other.path().display(), folder.path().display());
            return Err(anyhow!("{one} and {other} are one experiment with one seed; compare one of them")).input();
        }
    }
    let settings = differences(&groups.iter().map(|(config, _)| config).collect::<Vec<_>>());
    let names = names(&settings);
    let (mut variants, mut runs) = (Vec::new(), Vec::new());
    for (((_, folders), settings), name) in groups.iter().zip(settings).zip(names) {
        let mut variant = Variant { settings, ..Variant::default() };
        for (seed, folder) in folders {
            let finished = finished(folder, &name, *seed)?;
            variant.runs.insert(*seed, shown(RunState::Finished, Some(&finished)));
            runs.push(finished);
        }
        variant.name = name;
        variants.push(variant);
    }
    let report = ComparisonReport { title: format!("{} runs compared", runs.len()), ..Default::default() };
    assemble(report, variants, runs, choice)
}

/// For each config, the keys on which they differ and what they are there; keys it lacks are left out.
fn differences(configs: &[&Leaves]) -> Vec<Vec<(String, String)>> {
    let keys: BTreeSet<&String> = configs.iter().flat_map(|config| config.keys()).collect();
    let differing: Vec<&String> =
        keys.into_iter().filter(|key| configs.windows(2).any(|pair| pair[0].get(*key) != pair[1].get(*key))).collect();
    let of = |config: &&Leaves| {
        let value = |key: &&String| Some(((*key).clone(), text(config.get(*key)?)));
        differing.iter().filter_map(value).collect()
    };
    configs.iter().map(of).collect()
}

/// A name for each variant: the values of the keys that all of them have, or the keys and values of all, if those do not tell
/// them apart.
fn names(settings: &[Vec<(String, String)>]) -> Vec<String> {
    let everywhere = |key: &str| settings.iter().all(|of| of.iter().any(|(name, _)| name == key));
    let short = |of: &Vec<(String, String)>| -> String {
        let values: Vec<&str> = of.iter().filter(|(key, _)| everywhere(key)).map(|(_, value)| value.as_str()).collect();
        values.join(", ")
    };
    let long = |of: &Vec<(String, String)>| -> String {
        of.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(", ")
    };
    let names: Vec<String> = settings.iter().map(short).collect();
    let apart = names.iter().collect::<BTreeSet<_>>().len() == names.len() && names.iter().all(|name| !name.is_empty());
    match names.len() {
        1 => vec!["all runs".into()],
        _ if apart => names,
        _ => settings.iter().map(long).map(|name| if name.is_empty() { "plain".into() } else { name }).collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config(value: Value) -> Leaves {
        crate::config::leaves::leaves_of(&value)
    }

    #[test]
    fn variants_are_called_by_what_tells_them_apart() {
        let softmax =
            config(json!({ "loss": { "name": "cross_entropy", "normalizer": { "name": "softmax" } }, "lr": 0.1 }));
        let entmax = config(
            json!({ "loss": { "name": "cross_entropy", "normalizer": { "name": "entmax", "alpha": 1.5 } }, "lr": 0.1 }),
        );
        let settings = differences(&[&softmax, &entmax]);
        assert_eq!(settings[0], [("loss.normalizer.name".to_owned(), "softmax".to_owned())]);
        assert_eq!(names(&settings), ["softmax", "entmax"]);
        // A key that one of them lacks is the only difference.
        let plain = config(json!({ "lr": 0.1 }));
        let bounded = config(json!({ "lr": 0.1, "clip": 1.0 }));
        assert_eq!(names(&differences(&[&plain, &bounded])), ["plain", "clip=1.0"]);
        assert_eq!(names(&differences(&[&plain])), ["all runs"]);
    }
}
