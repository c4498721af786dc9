//! The committed study `grokking`.
mod support;

use std::{collections::BTreeSet, fs, path::Path};

use kiln_claims::{ConditionKind, PlannedRun, Scale, Study, Word, judge};
use support::{Planted, untouched};

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn study() -> Study {
    let text = fs::read_to_string(root().join("experiments/grokking/study.toml")).unwrap();
    toml::from_str(&text).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn it_is_consistent_and_its_configs_are_there() {
    let study = study();
    study.check().unwrap_or_else(|error| panic!("{error}"));
    for (name, run) in &study.runs {
        assert!(root().join(&run.config).is_file(), "{name}: {}", run.config);
    }
}

#[test]
fn every_claim_of_the_paper_stands_at_both_scales() {
    let study = study();
    let ids = |scale| study.claims_at(scale).map(|claim| claim.id.as_str()).collect::<Vec<_>>();
    let quick =
        ["G1", "G2", "G3", "G4c", "G5", "G6", "G7a", "G7b", "G8", "G9", "G10", "G11", "G12", "G13", "G14", "G15"];
    assert_eq!(ids(Scale::Quick), quick);
    let paper = ["G1", "G2", "G3", "G4a", "G4b", "G4c", "G5", "G6", "G7a", "G8", "G9", "G10", "G11", "G12", "G13"];
    assert_eq!(ids(Scale::Paper), paper);
    let figures: BTreeSet<&str> =
        study.claims_at(Scale::Paper).flat_map(|claim| claim.figure.split(", ")).filter(|f| !f.is_empty()).collect();
    let declared = ["1a", "1b", "1c", "2a", "2b", "2c", "4a", "4b", "5", "6a", "6b"];
    assert_eq!(figures.into_iter().collect::<Vec<_>>(), declared);
    assert!(study.claims_at(Scale::Quick).all(|claim| claim.not_run.is_none()));
}

#[test]
fn what_is_trained_at_each_scale() {
    let study = study();
    let names = |scale| study.runs_at(scale).into_iter().collect::<Vec<_>>();
    assert_eq!(names(Scale::Glance), ["A1", "A3", "A4", "A4c"]);
    assert_eq!(names(Scale::Paper), ["fig1b", "fig6a_adamw", "fig6a_perp_adamw", "fig6a_perp_sgd"]);
    let quick = [
        "A1", "A3", "A3d", "A4", "A4c", "A4s", "A5", "A6", "M1", "M3", "P16", "P32", "P64", "PX", "S1", "S3", "T1",
        "T4", "T5",
    ];
    assert_eq!(names(Scale::Quick), quick);
    assert_eq!(study.plan(Scale::Quick).len(), 3 * quick.len());
}

#[test]
fn controls_cannot_pass_by_being_broken() {
    // A run that is claimed to stall must be shown to have fit its training set.
    for claim in study().claims_at(Scale::Quick) {
        let guarded: BTreeSet<&str> = claim
            .conditions
            .iter()
            .filter(|condition| condition.kind == ConditionKind::Precondition)
            .flat_map(|condition| condition.expr.runs())
            .collect();
        for control in ["A1", "A4c", "M1", "S1", "T1", "P16", "P32", "P64", "PX"] {
            assert!(!claim.runs().contains(&control) || guarded.contains(control), "{}: {control}", claim.id);
        }
    }
}

/// What a config says about its log: steps, interval, measures. The study's settings come on top.
fn log_of(run: &PlannedRun) -> (u64, u64, Vec<String>) {
    let read = |path: &Path| -> toml::Table { toml::from_str(&fs::read_to_string(path).unwrap()).unwrap() };
    let path = root().join(&run.config);
    let own = read(&path);
    let base = own.get("extends").map(|base| read(&path.with_file_name(base.as_str().unwrap()))).unwrap_or_default();
    let get = |section: &str, key: &str| -> toml::Value {
        let find = |table: &toml::Table| table.get(section).and_then(|section| section.get(key)).cloned();
        find(&own).or_else(|| find(&base)).unwrap()
    };
    let set = |key: &str| run.set.iter().rev().find(|(set, _)| set == key).map(|(_, value)| value.as_u64().unwrap());
    let number = |section, key| get(section, key).as_integer().unwrap() as u64;
    let steps = set("train.steps").unwrap_or_else(|| number("train", "steps"));
    let every = set("eval.every").unwrap_or_else(|| number("eval", "every"));
    let measures = get("eval", "measures").as_array().unwrap().iter().map(|m| m.as_str().unwrap().to_owned()).collect();
    (steps, every, measures)
}

/// The metrics, of those that claims read, that a measure logs.
fn metrics_of(measure: &str) -> &'static [&'static str] {
    match measure {
        "zero_loss" => &["zero_loss"],
        "s_is_one" => &["s_is_one"],
        "logit_norm" => &["logit_norm"],
        "norms" => &["w_norm"],
        "nlm_grad" => &["nlm_grad"],
        "nlm_update" => &["nlm_update"],
        "fourier" => &["fourier_gini", "fourier_gini_log"],
        "swap_split" => &["test_swap_seen_accuracy", "test_swap_unseen_accuracy"],
        _ => &[],
    }
}

#[test]
fn every_condition_finds_its_rows() {
    let mut study = study();
    for claim in &mut study.claims {
        claim.not_run = None;
    }
    for scale in [Scale::Quick, Scale::Paper] {
        let seeds = study.scales.get(scale).unwrap().seeds.clone();
        let mut records = Planted::default();
        for run in study.plan(scale) {
            let (steps, every, measures) = log_of(&run);
            // Every curve rises from 0 to 1, so that events of accuracies and shares do happen.
            let rows: Vec<(u64, f64)> =
                (0..=steps / every).map(|i| (i * every, (i * every) as f64 / steps as f64)).collect();
            let measured = measures.iter().flat_map(|measure| metrics_of(measure)).copied();
            for metric in measured.chain(["train_accuracy", "test_accuracy"]) {
                records = records.log(&run.name, run.seed, metric, &rows);
            }
        }
        for claim in study.claims_at(scale) {
            let verdict = judge(claim, &seeds, &records, &untouched());
            assert_ne!(verdict.word, Word::NotRun, "{} at {scale}: {}", claim.id, verdict.reason);
        }
    }
}
