//! What differs between two runs, or between configs.
use std::{collections::BTreeSet, path::Path};

use anyhow::anyhow;
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    RunFolder,
    environment::Environment,
    summary::{Reached, Summary},
};
use crate::{
    Result, atomic,
    config::{self, leaves::leaves, schema::Experiment},
    error::Sort,
};

/// One of the two: a run, or a config that may never have run.
#[derive(Debug)]
pub struct Side {
    experiment: Experiment,
    environment: Option<Environment>,
    summary: Option<Summary>,
    is_run: bool,
}

/// What differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Whether anything does.
    pub differs: bool,
    /// Keys of the resolved configs with different values.
    pub keys: Vec<Key>,
    /// The rows that were learned from.
    pub data: Data,
    /// Code and machine, where both are runs.
    pub environment: Vec<Field>,
    /// What was reached, where both are runs that came to an end.
    pub results: Option<Results>,
}

/// A key with two values; none where it is absent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Key {
    /// Its dotted path.
    pub key: String,
    /// In the first.
    pub a: Option<Value>,
    /// In the second.
    pub b: Option<Value>,
}

/// SHA-256 of what decides rows and split: the resolved `[data]` and the seed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Data {
    /// Of the first.
    pub a: String,
    /// Of the second.
    pub b: String,
    /// Whether they are equal.
    pub same: bool,
}

/// One thing about code or machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Field {
    /// What it is.
    pub name: &'static str,
    /// In the first.
    pub a: Option<String>,
    /// In the second.
    pub b: Option<String>,
}

/// The metrics of two runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Results {
    /// How they ended, and after how many steps, where that differs.
    pub ends: Option<[String; 2]>,
    /// Metrics of both with different last or best values.
    pub differing: Vec<Metric>,
    /// How many metrics of both have equal values, to the last bit.
    pub equal: usize,
    /// Metrics that only the first logs.
    pub only_a: Vec<String>,
    /// Metrics that only the second logs.
    pub only_b: Vec<String>,
}

/// One metric of both.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Metric {
    /// Its name.
    pub metric: String,
    /// In the first.
    pub a: Values,
    /// In the second.
    pub b: Values,
}

/// Last and best value; none where it is not a finite number, or the metric has no best.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Values {
    /// Of the last row.
    pub last: Option<f64>,
    /// Of the whole run.
    pub best: Option<f64>,
    /// Its step.
    pub best_step: Option<u64>,
}

impl Side {
    /// Reads a run folder or a config file.
    ///
    /// # Errors
    /// If it is neither, or does not fit the schema.
    pub fn read(path: &Path) -> Result<Self> {
        if !path.is_dir() {
            // What a task names outside of the config is left alone: a teacher need not be here to compare keys.
            let (experiment, _) = config::load_as(path)?;
            return Ok(Self { experiment, environment: None, summary: None, is_run: false });
        }
        let folder = RunFolder::open(path)?;
        let (experiment, _) = config::load_as(&folder.file("config.toml"))?;
        let file = folder.file("environment.json");
        let environment = match std::fs::read_to_string(&file) {
            Ok(text) => Some(
                serde_json::from_str(&text)
                    .map_err(|error| anyhow!("{} is damaged: {error}", file.display()))
                    .input()?,
            ),
            Err(_) => None,
        };
        Ok(Self { experiment, environment, summary: folder.summary()?, is_run: true })
    }

    fn data(&self) -> String {
        let identity = json!([self.experiment.data, self.experiment.run.seed]);
        atomic::sha256(identity.to_string())
    }
}

impl Comparison {
    /// Compares two sides.
    pub fn new([a, b]: &[Side; 2]) -> Self {
        let keys = keys(&a.experiment, &b.experiment);
        let hashes = [a.data(), b.data()];
        let same = hashes[0] == hashes[1];
        let [hash_a, hash_b] = hashes;
        let both_run = a.is_run && b.is_run;
        let environment = if both_run { fields(a, b) } else { Vec::new() };
        let results = a.summary.as_ref().zip(b.summary.as_ref()).map(|(a, b)| Results::new(a, b));
        let unequal =
            results.as_ref().is_some_and(Results::differ) || (both_run && a.summary.is_some() != b.summary.is_some());
        Self {
            differs: !keys.is_empty() || !same || !environment.is_empty() || unequal,
            keys,
            data: Data { a: hash_a, b: hash_b, same },
            environment,
            results,
        }
    }
}

fn keys(a: &Experiment, b: &Experiment) -> Vec<Key> {
    let (a, b) = (leaves(a), leaves(b));
    let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    let pair = |key: &&String| (a.get(*key).cloned(), b.get(*key).cloned());
    names
        .into_iter()
        .map(|key| (key, pair(&key)))
        .filter(|(_, (a, b))| a != b)
        .map(|(key, (a, b))| Key { key: key.clone(), a, b })
        .collect()
}

/// What differs of code and machine. The moment of the start differs always and says nothing.
fn fields(a: &Side, b: &Side) -> Vec<Field> {
    let of = |side: &Side| -> Vec<(&'static str, Option<String>)> {
        let place = side.environment.as_ref();
        let code =
            side.summary.as_ref().map(|summary| summary.code.clone()).or_else(|| place.map(|here| here.code.clone()));
        vec![
            ("Kiln", place.map(|here| here.kiln.clone())),
            ("code (SHA-256)", code),
            ("platform", place.map(|here| here.platform.clone())),
            ("processor", place.map(|here| here.cpu.clone())),
            ("vector extensions", place.map(|here| here.cpu_features.join(", "))),
            ("cores", place.map(|here| here.cores.to_string())),
            ("threads", place.map(|here| here.threads.to_string())),
        ]
    };
    let pairs = of(a).into_iter().zip(of(b));
    pairs.filter(|((_, a), (_, b))| a != b).map(|((name, a), (_, b))| Field { name, a, b }).collect()
}

impl Results {
    fn new(a: &Summary, b: &Summary) -> Self {
        let only = |own: &Summary, other: &Summary| {
            own.metrics.keys().filter(|name| !other.metrics.contains_key(*name)).cloned().collect()
        };
        let (mut differing, mut equal) = (Vec::new(), 0);
        for (metric, of_a) in &a.metrics {
            let Some(of_b) = b.metrics.get(metric) else { continue };
            let (of_a, of_b) = (Values::of(of_a), Values::of(of_b));
            match of_a == of_b {
                true => equal += 1,
                false => differing.push(Metric { metric: metric.clone(), a: of_a, b: of_b }),
            }
        }
        let ends = [a, b].map(|summary| format!("{} after {} steps", summary.status, summary.steps));
        let ends = (ends[0] != ends[1]).then_some(ends);
        Self { ends, differing, equal, only_a: only(a, b), only_b: only(b, a) }
    }

    fn differ(&self) -> bool {
        self.ends.is_some() || !self.differing.is_empty() || !self.only_a.is_empty() || !self.only_b.is_empty()
    }
}

impl Values {
    fn of(reached: &Reached) -> Self {
        let last = reached.last.is_finite().then_some(reached.last);
        Self { last, best: reached.best, best_step: reached.best_step }
    }
}
