//! `kiln diff`: what differs between runs and configs.
mod common;

use std::path::Path;

use common::{fails, ok, run, tiny};
use serde_json::Value;

const SHORT: &str = "[train]\nsteps = 3\n[eval]\nevery = 1\n";

/// The object and the exit code.
fn diff(folder: &Path, a: &str, b: &str) -> (Value, Option<i32>) {
    let output = run(folder, &["diff", a, b, "--json"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let value =
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)));
    (value, output.status.code())
}

fn keys(value: &Value) -> Vec<&str> {
    value["keys"].as_array().unwrap().iter().map(|key| key["key"].as_str().unwrap()).collect()
}

#[test]
fn configs_differ_in_their_resolved_keys_alone() {
    let folder = tempfile::tempdir().unwrap();
    tiny(folder.path(), SHORT);
    let text = std::fs::read_to_string(folder.path().join("tiny.toml")).unwrap();
    // The same experiment in other words: a default spelt out, a comment.
    std::fs::write(folder.path().join("same.toml"), format!("# same\nrun.seed = 0\n{text}")).unwrap();
    let (same, code) = diff(folder.path(), "tiny.toml", "same.toml");
    assert_eq!((code, &same["differs"], keys(&same).len()), (Some(0), &Value::from(false), 0));
    let other = text.replace("lr = 3e-3", "lr = 1e-3").replace("fraction = 0.8", "fraction = 0.5");
    std::fs::write(folder.path().join("other.toml"), other).unwrap();
    let (value, code) = diff(folder.path(), "tiny.toml", "other.toml");
    assert_eq!((code, keys(&value)), (Some(1), vec!["data.fraction", "optim.lr"]));
    assert_eq!((&value["keys"][1]["a"], &value["keys"][1]["b"]), (&Value::from(0.003), &Value::from(0.001)));
    assert_eq!((&value["data"]["same"], &value["results"]), (&Value::from(false), &Value::Null));
    let shown = run(folder.path(), &["diff", "tiny.toml", "other.toml"]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("optim.lr") && !shown.contains("weight_decay"), "{shown}");
    // Shipped configs need no file.
    let (value, _) = diff(folder.path(), "configs/grokking/softmax.toml", "configs/grokking/stablemax.toml");
    assert!(keys(&value).iter().any(|key| key.starts_with("loss.normalizer")), "{value}");
}

#[test]
fn runs_differ_in_keys_machine_and_results() {
    let folder = tempfile::tempdir().unwrap();
    tiny(folder.path(), SHORT);
    let train = |name: &str, set: &str| {
        let dir = format!("run.dir={name}");
        ok(folder.path(), &["train", "tiny.toml", "-q", "--threads", "1", "--set", &dir, "--set", set]);
        common::only_run(&folder.path().join(name)).to_str().unwrap().to_owned()
    };
    let (a, b) = (train("a", "run.seed=0"), train("b", "run.seed=1"));
    let (value, code) = diff(folder.path(), &a, &b);
    assert_eq!((code, keys(&value)), (Some(1), vec!["run.dir", "run.seed"]));
    assert_eq!(value["environment"], serde_json::json!([]), "the moment of the start is no difference");
    let results = &value["results"];
    let losses: Vec<_> =
        results["differing"].as_array().unwrap().iter().filter(|m| m["metric"] == "train_loss").collect();
    assert_eq!(losses.len(), 1);
    assert!(losses[0]["a"]["last"].as_f64() != losses[0]["b"]["last"].as_f64());
    assert_eq!((&results["only_a"], &results["only_b"]), (&serde_json::json!([]), &serde_json::json!([])));

    let copy = folder.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    for file in ["config.toml", "environment.json", "summary.json"] {
        std::fs::copy(Path::new(&a).join(file), copy.join(file)).unwrap();
    }
    let (same, code) = diff(folder.path(), &a, "copy");
    assert_eq!((code, &same["differs"]), (Some(0), &Value::from(false)), "{same}");
    assert!(same["results"]["equal"].as_u64().unwrap() >= 4, "{same}");
    assert!(String::from_utf8_lossy(&run(folder.path(), &["diff", &a, "copy"]).stderr).contains("nothing differs"));
    // Another machine and another code.
    for (file, from, to) in
        [("environment.json", "\"threads\": 1", "\"threads\": 2"), ("summary.json", "\"code\": \"", "\"code\": \"0")]
    {
        let text = std::fs::read_to_string(copy.join(file)).unwrap();
        assert!(text.contains(from));
        std::fs::write(copy.join(file), text.replace(from, to)).unwrap();
    }
    let (value, code) = diff(folder.path(), &a, "copy");
    let names: Vec<&str> = value["environment"].as_array().unwrap().iter().filter_map(|f| f["name"].as_str()).collect();
    assert_eq!((code, names), (Some(1), vec!["code (SHA-256)", "threads"]));
    // A run and a config: keys and data alone.
    let (value, _) = diff(folder.path(), &a, "tiny.toml");
    assert_eq!((keys(&value), &value["environment"]), (vec!["run.dir", "run.threads"], &serde_json::json!([])));
}

#[test]
fn what_is_neither_run_nor_config_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    tiny(folder.path(), SHORT);
    std::fs::create_dir(folder.path().join("empty")).unwrap();
    assert!(fails(folder.path(), &["diff", "tiny.toml", "gone.toml"], 2).contains("no such file"));
    assert!(fails(folder.path(), &["diff", "empty", "tiny.toml"], 2).contains("is not a run folder"));
    assert!(fails(folder.path(), &["diff", "tiny.toml"], 2).contains("<B>"));
    let damaged = folder.path().join("damaged");
    std::fs::create_dir(&damaged).unwrap();
    std::fs::copy(folder.path().join("tiny.toml"), damaged.join("config.toml")).unwrap();
    std::fs::write(damaged.join("environment.json"), "{").unwrap();
    assert!(fails(folder.path(), &["diff", "damaged", "tiny.toml"], 2).contains("environment.json is damaged"));
    std::fs::write(damaged.join("environment.json"), "{\"kiln\": 3}").unwrap();
    assert!(fails(folder.path(), &["diff", "damaged", "tiny.toml"], 2).contains("environment.json is damaged"));
}
