//! However often and wherever the processes of a sweep are killed, each run is made once, and as if it had been alone.
use std::{
    collections::BTreeMap,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant, SystemTime},
};

use kiln_stream::Stream;
use serde_json::Value;

use crate::{
    common::{kiln, ok, only_run, tiny, weights},
    support::{finished, folder, place, runs, states, status, status_or_none},
};

/// 3 × 2 variants, 4 seeds: 24 runs.
const SWEEP: &str = "seeds = [2, 3, 4, 5]\nthreads = 1\n[grid]\n\"optim.lr\" = [1e-3, 3e-3, 1e-2]\n\"optim.weight_decay\" = [0.0, 1e-2]\n";
const RUNS: usize = 24;
const KILLS: usize = 10;
const STEPS: &str =
    "[train]\nsteps = 240\nbatch_size = 100\ncheckpoint = { every = 20, keep = 2 }\n[eval]\nevery = 20\n";

fn start(folder: &Path) -> Child {
    let mut command = kiln(folder);
    // A group of its own, so that it can be killed with its children.
    command.args(["sweep", "run", "s.toml", "-q", "--jobs", "1"]).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().unwrap()
}

fn send(signal: &str, target: &str) {
    assert!(Command::new("kill").args([signal, "--", target]).status().unwrap().success());
}

/// Notes when each run was first seen finished, and that it stays so.
fn watch(folder: &Path, seen: &mut BTreeMap<String, SystemTime>) {
    for (run, time) in finished(folder) {
        let before = *seen.entry(run.clone()).or_insert(time);
        assert_eq!(before, time, "{run} was made twice");
    }
}

#[test]
fn two_processes_killed_ten_times_make_each_run_once_and_as_if_alone() {
    let folder = folder(SWEEP);
    tiny(folder.path(), STEPS);
    let mut draws = Stream::new(2, "kill").at(0);
    let mut seen = BTreeMap::new();
    let mut processes = [start(folder.path()), start(folder.path())];
    for kill in 0..KILLS {
        // Progress and not the clock decides, so that the plan is neither over too soon nor never begun.
        let begun = Instant::now();
        while finished(folder.path()).len() < 2 * kill && begun.elapsed() < Duration::from_secs(120) {
            watch(folder.path(), &mut seen);
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(draws.below(300) as u64));
        let victim = &mut processes[draws.below(2)];
        assert!(victim.try_wait().unwrap().is_none(), "the sweep was over before kill {kill}");
        // The parent alone, whose child then notices, or both in one moment.
        match draws.below(2) {
            0 => victim.kill().unwrap(),
            _ => send("-KILL", &format!("-{}", victim.id())),
        }
        victim.wait().unwrap();
        *victim = start(folder.path());
    }
    while processes.iter_mut().any(|process| process.try_wait().unwrap().is_none()) {
        watch(folder.path(), &mut seen);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(processes.iter_mut().all(|process| process.wait().unwrap().success()));
    watch(folder.path(), &mut seen);
    assert_eq!(seen.len(), RUNS);
    assert_eq!(std::fs::read_dir(place(folder.path()).join("runs")).unwrap().count(), RUNS);
    assert_eq!(states(folder.path()).iter().filter(|state| state.ends_with("=done")).count(), RUNS);
    let failures = place(folder.path()).join("failures");
    assert_eq!(std::fs::read_dir(failures).map_or(0, Iterator::count), 0, "a run was taken for failed");
    for (name, run) in runs(&status(folder.path())) {
        let log = std::fs::read_to_string(folder.path().join(run["folder"].as_str().unwrap()).join("metrics.jsonl"));
        let step = |line: &str| serde_json::from_str::<Value>(line).unwrap()["step"].as_u64().unwrap();
        let steps: Vec<u64> = log.unwrap().lines().map(step).collect();
        assert!(steps == (0..=12).map(|row| 20 * row).collect::<Vec<_>>(), "{name}: {steps:?}");
    }
    for name in ["lr=0.001,weight_decay=0.0-2", "lr=0.003,weight_decay=0.01-3", "lr=0.01,weight_decay=0.0-5"] {
        assert_as_alone(folder.path(), name);
    }
}

/// Compares a run of the sweep with one that is started by itself from the same config.
fn assert_as_alone(folder: &Path, name: &str) {
    let run = folder.join(runs(&status(folder))[name]["folder"].as_str().unwrap());
    let config = place(folder).join("plan").join(format!("{}.toml", run.file_name().unwrap().to_str().unwrap()));
    let dir = folder.join("alone").join(name);
    let set = format!("run.dir={:?}", dir.to_str().unwrap());
    ok(folder, &["train", config.to_str().unwrap(), "-q", "--set", &set]);
    let alone = only_run(&dir);
    let hash = |run: &Path| run.to_str().unwrap().rsplit_once('-').unwrap().1.to_owned();
    assert_eq!(hash(&run), hash(&alone), "the folder's hash is not that of the config");
    let log = |run: &Path| std::fs::read(run.join("metrics.jsonl")).unwrap();
    assert!(log(&run) == log(&alone), "{name}: the log differs from that of a run alone");
    assert!(weights(folder, &run) == weights(folder, &alone), "{name}: the weights differ from those of a run alone");
}

#[test]
fn an_interrupt_stops_the_children_and_the_same_command_goes_on() {
    let folder = folder("seeds = [2, 3]\nthreads = 1\n[grid]\n\"optim.lr\" = [1e-3]\n");
    let steps = |steps: usize| format!("[train]\nsteps = {steps}\ncheckpoint = {{ every = 20 }}\n[eval]\nevery = 20\n");
    tiny(folder.path(), &steps(2000));
    let mut command = kiln(folder.path());
    command.args(["sweep", "run", "s.toml", "--jobs", "2"]).process_group(0);
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let started = Instant::now();
    // Both are under way.
    while runs(&status_or_none(folder.path())).values().filter(|run| run["step"].as_u64() > Some(0)).count() < 2 {
        assert!(started.elapsed() < Duration::from_secs(120), "the runs never began");
        std::thread::sleep(Duration::from_millis(20));
    }
    // As a terminal does it: to the parent and its children.
    send("-INT", &format!("-{}", child.id()));
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("stopped by a signal, state saved; the same command goes on"), "{said}");
    assert_eq!(states(folder.path()), ["lr=0.001-2=missing", "lr=0.001-3=missing"]);
    let table = ok(folder.path(), &["sweep", "status", "s.toml"]);
    assert!(table.contains("missing (step "), "{table}");
    ok(folder.path(), &["sweep", "run", "s.toml", "-q"]);
    assert_eq!(finished(folder.path()).len(), 2);
    assert_as_alone(folder.path(), "lr=0.001-2");
}
