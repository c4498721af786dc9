//! Planted records.
#![allow(dead_code)]
use std::collections::BTreeMap;

use kiln_claims::{Provenance, Records, Study};

/// A run's logged values by metric and step.
type Curves = BTreeMap<String, Vec<(u64, f64)>>;

/// Runs as they might have come out.
#[derive(Default)]
pub struct Planted {
    runs: BTreeMap<(String, u64), Curves>,
    unfinished: Vec<(String, u64)>,
}

impl Planted {
    /// Adds the curve of one metric.
    pub fn log(mut self, run: &str, seed: u64, metric: &str, rows: &[(u64, f64)]) -> Self {
        self.runs.entry((run.into(), seed)).or_default().insert(metric.into(), rows.to_vec());
        self
    }

    /// Marks a run as not finished.
    pub fn interrupted(mut self, run: &str, seed: u64) -> Self {
        self.unfinished.push((run.into(), seed));
        self
    }
}

impl Records for Planted {
    fn series(&self, run: &str, seed: u64, metric: &str) -> Option<&[(u64, f64)]> {
        self.runs.get(&(run.to_owned(), seed))?.get(metric).map(Vec::as_slice)
    }

    fn finished(&self, run: &str, seed: u64) -> bool {
        let key = (run.to_owned(), seed);
        self.runs.contains_key(&key) && !self.unfinished.contains(&key)
    }

    fn metrics(&self, run: &str, seed: u64) -> Vec<String> {
        self.runs.get(&(run.to_owned(), seed)).map(|run| run.keys().cloned().collect()).unwrap_or_default()
    }
}

/// Evidence whose hashes agree.
pub fn untouched() -> Provenance {
    Provenance {
        claim: "c1".into(),
        claim_at_run: vec![Some("c1".into()), Some("c1".into())],
        code_of_run: vec!["k1".into(), "k1".into()],
    }
}

/// Head of a study with two runs, `A` and its control `C`.
pub const HEAD: &str = r#"
title = "t"
paper = "p"
question = "q"
[scales.glance]
seeds = [2]
budget = "seconds"
shows = "quick"
[scales.quick]
seeds = [2, 3, 4]
budget = "minutes"
[runs.A]
summary = "treated"
config = "configs/a.toml"
scales = ["glance", "quick"]
[runs.C]
summary = "control"
config = "configs/c.toml"
scales = ["quick"]
"#;

/// [`HEAD`] and the rest, read and checked.
pub fn study(rest: &str) -> Study {
    let study: Study = toml::from_str(&format!("{HEAD}{rest}")).unwrap();
    study.check().unwrap();
    study
}
