//! The committed study `normalizers`.
mod support;

use std::{fs, path::Path};

use kiln_claims::{ConditionKind, Scale, Study, Word, judge};
use support::{Planted, untouched};

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn study() -> Study {
    let text = fs::read_to_string(root().join("experiments/normalizers/study.toml")).unwrap();
    toml::from_str(&text).unwrap_or_else(|error| panic!("{error}"))
}

/// The arms whose map is claimed to do something on this task.
const CLAIMED: [&str; 6] =
    ["adaptive_temperature", "entmax", "sa_softmax_norm", "sparsemax", "ssmax", "taylor_softmax"];

#[test]
fn it_is_consistent_and_its_config_is_there() {
    let study = study();
    study.check().unwrap_or_else(|error| panic!("{error}"));
    for (name, run) in &study.runs {
        assert!(root().join(&run.config).is_file(), "{name}: {}", run.config);
    }
}

#[test]
fn an_arm_bears_the_name_of_its_map_and_changes_nothing_else() {
    for (name, run) in &study().runs {
        let settings: Vec<_> = run.set.iter().collect();
        match name.as_str() {
            "softmax" => assert!(settings.is_empty()),
            "softmax_again" => assert_eq!(settings, [(&"data.draw".to_owned(), &1.into())]),
            _ => {
                let [(key, value)] = settings[..] else { panic!("{name} sets {settings:?}") };
                assert_eq!(key, "model.normalizer");
                let map = value.get("name").unwrap_or(value).as_str().unwrap();
                assert!(name.starts_with(map), "{name} is an arm of {map}");
            }
        }
        assert!(run.steps.is_none() && run.needs.is_empty(), "{name}");
    }
}

#[test]
fn every_map_runs_and_those_without_a_claim_are_reported_all_the_same() {
    let study = study();
    assert_eq!(study.runs_at(Scale::Quick).len(), study.runs.len());
    assert_eq!(study.plan(Scale::Quick).len(), 3 * study.runs.len());
    let mut read: Vec<&str> = study.claims.iter().flat_map(|claim| claim.runs()).collect();
    read.sort_unstable();
    read.dedup();
    read.retain(|run| !run.starts_with("softmax"));
    assert_eq!(read, CLAIMED);
    for claim in study.claims.iter().filter(|claim| claim.id != "softmax") {
        let guards = claim.conditions.iter().filter(|condition| condition.kind == ConditionKind::Precondition);
        let guards: Vec<String> = guards.map(|condition| condition.expr.to_string()).collect();
        assert_eq!(guards, ["end(softmax.n16_accuracy) >= 0.92"], "{}", claim.id);
    }
}

#[test]
fn every_condition_finds_its_rows() {
    let study = study();
    let mut records = Planted::default();
    for run in study.plan(Scale::Quick) {
        for length in [16, 64, 256, 1024] {
            for metric in ["loss", "accuracy", "largest_weight", "zero_share", "dead_rows"] {
                records = records.log(&run.name, run.seed, &format!("n{length}_{metric}"), &[(0, 0.1), (1500, 0.95)]);
            }
        }
    }
    for claim in &study.claims {
        let verdict = judge(claim, &[2, 3, 4], &records, &untouched());
        assert_ne!(verdict.word, Word::NotRun, "{}: {}", claim.id, verdict.reason);
    }
    for metric in study.report.end_metrics() {
        assert!(metric.starts_with('n'), "{metric} is not logged here");
    }
}
