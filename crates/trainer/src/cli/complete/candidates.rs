//! What may stand at the cursor, from the command line's own description.
use clap::{Arg, ArgAction, Command, ValueHint};
use kiln_claims::Scale;

use super::{Candidate, keys, paths};
use crate::{
    cli::{dtype, list},
    config::places,
    device,
    export::What,
};

/// What stands on the line before the cursor.
struct Before<'a> {
    /// The verb that the words lead to.
    command: &'a Command,
    /// Values given so far, by the argument's id.
    given: Vec<(&'a str, &'a str)>,
    /// The option that waits for its value.
    waiting: Option<&'a Arg>,
    /// How many values without an option there were since the verb.
    values: usize,
    /// Whether `--` has ended the options.
    ended: bool,
}

/// The candidates for `word` behind the words `before` it.
pub fn of(command: &Command, before: &[String], word: &str) -> Vec<Candidate> {
    let line = read(command, before);
    let mut found = if let Some(arg) = line.waiting {
        values(arg, &line, word)
    } else if let Some((option, value)) = word.split_once('=').filter(|_| word.starts_with("--") && !line.ended) {
        let arg = line.command.get_arguments().find(|arg| arg.get_long() == Some(&option[2..]));
        let mut values = arg.map(|arg| values(arg, &line, value)).unwrap_or_default();
        values.iter_mut().for_each(|candidate| candidate.value.insert_str(0, &format!("{option}=")));
        values
    } else if word.starts_with('-') && !line.ended {
        options(&line)
    } else {
        let verbs = line.command.get_subcommands().filter(|verb| !verb.is_hide_set() && line.values == 0);
        let mut found: Vec<Candidate> = verbs.map(|verb| Candidate::new(verb.get_name(), &about(verb))).collect();
        found.extend(positional(&line).into_iter().flat_map(|arg| values(arg, &line, word)));
        found
    };
    found.retain(|candidate| candidate.value.starts_with(word));
    found
}

fn about(verb: &Command) -> String {
    verb.get_about().map(ToString::to_string).unwrap_or_default()
}

fn read<'a>(command: &'a Command, words: &'a [String]) -> Before<'a> {
    let mut line = Before { command, given: Vec::new(), waiting: None, values: 0, ended: false };
    for word in words {
        if let Some(arg) = line.waiting.take() {
            line.given.push((arg.get_id().as_str(), word));
        } else if word == "--" && !line.ended {
            line.ended = true;
        } else if word.starts_with('-') && word.len() > 1 && !line.ended {
            option(&mut line, word);
        } else if let Some(verb) = line.command.find_subcommand(word).filter(|_| line.values == 0) {
            line.command = verb;
        } else {
            if let Some(arg) = positional(&line) {
                line.given.push((arg.get_id().as_str(), word));
            }
            line.values += 1;
        }
    }
    line
}

/// Takes note of `--long`, `--long=value`, `-s` or several short ones in a row.
fn option<'a>(line: &mut Before<'a>, word: &'a str) {
    let (name, value) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
    let is_it = |arg: &&Arg| match name.strip_prefix("--") {
        Some(long) => arg.get_long() == Some(long),
        None => arg.get_short().is_some_and(|short| name.ends_with(short)),
    };
    let Some(arg) = line.command.get_arguments().find(is_it) else { return };
    match value {
        None if arg.get_action().takes_values() => line.waiting = Some(arg),
        value => line.given.push((arg.get_id().as_str(), value.unwrap_or_default())),
    }
}

/// The argument that the next word without an option belongs to.
fn positional<'a>(line: &Before<'a>) -> Option<&'a Arg> {
    let mut all = line.command.get_positionals();
    let last = line.command.get_positionals().last()?;
    let several = matches!(last.get_action(), ArgAction::Append);
    all.nth(line.values).or_else(|| several.then_some(last))
}

/// Options not yet given, or that may be given again.
fn options(line: &Before) -> Vec<Candidate> {
    let given = |arg: &&Arg| line.given.iter().any(|(id, _)| *id == arg.get_id().as_str());
    let again = |arg: &&Arg| matches!(arg.get_action(), ArgAction::Append);
    line.command
        .get_arguments()
        .filter(|arg| !arg.is_hide_set() && (again(arg) || !given(arg)))
        .filter_map(|arg| {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            Some(Candidate::new(format!("--{}", arg.get_long()?), &help))
        })
        .collect()
}

/// The values an argument may have.
fn values(arg: &Arg, line: &Before, word: &str) -> Vec<Candidate> {
    let possible = arg.get_possible_values();
    if !possible.is_empty() {
        let help = |value: &clap::builder::PossibleValue| value.get_help().map(ToString::to_string).unwrap_or_default();
        return possible
            .iter()
            .filter(|value| !value.is_hide_set())
            .map(|value| Candidate::new(value.get_name(), &help(value)))
            .collect();
    }
    let first = |id: &str| line.given.iter().find(|(given, _)| *given == id).map(|(_, value)| *value);
    let verb = line.command.get_name();
    match (verb, arg.get_id().as_str()) {
        // The parameters of one map, not of a config.
        ("apply", "set") => Vec::new(),
        (_, "set") => keys::assignments(word, &line.given),
        (_, "key") => keys::names(word, &line.given),
        (_, "config" | "configs") => paths::configs(word),
        (_, "sweep") => paths::sweeps(word),
        (_, "a" | "b") => paths::runs_and(paths::configs(word), word),
        ("report", "paths") => paths::runs_and(paths::sweeps(word), word),
        ("prune", "runs") => paths::names_of_runs(first("dir")),
        (_, "run" | "runs" | "resume") => paths::runs(word),
        (_, "device") => device::NAMES.iter().map(|name| Candidate::new(*name, "")).collect(),
        ("list", "registry") => list::registries()
            .iter()
            .map(|(plural, rows)| Candidate::new(*plural, &format!("{} names", rows.len())))
            .collect(),
        ("list", "pattern") => listed(first("registry").unwrap_or_default()),
        ("apply", "name") | ("check" | "activations", "patterns") => {
            ["normalizers", "pointwise"].into_iter().flat_map(listed).collect()
        }
        ("attention", "patterns") => listed("attention"),
        ("fetch" | "verify" | "path", "name" | "names") => data(),
        (_, "study") => studies(),
        (_, "scale") => Scale::ALL.iter().map(|scale| Candidate::new(scale.to_string(), "")).collect(),
        (_, "dtype") => dtype::names().map(|name| Candidate::new(name, "")).into(),
        (_, "what") => What::names().map(|name| Candidate::new(name, "")).into(),
        _ => match arg.get_value_hint() {
            ValueHint::AnyPath | ValueHint::FilePath => paths::files(word, &|_| true),
            ValueHint::DirPath => paths::files(word, &|_| false),
            _ => Vec::new(),
        },
    }
}

/// The names of a registry, by its plural.
fn listed(registry: &str) -> Vec<Candidate> {
    let all = list::registries();
    let rows = all.into_iter().find(|(plural, _)| *plural == registry).map(|(_, rows)| rows).unwrap_or_default();
    rows.iter().map(|row| Candidate::new(row.name, row.summary)).collect()
}

fn data() -> Vec<Candidate> {
    kiln_datasets::manifest::Manifest::all()
        .iter()
        .map(|manifest| Candidate::new(&manifest.name, &manifest.title))
        .collect()
}

fn studies() -> Vec<Candidate> {
    let names = places::shipped("experiments")
        .filter_map(|path| path.strip_prefix("experiments/")?.strip_suffix("/study.toml"));
    names.map(|name| Candidate::new(name, "")).collect()
}
