//! Reading `[model.attention]`: slots, or the name of a preset that fills them.
use std::fmt;

use kiln_registry::Tagged;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{
        DeserializeSeed, Error, IntoDeserializer, MapAccess, Visitor,
        value::{MapAccessDeserializer, MapDeserializer, StringDeserializer},
    },
};

use super::{AttentionConfig, PresetConfig};

/// The keys of [`AttentionConfig`].
const SLOTS: &[&str] = &[
    "n_heads",
    "kv_heads",
    "d_head",
    "d_value",
    "core",
    "normalizer",
    "position",
    "pattern",
    "scale",
    "learn_scale",
    "logn",
    "qk_norm",
    "gate",
    "local_conv",
    "shared_qk",
    "rank_qk",
    "rank_v",
    "bias",
];

impl Serialize for AttentionConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for AttentionConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SlotsOrName)
    }
}

/// Reads the name of a preset, its table, or a table of slots.
struct SlotsOrName;

impl<'de> Visitor<'de> for SlotsOrName {
    type Value = AttentionConfig;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("the name of an attention, a table with its `name` and parameters, or a table of slots")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<AttentionConfig, E> {
        known(name)?;
        let rest = MapDeserializer::<_, E>::new(std::iter::empty::<(String, String)>());
        Ok(PresetConfig::load(name, rest)?.slots())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<AttentionConfig, A::Error> {
        match map.next_key_seed(FirstKey)? {
            Some(key) if key == "name" => {
                let name = map.next_value_seed(PresetName)?;
                Ok(PresetConfig::load(&name, MapAccessDeserializer::new(map))?.slots())
            }
            key => AttentionConfig::deserialize(MapAccessDeserializer::new(Peeked { key, map })),
        }
    }
}

fn known<E: Error>(name: &str) -> Result<(), E> {
    if PresetConfig::NAMES.contains(&name) { Ok(()) } else { Err(E::unknown_variant(name, PresetConfig::NAMES)) }
}

/// Reads the first key and refuses an unknown one *while its position is still known*.
struct FirstKey;

impl<'de> DeserializeSeed<'de> for FirstKey {
    type Value = String;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        let key = String::deserialize(deserializer)?;
        if key == "name" || SLOTS.contains(&key.as_str()) { Ok(key) } else { Err(D::Error::unknown_field(&key, SLOTS)) }
    }
}

/// Reads a preset's name and refuses an unknown one while its position is still known.
struct PresetName;

impl<'de> DeserializeSeed<'de> for PresetName {
    type Value = String;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        let name = String::deserialize(deserializer)?;
        known(&name).map(|()| name)
    }
}

/// A map whose first key has been read already.
struct Peeked<A> {
    key: Option<String>,
    map: A,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Peeked<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        match self.key.take() {
            Some(key) => {
                let key: StringDeserializer<A::Error> = key.into_deserializer();
                seed.deserialize(key).map(Some)
            }
            None => self.map.next_key_seed(seed),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}

/// The schema of what a config may write: slots or a preset.
pub fn schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let (slots, presets) = (generator.subschema_for::<AttentionConfig>(), generator.subschema_for::<PresetConfig>());
    schemars::json_schema!({ "anyOf": [slots, presets] })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::attention::{GateConfig, LocalConvConfig, LognConfig, PatternConfig};

    fn read(value: serde_json::Value) -> Result<AttentionConfig, String> {
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    #[test]
    fn the_slots_are_all_listed() {
        let full = AttentionConfig {
            kv_heads: Some(1),
            d_head: Some(1),
            d_value: Some(1),
            pattern: Some(PatternConfig::whole(true)),
            scale: Some(1.0),
            logn: Some(LognConfig::default()),
            gate: Some(GateConfig::default()),
            local_conv: Some(LocalConvConfig::default()),
            rank_qk: Some(1),
            rank_v: Some(1),
            ..Default::default()
        };
        let value = serde_json::to_value(&full).unwrap();
        let mut keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
        let mut slots = SLOTS.to_vec();
        keys.sort_unstable();
        slots.sort_unstable();
        assert_eq!(keys, slots);
        assert_eq!(read(value).unwrap(), full);
    }

    #[test]
    fn a_name_stands_for_slots_and_never_beside_them() {
        assert_eq!(read(json!({})).unwrap(), AttentionConfig::default());
        assert_eq!(read(json!({ "n_heads": 2 })).unwrap().n_heads, 2);
        for name in PresetConfig::NAMES {
            let named = read(json!({ "name": name, "n_heads": 2 })).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(named.n_heads, 2, "{name}");
            assert_eq!(read(serde_json::to_value(&named).unwrap()).unwrap(), named, "{name}");
            let error = read(json!({ "name": name, "core": "scores" })).unwrap_err();
            assert!(error.contains("unknown field `core`"), "{name}: {error}");
        }
        let error = read(json!("attm")).unwrap_err();
        assert!(error.contains("unknown variant `attm`, expected"), "{error}");
        let error = read(json!({ "n_head": 2 })).unwrap_err();
        assert!(error.contains("unknown field `n_head`, expected one of `n_heads`"), "{error}");
    }
}
