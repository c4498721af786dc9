//! Which keys a config may have, and what each of them may be: the JSON Schema of an experiment, walked by key path.
//!
//! A key of a table that is chosen by name (`optim.lr`) may mean something else for every name, so a path has as many
//! [`Meaning`]s as entries have such a key. A config narrows them down to those of the entries it names.
use kiln_config::{Document, Step, nearest, steps};
use serde_json::{Map, Value};

use super::schema::Experiment;

mod describe;
mod written;

pub use describe::{Choice, Described};
pub use written::{Setting, Source};

/// How deep key paths are listed; tables may hold tables of their own kind.
const DEPTH: usize = 6;

/// The keys of an experiment.
#[derive(Debug)]
pub struct Keys {
    schema: Value,
}

/// What a key is in one table.
#[derive(Clone, Copy, Debug)]
pub struct Meaning<'a> {
    /// The entry whose table it stands in, such as `adamw`; none in a table that is not chosen by name.
    pub entry: Option<&'a str>,
    /// Whether a table without the key is refused.
    pub required: bool,
    /// Its part of the schema.
    schema: &'a Value,
}

/// A config that narrows the meanings down.
#[derive(Clone, Debug)]
pub struct Chosen {
    written: Value,
    resolved: Value,
}

impl Chosen {
    /// What `document` says, and what it became.
    pub fn new(document: &Document, experiment: &Experiment) -> Self {
        let json = |value: Result<Value, serde_json::Error>| value.unwrap_or_default();
        Self {
            written: json(serde_json::to_value(document.to_table())),
            resolved: json(serde_json::to_value(experiment)),
        }
    }

    /// The value at a path of the resolved config.
    pub fn value(&self, path: &[Step]) -> Option<&Value> {
        path.iter().try_fold(&self.resolved, child).filter(|value| !value.is_null())
    }

    fn names(&self, path: &[Step]) -> Option<Names<'_>> {
        let resolved = path.iter().try_fold(&self.resolved, child)?;
        Some(Names {
            written: path.iter().try_fold(&self.written, child).and_then(name_of),
            resolved: name_of(resolved),
        })
    }
}

/// The entries that a config names at one place: as written, and as it became (a preset becomes a table without a name).
struct Names<'a> {
    written: Option<&'a str>,
    resolved: Option<&'a str>,
}

impl Keys {
    /// The keys of an experiment.
    pub fn experiment() -> Self {
        Self { schema: schemars::schema_for!(Experiment).to_value() }
    }

    /// Every meaning of the key at `path`; none if there is no such key, or the config has chosen entries without it.
    pub fn find(&self, path: &[Step], config: Option<&Chosen>) -> Vec<Meaning<'_>> {
        let mut meanings = vec![Meaning { entry: None, required: true, schema: &self.schema }];
        for (depth, step) in path.iter().enumerate() {
            meanings = meanings.iter().flat_map(|meaning| self.step(meaning, step, &path[..depth], config)).collect();
        }
        meanings
    }

    /// The keys of the table at `path` with their meanings, in the order of the schema.
    pub fn below(&self, path: &[Step], config: Option<&Chosen>) -> Vec<(String, Vec<Meaning<'_>>)> {
        let mut keys: Vec<(String, Vec<Meaning<'_>>)> = Vec::new();
        for meaning in self.find(path, config) {
            for table in self.tables(meaning.schema, path, config) {
                for name in properties(table).into_iter().flat_map(Map::keys) {
                    let Some(meaning) = meaning_in(table, name) else { continue };
                    match keys.iter_mut().find(|(known, _)| known == name) {
                        Some((_, meanings)) => meanings.push(meaning),
                        None => keys.push((name.clone(), vec![meaning])),
                    }
                }
            }
        }
        keys
    }

    /// Every key path, tables before their keys.
    pub fn all(&self, config: Option<&Chosen>) -> Vec<String> {
        let mut found = Vec::new();
        self.collect(&mut Vec::new(), config, &mut found);
        found
    }

    fn collect(&self, path: &mut Vec<Step>, config: Option<&Chosen>, found: &mut Vec<String>) {
        if path.len() == DEPTH {
            return;
        }
        for (name, _) in self.below(path, config) {
            path.push(Step::Key(name));
            found.push(written::join(path));
            self.collect(path, config, found);
            path.pop();
        }
    }

    /// The valid key paths nearest to one that is not: by its own spelling, or those that end like it.
    pub fn near(&self, path: &str, config: Option<&Chosen>) -> Vec<String> {
        let all = self.all(config);
        let names: Vec<&str> = all.iter().map(String::as_str).collect();
        let last = path.rsplit('.').next().unwrap_or(path);
        let ends = |wanted: &str| -> Vec<String> {
            let mut ends: Vec<String> =
                all.iter().filter(|key| key.rsplit('.').next() == Some(wanted)).cloned().collect();
            // The shallow ones are the likely ones.
            ends.sort_by_key(|key| key.matches('.').count());
            ends.truncate(5);
            ends
        };
        // A path that is right but for its last step, then the end alone, then the whole.
        if let Some((table, wrong)) = path.rsplit_once('.')
            && let Some(table_steps) = steps(table)
        {
            let below = self.below(&table_steps, config);
            let siblings: Vec<&str> = below.iter().map(|(name, _)| name.as_str()).collect();
            if let Some(near) = nearest(wrong, &siblings) {
                return vec![format!("{table}.{near}")];
            }
        }
        let same = ends(last);
        if !same.is_empty() {
            return same;
        }
        if let Some(near) = nearest(path, &names) {
            return vec![near.to_owned()];
        }
        let lasts: Vec<&str> = names.iter().filter_map(|key| key.rsplit('.').next()).collect();
        nearest(last, &lasts).map(ends).unwrap_or_default()
    }

    /// The meanings one step further.
    fn step<'a>(
        &'a self,
        meaning: &Meaning<'a>,
        step: &Step,
        path: &[Step],
        config: Option<&Chosen>,
    ) -> Vec<Meaning<'a>> {
        match step {
            Step::Key(key) => {
                let tables = self.tables(meaning.schema, path, config);
                tables.into_iter().filter_map(|table| meaning_in(table, key)).collect()
            }
            Step::Index(_) => {
                let items = self.alternatives(meaning.schema).into_iter().filter_map(|schema| schema.get("items"));
                items.map(|schema| Meaning { entry: None, required: false, schema }).collect()
            }
        }
    }

    /// The tables that a part of the schema allows, those of the config's choice alone if there is one.
    fn tables<'a>(&'a self, schema: &'a Value, path: &[Step], config: Option<&Chosen>) -> Vec<&'a Value> {
        let mut tables = self.alternatives(schema);
        tables.retain(|table| properties(table).is_some());
        if let Some(names) = config.and_then(|config| config.names(path)) {
            let chosen = |table: &&Value| {
                let entry = entry(table);
                entry == names.resolved || (entry.is_some() && entry == names.written)
            };
            if tables.iter().any(chosen) {
                tables.retain(|table| chosen(table));
            }
        }
        tables
    }

    /// The part with its references followed and its alternatives side by side.
    fn alternatives<'a>(&'a self, schema: &'a Value) -> Vec<&'a Value> {
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            let target = reference.strip_prefix('#').and_then(|pointer| self.schema.pointer(pointer));
            return target.map(|target| self.alternatives(target)).unwrap_or_default();
        }
        for word in ["anyOf", "oneOf"] {
            if let Some(parts) = schema.get(word).and_then(Value::as_array) {
                return parts.iter().flat_map(|part| self.alternatives(part)).collect();
            }
        }
        vec![schema]
    }
}

fn child<'a>(value: &'a Value, step: &Step) -> Option<&'a Value> {
    match step {
        Step::Key(key) => value.get(key),
        Step::Index(index) => value.get(index),
    }
}

fn name_of(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value.get("name")?.as_str())
}

fn properties(table: &Value) -> Option<&Map<String, Value>> {
    table.get("properties")?.as_object()
}

fn entry(table: &Value) -> Option<&str> {
    table.pointer("/properties/name/const")?.as_str()
}

fn meaning_in<'a>(table: &'a Value, key: &str) -> Option<Meaning<'a>> {
    let schema = properties(table)?.get(key)?;
    let required = table.get("required").and_then(Value::as_array).is_some_and(|keys| keys.iter().any(|k| k == key));
    Some(Meaning { entry: entry(table), required, schema })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Vec<Step> {
        steps(text).unwrap()
    }

    #[test]
    fn a_key_of_several_entries_has_a_meaning_in_each() {
        let keys = Keys::experiment();
        let found = keys.find(&path("optim.lr"), None);
        assert!(found.len() >= 10 && found.iter().all(|meaning| meaning.entry.is_some()));
        assert_eq!(keys.find(&path("run.seed"), None).len(), 1);
        assert_eq!(keys.find(&path("optim.groups[0].match"), None)[0].entry, None);
        assert!(keys.find(&path("optim.alhpa"), None).is_empty());
        assert!(keys.find(&path("run.seed.deeper"), None).is_empty());
    }

    #[test]
    fn every_listed_path_is_found_again() {
        let keys = Keys::experiment();
        let all = keys.all(None);
        assert!(all.len() > 300, "{}", all.len());
        for key in all {
            assert!(!keys.find(&path(&key), None).is_empty(), "{key}");
        }
    }

    #[test]
    fn a_slip_finds_its_key() {
        let keys = Keys::experiment();
        assert_eq!(keys.near("optim.wieght_decay", None), ["optim.weight_decay"]);
        assert_eq!(keys.near("optm.lr", None), ["optim.lr"]);
        assert_eq!(keys.near("batch_size", None), ["train.batch_size"]);
        assert_eq!(keys.near("bach_size", None), ["train.batch_size"]);
        assert!(keys.near("zzzzzzzz", None).is_empty());
    }
}
