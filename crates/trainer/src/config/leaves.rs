//! A config as a flat list of dotted keys.
use std::collections::BTreeMap;

use serde_json::Value;

use super::schema::Experiment;

/// Every value of a config that is not a table, by its dotted key. Settings that are left out are not there.
pub fn leaves(experiment: &Experiment) -> BTreeMap<String, Value> {
    leaves_of(&serde_json::to_value(experiment).unwrap_or_default())
}

/// As [`leaves`], of any tree of tables.
pub fn leaves_of(tree: &Value) -> BTreeMap<String, Value> {
    fn walk(prefix: &str, value: &Value, into: &mut BTreeMap<String, Value>) {
        match value {
            Value::Object(table) => {
                for (key, value) in table {
                    let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                    walk(&path, value, into);
                }
            }
            Value::Null => {}
            leaf => drop(into.insert(prefix.to_owned(), leaf.clone())),
        }
    }
    let mut leaves = BTreeMap::new();
    walk("", tree, &mut leaves);
    leaves
}

/// A value as a person reads it: texts without quotes.
pub fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
