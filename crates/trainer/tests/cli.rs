//! The command line as a person meets it: messages, exit codes, files.
mod common;

use std::path::Path;

use common::{fails, ok, only_run, root, run, tiny};

const SHORT: &str = "[train]\nsteps = 3\n[eval]\nevery = 1\n";

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn a_misspelt_file_finds_the_one_beside_it_or_inside_the_binary() {
    let folder = folder();
    std::fs::write(folder.path().join("tiny.toml"), "").unwrap();
    assert!(fails(folder.path(), &["train", "tinny.toml"], 2).contains("no such file; did you mean tiny.toml?"));
    let shipped = fails(folder.path(), &["train", "configs/grokking/stablmax.toml"], 2);
    assert!(shipped.contains("did you mean configs/grokking/stablemax.toml?"), "{shipped}");
}

#[test]
fn a_misspelt_key_is_shown_with_its_place_and_the_nearest_key() {
    let folder = folder();
    let config = tiny(folder.path(), SHORT);
    let text = std::fs::read_to_string(&config).unwrap().replace("weight_decay", "wieght_decay");
    std::fs::write(&config, text).unwrap();
    let message = fails(folder.path(), &["train", "tiny.toml"], 2);
    for part in ["tiny.toml:16:1", "unknown key \"wieght_decay\"", "did you mean \"weight_decay\"?", "^^^^"] {
        assert!(message.contains(part), "{part} is missing in: {message}");
    }
    assert!(!folder.path().join("runs").exists(), "nothing is written for a config that cannot run");
}

#[test]
fn bad_values_are_refused_before_anything_is_written() {
    let folder = folder();
    tiny(folder.path(), SHORT);
    for (set, parts) in [
        ("loss.normalizer=sofmax", vec!["unknown", "sofmax", "did you mean \"softmax\"?"]),
        ("optim.lr=\"fast\"", vec!["optim.lr", "number"]),
        ("optim.lr=-1.0", vec!["out of range"]),
        ("optim.betas=[0.9, 1.5]", vec!["1.5 is out of range"]),
        ("data.fraction=1.5", vec!["out of range"]),
        ("data.op=\"pow\"", vec!["pow", "add"]),
        ("train.epochs=3", vec!["steps", "epochs", "not both"]),
        ("train.batch_size=4000", vec!["the training set has 423"]),
        ("train.stop.target={ metric = \"test_accuracy\" }", vec!["exactly one of"]),
        ("run.device=\"gpu\"", vec!["unknown device", "flex"]),
        ("run.device=\"cuda:0\"", vec!["--features cuda"]),
        ("eval.measures=[\"zero_los\"]", vec!["did you mean \"zero_loss\"?"]),
        ("model.name=\"mpl\"", vec!["did you mean \"mlp\"?"]),
        ("nonsense", vec!["nonsense", "="]),
    ] {
        let message = fails(folder.path(), &["train", "tiny.toml", "--set", set], 2);
        for part in parts {
            assert!(message.contains(part), "{set}: {part} is missing in: {message}");
        }
    }
    let swap = ["train", "tiny.toml", "--set", "data.op=\"sub\"", "--set", "eval.measures=[\"swap_split\"]"];
    assert!(fails(folder.path(), &swap, 2).contains("commutative"));
    assert!(!folder.path().join("runs").exists());
}

#[test]
fn heads_must_divide_the_width() {
    let sets = ["model.d_model=130", "data.encoding=\"tokens\""];
    let config = root().join("configs/grokking/transformer.toml");
    let folder = folder();
    let arguments = ["train", config.to_str().unwrap(), "--set", sets[0], "--set", sets[1]];
    let message = fails(folder.path(), &arguments, 2);
    assert!(message.contains("130") && message.contains("128") && message.contains("132"), "{message}");
}

#[test]
fn a_missing_file_is_named() {
    let message = fails(folder().path(), &["train", "configs/none.toml"], 2);
    assert!(message.contains("configs/none.toml"), "{message}");
}

#[test]
fn shipped_configs_are_found_away_from_the_source_tree() {
    let printed = ok(folder().path(), &["config", "configs/grokking/stablemax.toml", "--set", "optim.lr=1e-3"]);
    assert!(printed.contains("lr = 0.001") && printed.contains("normalizer"), "{printed}");
}

#[test]
fn what_config_prints_is_the_same_experiment() {
    let folder = folder();
    tiny(folder.path(), SHORT);
    let printed = ok(folder.path(), &["config", "tiny.toml"]);
    std::fs::write(folder.path().join("printed.toml"), &printed).unwrap();
    assert_eq!(ok(folder.path(), &["config", "printed.toml"]), printed);
}

#[test]
fn training_writes_the_whole_folder_and_says_when_it_was_done_before() {
    let folder = folder();
    tiny(folder.path(), SHORT);
    let printed = ok(folder.path(), &["train", "tiny.toml"]);
    assert!(printed.contains("test_accuracy") && printed.contains("report.html"), "{printed}");
    let path = only_run(&folder.path().join("runs"));
    for file in [
        "config.toml",
        "overrides.toml",
        "environment.json",
        "metrics.jsonl",
        "metrics.csv",
        "summary.json",
        "curves.svg",
        "curves.png",
        "report.html",
        "checkpoints/step-000000003/manifest.json",
    ] {
        assert!(path.join(file).is_file(), "{file}");
    }
    let again = run(folder.path(), &["train", "tiny.toml"]);
    assert!(again.status.success());
    assert!(String::from_utf8_lossy(&again.stderr).contains("--again"));
    ok(folder.path(), &["train", "tiny.toml", "--again"]);
    assert_eq!(std::fs::read_dir(folder.path().join("runs")).unwrap().count(), 2);
}

#[test]
fn a_finished_run_is_extended_and_other_changes_are_refused() {
    let folder = folder();
    tiny(folder.path(), SHORT);
    ok(folder.path(), &["train", "tiny.toml", "-q"]);
    let path = only_run(&folder.path().join("runs"));
    let run = path.to_str().unwrap();
    let message = fails(folder.path(), &["train", "--resume", run, "--set", "optim.lr=1.0"], 2);
    assert!(message.contains("optim.lr was 0.003 when this run began"), "{message}");
    let message = fails(folder.path(), &["train", "--resume", run, "--set", "train.steps=2"], 2);
    assert!(message.contains("train.steps"), "{message}");
    ok(folder.path(), &["train", "--resume", run, "--set", "train.steps=6", "-q"]);
    let rows = std::fs::read_to_string(path.join("metrics.jsonl")).unwrap();
    assert_eq!(rows.lines().count(), 7);

    // The same as having asked for six steps from the start.
    let other = tempfile::tempdir().unwrap();
    tiny(other.path(), &SHORT.replace("steps = 3", "steps = 6"));
    ok(other.path(), &["train", "tiny.toml", "-q"]);
    let whole = std::fs::read_to_string(only_run(&other.path().join("runs")).join("metrics.jsonl")).unwrap();
    assert_eq!(rows, whole);
}

#[test]
fn a_truncated_checkpoint_is_passed_over_or_named() {
    let folder = folder();
    tiny(folder.path(), "[train]\nsteps = 4\ncheckpoint = { every = 2 }\n[eval]\nevery = 1\n");
    ok(folder.path(), &["train", "tiny.toml", "-q"]);
    let path = only_run(&folder.path().join("runs"));
    let run = path.to_str().unwrap();
    let model = |step: u64| path.join(format!("checkpoints/step-{step:09}/model.bpk"));
    std::fs::write(model(4), "short").unwrap();
    let output = common::run(folder.path(), &["train", "--resume", run]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.contains("passed over a damaged checkpoint"), "{stderr}");
    for step in [2, 4] {
        std::fs::write(model(step), "short").unwrap();
    }
    let message = fails(folder.path(), &["train", "--resume", run], 2);
    assert!(message.contains("no complete checkpoint") && message.contains("model.bpk is truncated"), "{message}");
}

/// Every measure by name: those that read attention, and the others.
fn measures() -> (Vec<String>, Vec<String>) {
    let list = ok(folder().path(), &["list", "measures", "--json"]);
    let rows: Vec<serde_json::Value> = serde_json::from_str(&list).unwrap();
    assert!(rows.len() >= 17);
    let of_attention = ["\"largest_weight\"", "\"zero_share\"", "\"dead_rows\"", "\"sink_rate\""];
    let reads_attention = |name: &str| of_attention.contains(&name);
    rows.iter().map(|row| row["name"].to_string()).partition(|name| reads_attention(name))
}

#[test]
fn measures_do_not_change_the_run() {
    let trained = |measures: &[String]| {
        let folder = folder();
        let eval = format!("[train]\nsteps = 20\n[eval]\nevery = 3\nmeasures = [{}]\n", measures.join(", "));
        tiny(folder.path(), &eval);
        ok(folder.path(), &["train", "tiny.toml", "-q"]);
        let run = only_run(&folder.path().join("runs"));
        common::weights(folder.path(), &run)
    };
    assert!(trained(&[]) == trained(&measures().1), "measuring changed the weights");
}

/// A small look-up around one attention head, in `folder/look_up.toml`.
fn look_up(folder: &Path, train: &str) {
    let text = format!(
        r#"data = {{ name = "max_retrieval", test_lengths = [3, 700], rows = 50 }}
model = {{ name = "query_pool", width = 8 }}
loss = {{ name = "cross_entropy" }}
optim = {{ name = "adamw", lr = 1e-2 }}
{train}
"#
    );
    std::fs::write(folder.join("look_up.toml"), text).unwrap();
}

#[test]
fn a_probe_does_not_change_the_run_and_its_measures_are_logged_for_each_set() {
    let trained = |measures: &[String]| {
        let folder = folder();
        let train = "[train]\nsteps = 6\nbatch_size = 16\n[eval]\nevery = 2\n";
        look_up(folder.path(), &format!("{train}measures = [{}]", measures.join(", ")));
        ok(folder.path(), &["train", "look_up.toml", "-q"]);
        let run = only_run(&folder.path().join("runs"));
        let log = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
        let rows: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (common::weights(folder.path(), &run), rows)
    };
    let (plain, _) = trained(&[]);
    let (watched, rows) = trained(&measures().0);
    assert!(plain == watched, "watching changed the weights");
    assert_eq!(rows.len(), 4);
    for row in &rows {
        let value = |metric: &str| row[metric].as_f64().unwrap_or_else(|| panic!("no {metric} in {row}"));
        // Softmax weights of n items: none is 0, the largest lies between 1/n and 1.
        for (set, n) in [("val", 16.0), ("n3", 3.0), ("n700", 700.0)] {
            let largest = value(&format!("{set}_largest_weight"));
            assert!((1.0 / n..1.0).contains(&largest), "{set}: {largest}");
            assert_eq!([value(&format!("{set}_zero_share")), value(&format!("{set}_dead_rows"))], [0.0, 0.0]);
        }
    }
}

#[test]
fn groups_of_an_evaluation_set_are_judged_apart() {
    let folder = folder();
    let config = "[data]\nname = \"needle\"\ntest_lengths = [40, 64]\nrows = 60\n[model]\nname = \"transformer\"\nd_model = 8\n\
                  d_ff = 8\n[model.attention]\nn_heads = 2\n[loss]\nname = \"cross_entropy\"\n[optim]\nname = \"adamw\"\n\
                  lr = 1e-3\n[train]\nsteps = 2\nbatch_size = 4\n[eval]\nmeasures = [\"group_accuracy\"]\n";
    std::fs::write(folder.path().join("needle.toml"), config).unwrap();
    ok(folder.path(), &["train", "needle.toml", "-q"]);
    let run = only_run(&folder.path().join("runs"));
    let log = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let row: serde_json::Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    let value = |metric: &str| row[metric].as_f64().unwrap_or_else(|| panic!("no {metric} in {row}"));
    for metric in ["n40_near15", "n40_first_half", "n64_far31", "n64_last_quarter", "val_near15"] {
        assert!((0.0..=1.0).contains(&value(&format!("{metric}_accuracy"))), "{metric}");
    }
    let set = "eval.measures=[\"swap_split\"]";
    let message = fails(folder.path(), &["train", "needle.toml", "--set", set], 2);
    assert!(message.contains("swap_split: the data has no swapped pairs to tell apart"), "{message}");
    tiny(folder.path(), SHORT);
    let sets = ["--set", "data.op=\"sub\"", "--set", "eval.measures=[\"group_accuracy\"]"];
    let message = fails(folder.path(), &[&["train", "tiny.toml"][..], &sets].concat(), 2);
    assert!(message.contains("group_accuracy: the data tells no groups apart; use it with needle"), "{message}");
}

#[test]
fn what_an_endless_stream_cannot_do_is_refused() {
    let folder = folder();
    for (train, key, message) in [
        ("steps = 6", "[train]", "the training rows never end; give `batch_size`, such as 128"),
        ("epochs = 1\nbatch_size = 4", "epochs", "the training rows never end, so there are no epochs; give `steps`"),
    ] {
        look_up(folder.path(), &format!("[train]\n{train}"));
        let error = fails(folder.path(), &["train", "look_up.toml"], 2);
        assert!(error.contains(key) && error.contains(message), "{error}");
    }
    tiny(folder.path(), SHORT);
    let error = fails(folder.path(), &["train", "tiny.toml", "--set", "eval.measures=[\"dead_rows\"]"], 2);
    assert!(error.contains("dead_rows: the network has no attention whose weights could be read"), "{error}");
    assert!(!folder.path().join("runs").exists());
}

#[test]
fn stops_at_the_target_and_at_nan() {
    let folder = folder();
    tiny(folder.path(), SHORT);
    let target = "train.stop.target={ metric = \"train_loss\", below = 100.0 }";
    ok(folder.path(), &["train", "tiny.toml", "-q", "--set", target]);
    let summary = std::fs::read_to_string(only_run(&folder.path().join("runs")).join("summary.json")).unwrap();
    assert!(summary.contains("\"target_reached\"") && summary.contains("\"steps\": 0"), "{summary}");
    let missing = "train.stop.target={ metric = \"val_loss\", below = 100.0 }";
    let message = fails(folder.path(), &["train", "tiny.toml", "-q", "--set", missing], 1);
    assert!(message.contains("\"val_loss\" is not logged") && message.contains("test_loss"), "{message}");
    let message = fails(folder.path(), &["train", "tiny.toml", "-q", "--set", "optim.lr=1e38"], 1);
    assert!(message.contains("not a number"), "{message}");
}

#[test]
fn lists_schema_and_completeness() {
    let folder = folder();
    let names = ok(folder.path(), &["list", "normalizers", "*max"]);
    assert!(names.contains("softmax") && names.contains("stablemax") && names.contains("2501.04697"), "{names}");
    assert!(fails(folder.path(), &["list", "nothing"], 2).contains("registries:"));
    for kind in ["experiment", "study", "sweep"] {
        let file = format!("{kind}.schema.json");
        let committed = std::fs::read_to_string(root().join("configs").join(&file)).unwrap_or_default();
        let current = ok(folder.path(), &["schema", kind]);
        assert!(
            committed.trim() == current.trim(),
            "configs/{file} is not current; write it anew with: kiln schema {kind} > configs/{file}"
        );
    }
}

#[test]
fn eval_under_other_settings_leaves_the_run_alone() {
    let folder = folder();
    tiny(folder.path(), SHORT);
    ok(folder.path(), &["train", "tiny.toml", "-q"]);
    let path = only_run(&folder.path().join("runs"));
    let run = path.to_str().unwrap();
    let before = std::fs::read_to_string(path.join("metrics.jsonl")).unwrap();
    assert!(ok(folder.path(), &["eval", run, "--set", "loss.dtype=\"f64\""]).contains("test_accuracy"));
    assert_eq!(std::fs::read_dir(path.join("eval")).unwrap().count(), 1);
    assert_eq!(std::fs::read_to_string(path.join("metrics.jsonl")).unwrap(), before);
    let message = fails(folder.path(), &["eval", run, "--set", "model.widths=[16]"], 2);
    assert!(message.contains("do not fit this model"), "{message}");
}

#[test]
fn unwritable_places_are_named() {
    let folder = folder();
    tiny(folder.path(), SHORT);
    std::fs::write(folder.path().join("file"), "").unwrap();
    let message = fails(folder.path(), &["train", "tiny.toml", "--set", "run.dir=\"file/runs\""], 2);
    assert!(message.contains("file/runs"), "{message}");
    // Root may write anywhere; /proc refuses everybody.
    #[cfg(target_os = "linux")]
    assert!(fails(folder.path(), &["train", "tiny.toml", "--set", "run.dir=\"/proc/kiln\""], 2).contains("/proc/kiln"));
}

#[test]
fn a_full_disk_ends_the_run_with_a_message_and_keeps_the_checkpoints() {
    // A log that leads to /dev/full takes nothing, as a full disk does.
    #[cfg(target_os = "linux")]
    {
        let folder = folder();
        tiny(folder.path(), SHORT);
        ok(folder.path(), &["train", "tiny.toml", "-q"]);
        let path = only_run(&folder.path().join("runs"));
        std::fs::remove_file(path.join("metrics.jsonl")).unwrap();
        std::os::unix::fs::symlink("/dev/full", path.join("metrics.jsonl")).unwrap();
        let output = run(folder.path(), &["train", "--resume", path.to_str().unwrap(), "--set", "train.steps=9"]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && stderr.contains("metrics.jsonl"), "{stderr}");
        assert!(path.join("checkpoints/step-000000003/manifest.json").is_file());
    }
}

#[test]
fn every_shipped_config_trains_two_steps() {
    let folder = folder();
    let configs = root().join("configs");
    let (mut found, mut skipped) = (0, 0);
    // Sweeps are no experiments; their own test plans them.
    let topic = |entry: &std::fs::DirEntry| entry.path().is_dir() && entry.file_name() != "ablations";
    for topic in std::fs::read_dir(&configs).unwrap().flatten().filter(topic) {
        for file in std::fs::read_dir(topic.path()).unwrap().flatten() {
            let path = file.path();
            let mut arguments =
                vec!["train", path.to_str().unwrap(), "-q", "--set", "train.steps=2", "--set", "eval.every=1"];
            // Configs of data that has to be fetched say so in their first lines.
            if std::fs::read_to_string(&path).unwrap().contains("kiln data fetch") {
                if std::env::var_os("KILN_DATA_DIR").is_none() {
                    eprintln!("skipped: {} needs data, and KILN_DATA_DIR is not set", path.display());
                    skipped += 1;
                    continue;
                }
                arguments.extend(["--set", "data.samples=256", "--set", "data.test_samples=256"]);
            }
            ok(folder.path(), &arguments);
            found += 1;
        }
    }
    assert!(skipped < found, "only {found} configs, and {skipped} without their data");
    assert!(found >= 11, "only {found} configs");
    let stalled = std::fs::read_dir(folder.path().join("runs")).unwrap().flatten().count();
    assert_eq!(stalled, found, "two configs share a run");
}

#[test]
fn runs_are_listed_measured_and_pruned_only_when_told_so() {
    let folder = folder();
    tiny(folder.path(), SHORT);
    ok(folder.path(), &["train", "tiny.toml", "-q"]);
    let path = only_run(&folder.path().join("runs"));
    let name = path.file_name().unwrap().to_str().unwrap();
    let rows: serde_json::Value = serde_json::from_str(&ok(folder.path(), &["runs", "list", "--json"])).unwrap();
    assert_eq!((rows[0]["run"].as_str(), rows[0]["status"].as_str()), (Some(name), Some("finished")));
    assert_eq!(rows[0]["steps"], 3);
    assert_eq!(ok(folder.path(), &["runs", "--json"]), ok(folder.path(), &["runs", "list", "--json"]));
    assert!(ok(folder.path(), &["runs", "sizes"]).contains("total"));
    let sizes: serde_json::Value = serde_json::from_str(&ok(folder.path(), &["runs", "sizes", "--json"])).unwrap();
    assert_eq!((sizes[0]["run"].as_str(), &sizes[0]["bytes"]), (Some(name), &rows[0]["bytes"]));
    let plan: serde_json::Value = serde_json::from_str(&ok(folder.path(), &["runs", "prune", name, "--json"])).unwrap();
    assert_eq!(plan[0]["removed"], false);
    assert!(fails(folder.path(), &["runs", "prune", "nothing"], 2).contains("no run \"nothing\""));
    ok(folder.path(), &["runs", "prune", name]);
    assert!(path.is_dir(), "pruned without --yes");
    ok(folder.path(), &["runs", "prune", name, "--checkpoints-only", "--yes"]);
    assert!(path.join("summary.json").is_file() && !path.join("checkpoints").exists());
    std::fs::remove_file(path.join("report.html")).unwrap();
    ok(folder.path(), &["report", path.to_str().unwrap()]);
    assert!(path.join("report.html").is_file());
    ok(folder.path(), &["runs", "prune", name, "--yes"]);
    assert!(!path.exists());
}

#[test]
fn a_time_budget_ends_the_run_with_a_last_row() {
    let folder = folder();
    tiny(folder.path(), "[train]\nsteps = 1000000\nstop = { time_s = 0.3 }\n[eval]\nevery = 1000000\n");
    ok(folder.path(), &["train", "tiny.toml", "-q"]);
    let path = only_run(&folder.path().join("runs"));
    let summary = std::fs::read_to_string(path.join("summary.json")).unwrap();
    assert!(summary.contains("\"time_up\""), "{summary}");
    assert_eq!(std::fs::read_to_string(path.join("metrics.jsonl")).unwrap().lines().count(), 2);
}
