//! `--set key.path=value`: one assignment of the command line, read as a layer.
use std::sync::Arc;

use crate::{
    error::{ConfigError, Place, Problem},
    parse::parse_table,
    path::KeyPath,
    source::{Source, Span},
    tree::{Node, Table, Value},
};

const OPTION: &str = "--set ";

/// Reads an assignment. The value is TOML; a bare word that is no TOML value is a string.
pub(crate) fn parse_assignment(text: &str) -> Result<(Arc<Source>, Table), ConfigError> {
    let source = Source::argument(format!("{OPTION}{text}"));
    // Blanks in place of the option keep every byte position.
    let blank = " ".repeat(OPTION.len());
    let refuse = |message: &str, help: &str| {
        let place = Place::Span(Span::new(&source, OPTION.len()..source.text.len()));
        Err(ConfigError::new(Problem::Other(message.into())).at(place, &KeyPath::default()).help(help))
    };
    if text.contains(['\n', '\r']) {
        return refuse("an assignment is one line", "write --set key.path=value");
    }
    let Some((key, value)) = split_at_equals(text) else {
        return refuse("expected key.path=value", "write --set key.path=value, as in --set optim.lr=3e-4");
    };
    if key.contains('[') && !key.contains(['"', '\'']) {
        return refuse("an element of an array cannot be set by itself", "set the whole array: key.path=[…]");
    }
    if value.trim().is_empty() {
        return refuse("expected a value after =", "an empty text is written key.path=\"\"");
    }
    let table = match parse_table(&format!("{blank}{text}"), &source) {
        Err(_) if is_word(value) => bare_word(&blank, key, value, &source),
        parsed => parsed,
    }?;
    if table.get("extends").is_some() {
        return refuse("`extends` can only stand in a file", "pass the file that is to be trained instead");
    }
    Ok((source, table))
}

/// Splits at the first `=` that is not inside a quoted key.
fn split_at_equals(text: &str) -> Option<(&str, &str)> {
    let mut quote = None;
    let at = text.char_indices().find(|&(_, c)| {
        match quote {
            None if c == '"' || c == '\'' => quote = Some(c),
            Some(open) if open == c => quote = None,
            _ => {}
        }
        quote.is_none() && c == '='
    });
    at.map(|(at, _)| (&text[..at], &text[at + 1..]))
}

/// Whether `value` does not begin like quoted text, an array or a table, whose syntax errors are better told as such.
fn is_word(value: &str) -> bool {
    !value.trim_start().starts_with(['"', '\'', '[', '{'])
}

fn bare_word(blank: &str, key: &str, value: &str, source: &Arc<Source>) -> Result<Table, ConfigError> {
    let mut table = parse_table(&format!("{blank}{key}=0"), source)?;
    let start = blank.len() + key.len() + 1 + (value.len() - value.trim_start().len());
    let word = value.trim();
    if let Some(leaf) = only_leaf(&mut table) {
        *leaf = Node { value: Value::String(word.into()), span: Span::new(source, start..start + word.len()) };
    }
    Ok(table)
}

fn only_leaf(table: &mut Table) -> Option<&mut Node> {
    let node = &mut table.0.first_mut()?.node;
    match node.value {
        Value::Table(ref mut inner) => only_leaf(inner),
        _ => Some(node),
    }
}

/// Refuses an assignment that goes into an array of `base`.
pub(crate) fn check_arrays(base: &Table, layer: &Table, path: &KeyPath) -> Result<(), ConfigError> {
    for item in &layer.0 {
        let Some(existing) = base.get(&item.key) else { continue };
        let path = path.key(&item.key);
        match (&existing.node.value, &item.node.value) {
            (Value::Array(_), Value::Table(_)) => {
                let message = "is an array, whose elements cannot be set by themselves".to_owned();
                return Err(ConfigError::new(Problem::Invalid(message))
                    .at(Place::Span(item.key_span.clone()), &path)
                    .help(format!("set the whole array: --set '{path}=[…]'")));
            }
            (Value::Table(base), Value::Table(layer)) => check_arrays(base, layer, &path)?,
            _ => {}
        }
    }
    Ok(())
}
