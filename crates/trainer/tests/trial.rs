//! What is looked at before a run is worth its time: `--dry-run`, `--overfit-one-batch`, `kiln profile`.
mod common;

use std::path::Path;

use common::{fails, ok, run, tiny};
use serde_json::Value;

const SHORT: &str = "[train]\nsteps = 30\nbatch_size = 100\n[eval]\nevery = 7\n";

fn json(folder: &Path, arguments: &[&str]) -> Value {
    serde_json::from_str(&ok(folder, arguments)).unwrap()
}

#[test]
fn a_dry_run_counts_parameters_memory_steps_and_rows_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    tiny(folder.path(), SHORT);
    let outline = json(folder.path(), &["train", "tiny.toml", "--dry-run", "--json"]);
    // Two one-hot numbers of 23 into 32, 32 and 23 again.
    let shapes: Vec<(&str, Vec<u64>)> = outline["parameters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| {
            (p["name"].as_str().unwrap(), p["shape"].as_array().unwrap().iter().filter_map(Value::as_u64).collect())
        })
        .collect();
    let expected =
        [("layers.0.weight", vec![46, 32]), ("layers.1.weight", vec![32, 32]), ("layers.2.weight", vec![32, 23])];
    for expected in &expected {
        assert!(shapes.contains(expected), "{expected:?} is missing in {shapes:?}");
    }
    let counted: u64 = shapes.iter().map(|(_, shape)| shape.iter().product::<u64>()).sum();
    assert_eq!(outline["trained"], counted);
    // Four bytes each; AdamW keeps two moments.
    let memory = &outline["memory"];
    assert_eq!(
        (&memory["parameters_bytes"], &memory["gradients_bytes"]),
        (&(4 * counted).into(), &(4 * counted).into())
    );
    assert!(memory["optimizer_bytes"].as_u64().unwrap() >= 8 * counted, "{memory}");
    assert_eq!(
        (&outline["training_rows"], &outline["steps"], &outline["batch_size"]),
        (&423.into(), &30.into(), &100.into())
    );
    // 423 rows are five batches.
    assert_eq!((&outline["epochs"], &outline["logged_rows"]), (&6.0.into(), &6.into()));
    assert_eq!(outline["evaluation_sets"], serde_json::json!([{ "name": "test", "rows": 106 }]));
    let shown = run(folder.path(), &["train", "tiny.toml", "--dry-run"]);
    let (text, said) = (String::from_utf8_lossy(&shown.stdout), String::from_utf8_lossy(&shown.stderr));
    for part in ["layers.0.weight", "46 × 32", "gradients", "optimizer", "423", "runs/tiny-s0-"] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    assert!(said.contains("nothing was written") && !folder.path().join("runs").exists(), "{said}");
    // Its count is the run's.
    ok(folder.path(), &["train", "tiny.toml", "-q"]);
    let run = common::only_run(&folder.path().join("runs"));
    let summary: Value = serde_json::from_str(&std::fs::read_to_string(run.join("summary.json")).unwrap()).unwrap();
    let rows = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap().lines().count();
    assert_eq!((&summary["parameters"], rows), (&outline["trained"], 6));
    assert!(ok(folder.path(), &["train", "tiny.toml", "--dry-run"]).contains("there already"));
}

#[test]
fn streams_and_running_statistics_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let stream = json(folder.path(), &["train", "configs/normalizers/max_retrieval.toml", "--dry-run", "--json"]);
    assert_eq!((&stream["training_rows"], &stream["epochs"]), (&Value::Null, &Value::Null));
    let resnet = json(folder.path(), &["train", "configs/images/gratings_resnet.toml", "--dry-run", "--json"]);
    assert!(resnet["fixed"].as_u64().unwrap() > 0, "{resnet}");
}

#[test]
fn one_batch_is_learned_or_not_and_the_exit_code_says_which() {
    let folder = tempfile::tempdir().unwrap();
    tiny(folder.path(), SHORT);
    let result = json(folder.path(), &["train", "tiny.toml", "--overfit-one-batch", "--json", "--log", "rows.jsonl"]);
    assert_eq!((&result["fell"], &result["steps"], &result["answers"]), (&true.into(), &30.into(), &100.into()));
    assert!(result["last_loss"].as_f64() < result["first_loss"].as_f64());
    let rows = std::fs::read_to_string(folder.path().join("rows.jsonl")).unwrap();
    assert_eq!(rows.lines().count(), 31);
    let first: Value = serde_json::from_str(rows.lines().next().unwrap()).unwrap();
    assert_eq!((&first["step"], &first["train_loss"]), (&0.into(), &result["first_loss"]));
    assert!(!folder.path().join("runs").exists());

    let output = run(folder.path(), &["train", "tiny.toml", "--overfit-one-batch"]);
    assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("the loss fell in 30 steps"));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no run was written"));
    for set in ["optim.lr=1e-30", "optim.lr=1e38"] {
        let output = run(folder.path(), &["train", "tiny.toml", "--overfit-one-batch", "--set", set]);
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.code() == Some(1) && said.contains("did NOT fall"), "{set}: {said}");
    }
    // The batch is the same at every step: without dropout and with a step of 0 the loss stays.
    let still = run(folder.path(), &["train", "tiny.toml", "--overfit-one-batch", "--json", "--set", "optim.lr=1e-30"]);
    let still: Value = serde_json::from_slice(&still.stdout).unwrap();
    assert_eq!(still["first_loss"], still["last_loss"]);
}

#[test]
fn trials_do_not_go_together_with_each_other_or_with_resume() {
    let folder = tempfile::tempdir().unwrap();
    tiny(folder.path(), SHORT);
    for arguments in [
        &["train", "tiny.toml", "--dry-run", "--overfit-one-batch"][..],
        &["train", "tiny.toml", "--dry-run", "--again"],
        &["train", "--resume", "x", "--dry-run"],
        &["train", "tiny.toml", "--json"],
        &["train", "tiny.toml", "--log", "x"],
        &["train", "--dry-run"],
    ] {
        fails(folder.path(), arguments, 2);
    }
    assert!(
        fails(folder.path(), &["train", "tiny.toml", "--dry-run", "--set", "optim.lrr=1"], 2).contains("unknown key")
    );
    let log = ["train", "tiny.toml", "--overfit-one-batch", "--set", "train.steps=1", "--log", "tiny.toml/x"];
    assert!(fails(folder.path(), &log, 1).contains("cannot write"));
}

#[test]
fn a_profile_has_every_phase_and_its_shares_are_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    tiny(folder.path(), SHORT);
    let profile =
        json(folder.path(), &["profile", "tiny.toml", "--steps", "5", "--rows", "2", "--json", "--threads", "1"]);
    let phases = profile["phases"].as_array().unwrap();
    let names: Vec<&str> = phases.iter().map(|phase| phase["phase"].as_str().unwrap()).collect();
    assert_eq!(names, ["data", "forward", "backward", "optimizer", "evaluation", "logging", "checkpoint"]);
    let sum = |key: &str| phases.iter().map(|phase| phase[key].as_f64().unwrap()).sum::<f64>();
    assert!((sum("share") - 1.0).abs() < 1e-9);
    assert!((sum("ms_per_step") - profile["ms_per_step"].as_f64().unwrap()).abs() < 1e-9);
    for phase in phases {
        let (ms, every) = (phase["ms"].as_f64().unwrap(), phase["every"].as_f64().unwrap());
        assert!(ms >= 0.0 && (ms / every - phase["ms_per_step"].as_f64().unwrap()).abs() < 1e-9, "{phase}");
    }
    assert!(phases[2]["ms"].as_f64().unwrap() > 0.0, "the way back takes no time");
    assert_eq!((&phases[4]["every"], &phases[6]["every"], &profile["threads"]), (&7.into(), &500.into(), &1.into()));
    let text = ok(folder.path(), &["profile", "tiny.toml", "--steps", "2", "--rows", "1"]);
    assert!(text.contains("backward") && text.contains("7 steps") && text.contains("for the 30 steps"), "{text}");
    assert!(!folder.path().join("runs").exists());
    assert!(fails(folder.path(), &["profile", "gone.toml"], 2).contains("no such file"));
    // The same step in the words of the benchmark.
    let step = json(folder.path(), &["bench", "step", "tiny.toml", "--steps", "3", "--json"]);
    assert!(
        step["phases"]["forward_backward"].as_f64().unwrap() > 0.0 && step["phases"]["optimizer"].as_f64().is_some()
    );
}
