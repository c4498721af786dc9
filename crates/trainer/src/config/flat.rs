//! A config as a list of keys and values.
use std::collections::BTreeMap;

use serde_json::Value;

use super::schema::Experiment;

/// Every value of a resolved config that is not a table, by its dotted key; lists are whole.
pub fn flat(experiment: &Experiment) -> BTreeMap<String, Value> {
    let mut leaves = BTreeMap::new();
    walk("", serde_json::to_value(experiment).unwrap_or_default(), &mut leaves);
    leaves
}

fn walk(prefix: &str, value: Value, into: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(table) => {
            for (key, value) in table {
                let path = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
                walk(&path, value, into);
            }
        }
        leaf => drop(into.insert(prefix.to_owned(), leaf)),
    }
}
