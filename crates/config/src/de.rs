//! The tree as a serde deserializer that says, for each error, at which key or value it arose.
//!
//! Serde makes an error without a place. Every level hands it up through [`ConfigError::at`], which only the innermost
//! level gets to fill in: an unknown key arises while its key is read, a range error while its value is, a missing key
//! after all keys of its table were. Types that buffer their input (`flatten`, `untagged`, serde's own `tag`) keep only
//! the place of the whole table.
use serde::{
    Deserializer,
    de::{self, DeserializeSeed, EnumAccess, Error, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor},
    forward_to_deserialize_any,
};

use crate::{
    error::{ConfigError, Place, Problem},
    path::KeyPath,
    tree::{Item, Node, Table, Value},
};

/// One value of the tree, ready to be deserialised.
pub(crate) struct NodeDeserializer<'a> {
    node: &'a Node,
    path: KeyPath,
}

impl NodeDeserializer<'_> {
    /// Runs `read`, and marks an error that has no place yet with this value's.
    fn located<T>(self, read: impl FnOnce(Self) -> Result<T, ConfigError>) -> Result<T, ConfigError> {
        let (node, path) = (self.node, self.path.clone());
        read(self).map_err(|error| error.at(node.place(&path), &path))
    }

    fn unexpected<T>(&self, expected: impl Into<String>) -> Result<T, ConfigError> {
        Err(ConfigError::new(Problem::Unexpected { found: self.node.value.to_string(), expected: expected.into() }))
    }

    fn visit<'de, V: Visitor<'de>>(&self, visitor: V) -> Result<V::Value, ConfigError> {
        match &self.node.value {
            Value::String(text) => visitor.visit_str(text),
            Value::Integer(integer) => visitor.visit_i64(*integer),
            Value::Float(float) => visitor.visit_f64(*float),
            Value::Boolean(boolean) => visitor.visit_bool(*boolean),
            Value::Datetime(datetime) => visitor.visit_string(datetime.to_string()),
            Value::Array(array) => visitor.visit_seq(Elements::new(array, &self.path)),
            Value::Table(table) => visitor.visit_map(Entries::new(table, &self.path)),
        }
    }
}

impl<'de> Deserializer<'de> for NodeDeserializer<'_> {
    type Error = ConfigError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConfigError> {
        self.visit(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConfigError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, ConfigError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ConfigError> {
        // A derived struct would also take an array, by position.
        if self.node.as_table().is_some() { self.visit(visitor) } else { self.unexpected("a table") }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, ConfigError> {
        // A visitor of tuples stops at the last value it wants and would pass over the rest.
        match &self.node.value {
            Value::Array(array) if array.len() != length => Err(ConfigError::new(Problem::Unexpected {
                found: format!("{} of them", array.len()),
                expected: format!("an array of {length} values"),
            })),
            Value::Array(_) => self.visit(visitor),
            _ => self.unexpected(format!("an array of {length} values")),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ConfigError> {
        match &self.node.value {
            Value::String(name) => visitor.visit_enum(name.as_str().into_deserializer()),
            Value::Table(Table(items)) if items.len() == 1 => {
                visitor.visit_enum(Variant { item: &items[0], path: &self.path })
            }
            _ => self.unexpected(format!("one of: {}", variants.join(", "))),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq
        tuple_struct map identifier ignored_any
    }
}

/// Reads a key; an error points at the key and speaks of its table.
fn read_key<'de, K: DeserializeSeed<'de>>(seed: K, item: &Item, table: &KeyPath) -> Result<K::Value, ConfigError> {
    let key: de::value::StrDeserializer<'_, ConfigError> = item.key.as_str().into_deserializer();
    seed.deserialize(key).map_err(|error| error.at(Place::Span(item.key_span.clone()), table))
}

/// Reads a value. What `seed` finds wrong *after* its deserializer has returned, as range checks do, points there too.
pub(crate) fn read_value<'de, S: DeserializeSeed<'de>>(
    seed: S,
    node: &Node,
    path: KeyPath,
) -> Result<S::Value, ConfigError> {
    NodeDeserializer { node, path }.located(|this| seed.deserialize(this))
}

struct Entries<'a> {
    remaining: std::vec::IntoIter<&'a Item>,
    current: Option<&'a Item>,
    path: KeyPath,
}

impl<'a> Entries<'a> {
    fn new(table: &'a Table, path: &KeyPath) -> Self {
        let items: Vec<_> = table.name_first().collect();
        Self { remaining: items.into_iter(), current: None, path: path.clone() }
    }
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = ConfigError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ConfigError> {
        self.current = self.remaining.next();
        self.current.map(|item| read_key(seed, item, &self.path)).transpose()
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, ConfigError> {
        match self.current.take() {
            Some(item) => read_value(seed, &item.node, self.path.key(&item.key)),
            None => Err(ConfigError::custom("a value was asked for before its key")),
        }
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.remaining.len())
    }
}

struct Elements<'a> {
    remaining: std::iter::Enumerate<std::slice::Iter<'a, Node>>,
    path: KeyPath,
}

impl<'a> Elements<'a> {
    fn new(array: &'a [Node], path: &KeyPath) -> Self {
        Self { remaining: array.iter().enumerate(), path: path.clone() }
    }
}

impl<'de> SeqAccess<'de> for Elements<'_> {
    type Error = ConfigError;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, ConfigError> {
        let next = self.remaining.next();
        next.map(|(index, node)| read_value(seed, node, self.path.index(index))).transpose()
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.remaining.len())
    }
}

/// `{ variant = value }`, serde's own way to write an enum with data.
struct Variant<'a> {
    item: &'a Item,
    path: &'a KeyPath,
}

impl<'de, 'a> EnumAccess<'de> for Variant<'a> {
    type Error = ConfigError;
    type Variant = NodeDeserializer<'a>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self::Variant), ConfigError> {
        let key = read_key(seed, self.item, self.path)?;
        Ok((key, NodeDeserializer { node: &self.item.node, path: self.path.key(&self.item.key) }))
    }
}

impl<'de> VariantAccess<'de> for NodeDeserializer<'_> {
    type Error = ConfigError;

    fn unit_variant(self) -> Result<(), ConfigError> {
        self.located(|this| this.unexpected("the bare name, without a value"))
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, ConfigError> {
        read_value(seed, self.node, self.path)
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, ConfigError> {
        self.located(|this| this.deserialize_tuple(length, visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ConfigError> {
        self.located(|this| this.deserialize_struct("", fields, visitor))
    }
}
