//! From TOML text to the tree.
use std::{ops::Range, sync::Arc};

use toml::{
    Spanned,
    de::{DeFloat, DeInteger, DeTable, DeValue},
};

use crate::{
    error::{ConfigError, Place, Problem},
    source::{Source, Span},
    tree::{Item, Node, Table, Value},
};

/// Parses `toml`, whose byte positions are those of `source`'s text.
pub(crate) fn parse_table(toml: &str, source: &Arc<Source>) -> Result<Table, ConfigError> {
    match DeTable::parse(toml) {
        Ok(table) => Parser { source }.table(table.get_ref()),
        Err(error) => Err(syntax_error(&error, source)),
    }
}

fn syntax_error(error: &toml::de::Error, source: &Arc<Source>) -> ConfigError {
    // The parser guesses from the first letter that an unquoted word was to be `true`, `false`, `inf` or `nan`.
    let unquoted = error.message().starts_with("invalid boolean") || error.message().contains("must be quoted");
    let message = if unquoted { "expected a value; text stands in quotes" } else { error.message() };
    let place = match error.span() {
        Some(range) => Place::Span(Span::new(source, range)),
        None => Place::Source(source.clone()),
    };
    ConfigError::new(Problem::Other(format!("not valid TOML: {message}"))).at(place, &Default::default())
}

struct Parser<'a> {
    source: &'a Arc<Source>,
}

impl Parser<'_> {
    fn span(&self, range: Range<usize>) -> Span {
        Span::new(self.source, range)
    }

    fn table(&self, table: &DeTable) -> Result<Table, ConfigError> {
        let items = table.iter().map(|(key, value)| {
            Ok(Item { key: key.get_ref().to_string(), key_span: self.span(key.span()), node: self.node(value)? })
        });
        Ok(Table(items.collect::<Result<_, _>>()?))
    }

    fn node(&self, value: &Spanned<DeValue>) -> Result<Node, ConfigError> {
        let span = self.span(value.span());
        let value = match value.get_ref() {
            DeValue::String(text) => Value::String(text.to_string()),
            DeValue::Integer(integer) => Value::Integer(self.integer(integer, &span)?),
            DeValue::Float(float) => Value::Float(self.float(float, &span)?),
            DeValue::Boolean(boolean) => Value::Boolean(*boolean),
            DeValue::Datetime(datetime) => Value::Datetime(*datetime),
            DeValue::Array(array) => Value::Array(array.iter().map(|item| self.node(item)).collect::<Result<_, _>>()?),
            DeValue::Table(table) => Value::Table(self.table(table)?),
        };
        Ok(Node { value, span })
    }

    fn integer(&self, integer: &DeInteger, span: &Span) -> Result<i64, ConfigError> {
        i64::from_str_radix(integer.as_str(), integer.radix()).map_err(|_| {
            let message = format!("{integer} does not fit 64 bits; expected {} to {}", i64::MIN, i64::MAX);
            ConfigError::new(Problem::Other(message)).at(Place::Span(span.clone()), &Default::default())
        })
    }

    fn float(&self, float: &DeFloat, span: &Span) -> Result<f64, ConfigError> {
        match float.as_str().parse::<f64>() {
            Ok(value) if value.is_finite() || !float.as_str().contains(|c: char| c.is_ascii_digit()) => Ok(value),
            _ => {
                let message = format!("{float} does not fit a 64-bit float; the largest is 1.7976931348623157e308");
                Err(ConfigError::new(Problem::Other(message)).at(Place::Span(span.clone()), &Default::default()))
            }
        }
    }
}
