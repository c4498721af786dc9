//! What is made, in which order, with how many threads, and what happens when a run fails.
use std::path::Path;

use serde_json::Value;

use crate::{
    common::{fails, ok, run, tiny},
    support::{finished, folder, place, runs, states, status, write},
};

#[test]
fn only_what_is_missing_is_made() {
    let folder = folder("seeds = [2, 3]\n[grid]\n\"optim.lr\" = [1e-3, 1e-2]\n");
    let table = ok(folder.path(), &["sweep", "run", "s.toml", "-q"]);
    assert!(table.contains("seed 2") && table.matches("done").count() == 4, "{table}");
    let before = finished(folder.path());
    let (gone, _) = before.first_key_value().unwrap();
    std::fs::remove_dir_all(place(folder.path()).join("runs").join(gone)).unwrap();
    assert_eq!(states(folder.path()).iter().filter(|state| state.ends_with("=missing")).count(), 1);
    let overview: Value =
        serde_json::from_str(&ok(folder.path(), &["sweep", "run", "s.toml", "-q", "--json"])).unwrap();
    assert_eq!(overview, status(folder.path()));
    let after = finished(folder.path());
    assert!(after.keys().eq(before.keys()) && after.iter().filter(|(name, time)| before[*name] != **time).count() == 1);
}

#[test]
fn jobs_share_the_threads_and_the_plan_keeps_them() {
    let folder = folder("seeds = [2, 3]\n[grid]\n\"optim.lr\" = [1e-3]\n");
    let said = run(folder.path(), &["sweep", "run", "s.toml", "--threads", "6", "--jobs", "2"]);
    let said = String::from_utf8_lossy(&said.stderr);
    assert!(said.contains("2 runs of 3 threads each, 2 to be made, 2 at a time"), "{said}");
    let threads = |run: &Value| -> Value {
        let file = folder.path().join(run["folder"].as_str().unwrap()).join("environment.json");
        serde_json::from_str::<Value>(&std::fs::read_to_string(file).unwrap()).unwrap()["threads"].clone()
    };
    assert!(runs(&status(folder.path())).values().all(|run| threads(run) == 3));
    // Another share does not make other runs of them; a new plan may.
    let before = finished(folder.path());
    ok(folder.path(), &["sweep", "run", "s.toml", "-q", "--threads", "2", "--jobs", "2"]);
    ok(folder.path(), &["sweep", "run", "s.toml", "-q", "--replan"]);
    assert_eq!(finished(folder.path()), before);
    // What the file says comes first.
    write(folder.path(), "seeds = [2, 3]\nthreads = 2\n[grid]\n\"optim.lr\" = [1e-3]\n");
    let message = fails(folder.path(), &["sweep", "run", "s.toml"], 2);
    assert!(message.contains("run.threads was 3, now 2"), "{message}");
}

/// A student that stands before its teacher in the file.
const TAUGHT: &str = "seeds = [2, 3]\n[[runs]]\nname = \"student\"\nset.model.widths = [8]\nset.task = { name = \"distillation\", teacher = { run = \"wide\" } }\n[[runs]]\nname = \"after\"\nneeds = [\"student\"]\nset = { \"optim.lr\" = 1e-2 }\n[[runs]]\nname = \"wide\"\n";

#[test]
fn a_run_that_learns_from_another_is_made_after_it() {
    let folder = folder(TAUGHT);
    ok(folder.path(), &["sweep", "run", "s.toml", "-q", "--threads", "3", "--jobs", "3"]);
    let runs = runs(&status(folder.path()));
    let path = |name: &str| folder.path().join(runs[name]["folder"].as_str().unwrap());
    let time = |name: &str, file: &str| path(name).join(file).metadata().unwrap().modified().unwrap();
    for seed in [2, 3] {
        let [wide, student, after] = ["wide", "student", "after"].map(|name| format!("{name}-{seed}"));
        let config = std::fs::read_to_string(path(&student).join("config.toml")).unwrap();
        assert!(config.contains(&format!("run = \"{}\"", runs[&wide]["folder"].as_str().unwrap())), "{config}");
        assert!(config.contains("identity = ") && config.contains("weights = "), "{config}");
        assert!(time(&wide, "summary.json") <= time(&student, "overrides.toml"));
        assert!(time(&student, "summary.json") <= time(&after, "overrides.toml"));
    }
    // The settings say the variant, not a folder that differs from seed to seed.
    assert_eq!(status(folder.path())["variants"][0]["settings"]["task.teacher.run"], "wide");
    let before = finished(folder.path());
    ok(folder.path(), &["sweep", "run", "s.toml", "-q"]);
    assert_eq!(finished(folder.path()), before);
}

/// A variant that ends in an error at its first row, one that needs it, and two that are sound.
const FAILING: &str = "seeds = [2]\n[[runs]]\nname = \"bad\"\nset.train.stop.target = { metric = \"val_loss\", below = 1.0 }\n[[runs]]\nname = \"follower\"\nneeds = [\"bad\"]\nset = { \"optim.lr\" = 1e-4 }\n[[runs]]\nname = \"good\"\n[[runs]]\nname = \"fine\"\nset = { \"optim.lr\" = 1e-2 }\n";

#[test]
fn a_failed_run_is_listed_with_its_reason_and_tried_again() {
    let folder = folder(FAILING);
    let message = fails(folder.path(), &["sweep", "run", "s.toml"], 1);
    for part in ["bad-s2: ", "\"val_loss\" is not logged", "follower-s2: needs bad-s2, which failed"] {
        assert!(message.contains(part), "{part} is missing in: {message}");
    }
    assert_eq!(states(folder.path()), ["bad-2=failed", "fine-2=done", "follower-2=failed", "good-2=done"]);
    let table = ok(folder.path(), &["sweep", "status", "s.toml"]);
    assert!(table.contains("failed") && table.contains("bad-s2: ") && table.contains("is not logged"), "{table}");
    let stamp = || {
        let failures = std::fs::read_dir(place(folder.path()).join("failures")).unwrap().flatten();
        let text = |file: std::fs::DirEntry| std::fs::read_to_string(file.path()).unwrap();
        let mut texts: Vec<String> = failures.map(text).collect();
        texts.sort();
        texts
    };
    let before = (stamp(), finished(folder.path()));
    assert!(fails(folder.path(), &["sweep", "run", "s.toml", "-q"], 1).contains("is not logged"));
    assert_ne!(stamp(), before.0, "it was not tried again");
    assert_eq!(finished(folder.path()), before.1);
}

#[test]
fn a_reason_that_is_gone_is_forgotten() {
    let folder = folder("seeds = [2]\n[grid]\n\"optim.lr\" = [1e-3]\n");
    ok(folder.path(), &["sweep", "plan", "s.toml", "-q"]);
    let path = folder.path().join(runs(&status(folder.path()))["lr=0.001-2"]["folder"].as_str().unwrap());
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, "a file where the run's folder is to be").unwrap();
    assert!(fails(folder.path(), &["sweep", "run", "s.toml", "-q"], 1).contains("cannot make the run folder"));
    assert_eq!(states(folder.path()), ["lr=0.001-2=failed"]);
    std::fs::remove_file(&path).unwrap();
    ok(folder.path(), &["sweep", "run", "s.toml", "-q"]);
    assert_eq!(states(folder.path()), ["lr=0.001-2=done"]);
    assert_eq!(std::fs::read_dir(place(folder.path()).join("failures")).unwrap().count(), 0);
}

#[test]
fn the_first_failure_can_stop_the_rest() {
    let folder = folder(FAILING);
    let message = fails(folder.path(), &["sweep", "run", "s.toml", "-q", "--fail-fast", "--jobs", "1"], 1);
    assert!(message.contains("is not logged"), "{message}");
    let states = states(folder.path());
    assert!(
        states.contains(&"good-2=missing".to_owned()) && states.contains(&"fine-2=missing".to_owned()),
        "{states:?}"
    );
    fails(folder.path(), &["sweep", "run", "s.toml", "-q"], 1);
    assert_eq!(finished(folder.path()).len(), 2);
}

#[test]
fn a_loss_that_is_no_number_is_a_result() {
    let folder = folder("seeds = [2]\n[grid]\n\"optim.lr\" = [1e38]\n");
    let table = ok(folder.path(), &["sweep", "run", "s.toml", "-q"]);
    assert!(table.contains("done (loss is not a number)"), "{table}");
}

#[test]
fn a_plan_in_use_is_not_replaced() {
    let folder = folder("seeds = [2]\n[grid]\n\"optim.lr\" = [1e-3]\n");
    tiny(folder.path(), "[train]\nsteps = 100000000\ncheckpoint = { every = 50 }\n[eval]\nevery = 100000000\n");
    let mut child = start(folder.path());
    while !states(folder.path()).contains(&"lr=0.001-2=running".to_owned()) {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    write(folder.path(), "seeds = [2]\n[grid]\n\"optim.lr\" = [1e-2]\n");
    let message = fails(folder.path(), &["sweep", "plan", "s.toml", "--replan"], 2);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(message.contains("another process works on the plan in runs/sweeps/s"), "{message}");
    // The orphan saves and ends by itself.
    while states(folder.path()).contains(&"lr=0.001-2=running".to_owned()) {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    ok(folder.path(), &["sweep", "plan", "s.toml", "--replan", "-q"]);
}

fn start(folder: &Path) -> std::process::Child {
    let mut command = crate::common::kiln(folder);
    command.args(["sweep", "run", "s.toml", "-q"]).stdout(std::process::Stdio::null()).spawn().unwrap()
}
