//! `kiln explain`: what a key is, what it may be, who set it.
mod common;

use common::{fails, ok, tiny};
use serde_json::Value;

const SHORT: &str = "[train]\nsteps = 3\n";

fn json(folder: &std::path::Path, arguments: &[&str]) -> Value {
    serde_json::from_str(&ok(folder, &[&["explain", "--json"][..], arguments].concat())).unwrap()
}

#[test]
fn a_key_has_doc_type_range_and_default() {
    let folder = tempfile::tempdir().unwrap();
    let text = ok(folder.path(), &["explain", "eval.every"]);
    for part in ["Steps between logged rows", "whole number", "at least 1", "default", "50"] {
        assert!(text.contains(part), "{part} is missing in: {text}");
    }
    let every = json(folder.path(), &["eval.every"]);
    assert_eq!(every["key"], "eval.every");
    let meaning = &every["meanings"][0];
    assert_eq!((meaning["type"].as_str(), meaning["range"].as_str()), (Some("whole number"), Some("at least 1")));
    assert_eq!((&meaning["default"], &meaning["required"]), (&Value::from(50), &Value::from(false)));
    assert!(every.get("value").is_none(), "there is no value without a config");
    // Several rules have a learning rate, with defaults of their own.
    let lr = json(folder.path(), &["optim.lr"]);
    let entries: Vec<&Value> =
        lr["meanings"].as_array().unwrap().iter().flat_map(|m| m["entries"].as_array().unwrap()).collect();
    assert!(entries.iter().any(|entry| *entry == "adamw") && entries.iter().any(|entry| *entry == "sgd"), "{lr}");
}

#[test]
fn choices_and_sections_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    let text = ok(folder.path(), &["explain", "loss.dtype", "--config", "configs/grokking/stablemax.toml"]);
    assert!(text.contains("Half precision") && text.contains("f64"), "{text}");
    let section = json(folder.path(), &["train"]);
    let keys: Vec<&str> = section["keys"].as_array().unwrap().iter().filter_map(|key| key["name"].as_str()).collect();
    assert_eq!(keys, ["steps", "epochs", "batch_size", "checkpoint", "stop"]);
    let normalizer = ok(folder.path(), &["explain", "loss.normalizer", "--config", "configs/grokking/stablemax.toml"]);
    assert!(normalizer.contains("entmax") && normalizer.contains("\"stablemax\""), "{normalizer}");
}

#[test]
fn who_set_it_is_told_through_all_layers() {
    let folder = tempfile::tempdir().unwrap();
    tiny(folder.path(), SHORT);
    std::fs::write(folder.path().join("child.toml"), "extends = \"tiny.toml\"\n[optim]\nlr = 1e-3\n").unwrap();
    let lr = json(folder.path(), &["optim.lr", "--config", "child.toml", "--set", "optim.lr=0.5"]);
    assert_eq!(lr["value"], 0.5);
    assert_eq!(lr["source"]["at"], "--set optim.lr=0.5");
    let places: Vec<(&str, Option<u64>)> = lr["history"]
        .as_array()
        .unwrap()
        .iter()
        .map(|setting| (setting["source"].as_str().unwrap(), setting["line"].as_u64()))
        .collect();
    assert_eq!(places, [("tiny.toml", Some(13)), ("child.toml", Some(3)), ("--set optim.lr=0.5", None)]);
    assert_eq!(lr["layers"], serde_json::json!(["tiny.toml", "child.toml", "--set optim.lr=0.5"]));
    let text = ok(folder.path(), &["explain", "optim.lr", "--config", "child.toml"]);
    assert!(text.contains("child.toml:3") && text.contains("0.003 in tiny.toml:13"), "{text}");
    // What nobody wrote.
    let seed = json(folder.path(), &["run.seed", "--config", "child.toml"]);
    assert_eq!((&seed["value"], &seed["source"]["from"]), (&Value::from(0), &Value::from("default")));
    let bias = json(folder.path(), &["model.bias", "--config", "child.toml"]);
    assert_eq!((&bias["source"]["from"], &bias["source"]["name"]), (&Value::from("entry"), &Value::from("mlp")));
    assert_eq!(bias["source"]["at"], "tiny.toml:7");
}

#[test]
fn elements_of_lists_and_parameters_of_short_names() {
    let folder = tempfile::tempdir().unwrap();
    tiny(folder.path(), SHORT);
    let transform = json(folder.path(), &["optim.transforms[0].name", "--config", "tiny.toml"]);
    assert_eq!(transform["value"], "perp_grad");
    let set = ["--config", "tiny.toml", "--set", "loss.normalizer=\"entmax\""];
    let alpha = json(folder.path(), &[&["loss.normalizer.alpha"][..], &set].concat());
    assert_eq!((alpha["value"].as_f64(), &alpha["source"]["name"]), (Some(1.5), &Value::from("entmax")));
}

#[test]
fn unknown_keys_find_the_nearest() {
    let folder = tempfile::tempdir().unwrap();
    for (key, near) in [
        ("optim.wieght_decay", "did you mean \"optim.weight_decay\"?"),
        ("optm.lr", "did you mean \"optim.lr\"?"),
        ("batch_size", "did you mean \"train.batch_size\"?"),
        ("zzzzzz", "lists keys"),
        ("a b", "is not a key"),
        ("", "is not a key"),
        ("run.seed.x", "unknown key"),
        ("eval.measures[x]", "is not a key"),
    ] {
        let message = fails(folder.path(), &["explain", key], 2);
        assert!(message.contains(near), "{key}: {message}");
    }
    tiny(folder.path(), SHORT);
    let message = fails(folder.path(), &["explain", "model.d_model", "--config", "tiny.toml"], 2);
    assert!(message.contains("these have it:") && message.contains("transformer"), "{message}");
    assert!(fails(folder.path(), &["explain", "run.seed", "--set", "run.seed=1"], 2).contains("--config"));
    assert!(fails(folder.path(), &["explain", "run.seed", "--config", "gone.toml"], 2).contains("no such file"));
    let bad = ["explain", "run.seed", "--config", "tiny.toml", "--set", "run.sed=1"];
    assert!(fails(folder.path(), &bad, 2).contains("did you mean \"seed\"?"));
}

#[test]
fn every_key_of_a_config_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    for config in
        ["configs/grokking/transformer.toml", "configs/images/gratings_vit.toml", "configs/heads/cosface.toml"]
    {
        let printed: Value = serde_json::from_str(&ok(folder.path(), &["config", config, "--json"])).unwrap();
        let mut keys = Vec::new();
        walk("", &printed, &mut keys);
        for key in keys {
            let explained = json(folder.path(), &[&key, "--config", config]);
            assert_eq!(explained["value"], *printed.pointer(&format!("/{}", key.replace('.', "/"))).unwrap(), "{key}");
        }
    }
}

fn walk(prefix: &str, value: &Value, keys: &mut Vec<String>) {
    let Some(table) = value.as_object() else { return };
    for (key, value) in table {
        let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        keys.push(path.clone());
        walk(&path, value, keys);
    }
}

#[test]
fn colour_and_width_follow_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    let explain = |variables: &[(&str, &str)]| {
        let mut command = common::kiln(folder.path());
        command.env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE").env_remove("COLUMNS");
        command.envs(variables.iter().copied()).args(["explain", "model.attention.normalizer"]);
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    assert!(!explain(&[]).contains('\u{1b}'), "a pipe gets no colour");
    assert!(explain(&[("CLICOLOR_FORCE", "1")]).contains('\u{1b}'));
    assert!(!explain(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]).contains('\u{1b}'));
    let width = |text: &str| text.lines().map(|line| line.chars().count()).max().unwrap();
    assert!(width(&explain(&[("COLUMNS", "60")])) <= 60);
    let wide = width(&explain(&[]));
    assert!((61..=140).contains(&wide), "{wide}");
}
