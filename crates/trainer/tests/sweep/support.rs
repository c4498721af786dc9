//! A folder with a small experiment and a sweep of it.
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::SystemTime,
};

use serde_json::Value;

use crate::common::{ok, tiny};

/// What every sweep file here begins with.
pub const HEAD: &str = "title = \"A small sweep\"\nbase = \"tiny.toml\"\n";

/// A folder with `tiny.toml` and `s.toml`, the sweep: [`HEAD`] and this text.
pub fn folder(sweep: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    tiny(folder.path(), "[train]\nsteps = 6\n[eval]\nevery = 2\n");
    write(folder.path(), sweep);
    folder
}

/// Writes the sweep anew.
pub fn write(folder: &Path, sweep: &str) {
    std::fs::write(folder.join("s.toml"), format!("{HEAD}{sweep}")).unwrap();
}

/// The sweep's own folder.
pub fn place(folder: &Path) -> PathBuf {
    folder.join("runs/sweeps/s")
}

/// `kiln sweep status --json`.
pub fn status(folder: &Path) -> Value {
    serde_json::from_str(&ok(folder, &["sweep", "status", "s.toml", "--json"])).unwrap()
}

/// As [`status`], without any variant while there is no plan yet.
pub fn status_or_none(folder: &Path) -> Value {
    match place(folder).join("plan.json").exists() {
        true => status(folder),
        false => serde_json::json!({ "variants": [] }),
    }
}

/// Every run of a printed overview as `variant-seed`, with its object.
pub fn runs(overview: &Value) -> BTreeMap<String, Value> {
    let list = |value: &Value| value.as_array().unwrap().clone();
    let of = |variant: &Value| {
        let name = variant["name"].as_str().unwrap().to_owned();
        list(&variant["runs"]).into_iter().map(move |run| (format!("{name}-{}", run["seed"]), run))
    };
    list(&overview["variants"]).iter().flat_map(of).collect()
}

/// The state of every run, `variant-seed=state`.
pub fn states(folder: &Path) -> Vec<String> {
    let word = |(name, run): (String, Value)| format!("{name}={}", run["state"].as_str().unwrap());
    runs(&status_or_none(folder)).into_iter().map(word).collect()
}

/// The folder of each run below the sweep's, by name, and when it was finished.
pub fn finished(folder: &Path) -> BTreeMap<String, SystemTime> {
    let runs = std::fs::read_dir(place(folder).join("runs")).into_iter().flatten().flatten();
    let stamp = |run: std::fs::DirEntry| {
        let file = run.path().join("summary.json");
        let summary: Value = serde_json::from_str(&std::fs::read_to_string(&file).ok()?).ok()?;
        let time = file.metadata().ok()?.modified().ok()?;
        (summary["status"] != "interrupted").then(|| (run.file_name().to_string_lossy().into_owned(), time))
    };
    runs.filter_map(stamp).collect()
}
