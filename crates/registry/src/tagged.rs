//! Reading `{ name = "…", … }` without buffering, and describing it as JSON Schema.
use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{
        DeserializeSeed, Error, MapAccess, Visitor,
        value::{MapAccessDeserializer, MapDeserializer},
    },
};
use serde_json::{Map, Value, json};

/// One row of a registry's list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listing {
    /// The registry's name, singular: `normalizer`.
    pub registry: &'static str,
    /// The entry's name as written in a config.
    pub name: &'static str,
    /// What it is, in one line.
    pub summary: &'static str,
    /// Where it comes from; empty if nowhere in particular.
    pub paper: &'static str,
}

/// A registry's config enum, as the loader sees it.
pub trait Tagged: Sized {
    /// The registry's name, singular.
    const KIND: &'static str;
    /// Every entry's name, in the order of the registry.
    const NAMES: &'static [&'static str];
    /// Reads the entry `name` from the remaining keys.
    ///
    /// # Errors
    /// If the name is unknown or the rest does not fit the entry's parameters.
    fn load<'de, D: Deserializer<'de>>(name: &str, rest: D) -> Result<Self, D::Error>;
    /// The registry's list.
    fn listing() -> Vec<Listing>;
}

/// Whether `expected`, as handed to serde's `unknown_variant`, is this registry's list of names.
pub fn is_tagged_name<T: Tagged>(expected: &[&str]) -> bool {
    expected == T::NAMES
}

/// Deserialises a registry's config enum from a name or from a map whose first key is `name`.
///
/// # Errors
/// If the value is neither, the name is unknown or missing, or the parameters do not fit.
pub fn deserialize_tagged<'de, T: Tagged, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_any(TaggedVisitor(PhantomData))
}

struct TaggedVisitor<T>(PhantomData<T>);

impl<'de, T: Tagged> Visitor<'de> for TaggedVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "the name of a {kind}, or a table with its `name` and parameters", kind = T::KIND)
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<T, E> {
        known::<T, E>(name)?;
        T::load(name, MapDeserializer::<_, E>::new(std::iter::empty::<(String, String)>()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        match map.next_key::<String>()?.as_deref() {
            Some("name") => {}
            Some(_) | None => return Err(A::Error::missing_field("name")),
        }
        let name = map.next_value_seed(NameSeed::<T>(PhantomData))?;
        T::load(&name, MapAccessDeserializer::new(map))
    }
}

/// Reads the name and refuses an unknown one *while the position of the value is still known*.
struct NameSeed<T>(PhantomData<T>);

impl<'de, T: Tagged> DeserializeSeed<'de> for NameSeed<T> {
    type Value = String;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        let name = String::deserialize(deserializer)?;
        known::<T, D::Error>(&name)?;
        Ok(name)
    }
}

fn known<T: Tagged, E: Error>(name: &str) -> Result<(), E> {
    if T::NAMES.contains(&name) { Ok(()) } else { Err(E::unknown_variant(name, T::NAMES)) }
}

/// The JSON Schema of a registry: the bare name of any entry without required parameters, or that entry's table.
pub fn tagged_schema(kind: &str, entries: Vec<(&'static str, &'static str, schemars::Schema)>) -> schemars::Schema {
    let mut short = Vec::new();
    let mut tables = Vec::new();
    for (name, summary, schema) in entries {
        let mut table = schema.to_value();
        let object = table.as_object_mut().expect("a params struct describes an object");
        let mut properties = Map::new();
        properties.insert("name".into(), json!({ "const": name }));
        if let Some(Value::Object(own)) = object.remove("properties") {
            properties.extend(own);
        }
        let mut required = vec![json!("name")];
        if let Some(Value::Array(own)) = object.remove("required") {
            required.extend(own);
        }
        if required.len() == 1 {
            short.push(name);
        }
        object.insert("title".into(), json!(name));
        object.insert("description".into(), json!(summary));
        object.insert("type".into(), json!("object"));
        object.insert("properties".into(), Value::Object(properties));
        object.insert("required".into(), Value::Array(required));
        object.insert("additionalProperties".into(), json!(false));
        tables.push(table);
    }
    let mut any_of = Vec::new();
    if !short.is_empty() {
        any_of.push(json!({ "enum": short }));
    }
    any_of.extend(tables);
    schemars::Schema::try_from(json!({ "description": format!("a {kind}, by name"), "anyOf": any_of }))
        .expect("an object is a schema")
}
