//! Heads, losses and teachers, from config to trained run.
mod common;

use std::path::{Path, PathBuf};

use common::{fails, ok, only_run, root, tiny, weights};

const SHORT: &str = "[train]\nsteps = 3\n[eval]\nevery = 1\n";

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn train(folder: &Path, sets: &[&str]) {
    let sets = sets.iter().flat_map(|set| ["--set", set]);
    ok(folder, &["train", "tiny.toml", "-q"].into_iter().chain(sets).collect::<Vec<_>>());
}

fn refused(folder: &Path, sets: &[&str]) -> String {
    let sets = sets.iter().flat_map(|set| ["--set", set]);
    fails(folder, &["train", "tiny.toml", "-q"].into_iter().chain(sets).collect::<Vec<_>>(), 2)
}

#[test]
fn a_head_and_a_loss_that_do_not_go_together_are_refused_before_anything_is_written() {
    let folder = folder();
    tiny(folder.path(), SHORT);
    for (sets, parts) in [
        (
            vec!["model.head=svm"],
            vec!["model.head", "the head \"svm\"", "\"cross_entropy\" reads logits", "losses that fit: hinge"],
        ),
        (vec!["model.head=gumbel", "loss={ name = \"hinge\" }"], vec!["losses that fit: gumbel_ce"]),
        (vec!["model.head=fourier", "loss={ name = \"relu_nll\" }"], vec!["it keeps their positive parts"]),
        (vec!["loss={ name = \"psl\" }"], vec!["half cosines", "head = { name = \"normalised\", s = 0.5 }"]),
        (
            vec!["loss={ name = \"distillation\" }"],
            vec!["loss.name", "takes distributions over classes, and the data gives classes"],
        ),
        (vec!["model.head=cosfce"], vec!["did you mean \"cosface\"?"]),
        (vec!["model.head={ name = \"cosface\", s = -1 }"], vec!["-1 is out of range"]),
        (vec!["model.head={ name = \"vq_logits\", codes = 24 }"], vec!["model.head.codes", "24 codes for 23 classes"]),
        (vec!["model.head={ name = \"fourier\", frequencies = 12 }"], vec!["fewer than half"]),
        (vec!["model.head=cosface", "model.logit_scale=2.0"], vec!["has a scale of its own"]),
        (
            vec!["model={ name = \"soft_decision_tree\", head = \"cosface\" }"],
            vec!["model.head", "takes no head", "distributions over the classes"],
        ),
        (
            vec!["model.head={ name = \"normalised\", s = 1, learn_scale = true }"],
            vec!["model.head.s", "begins above 1"],
        ),
        (vec!["model.head={ name = \"curricular_face\", m = 4 }"], vec!["model.head.m", "an angle below π"]),
        (vec!["model.head={ name = \"equiangular\", simplex = true, alpha = 0.2 }"], vec!["an angle of its own"]),
        (vec!["model.head=cosface", "model.widths=[]"], vec!["model.widths", "give at least one width"]),
    ] {
        let message = refused(folder.path(), &sets);
        for part in parts {
            assert!(message.contains(part), "{sets:?}: {part} is missing in: {message}");
        }
    }
    assert!(!folder.path().join("runs").exists());
}

#[test]
fn the_default_head_changes_neither_names_nor_identity() {
    let folder = folder();
    tiny(folder.path(), SHORT);
    train(folder.path(), &[]);
    let plain = only_run(&folder.path().join("runs"));
    let config = std::fs::read_to_string(plain.join("config.toml")).unwrap();
    assert!(!config.contains("head"), "{config}");
    // Written out it is the same run.
    train(folder.path(), &["model.head=linear"]);
    let (names, _) = weights(folder.path(), &only_run(&folder.path().join("runs")));
    let mut names: Vec<&String> = names.as_object().unwrap().keys().collect();
    names.sort();
    assert_eq!(names, ["layers.0.weight", "layers.1.weight", "layers.2.weight"]);
}

#[test]
fn a_margin_is_not_counted_as_an_error() {
    // The margin is so wide that no row is right with it.
    let folder = folder();
    tiny(folder.path(), SHORT);
    train(
        folder.path(),
        &[
            "model.head={ name = \"cosface\", s = 8, m = 3 }",
            "optim.transforms=[]",
            "train.steps=300",
            "eval.every=300",
        ],
    );
    let run = only_run(&folder.path().join("runs"));
    let rows = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let last: serde_json::Value = serde_json::from_str(rows.lines().last().unwrap()).unwrap();
    assert!(last["train_accuracy"].as_f64().unwrap() > 0.5, "{last}");
    let (names, _) = weights(folder.path(), &run);
    let mut names: Vec<&String> = names.as_object().unwrap().keys().collect();
    names.sort();
    assert_eq!(names, ["head.CosFace.classes.weight", "layers.0.weight", "layers.1.weight"]);
}

#[test]
fn terms_of_a_head_are_logged() {
    let folder = folder();
    tiny(folder.path(), SHORT);
    train(folder.path(), &["model.head=svm", "loss={ name = \"hinge\" }"]);
    let rows = std::fs::read_to_string(only_run(&folder.path().join("runs")).join("metrics.jsonl")).unwrap();
    assert!(rows.contains("train_svm_penalty"), "{rows}");
}

/// A trained teacher beside a student's config, and the setting that names it.
fn taught(folder: &Path) -> (PathBuf, String) {
    tiny(folder, SHORT);
    train(folder, &["run.dir=\"teachers\""]);
    let teacher = only_run(&folder.join("teachers"));
    let task =
        format!("task={{ name = \"distillation\", teacher = {{ run = \"{}\" }}, weight = 0.5 }}", teacher.display());
    (teacher, task)
}

#[test]
fn a_student_learns_from_a_teacher_and_its_config_says_which() {
    let folder = folder();
    let (teacher, task) = taught(folder.path());
    train(folder.path(), &[&task, "model.widths=[16]"]);
    let run = only_run(&folder.path().join("runs"));
    let rows = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    assert!(rows.contains("train_distillation"), "{rows}");
    let config = std::fs::read_to_string(run.join("config.toml")).unwrap();
    assert!(config.contains("identity = ") && config.contains("weights = "), "{config}");
    // Going on needs the very teacher; an evaluation needs none.
    let path = run.to_str().unwrap();
    ok(folder.path(), &["train", "-q", "--resume", path, "--set", "train.steps=5"]);
    std::fs::rename(&teacher, folder.path().join("away")).unwrap();
    assert!(ok(folder.path(), &["eval", path]).contains("test_accuracy"));
    let message = fails(folder.path(), &["train", "-q", "--resume", path, "--set", "train.steps=7"], 2);
    assert!(message.contains("task.teacher.run") && message.contains("is not a run folder"), "{message}");
}

#[test]
fn a_student_that_is_told_nothing_but_its_own_answers_stays() {
    // The teacher's weights are the student's own: the divergence is 0 at the first step.
    let folder = folder();
    tiny(folder.path(), "[train]\nsteps = 1\n[eval]\nevery = 1\n");
    train(folder.path(), &["run.dir=\"teachers\"", "optim.lr=1e-30"]);
    let teacher = only_run(&folder.path().join("teachers"));
    let task = format!("task={{ name = \"distillation\", teacher = {{ run = \"{}\" }} }}", teacher.display());
    train(folder.path(), &[&task]);
    let rows = std::fs::read_to_string(only_run(&folder.path().join("runs")).join("metrics.jsonl")).unwrap();
    let first: serde_json::Value = serde_json::from_str(rows.lines().next().unwrap()).unwrap();
    assert!(first["train_distillation"].as_f64().unwrap().abs() < 1e-6, "{first}");
}

#[test]
fn a_teacher_that_does_not_fit_is_refused_by_name() {
    let folder = folder();
    let (teacher, task) = taught(folder.path());
    let named = |run: &str| format!("task={{ name = \"distillation\", teacher = {{ run = \"{run}\" }} }}");
    let message = refused(folder.path(), &[&named("runs/nobody")]);
    assert!(message.contains("task.teacher.run") && message.contains("runs/nobody is not a run folder"), "{message}");
    let message = refused(folder.path(), &[&task, "data.p=19"]);
    assert!(message.contains("answers with 23 classes") && message.contains("19 classes"), "{message}");
    let message = refused(folder.path(), &[&task, "model.head=cosface"]);
    assert!(message.contains("\"cosface\" moves or leaves out the logits"), "{message}");
    let changed = task.replace("weight = 0.5", "weight = 1.5");
    assert!(refused(folder.path(), &[&changed]).contains("1.5 is out of range"));
    let other = task.replace(" }, weight", ", weights = \"0123\" }, weight");
    let message = refused(folder.path(), &[&other]);
    assert!(message.contains("has changed since: its weights had the SHA-256 0123"), "{message}");
    std::fs::remove_file(teacher.join("summary.json")).unwrap();
    let message = refused(folder.path(), &[&task]);
    assert!(message.contains("has not come to its end; go on with it by: kiln train --resume"), "{message}");
    assert!(!folder.path().join("runs").exists());
}

#[test]
fn adversarial_training_is_for_its_loss_and_for_feature_vectors() {
    let folder = folder();
    tiny(folder.path(), SHORT);
    let message = refused(folder.path(), &["task=adversarial_comp_sum"]);
    assert!(message.contains("made for the loss \"comp_sum\", not for \"cross_entropy\""), "{message}");
    let message = refused(folder.path(), &["task=adversarial_comp_sum", "loss={ name = \"comp_sum\" }"]);
    assert!(message.contains("the data gives one-hot rows"), "{message}");
    let config = root().join("configs/heads/adversarial.toml");
    let arguments = ["train", config.to_str().unwrap(), "-q", "--set", "train.steps=2", "--set", "eval.every=1"];
    ok(folder.path(), &arguments);
    let rows = std::fs::read_to_string(only_run(&folder.path().join("runs")).join("metrics.jsonl")).unwrap();
    assert!(rows.contains("train_adversarial"), "{rows}");
}
