//! The comparison of a sweep's variants, and of runs that no sweep knows.
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use crate::{
    common::{fails, ok},
    support::{folder, place},
};

const FOUR: &str = "seeds = [2, 3, 4]\nbaseline = \"softmax\"\nmetrics = [\"test_accuracy\", \"train_loss\"]\n\
                    [grid]\n\"loss.normalizer\" = [\"softmax\", \"stablemax\", \"taylor_softmax\", \"spherical_softmax\"]\n";

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What the independent script is given: the last value of every run's own log, by variant.
fn raw(runs: &Path, variants: &[&str], metrics: &[Value]) -> Value {
    let mut found: BTreeMap<String, BTreeMap<String, Value>> = BTreeMap::new();
    for run in std::fs::read_dir(runs).unwrap().map(|entry| entry.unwrap().path()) {
        let name = run.file_name().unwrap().to_string_lossy().into_owned();
        let (variant, rest) = name.split_once("-s").unwrap();
        let seed = rest.split('-').next().unwrap();
        let log = read(&run.join("metrics.jsonl"));
        let last: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
        let end = json!({ "test_accuracy": last["test_accuracy"], "train_loss": last["train_loss"] });
        found.entry(variant.to_owned()).or_default().insert(seed.to_owned(), json!({ "end": end }));
    }
    let variants: Vec<Value> = variants.iter().map(|name| json!({ "name": name, "runs": found[*name] })).collect();
    json!({ "baseline": "softmax", "variants": variants, "metrics": metrics })
}

#[test]
fn the_table_of_four_maps_over_three_seeds_is_that_of_an_independent_script() {
    let folder = folder(FOUR);
    ok(folder.path(), &["sweep", "run", "s.toml", "-q"]);
    let page = ok(folder.path(), &["report", "s.toml", "--record"]);
    let place = place(folder.path());
    assert_eq!(
        folder.path().join(page.trim()).canonicalize().unwrap(),
        place.join("report.html").canonicalize().unwrap()
    );

    let html = read(&place.join("report.html"));
    assert!(!html.contains("<script src") && !html.contains("<link"), "no outside parts");
    let markdown = read(&place.join("REPORT.md"));
    for name in ["softmax", "stablemax", "taylor_softmax", "spherical_softmax"] {
        assert!(html.contains(name) && markdown.contains(name), "{name}");
        for seed in 2..5 {
            let record = place.join(format!("records/{name}-s{seed}"));
            for file in ["config.toml", "environment.json", "summary.json", "metrics.csv"] {
                assert!(record.join(file).is_file(), "{}", record.join(file).display());
            }
        }
    }
    for file in ["table.tex", "summary.csv", "seeds.csv", "figures/test_accuracy.svg", "figures/train_loss.png"] {
        assert!(place.join(file).is_file(), "{file}");
    }

    let metrics =
        [json!({ "name": "test_accuracy", "better": "larger" }), json!({ "name": "train_loss", "better": "smaller" })];
    let names = ["softmax", "stablemax", "taylor_softmax", "spherical_softmax"];
    let input = folder.path().join("raw.json");
    std::fs::write(&input, raw(&place.join("runs"), &names, &metrics).to_string()).unwrap();
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../reports/tests/golden/comparison.py");
    let output = match Command::new("python3").arg(script).arg(&input).output() {
        Ok(output) => output,
        Err(error) => {
            let strict = std::env::var_os("KILN_TEST_STRICT").is_some_and(|value| value == "1");
            assert!(!strict, "python3 cannot be run: {error}");
            eprintln!("skipped: python3 cannot be run: {error}");
            return;
        }
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let rows = |text: &str| -> Vec<String> {
        let of_a_variant = |line: &&str| line.starts_with("| **") && line.matches('|').count() == 8;
        text.lines().filter(of_a_variant).map(str::to_owned).collect()
    };
    let expected = rows(&String::from_utf8(output.stdout).unwrap());
    assert_eq!(expected.len(), 8);
    assert_eq!(rows(&markdown), expected);
}

#[test]
fn runs_are_grouped_by_what_they_differ_in() {
    let folder = folder(FOUR);
    for (seed, lr) in [(0, "1e-3"), (1, "1e-3"), (0, "3e-3"), (1, "3e-3")] {
        let (seed, lr) = (format!("run.seed={seed}"), format!("optim.lr={lr}"));
        ok(folder.path(), &["train", "tiny.toml", "-q", "--set", &seed, "--set", &lr]);
    }
    let runs: Vec<String> = std::fs::read_dir(folder.path().join("runs"))
        .unwrap()
        .map(|entry| entry.unwrap().path().to_string_lossy().into_owned())
        .collect();
    let paths: Vec<&str> = runs.iter().map(String::as_str).collect();
    let report = |more: &[&'static str]| [&["report"], &paths[..], more].concat();
    ok(folder.path(), &report(&["--baseline", "0.001", "--out", "here"]));
    let markdown = read(&folder.path().join("here/REPORT.md"));
    assert!(markdown.contains("0.003") && markdown.contains("optim.lr"), "{markdown}");

    let message = fails(folder.path(), &report(&["--baseline", "0.01"]), 2);
    assert!(message.contains("no variant is called \"0.01\"") && message.contains("0.001"), "{message}");
    let message = fails(folder.path(), &report(&["--metric", "test_acc"]), 2);
    assert!(message.contains("no run logged a metric \"test_acc\"") && message.contains("test_accuracy"), "{message}");
    let message = fails(folder.path(), &["report", paths[0], "s.toml"], 2);
    assert!(message.contains("s.toml is a sweep; give it alone, or give runs"), "{message}");
    let message = fails(folder.path(), &["report", "s.toml"], 2);
    assert!(message.contains("holds no plan yet") && message.contains("kiln sweep run s.toml"), "{message}");
}
