//! Keys of a config and their values, narrowed down by the config on the line.
use std::path::Path;

use kiln_config::steps;

use super::Candidate;
use crate::config::{
    self,
    keys::{Chosen, Described, Keys},
};

/// `key=` and, behind it, what the key can be.
pub fn assignments(word: &str, given: &[(&str, &str)]) -> Vec<Candidate> {
    let keys = Keys::experiment();
    let chosen = chosen(given);
    match word.split_once('=') {
        None => next(&keys, word, chosen.as_ref(), "="),
        Some((key, _)) => {
            let Some(path) = steps(key) else { return Vec::new() };
            let found = keys.find(&path, chosen.as_ref());
            let described = keys.describe(key, &found);
            values(&described)
                .into_iter()
                .map(|(value, help)| Candidate::new(format!("{key}={value}"), &help))
                .collect()
        }
    }
}

/// Keys alone.
pub fn names(word: &str, given: &[(&str, &str)]) -> Vec<Candidate> {
    next(&Keys::experiment(), word, chosen(given).as_ref(), "")
}

/// The keys one step further than the last point of `word`: with `end` where they may have a value, and with a point where
/// they may be a table.
fn next(keys: &Keys, word: &str, chosen: Option<&Chosen>, end: &str) -> Vec<Candidate> {
    let table = word.rsplit_once('.').map_or("", |(table, _)| table);
    let Some(path) = steps(table) else { return Vec::new() };
    let mut found = Vec::new();
    for (name, meanings) in keys.below(&path, chosen) {
        let key = if table.is_empty() { name.clone() } else { format!("{table}.{name}") };
        let help =
            keys.describe(&name, &meanings).into_iter().next().map(|described| described.doc).unwrap_or_default();
        if end.is_empty() || meanings.iter().any(|meaning| keys.is_value(meaning)) {
            found.push(Candidate::new(format!("{key}{end}"), &help));
        }
        if meanings.iter().any(|meaning| keys.is_table(meaning)) {
            found.push(Candidate::new(format!("{key}."), &help));
        }
    }
    found
}

/// What a key can be: its choices, or its default as an example where all agree.
fn values(described: &[Described]) -> Vec<(String, String)> {
    let mut values: Vec<(String, String)> = Vec::new();
    for choice in described.iter().flat_map(|described| &described.choices) {
        if !values.iter().any(|(known, _)| *known == choice.name) {
            values.push((choice.name.clone(), choice.doc.clone()));
        }
    }
    if values.is_empty()
        && let [only] = described
        && let Some(default) = only.default.as_ref().filter(|value| value.is_number())
    {
        values.push((default.to_string(), "the default".into()));
    }
    values
}

/// What the config on the line, with the assignments before the cursor, chooses; none if there is none or it has a mistake.
fn chosen(given: &[(&str, &str)]) -> Option<Chosen> {
    let first = |wanted: &str| given.iter().find(|(id, _)| *id == wanted).map(|(_, value)| Path::new(*value));
    let run = first("resume").or_else(|| first("run")).map(|run| run.join("config.toml"));
    let path = first("config").or_else(|| first("configs")).map(Path::to_owned).or(run)?;
    let sets: Vec<String> = given.iter().filter(|(id, _)| *id == "set").map(|(_, set)| (*set).to_owned()).collect();
    let loaded = config::load(&path, &sets).ok()?;
    Some(Chosen::new(&loaded.document, &loaded.experiment))
}
