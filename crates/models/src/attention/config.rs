//! `[model.attention]`: slots, or the name of a preset that fills them.
use std::fmt;

use kiln_activations::normalizer::NormalizerConfig;
use kiln_registry::{Tagged, range};
use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{
        DeserializeSeed, Error, IntoDeserializer, MapAccess, Visitor,
        value::{MapAccessDeserializer, MapDeserializer, StringDeserializer},
    },
};

use super::{CoreConfig, GateConfig, LocalConvConfig, LognConfig, PatternConfig, PresetConfig, QkNorm};
use crate::{
    Invalid,
    position::{PositionConfig, Stage},
};

/// `[model.attention]`: the slots of attention.
///
/// A config may name a preset instead, `attention = "mala"` or `{ name = "gla", n_heads = 4 }`, which stands for such slots;
/// name and slots are never mixed. A resolved config shows the slots.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, remote = "Self")]
#[schemars(rename = "AttentionSlots")]
pub struct AttentionConfig {
    /// Query heads.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub n_heads: usize,
    /// Key and value heads; query heads share them in groups. As many as query heads if left out. Ainslie et al. 2023,
    /// arXiv:2305.13245.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub kv_heads: Option<usize>,
    /// Width of a query and of a key of one head; the heads share the model's width evenly if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub d_head: Option<usize>,
    /// Width of a value of one head; the heads share the model's width evenly if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub d_value: Option<usize>,
    /// What is done with queries, keys and values.
    pub core: CoreConfig,
    /// The map from a row of scores to a row of weights, for the core that has weights.
    pub normalizer: NormalizerConfig,
    /// How queries and keys, or their scores, know their places.
    pub position: PositionConfig,
    /// Which keys a query sees; what the network sees if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pattern: Option<PatternConfig>,
    /// Factor on the products of queries and keys; 1/√d_head if left out, and √d_head for queries and keys of length 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub scale: Option<f64>,
    /// Whether the factor is learned, one per head, from there. That of queries and keys of length 1 always is.
    pub learn_scale: bool,
    /// A factor that grows with the number of keys a query sees.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logn: Option<LognConfig>,
    /// Normalisation of queries and keys in front of everything else.
    pub qk_norm: QkNorm,
    /// A gate on what the heads give.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gate: Option<GateConfig>,
    /// A convolution over the values of near tokens that is added to what the heads give.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_conv: Option<LocalConvConfig>,
    /// Whether queries and keys are one projection.
    pub shared_qk: bool,
    /// Rank of the query and of the key projection; full if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub rank_qk: Option<usize>,
    /// Rank of the value projection; full if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub rank_v: Option<usize>,
    /// Biases of the four projections.
    pub bias: bool,
}

impl Default for AttentionConfig {
    /// 4 heads of softmax attention without biases, as in the one-layer transformers of the grokking literature.
    fn default() -> Self {
        Self {
            n_heads: 4,
            kv_heads: None,
            d_head: None,
            d_value: None,
            core: CoreConfig::default(),
            normalizer: NormalizerConfig::default(),
            position: PositionConfig::default(),
            pattern: None,
            scale: None,
            learn_scale: false,
            logn: None,
            qk_norm: QkNorm::None,
            gate: None,
            local_conv: None,
            shared_qk: false,
            rank_qk: None,
            rank_v: None,
            bias: false,
        }
    }
}

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

/// What attention is asked to fit.
#[derive(Clone, Copy, Debug)]
pub struct Fit {
    /// Width of the model.
    pub d_model: usize,
    /// Tokens of the longest row.
    pub length: usize,
    /// Whether the network may not look ahead.
    pub causal: bool,
}

impl AttentionConfig {
    /// The pattern of a layer in a network that looks ahead or not.
    pub fn pattern_in(&self, causal: bool) -> PatternConfig {
        self.pattern.clone().unwrap_or_else(|| PatternConfig::whole(causal))
    }

    /// Key and value heads.
    pub fn kv_heads(&self) -> usize {
        self.kv_heads.unwrap_or(self.n_heads)
    }

    /// Width of a query of one head, and of a value.
    pub fn widths(&self, d_model: usize) -> [usize; 2] {
        let even = d_model / self.n_heads;
        [self.d_head.unwrap_or(even), self.d_value.unwrap_or(even)]
    }

    /// Whether a layer built from this attends by weights that a probe can see.
    pub fn has_weights(&self) -> bool {
        self.core.properties().normalizer
    }

    /// Whether the slots fit each other, the model and the data.
    ///
    /// # Errors
    /// The first slot that does not fit; the message says why and what does.
    pub fn check(&self, fit: Fit) -> Result<(), Invalid> {
        self.check_heads(fit.d_model)?;
        self.check_core(fit)?;
        self.check_position(fit)?;
        self.check_pattern(fit)?;
        let causal = self.pattern_in(fit.causal).is_causal();
        self.local_conv
            .as_ref()
            .map_or(Ok(()), |conv| conv.check(causal))
            .map_err(|invalid| inside("local_conv", invalid))
    }

    fn check_heads(&self, d_model: usize) -> Result<(), Invalid> {
        let heads = self.n_heads;
        if (self.d_head.is_none() || self.d_value.is_none()) && !d_model.is_multiple_of(heads) {
            let below = d_model / heads * heads;
            let near = if below == 0 { heads.to_string() } else { format!("{below} or {}", below + heads) };
            return Err(Invalid::new(
                "n_heads",
                format!("d_model = {d_model} is not a multiple of n_heads = {heads}; try d_model = {near}"),
            ));
        }
        let positive = [
            ("kv_heads", self.kv_heads),
            ("d_head", self.d_head),
            ("d_value", self.d_value),
            ("rank_qk", self.rank_qk),
            ("rank_v", self.rank_v),
        ];
        if let Some((key, _)) = positive.iter().find(|(_, value)| *value == Some(0)) {
            return Err(Invalid::new(key, format!("{key} = 0; expected a whole number of at least 1")));
        }
        if let Some(kv) = self.kv_heads.filter(|kv| !heads.is_multiple_of(*kv)) {
            let fit: Vec<String> = (1..=heads).filter(|n| heads.is_multiple_of(*n)).map(|n| n.to_string()).collect();
            return Err(Invalid::new(
                "kv_heads",
                format!("{heads} query heads do not share {kv} key heads evenly; try {}", fit.join(", ")),
            ));
        }
        if self.scale.is_some_and(|scale| !(scale > 0.0 && scale.is_finite())) {
            return Err(Invalid::new("scale", "expected a finite number above 0".into()));
        }
        Ok(())
    }

    fn check_core(&self, fit: Fit) -> Result<(), Invalid> {
        let (core, properties) = (self.core.name(), self.core.properties());
        let [d_head, _] = self.widths(fit.d_model);
        if !properties.normalizer && self.normalizer != NormalizerConfig::default() {
            return Err(Invalid::new(
                "normalizer",
                format!(
                    "core \"{core}\" has no weights for \"{}\" to make; leave normalizer out, or core = \"scores\"",
                    self.normalizer.name()
                ),
            ));
        }
        if !properties.products {
            let asked =
                [("scale", self.scale.is_some()), ("learn_scale", self.learn_scale), ("logn", self.logn.is_some())];
            if let Some((key, _)) = asked.iter().find(|(_, set)| *set) {
                return Err(Invalid::new(
                    key,
                    format!("core \"{core}\" takes no products of queries and keys to scale; leave {key} out"),
                ));
            }
        }
        let causal = self.pattern_in(fit.causal).is_causal();
        self.core.check(d_head, causal).map_err(|invalid| inside("core", invalid))
    }

    fn check_position(&self, fit: Fit) -> Result<(), Invalid> {
        let [d_head, _] = self.widths(fit.d_model);
        let (core, properties) = (self.core.name(), self.core.properties());
        let name = self.position.name();
        let stage = self.position.stage();
        let fits = match stage {
            Stage::None => true,
            Stage::Embedding => {
                return Err(Invalid::new(
                    "position",
                    format!("\"{name}\" acts on token vectors; write positions = \"{name}\" in [model]"),
                ));
            }
            Stage::Rotation => properties.rotation,
            Stage::Bias => properties.bias,
            Stage::RotationAndBias => properties.rotation && properties.bias,
        };
        if !fits {
            let lacks = if properties.rotation { "adds no bias to scores" } else { "turns no queries and keys" };
            let other = match (properties.rotation, properties.bias) {
                (true, false) => "\"rope\", \"selective_rope\" or \"none\"",
                (false, true) => "\"alibi\", \"learned_bias\" or \"none\"",
                _ => "\"none\"",
            };
            return Err(Invalid::new(
                "position",
                format!("core \"{core}\" {lacks}, as \"{name}\" needs; it takes {other}"),
            ));
        }
        self.position.check(fit.length, d_head).map_err(|invalid| inside("position", invalid))
    }

    fn check_pattern(&self, fit: Fit) -> Result<(), Invalid> {
        let pattern = self.pattern_in(fit.causal);
        let (core, properties) = (self.core.name(), self.core.properties());
        let name = pattern.name();
        if fit.causal && !pattern.is_causal() {
            return Err(Invalid::new(
                "pattern",
                format!("\"{name}\" shows a token what it is to predict; this network takes \"causal\" or \"window\""),
            ));
        }
        if pattern.is_causal() && !properties.causal {
            return Err(Invalid::new(
                "core",
                format!("core \"{core}\" has no causal form; use pattern = \"full\" in a network that may look ahead"),
            ));
        }
        if !matches!(pattern.name(), "full" | "causal") && !properties.patterns {
            return Err(Invalid::new(
                "pattern",
                format!("core \"{core}\" sums over keys and hides none of them; it takes \"full\" or \"causal\""),
            ));
        }
        Ok(())
    }
}

/// The setting of a table inside this one.
pub(crate) fn inside(table: &str, invalid: Invalid) -> Invalid {
    Invalid::new(&format!("{table}.{}", invalid.key), invalid.message)
}

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
