//! `kiln verify`: promises held against the real thing, for every shipped config.
mod common;

use std::path::Path;

use common::{fails, ok, root, tiny};
use kiln_trainer::{run::RunFolder, verify::compare};
use serde_json::Value;

const SHORT: &str = "[train]\nsteps = 8\nbatch_size = 100\n[eval]\nevery = 1\nmeasures = [\"nlm_update\"]\n";

fn findings(folder: &Path, arguments: &[&str]) -> Vec<Value> {
    let text = ok(folder, &[&["verify"][..], arguments, &["--json"]].concat());
    serde_json::from_str::<Value>(&text).unwrap().as_array().unwrap().clone()
}

#[test]
fn a_small_run_keeps_both_promises_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    tiny(folder.path(), SHORT);
    for (arguments, about) in [
        (&["determinism", "tiny.toml"][..], "3 runs, with 1, 2, 2 threads"),
        (&["resume", "tiny.toml"], "a whole run, and one cut at step 3 and resumed"),
        (&["resume", "tiny.toml", "--steps", "100"], "a whole run, and one cut at step 4 and resumed"),
    ] {
        let found = findings(folder.path(), arguments);
        assert_eq!(
            (found.len(), &found[0]["holds"], &found[0]["about"]),
            (1, &true.into(), &about.into()),
            "{found:?}"
        );
        assert_eq!(found[0]["differences"], serde_json::json!([]));
    }
    let text = ok(folder.path(), &["verify", "resume", "tiny.toml", "--steps", "2"]);
    assert!(text.contains("same bits") && text.contains("1 of 1 keep the promise"), "{text}");
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["tiny.toml"]);
}

#[test]
fn a_cut_run_can_be_resumed() {
    let folder = tempfile::tempdir().unwrap();
    tiny(folder.path(), SHORT);
    let message = fails(folder.path(), &["train", "tiny.toml", "--stop-at", "5", "-q"], 3);
    assert!(message.contains("stopped at step 5"), "{message}");
    let run = common::only_run(&folder.path().join("runs"));
    assert!(run.join("checkpoints/step-000000005/manifest.json").is_file());
    ok(folder.path(), &["train", "--resume", run.to_str().unwrap(), "-q"]);
    assert_eq!(std::fs::read_to_string(run.join("metrics.jsonl")).unwrap().lines().count(), 9);
}

#[test]
fn runs_of_other_seeds_differ_in_weights_and_log() {
    let folder = tempfile::tempdir().unwrap();
    tiny(folder.path(), SHORT);
    let train = |name: &str, seed: &str| {
        ok(folder.path(), &["train", "tiny.toml", "-q", "--set", &format!("run.dir={name}"), "--set", seed]);
        RunFolder::open(&common::only_run(&folder.path().join(name))).unwrap()
    };
    let (a, again, b) = (train("a", "run.seed=0"), train("again", "run.seed=0"), train("b", "run.seed=1"));
    assert!(compare(&a, &again, "again").unwrap().is_empty());
    let found = compare(&a, &b, "b").unwrap();
    let of = |what: &str| found.iter().filter(|difference| difference.what == what).collect::<Vec<_>>();
    assert!(of("weights").iter().any(|difference| difference.place.contains("layers.0.weight[0], ")), "{found:?}");
    assert!(of("metrics")[0].place.starts_with("step 0, train_loss"), "{found:?}");
    assert!(!of("optimizer").is_empty() && of("step").is_empty());
    assert!(found.iter().all(|difference| difference.run == "b"));
}

#[test]
fn what_cannot_be_run_is_bad_input() {
    let folder = tempfile::tempdir().unwrap();
    tiny(folder.path(), SHORT);
    let message = fails(folder.path(), &["verify", "resume", "tiny.toml", "--set", "run.device=\"gpu\""], 2);
    assert!(message.contains("unknown device"), "{message}");
    for (arguments, part) in [
        (&["verify", "resume"][..], "CONFIG"),
        (&["verify", "resume", "gone.toml"], "no such file"),
        (&["verify", "resume", "tiny.toml", "--steps", "1"], "--steps"),
        (&["verify", "resume", "tiny.toml", "--shipped"], "--shipped"),
        (&["verify", "determinism", "tiny.toml", "--with", "1"], "at least two numbers"),
        (&["verify", "determinism", "tiny.toml", "--with", "1,0"], "each at least 1"),
        (&["verify", "determinism", "tiny.toml", "--set", "optim.lr=-1.0"], "out of range"),
    ] {
        let message = fails(folder.path(), arguments, 2);
        assert!(message.contains(part), "{arguments:?}: {message}");
    }
}

/// Config files that need data which has to be fetched say so in their first lines.
fn needs_data(config: &str) -> bool {
    std::fs::read_to_string(root().join(config)).unwrap().contains("kiln data fetch")
}

/// Every shipped config: those of data that has to be fetched, and the others.
fn shipped(folder: &Path) -> (Vec<String>, Vec<String>) {
    let complete = |word: &str| -> Vec<String> {
        let candidates = ok(folder, &["complete", "--", "train", word]);
        candidates.lines().filter_map(|line| Some(line.split('\t').next()?.to_owned())).collect()
    };
    let topics = complete("configs/").into_iter().filter(|topic| topic.ends_with('/'));
    let configs: Vec<String> = topics.flat_map(|topic| complete(&topic)).collect();
    assert!(configs.len() >= 60, "{configs:?}");
    configs.into_iter().partition(|config| needs_data(config))
}

/// Holds a promise against every shipped config, over two steps.
fn every_shipped_config_keeps(promise: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let (fetched, generated) = shipped(folder.path());
    let hold = |configs: &[String], sets: &[&str]| {
        let names: Vec<&str> = configs.iter().map(String::as_str).collect();
        let found = findings(folder.path(), &[promise, &names, &["--steps", "2"], sets].concat());
        assert_eq!(found.len(), configs.len());
        for finding in found {
            assert_eq!(finding["holds"], true, "{finding:#}");
        }
    };
    hold(&generated, &[]);
    if std::env::var_os("KILN_DATA_DIR").is_some() {
        hold(&fetched, &["--set", "data.samples=256", "--set", "data.test_samples=256"]);
    } else {
        eprintln!("skipped: {fetched:?} need data, and KILN_DATA_DIR is not set");
    }
}

#[test]
fn every_shipped_config_is_the_same_with_one_thread_and_with_two() {
    every_shipped_config_keeps(&["determinism", "--with", "1,2"]);
}

#[test]
fn every_shipped_config_resumes_bit_for_bit() {
    every_shipped_config_keeps(&["resume"]);
}

#[test]
fn missing_data_is_skipped_where_all_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let verify = |what: &[&str]| {
        let mut command = common::kiln(folder.path());
        let output = command.env("KILN_DATA_DIR", &empty).args(["verify", "resume"]).args(what).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, shown, said) = verify(&["--shipped", "mnist"]);
    assert!(code == Some(0) && shown.contains("0 of 0") && said.contains("skipped: "), "{shown}{said}");
    // One that was named is not.
    let (code, _, said) = verify(&["configs/mnist/cnn_softmax.toml"]);
    assert!(code == Some(2) && said.contains("kiln data fetch"), "{said}");
    assert!(fails(folder.path(), &["verify", "resume", "--shipped", "nowhere"], 2).contains("grokking, "));
}
