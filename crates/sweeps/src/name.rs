//! What variants are called.
use serde_json::Value;

/// The name of each combination of a grid. One key whose values are names (`"entmax"`, `{ name = "entmax", alpha = 1.2 }`)
/// gives these names; otherwise each key says its value, `lr=0.001,p=59`, by as much of its end as tells it from the others.
pub(crate) fn of_combinations(keys: &[&str], combinations: &[Vec<&Value>]) -> Vec<String> {
    let named = |value: &Value| value.is_string() || value.get("name").is_some_and(Value::is_string);
    if keys.len() == 1 && combinations.iter().all(|values| named(values[0])) {
        return combinations.iter().map(|values| text(values[0])).collect();
    }
    let short: Vec<String> = keys.iter().map(|key| ending(key, keys)).collect();
    let name = |values: &Vec<&Value>| {
        let parts = short.iter().zip(values).map(|(key, value)| format!("{key}={}", text(value)));
        parts.collect::<Vec<_>>().join(",")
    };
    combinations.iter().map(name).collect()
}

/// The last words of a key that no other key ends in.
fn ending(key: &str, keys: &[&str]) -> String {
    let starts = key.rmatch_indices('.').map(|(dot, _)| dot + 1).chain([0]);
    let lone = |start: &usize| {
        let end = &key[*start..];
        let also = |other: &&&str| **other == end || other.ends_with(&format!(".{end}"));
        keys.iter().filter(also).count() == 1
    };
    key[starts.into_iter().find(lone).unwrap_or(0)..].to_owned()
}

/// A value in few letters: `entmax`, `entmax(alpha=1.2)`, `0.001`, `[128,128]`.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(text).collect::<Vec<_>>().join(",")),
        Value::Object(table) => {
            let name = table.get("name").map(text).unwrap_or_default();
            let rest = table.iter().filter(|(key, _)| *key != "name");
            let rest: Vec<String> = rest.map(|(key, value)| format!("{key}={}", text(value))).collect();
            if rest.is_empty() { name } else { format!("{name}({})", rest.join(",")) }
        }
        scalar => scalar.to_string(),
    }
}

/// Letters that the name of a file may take from a variant's; it also gets a hash, which tells it from all others.
const LONGEST: usize = 60;

/// The name in letters that every file system takes: others become `-`, and it is cut when it is long.
pub fn file_name(name: &str) -> String {
    let mut short = String::new();
    for c in name.chars() {
        let kept = c.is_ascii_alphanumeric() || "_.+=-".contains(c);
        let c = if kept { c } else { '-' };
        if !(c == '-' && short.ends_with('-')) && short.len() < LONGEST {
            short.push(c);
        }
    }
    let short = short.trim_matches(['-', '.']);
    if short.is_empty() { "run".into() } else { short.to_owned() }
}

/// Whether a listed run may be called so.
pub(crate) fn is_legal(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "_.+=-".contains(c))
        && name.len() <= LONGEST
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_shortened_as_far_as_it_stays_alone() {
        let keys = ["loss.normalizer", "model.normalizer", "optim.lr", "lr"];
        let short: Vec<String> = keys.iter().map(|key| ending(key, &keys)).collect();
        assert_eq!(short, ["loss.normalizer", "model.normalizer", "optim.lr", "lr"]);
        assert_eq!(ending("model.attention.n_heads", &["model.attention.n_heads", "train.steps"]), "n_heads");
    }

    #[test]
    fn file_names_are_plain() {
        assert_eq!(file_name("entmax(alpha=1.2)"), "entmax-alpha=1.2");
        assert_eq!(file_name("../..//x"), "x");
        assert_eq!(file_name("lr=0.001,widths=[128,128]"), "lr=0.001-widths=-128-128");
        assert_eq!(file_name("∞"), "run");
        assert_eq!(file_name(&"a".repeat(300)).len(), LONGEST);
    }
}
