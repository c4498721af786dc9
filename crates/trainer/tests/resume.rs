//! A run that is killed, however often and wherever, ends like one that never was.
#![cfg(unix)]

mod common;

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use common::{kiln, ok, only_run, tiny, weights};
use kiln_stream::Stream;

const TRAIN: &str = r#"[train]
steps = 1500
batch_size = 100
checkpoint = { every = 20, keep = 2 }
[eval]
every = 10
measures = ["zero_loss", "nlm_update", "norms", "v_zero"]
"#;

/// Weights and log of a finished run.
type Outcome = ((serde_json::Value, Vec<u8>), String);

fn result(folder: &Path, run: &Path) -> Outcome {
    (weights(folder, run), std::fs::read_to_string(run.join("metrics.jsonl")).unwrap())
}

/// The first run below `runs` that has a checkpoint to resume from.
fn resumable(runs: &Path) -> Option<std::path::PathBuf> {
    let saved = |run: &std::path::PathBuf| {
        let steps = std::fs::read_dir(run.join("checkpoints")).into_iter().flatten().flatten();
        steps.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with("step-"))
    };
    std::fs::read_dir(runs).into_iter().flatten().flatten().map(|entry| entry.path()).find(saved)
}

/// Rows logged so far below `runs`.
fn rows(runs: &Path) -> usize {
    let log = |run: std::fs::DirEntry| std::fs::read_to_string(run.path().join("metrics.jsonl")).ok();
    std::fs::read_dir(runs).into_iter().flatten().flatten().filter_map(log).map(|text| text.lines().count()).sum()
}

/// Trains to the end with interruptions: `interrupt` is handed each child once it has logged a random number of
/// rows, at least `least`, and a random moment more, until it has been called `times` times. Progress and not the
/// clock decides, so that the run is neither over too soon on a fast machine nor never begun on a slow one.
fn disturbed(folder: &Path, times: usize, least: usize, mut interrupt: impl FnMut(Child) -> bool) -> Outcome {
    let config = tiny(folder, TRAIN);
    let runs = folder.join("runs");
    let mut draws = Stream::new(1, "kill").at(0);
    let mut interrupted = 0;
    for _ in 0..10 * times {
        let mut command = kiln(folder);
        match resumable(&runs) {
            Some(run) => command.arg("train").arg("--resume").arg(run),
            // A run that was killed before its first checkpoint is begun anew by the same command.
            None => command.arg("train").arg(&config),
        };
        let goal = rows(&runs) + least + draws.below(8);
        let mut child = command.args(["-q", "--threads", "1"]).stdout(Stdio::null()).spawn().unwrap();
        if interrupted < times {
            let start = Instant::now();
            while rows(&runs) < goal && start.elapsed() < Duration::from_secs(20) {
                std::thread::sleep(Duration::from_millis(1));
            }
            std::thread::sleep(Duration::from_micros(draws.below(5000) as u64));
            interrupted += usize::from(interrupt(child));
        } else if child.wait().unwrap().success() {
            assert_eq!(interrupted, times);
            return result(folder, &only_run(&runs));
        }
    }
    panic!("the run never came to its end");
}

fn undisturbed() -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let config = tiny(folder.path(), TRAIN);
    ok(folder.path(), &["train", config.to_str().unwrap(), "-q", "--threads", "1"]);
    result(folder.path(), &only_run(&folder.path().join("runs")))
}

#[test]
fn sigkill_at_random_moments_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let killed = disturbed(folder.path(), 12, 0, |mut child| {
        let running = child.try_wait().unwrap().is_none();
        child.kill().unwrap();
        child.wait().unwrap();
        running
    });
    assert!(killed == undisturbed(), "the killed run differs from the undisturbed one");
}

#[test]
fn sigterm_finishes_the_step_saves_and_resumes() {
    let folder = tempfile::tempdir().unwrap();
    let mut graceful = 0;
    let stopped = disturbed(folder.path(), 10, 2, |mut child| {
        Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(3), "a stop was not graceful");
        graceful += 1;
        true
    });
    assert_eq!(graceful, 10);
    assert!(stopped == undisturbed(), "the stopped run differs from the undisturbed one");
}
