//! A key in words: its doc, type, unit, range, default, choices.
use serde::Serialize;
use serde_json::{Value, json};

use super::{Keys, Meaning, entry, properties};

/// What a key is, in words.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Described {
    /// The entries that mean this by it; empty in a table that is not chosen by name.
    pub entries: Vec<String>,
    /// What it says.
    pub doc: String,
    /// Such as `whole number` or `list of 2 numbers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Such as `s`, where the name says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<&'static str>,
    /// Such as `above 0 and below 1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<String>,
    /// What holds if it is left out; none if it is required or simply absent then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// Whether a table without it is refused.
    pub required: bool,
    /// What it can be, if that can be listed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<Choice>,
}

/// One of the values a key can have.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Choice {
    /// As it is written, without quotes.
    pub name: String,
    /// What it stands for; empty if nothing is said.
    pub doc: String,
}

impl Keys {
    /// The meanings in words, those that say the same put together.
    pub fn describe(&self, key: &str, meanings: &[Meaning]) -> Vec<Described> {
        let mut all: Vec<Described> = Vec::new();
        for meaning in meanings {
            let mut new = self.described(key, meaning);
            let entries = std::mem::take(&mut new.entries);
            let same = all.iter_mut().find(|known| Described { entries: Vec::new(), ..(*known).clone() } == new);
            match same {
                Some(known) => known.entries.extend(entries),
                None => all.push(Described { entries, ..new }),
            }
        }
        all
    }

    fn described(&self, key: &str, meaning: &Meaning) -> Described {
        let schema = meaning.schema;
        let text = |schema: &Value| schema.get("description").and_then(Value::as_str).map(plain);
        let own = text(schema).or_else(|| {
            let constant = schema.get("const").and_then(Value::as_str);
            constant.map(|name| format!("Which entry the table is about: {name}."))
        });
        Described {
            entries: meaning.entry.map(str::to_owned).into_iter().collect(),
            doc: own.unwrap_or_default(),
            kind: self.kind(schema),
            unit: unit(key),
            range: self.range(schema),
            default: schema.get("default").cloned().filter(|value| !value.is_null()),
            required: meaning.required,
            choices: self.choices(schema),
        }
    }

    /// What the values can be, if that is a list.
    fn choices(&self, schema: &Value) -> Vec<Choice> {
        let mut choices: Vec<Choice> = Vec::new();
        let mut add = |name: String, doc: String| match choices.iter_mut().find(|choice| choice.name == name) {
            Some(known) if known.doc.is_empty() => known.doc = doc,
            Some(_) => {}
            None => choices.push(Choice { name, doc }),
        };
        for part in self.alternatives(schema) {
            let doc = part.get("description").and_then(Value::as_str).map(plain).unwrap_or_default();
            if let Some(Value::Array(names)) = part.get("enum") {
                names.iter().filter_map(Value::as_str).for_each(|name| add(name.into(), String::new()));
            } else if let Some(name) = part.get("const").and_then(Value::as_str).or_else(|| entry(part)) {
                add(name.into(), doc);
            } else if part.get("type").is_some_and(|kind| has(kind, "boolean")) {
                add("true".into(), String::new());
                add("false".into(), String::new());
            }
        }
        choices
    }

    fn kind(&self, schema: &Value) -> String {
        let mut kinds: Vec<String> = Vec::new();
        let mut optional = false;
        for part in self.alternatives(schema) {
            let kind = match part.get("type") {
                _ if part.get("enum").is_some() || part.get("const").is_some() => "name".to_owned(),
                Some(kind) if has(kind, "null") && kind.is_string() => {
                    optional = true;
                    continue;
                }
                Some(kind) => {
                    optional |= has(kind, "null");
                    self.kind_of(part, kind)
                }
                None => "anything".into(),
            };
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        let named = kinds.iter().any(|kind| kind == "name");
        if named && kinds.iter().any(|kind| kind == "table") {
            kinds.retain(|kind| kind != "name" && kind != "table");
            kinds.insert(0, "name, or table with `name` and parameters".into());
        }
        if optional {
            kinds.push("nothing".into());
        }
        kinds.join(" or ")
    }

    fn kind_of(&self, part: &Value, kind: &Value) -> String {
        let word = match kind {
            Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null"),
            kind => kind.as_str(),
        };
        match word.unwrap_or("anything") {
            "integer" => "whole number".into(),
            "boolean" => "true or false".into(),
            "string" => "text".into(),
            "object" => "table".into(),
            "array" => {
                let of = part.get("items").map_or_else(|| "anything".into(), |items| self.kind(items));
                match (part.get("minItems").and_then(Value::as_u64), part.get("maxItems").and_then(Value::as_u64)) {
                    (Some(least), Some(most)) if least == most => format!("list of {least}, each: {of}"),
                    _ => format!("list, each: {of}"),
                }
            }
            other => other.into(),
        }
    }

    /// The legal range of a number, or of the numbers of a list.
    fn range(&self, schema: &Value) -> Option<String> {
        let parts = self.alternatives(schema);
        let ranges: Vec<String> = parts
            .iter()
            .filter_map(|part| match part.get("items") {
                Some(items) => self.range(items).map(|range| format!("each {range}")),
                None => bounds(part),
            })
            .collect();
        (!ranges.is_empty()).then(|| ranges.join(", or "))
    }

    /// Whether the key may be a table of its own keys.
    pub fn is_table(&self, meaning: &Meaning) -> bool {
        self.alternatives(meaning.schema)
            .iter()
            .any(|part| properties(part).is_some_and(|keys| keys.keys().any(|key| key != "name")))
    }

    /// Whether the key may be a plain value: anything that is not written as a table.
    pub fn is_value(&self, meaning: &Meaning) -> bool {
        self.alternatives(meaning.schema).iter().any(|part| properties(part).is_none() && part["type"] != "null")
    }
}

fn bounds(part: &Value) -> Option<String> {
    let bound = |word: &str, says: &str| part.get(word).map(|bound| format!("{says} {}", number(bound)));
    let low = bound("exclusiveMinimum", "above").or_else(|| bound("minimum", "at least"));
    let high = bound("exclusiveMaximum", "below").or_else(|| bound("maximum", "at most"));
    match (low, high) {
        (Some(low), Some(high)) => Some(format!("{low} and {high}")),
        (low, high) => low.or(high),
    }
}

/// A bound without the `.0` of a whole number.
fn number(value: &Value) -> String {
    match value.as_f64() {
        Some(x) if x.fract() == 0.0 && x.abs() < 1e15 => format!("{x:.0}"),
        _ => value.to_string(),
    }
}

fn has(kind: &Value, word: &str) -> bool {
    *kind == json!(word) || kind.as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == word))
}

/// A doc comment as one paragraph; its lines end where the source's do.
fn plain(text: &str) -> String {
    text.split("\n\n")
        .map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("\n")
}

/// The unit that a key's name says.
fn unit(key: &str) -> Option<&'static str> {
    let last = key.rsplit('.').next().unwrap_or(key);
    match last {
        "steps" | "warmup" => Some("steps"),
        "epochs" => Some("passes over the training set"),
        "batch_size" | "rows" => Some("rows"),
        _ if last.ends_with("_s") => Some("s"),
        _ if last.ends_with("_bytes") => Some("bytes"),
        _ if last.ends_with("_nats") => Some("nats"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(key: &str) -> Vec<Described> {
        let keys = Keys::experiment();
        let found = keys.find(&kiln_config::steps(key).unwrap(), None);
        keys.describe(key, &found)
    }

    #[test]
    fn types_ranges_defaults_and_choices() {
        let every = &described("eval.every")[0];
        assert_eq!((every.kind.as_str(), every.range.as_deref()), ("whole number", Some("at least 1")));
        assert_eq!(every.default, Some(json!(50)));
        let nan = &described("train.stop.nan")[0];
        assert_eq!((nan.kind.as_str(), nan.choices.len()), ("true or false", 2));
        let dtype = &described("loss.dtype")[0];
        assert!(dtype.choices.iter().any(|choice| choice.name == "f64" && choice.doc.contains("Double")));
        let time = &described("train.stop.time_s")[0];
        assert_eq!((time.kind.as_str(), time.unit), ("number or nothing", Some("s")));
        let measures = &described("eval.measures")[0];
        assert!(measures.kind.starts_with("list, each: name"), "{}", measures.kind);
        let betas = described("optim.betas");
        assert!(betas.iter().any(|betas| betas.kind == "list of 2, each: number"), "{betas:?}");
    }

    #[test]
    fn entries_that_mean_the_same_stand_together() {
        let rates = described("optim.lr");
        assert!(rates.iter().any(|rate| rate.entries.len() > 1));
        let all: usize = rates.iter().map(|rate| rate.entries.len()).sum();
        assert_eq!(all, described("optim")[0].choices.len());
    }
}
