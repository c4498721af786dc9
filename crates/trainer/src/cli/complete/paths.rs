//! Files, configs and run folders, one folder at a time.
use std::path::{Path, PathBuf};

use super::Candidate;
use crate::{config::places, run};

/// Config files on disk and inside the binary.
pub fn configs(word: &str) -> Vec<Candidate> {
    with_shipped(word, places::shipped_experiments("configs/"))
}

/// Sweep files on disk and inside the binary.
pub fn sweeps(word: &str) -> Vec<Candidate> {
    with_shipped(word, places::shipped(places::SWEEPS))
}

fn with_shipped(word: &str, shipped: impl Iterator<Item = &'static str>) -> Vec<Candidate> {
    let mut found = files(word, &|name| name.ends_with(".toml"));
    for path in shipped {
        let Some(rest) = path.strip_prefix(word) else { continue };
        // As far as the next folder.
        let end = rest.find('/').map_or(path.len(), |slash| word.len() + slash + 1);
        let value = &path[..end];
        if !found.iter().any(|known| known.value == value) {
            found.push(Candidate::new(value, ""));
        }
    }
    found.sort_by(|a, b| a.value.cmp(&b.value));
    found
}

/// Run folders, and folders on the way to them; those below `runs` at once.
pub fn runs(word: &str) -> Vec<Candidate> {
    let near = if word.is_empty() { "runs/" } else { word };
    let mut found: Vec<Candidate> = entries(near)
        .into_iter()
        .filter(|entry| entry.is_folder)
        .map(|entry| match entry.path.join("config.toml").is_file() {
            true => Candidate::new(entry.shown, "a run"),
            false => Candidate::new(format!("{}/", entry.shown), ""),
        })
        .collect();
    if word.is_empty() && found.is_empty() {
        found = files("", &|_| false);
    }
    found
}

/// Run folders and these.
pub fn runs_and(files: Vec<Candidate>, word: &str) -> Vec<Candidate> {
    let mut both = runs(word);
    // A folder that is a run is not offered a second time as a folder.
    let known =
        |file: &Candidate, runs: &[Candidate]| runs.iter().any(|run| run.value == file.value.trim_end_matches('/'));
    let others: Vec<Candidate> = files.into_iter().filter(|file| !known(file, &both)).collect();
    both.extend(others);
    both.sort_by(|a, b| a.value.cmp(&b.value));
    both.dedup_by(|a, b| a.value == b.value);
    both
}

/// The names of the runs in a folder.
pub fn names_of_runs(dir: Option<&str>) -> Vec<Candidate> {
    let runs = run::list(Path::new(dir.unwrap_or("runs")));
    let name = |run: &run::RunFolder| Some(Candidate::new(run.path().file_name()?.to_str()?, ""));
    runs.iter().filter_map(name).collect()
}

/// Files whose name fits, and folders.
pub fn files(word: &str, fits: &dyn Fn(&str) -> bool) -> Vec<Candidate> {
    entries(word)
        .into_iter()
        .filter(|entry| entry.is_folder || fits(&entry.shown))
        .map(|entry| Candidate::new(if entry.is_folder { format!("{}/", entry.shown) } else { entry.shown }, ""))
        .collect()
}

struct Entry {
    /// As it is written on the line.
    shown: String,
    path: PathBuf,
    is_folder: bool,
}

/// What begins like `word` in the folder that it names, by name; hidden ones only if asked for.
fn entries(word: &str) -> Vec<Entry> {
    let (folder, name) = match word.rfind('/') {
        Some(slash) => word.split_at(slash + 1),
        None => ("", word),
    };
    let home = std::env::var("HOME").unwrap_or_default();
    let place = match folder.strip_prefix("~/") {
        Some(rest) => Path::new(&home).join(rest),
        None if folder.is_empty() => PathBuf::from("."),
        None => PathBuf::from(folder),
    };
    let mut found: Vec<Entry> = std::fs::read_dir(place)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let found = entry.file_name().into_string().ok()?;
            let wanted = found.starts_with(name) && (name.starts_with('.') || !found.starts_with('.'));
            // A name with a line end would be two for the scripts.
            let legible = !found.contains(['\n', '\t']);
            (wanted && legible).then(|| {
                let path = entry.path();
                Entry { shown: format!("{folder}{found}"), is_folder: path.is_dir(), path }
            })
        })
        .collect();
    found.sort_by(|a, b| a.shown.cmp(&b.shown));
    found
}
