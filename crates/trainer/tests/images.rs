//! Every image experiment trains, and goes on where it stopped.
mod common;

use std::path::PathBuf;

use common::{ok, only_run, root, weights};

/// The configs of `configs/images`.
fn configs() -> Vec<PathBuf> {
    let folder = std::fs::read_dir(root().join("configs/images")).unwrap();
    let mut files: Vec<_> = folder
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
        .collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

/// The run after so many steps, `resumed` from half of them or not: weights and log.
fn trained(config: &str, steps: usize, resumed: bool) -> ((serde_json::Value, Vec<u8>), String) {
    let folder = tempfile::tempdir().unwrap();
    let first = if resumed { steps / 2 } else { steps };
    let train = |steps: usize, start: &[&str]| {
        let steps = format!("train.steps={steps}");
        let sets = ["--set", &steps, "--set", "eval.every=1", "--set", "data.samples=300", "-q"];
        ok(folder.path(), &[&["train"], start, &sets].concat());
    };
    train(first, &[config]);
    let run = only_run(&folder.path().join("runs"));
    if resumed {
        train(steps, &["--resume", run.to_str().unwrap()]);
    }
    (weights(folder.path(), &run), std::fs::read_to_string(run.join("metrics.jsonl")).unwrap())
}

#[test]
fn every_config_trains_and_a_stopped_run_ends_like_one_that_never_was() {
    for config in configs() {
        let config = config.to_str().unwrap();
        let (whole, resumed) = (trained(config, 2, false), trained(config, 2, true));
        assert_eq!(whole.1.lines().count(), 3, "{config}: rows of steps 0, 1 and 2");
        assert_eq!(whole.1, resumed.1, "{config}: the logs differ");
        assert!(whole.0 == resumed.0, "{config}: the weights differ");
    }
}
