//! A study from its file to its record, with the real binary and runs of a few steps.
mod common;

use std::path::Path;

use common::{fails, kiln, ok, tiny};

const STUDY: &str = r#"
title = "A small study"
paper = "Nobody 2026, arXiv:0000.00000"
question = "Does anything happen?"
[scales.quick]
seeds = [2, 3]
budget = "seconds"
[runs.A]
summary = "as it is"
config = "tiny.toml"
scales = ["quick"]
[runs.B]
summary = "without learning"
config = "tiny.toml"
scales = ["quick"]
set = { "optim.lr" = 1e-9 }
[[claims]]
id = "C1"
statement = "the loss falls"
scale = "quick"
conditions = [
    { kind = "direction", expr = "at(A.train_loss, 6) < at(B.train_loss, 6)" },
    { kind = "threshold", expr = "at(A.train_loss, 6) <= 100", headline = true },
]
[[claims]]
id = "C2"
statement = "a control that never trained"
scale = "quick"
conditions = [
    { kind = "precondition", expr = "first(B.train_accuracy >= 0.99) <= 6" },
    { kind = "direction", expr = "at(A.train_loss, 6) < at(B.train_loss, 6)" },
]
[[claims]]
id = "C3"
statement = "the wrong way round"
scale = "quick"
conditions = [{ kind = "direction", expr = "at(A.train_loss, 6) > at(B.train_loss, 6)" }]
[[claims]]
id = "C4"
statement = "a threshold missed"
scale = "quick"
conditions = [
    { kind = "direction", expr = "at(A.train_loss, 6) < at(B.train_loss, 6)" },
    { kind = "threshold", expr = "at(A.train_loss, 6) <= 0.001" },
]
"#;

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let study = folder.path().join("experiments/small");
    std::fs::create_dir_all(&study).unwrap();
    std::fs::write(study.join("study.toml"), STUDY).unwrap();
    tiny(&study, "[train]\nsteps = 6\n[eval]\nevery = 2\n");
    folder
}

fn reproduce(folder: &Path, more: &[&str]) -> String {
    ok(folder, &[&["reproduce", "small", "--scale", "quick", "-q"], more].concat())
}

/// The line of the printed table that starts with this claim.
fn line<'a>(table: &'a str, claim: &str) -> &'a str {
    table.lines().find(|line| line.trim_start().starts_with(claim)).unwrap_or_else(|| panic!("no {claim} in {table}"))
}

#[test]
fn verdicts_come_out_as_planted_and_the_record_is_small() {
    let folder = folder();
    let table = reproduce(folder.path(), &["--record"]);
    for (claim, word) in [("C1", "✓ reproduced"), ("C2", "void"), ("C3", "not reproduced"), ("C4", "partly")] {
        assert!(line(&table, claim).contains(word), "{claim}: {table}");
    }
    let study = folder.path().join("experiments/small");
    let report = std::fs::read_to_string(study.join("REPORT.md")).unwrap();
    for part in ["A small study", "C4", "partly", "figures/quick_test_accuracy.png"] {
        assert!(report.contains(part), "{part} is missing in {report}");
    }
    assert!(study.join("report.html").is_file() && study.join("figures/quick_test_accuracy.png").is_file());
    let record = study.join("records/quick/A-s2");
    let bytes: u64 = std::fs::read_dir(&record).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum();
    assert!(bytes < 20_000, "{bytes}");
    for file in ["config.toml", "environment.json", "summary.json", "metrics.csv"] {
        assert!(record.join(file).is_file(), "{file}");
    }
}

#[test]
fn nothing_is_trained_twice_and_an_edited_threshold_shows() {
    let folder = folder();
    let first = reproduce(folder.path(), &[]);
    assert!(!first.contains("changed after the run"));
    let log = folder.path().join("runs/studies/small/quick/runs");
    let stamps = || {
        let mut stamps: Vec<_> = std::fs::read_dir(&log)
            .unwrap()
            .map(|run| run.unwrap().path().join("summary.json"))
            .map(|file| (file.clone(), file.metadata().unwrap().modified().unwrap()))
            .collect();
        stamps.sort();
        stamps
    };
    let before = stamps();
    assert_eq!(before.len(), 4);
    let path = folder.path().join("experiments/small/study.toml");
    let edited = std::fs::read_to_string(&path).unwrap().replace("<= 0.001", "<= 99");
    std::fs::write(&path, edited).unwrap();
    let second = reproduce(folder.path(), &[]);
    assert!(line(&second, "C4").contains("changed after the run"), "{second}");
    assert!(!line(&second, "C1").contains("changed"), "{second}");
    assert_eq!(stamps(), before, "a finished run was touched");
}

#[test]
fn mixed_code_versions_are_flagged_and_stale_runs_made_anew() {
    let folder = folder();
    reproduce(folder.path(), &[]);
    let runs = folder.path().join("runs/studies/small/quick/runs");
    let run = std::fs::read_dir(&runs)
        .unwrap()
        .map(|r| r.unwrap().path())
        .find(|r| r.to_string_lossy().contains("A-s2"))
        .unwrap();
    let summary = std::fs::read_to_string(run.join("summary.json")).unwrap();
    let mut value: serde_json::Value = serde_json::from_str(&summary).unwrap();
    value["code"] = "another".into();
    std::fs::write(run.join("summary.json"), value.to_string()).unwrap();
    assert!(line(&reproduce(folder.path(), &[]), "C1").contains("mixed code versions"));
    assert!(!reproduce(folder.path(), &["--rerun", "stale"]).contains("mixed"));
}

#[test]
fn two_processes_share_a_plan() {
    let folder = folder();
    let mut children: Vec<_> = (0..2)
        .map(|_| {
            kiln(folder.path())
                .args(["reproduce", "small", "--scale", "quick", "-q"])
                .stdout(std::process::Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    assert!(children.iter_mut().all(|child| child.wait().unwrap().success()));
    assert_eq!(std::fs::read_dir(folder.path().join("runs/studies/small/quick/runs")).unwrap().count(), 4);
}

#[test]
fn a_report_shows_what_the_study_asks_for() {
    let folder = folder();
    let path = folder.path().join("experiments/small/study.toml");
    let spec = r#"
[runs.D]
summary = "read by no claim"
config = "tiny.toml"
scales = ["quick"]
[report]
table = ["train_loss"]
curves = []
[[report.profiles]]
name = "losses"
title = "Two losses"
x = "which"
y = "nats"
points = [[1, "train_loss"], [2, "test_loss"]]
runs = ["A", "B"]
"#;
    std::fs::write(&path, STUDY.replace("[[claims]]\nid = \"C1\"", &format!("{spec}[[claims]]\nid = \"C1\""))).unwrap();
    reproduce(folder.path(), &[]);
    let dir = folder.path().join("runs/studies/small/quick");
    let report = std::fs::read_to_string(dir.join("REPORT.md")).unwrap();
    assert!(dir.join("figures/quick_losses.svg").is_file() && report.contains("Two losses"), "{report}");
    assert!(!report.contains("test_accuracy"), "{report}");
    let row = |run: &str| line(report.split("## Runs").nth(1).unwrap(), &format!("| **{run}**")).to_owned();
    assert!(row("A").contains("C1, C2, C3, C4") && row("D").contains("report only"), "{report}");

    for (from, to, expected) in [
        ("runs = [\"A\", \"B\"]", "runs = [\"A\", \"Z\"]", "unknown run \"Z\""),
        ("[[1, \"train_loss\"]", "[[0, \"train_loss\"]", "expected places above 0"),
        ("name = \"losses\"", "name = \"../losses\"", "cannot name a file"),
    ] {
        let text =
            STUDY.replace("[[claims]]\nid = \"C1\"", &format!("{spec}[[claims]]\nid = \"C1\"").replace(from, to));
        std::fs::write(&path, text).unwrap();
        let message = fails(folder.path(), &["reproduce", "small", "--scale", "quick", "-q"], 2);
        assert!(message.contains(expected) && message.contains("profiles"), "{message}");
    }
}

#[test]
fn bad_studies_are_refused() {
    let folder = folder();
    let message = fails(folder.path(), &["reproduce", "large"], 2);
    assert!(message.contains("no study \"large\"") && message.contains("grokking"), "{message}");
    let message = fails(folder.path(), &["reproduce", "small", "--scale", "paper"], 2);
    assert!(message.contains("no scale paper"), "{message}");
    let message = fails(folder.path(), &["reproduce", "small", "--scale", "quick", "--only", "Z9"], 2);
    assert!(message.contains("Z9") && message.contains("A, B"), "{message}");
    let path = folder.path().join("experiments/small/study.toml");
    let text = std::fs::read_to_string(&path).unwrap().replace("at(B.train_loss, 6)", "at(Bb.train_loss, 6)");
    std::fs::write(&path, text).unwrap();
    let message = fails(folder.path(), &["reproduce", "small", "--scale", "quick"], 2);
    assert!(message.contains("study.toml") && message.contains("Bb"), "{message}");
}
