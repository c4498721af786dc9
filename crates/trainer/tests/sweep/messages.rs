//! A sweep that cannot be meant is refused before anything is written, with the place that is to be changed.
use crate::{
    common::{fails, tiny},
    support::{folder, write},
};

#[test]
fn each_slip_is_shown_at_its_place_before_anything_is_written() {
    let grid = |key: &str, values: &str| format!("seeds = [2]\n[grid]\n\"{key}\" = {values}\n");
    let teacher = |run: &str| format!("task = {{ name = \"distillation\", teacher = {{ run = \"{run}\" }} }}");
    let two =
        |set: &str| format!("seeds = [2]\n[[runs]]\nname = \"wide\"\n[[runs]]\nname = \"small\"\nset = {{ {set} }}\n");
    let folder = folder("");
    for (text, parts) in [
        // The file itself.
        ("seeds = [2]\n[gird]\n".to_owned(), vec!["s.toml:4:2: unknown key \"gird\"", "did you mean \"grid\"?"]),
        ("seeds = [2]\n".to_owned(), vec!["s.toml: nothing is varied"]),
        ("seeds = [2, 2]\n[grid]\na = [1]\n".to_owned(), vec!["s.toml:3:9: seeds", "each once", "^^^^^^"]),
        (grid("optim.lr", "[]"), vec!["s.toml:5:14: grid.\"optim.lr\"", "one value or more"]),
        (
            format!("baseline = \"softmx\"\n{}", grid("loss.normalizer", "[\"softmax\", \"stablemax\"]")),
            vec!["s.toml:3:12: baseline: unknown variant \"softmx\"", "did you mean \"softmax\"?"],
        ),
        (
            "seeds = [2]\n[random]\nsamples = 2\noptim.lr = { unifrom = [1, 2] }\n".to_owned(),
            vec!["s.toml:6:24: ", "did you mean \"uniform\"?"],
        ),
        ("seeds = [2]\n[grid\n".to_owned(), vec!["s.toml:4:6: not valid TOML"]),
        // Keys and values of the config.
        (
            grid("optim.lrr", "[1e-3]"),
            vec![
                "s.toml:5:16: grid.\"optim.lrr\"[0]: variant \"lrr=0.001\": unknown key \"lrr\" in [optim]",
                "did you mean \"lr\"?",
            ],
        ),
        (
            grid("loss.normalizer", "[\"softmax\", \"stabelmax\"]"),
            vec!["s.toml:5:33: grid.\"loss.normalizer\"[1]: variant \"stabelmax\": ", "did you mean \"stablemax\"?"],
        ),
        (grid("optim.lr", "[1e-3, -1.0]"), vec!["s.toml:5:21: ", "variant \"lr=-1.0\"", "out of range"]),
        (
            grid("train.batch_size", "[8, 4000]"),
            vec!["s.toml:5:26: ", "variant \"batch_size=4000\"", "the training set has 423"],
        ),
        (
            format!("set = {{ \"data.p\" = \"many\" }}\n{}", grid("optim.lr", "[1e-3]")),
            vec!["s.toml:3:20: set.\"data.p\": variant \"lr=0.001\": ", "data.p"],
        ),
        (
            two("\"optim.betas\" = [0.9, 1.5]"),
            vec!["s.toml:8:25: runs[1].set.\"optim.betas\": variant \"small\"", "1.5"],
        ),
        // Runs that depend on runs.
        (two(&teacher("wdie")), vec!["variant \"small\"", "wdie is not a run folder", "did you mean \"wide\"?"]),
        (two(&teacher("small")), vec!["runs[1]", "\"small\" needs itself"]),
        (
            format!(
                "seeds = [2]\n[[runs]]\nname = \"a\"\nneeds = [\"b\"]\n[[runs]]\nname = \"b\"\nset = {{ {} }}\n",
                teacher("a")
            ),
            vec!["runs[0]", "need each other, so none can start: a, b"],
        ),
        (two("\"train.steps\" = 6"), vec!["runs[1]", "variants \"wide\" and \"small\" are the same experiment"]),
    ] {
        write(folder.path(), &text);
        let message = fails(folder.path(), &["sweep", "run", "s.toml"], 2);
        for part in parts {
            assert!(message.contains(part), "{text}\n{part} is missing in: {message}");
        }
        assert!(!folder.path().join("runs").exists(), "something was written for: {text}");
    }
}

#[test]
fn what_is_wrong_with_the_base_is_told_of_the_base() {
    let folder = folder("seeds = [2]\n[grid]\n\"optim.lr\" = [1e-3]\n");
    let file = folder.path().join("s.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("tiny.toml", "tinny.toml")).unwrap();
    let message = fails(folder.path(), &["sweep", "plan", "s.toml"], 2);
    for part in ["s.toml:2:8: base: ", "no such file; did you mean tiny.toml?"] {
        assert!(message.contains(part), "{part} is missing in: {message}");
    }
    std::fs::write(&file, text).unwrap();
    let base = tiny(folder.path(), "[train]\nsteps = 6\n");
    let broken = std::fs::read_to_string(&base).unwrap().replace("weight_decay", "wieght_decay");
    std::fs::write(&base, broken).unwrap();
    let message = fails(folder.path(), &["sweep", "plan", "s.toml"], 2);
    assert!(message.contains("tiny.toml:16:1: unknown key \"wieght_decay\""), "{message}");
}

#[test]
fn a_sweep_that_is_not_there_or_not_planned_is_named() {
    let folder = folder("seeds = [2]\n[grid]\n\"optim.lr\" = [1e-3]\n");
    let message = fails(folder.path(), &["sweep", "plan", "ss.toml"], 2);
    assert!(message.contains("no such file; did you mean s.toml?"), "{message}");
    let message = fails(folder.path(), &["sweep", "status", "s.toml"], 2);
    assert!(
        message.contains("runs/sweeps/s holds no plan yet") && message.contains("kiln sweep run s.toml"),
        "{message}"
    );
    std::fs::create_dir_all(folder.path().join("runs/sweeps/s")).unwrap();
    std::fs::write(folder.path().join("runs/sweeps/s/plan.json"), "{").unwrap();
    let message = fails(folder.path(), &["sweep", "run", "s.toml"], 2);
    assert!(message.contains("runs/sweeps/s/plan.json is not the plan of a sweep, or damaged"), "{message}");
    assert!(fails(folder.path(), &["sweep", "run", "s.toml", "--jobs", "0"], 2).contains("0"));
}
