//! `kiln explain`.
use std::path::PathBuf;

use anyhow::anyhow;
use clap::Args;
use kiln_config::Step;
use serde_json::{Value, json};

use super::{
    Global, print,
    terminal::{self, Paint},
};
use crate::{
    Result,
    config::{
        self, Loaded,
        keys::{Choice, Chosen, Described, Keys, Setting, Source},
    },
    error::Sort,
};

/// Explain a config key: what it is, what it may be, and who set it.
#[derive(Debug, Args)]
pub struct Explain {
    /// The key, such as optim.lr or model.attention.normalizer; a section such as train lists its keys.
    key: String,
    /// The config whose value and entries are meant.
    #[arg(long, value_name = "CONFIG")]
    config: Option<PathBuf>,
    /// Change a key: --set optim.lr=3e-4. May be given several times.
    #[arg(long, value_name = "KEY=VALUE", requires = "config")]
    set: Vec<String>,
    /// Print an object.
    #[arg(long)]
    json: bool,
}

/// All there is to say about a key.
struct Explanation<'a> {
    key: &'a str,
    meanings: Vec<Described>,
    /// The keys of a table, with the first sentence about each.
    keys: Vec<Choice>,
    /// Value, reason and all that was said, where there is a config.
    value: Option<(Value, Source, Vec<Setting>)>,
}

impl Explain {
    /// Looks up and prints.
    ///
    /// # Errors
    /// If there is no such key, or the config does not fit the schema.
    pub fn run(self, global: &Global) -> Result<()> {
        let keys = Keys::experiment();
        let loaded = match &self.config {
            // Device and threads belong to the config, if there is one.
            Some(config) => Some(config::load(config, &global.sets(&self.set))?),
            None => None,
        };
        let chosen = loaded.as_ref().map(|loaded| Chosen::new(&loaded.document, &loaded.experiment));
        let path = kiln_config::steps(&self.key).filter(|path| !path.is_empty());
        let path =
            path.ok_or_else(|| anyhow!("\"{}\" is not a key; expected a path such as optim.lr", self.key)).input()?;
        let found = keys.find(&path, chosen.as_ref());
        if found.is_empty() {
            return Err(anyhow!(unknown(&keys, &self.key, &path, chosen.as_ref()))).input();
        }
        let below = if found.iter().any(|meaning| keys.is_table(meaning)) {
            keys.below(&path, chosen.as_ref())
        } else {
            Vec::new()
        };
        let first = |(name, meanings): (String, Vec<_>)| {
            let doc = keys.describe(&name, &meanings).into_iter().next().map(|described| described.doc);
            Choice { doc: doc.unwrap_or_default().lines().next().unwrap_or_default().to_owned(), name }
        };
        let explanation = Explanation {
            key: &self.key,
            meanings: keys.describe(&self.key, &found),
            keys: below.into_iter().map(first).collect(),
            value: loaded.as_ref().zip(chosen.as_ref()).map(|(loaded, chosen)| value(loaded, chosen, &self.key, &path)),
        };
        match self.json {
            true => print(format_args!("{:#}", explanation.to_json(loaded.as_ref()))),
            false => print(explanation.text(Paint::stdout()).trim_end()),
        }
        Ok(())
    }
}

fn value(loaded: &Loaded, chosen: &Chosen, key: &str, path: &[Step]) -> (Value, Source, Vec<Setting>) {
    let value = chosen.value(path).cloned().unwrap_or_default();
    (value, Source::of(&loaded.document, key), Setting::history(&loaded.document, key))
}

/// Why there is no such key, and which was likely meant.
fn unknown(keys: &Keys, key: &str, path: &[Step], chosen: Option<&Chosen>) -> String {
    if chosen.is_some() {
        let entries: Vec<&str> = keys.find(path, None).iter().filter_map(|meaning| meaning.entry).collect();
        if !entries.is_empty() {
            return format!(
                "this config chooses no entry with the key \"{key}\"; these have it: {}",
                entries.join(", ")
            );
        }
    }
    let near: Vec<String> = keys.near(key, chosen).iter().map(|near| format!("\"{near}\"")).collect();
    match near.is_empty() {
        true => format!(
            "unknown key \"{key}\"; `kiln explain data`, or model, loss, optim, task, train, eval, run, lists keys"
        ),
        false => format!("unknown key \"{key}\"; did you mean {}?", near.join(", ")),
    }
}

impl Explanation<'_> {
    fn to_json(&self, loaded: Option<&Loaded>) -> Value {
        let mut object = json!({ "key": self.key, "meanings": self.meanings, "keys": self.keys });
        if let (Some((value, source, history)), Some(loaded)) = (&self.value, loaded) {
            object["value"] = value.clone();
            object["source"] = json!(source);
            object["history"] = json!(history);
            object["layers"] = json!(loaded.document.layers());
        }
        object
    }

    fn text(&self, paint: Paint) -> String {
        let mut text = format!("{}\n", paint.bold(self.key));
        if let Some((value, source, history)) = &self.value {
            let mut rows = vec![("value", shown(value)), ("set", source_text(source))];
            let last = matches!(source, Source::Written { .. });
            let earlier = history.iter().rev().skip(usize::from(last));
            rows.extend(earlier.map(|setting| ("before", format!("{} in {}", shown(&setting.value), setting.place()))));
            text += &block(rows);
        }
        for meaning in &self.meanings {
            text += &block(meaning_rows(meaning));
        }
        let listed = |title: &str, choices: &[Choice]| {
            let rows = choices.iter().map(|choice| (choice.name.as_str(), choice.doc.clone()));
            format!("\n{title}\n{}\n", terminal::list(rows))
        };
        if let [meaning] = &self.meanings[..]
            && !meaning.choices.is_empty()
            && !meaning.kind.starts_with("true")
        {
            text += &listed(&paint.bold("choices"), &meaning.choices);
        }
        if !self.keys.is_empty() {
            text += &listed(&paint.bold("keys"), &self.keys);
        }
        text
    }
}

fn meaning_rows(meaning: &Described) -> Vec<(&str, String)> {
    let mut rows = Vec::new();
    if !meaning.entries.is_empty() {
        rows.push(("of", meaning.entries.join(", ")));
    }
    if !meaning.doc.is_empty() {
        rows.push(("what", meaning.doc.clone()));
    }
    rows.push(("type", meaning.kind.clone()));
    rows.extend(meaning.unit.map(|unit| ("unit", unit.to_owned())));
    rows.extend(meaning.range.clone().map(|range| ("range", range)));
    let default = match (&meaning.default, meaning.required) {
        (Some(default), _) => shown(default),
        (None, true) => "none; it must be given".into(),
        (None, false) => "none; it may be left out".into(),
    };
    rows.push(("default", default));
    rows
}

/// Rows of names and texts below an empty line.
fn block(rows: Vec<(&str, String)>) -> String {
    format!("\n{}\n", terminal::list(rows))
}

fn source_text(source: &Source) -> String {
    match source {
        Source::Written { at } => at.clone(),
        Source::Entry { name, at } => format!("by \"{name}\", which is chosen in {at}"),
        Source::Default => "nowhere: the default".into(),
    }
}

/// A value as it is written in a config.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "none".into(),
        Value::Object(_) | Value::Array(_) => {
            let inline = serde_json::from_value::<toml::Value>(stripped(value.clone()));
            inline.map_or_else(|_| value.to_string(), |value| value.to_string())
        }
        Value::Number(number) => shown_number(number),
        plain => plain.to_string(),
    }
}

/// TOML has no null: a key that is null is a key that is left out.
fn stripped(value: Value) -> Value {
    match value {
        Value::Object(table) => {
            table.into_iter().filter(|(_, value)| !value.is_null()).map(|(key, value)| (key, stripped(value))).collect()
        }
        Value::Array(items) => items.into_iter().map(stripped).collect(),
        other => other,
    }
}

fn shown_number(number: &serde_json::Number) -> String {
    match number.as_f64() {
        Some(x) if number.is_f64() && x != 0.0 && !(1e-3..1e6).contains(&x.abs()) => format!("{x:e}"),
        _ => number.to_string(),
    }
}
