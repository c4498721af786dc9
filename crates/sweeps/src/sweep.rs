//! The sweep file as it is written. No logic; [`Sweep::check`] compares its parts.
use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    distribution::Distribution,
    tree::{Leaf, Leaves, read_leaves},
};

/// A sweep: one experiment, varied, over several seeds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Kiln sweep")]
pub struct Sweep {
    /// Heading of the comparison.
    pub title: String,
    /// What is asked, in a sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub question: String,
    /// The config that every run starts from: a file beside this one, or a path from the top of the source tree.
    pub base: String,
    /// Seeds of every variant.
    pub seeds: Vec<u64>,
    /// Worker threads of each run; if left out, those of the machine are divided among the runs that train at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub threads: Option<usize>,
    /// What all runs change in the base: dotted key → value.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub set: Map<String, Value>,
    /// The variant that the others are compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<String>,
    /// Logged metrics that the comparison shows, the most important first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<String>,
    /// What variants are called in the comparison, if not by their names: name → text.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Every combination of these values: dotted key → list of values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grid: Option<Grid>,
    /// Random draws.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub random: Option<Random>,
    /// Variants one by one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<RunSpec>,
}

/// `[grid]`: the values of each key, in the order in which they are written. A key may be quoted (`"optim.lr"`) or not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Grid(pub(crate) Vec<Leaf<Vec<Value>>>);

/// `[random]`: how many draws, from which seed, and a distribution per key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Random {
    /// Number of variants.
    pub samples: usize,
    /// Seed of the draws. The draw of a key depends on this seed, the key and the draw's number alone: another key or more
    /// samples leave it as it was.
    pub seed: u64,
    pub(crate) keys: Vec<Leaf<Distribution>>,
}

/// `[[runs]]`: one variant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunSpec {
    /// Its name: letters, digits and `_ . - + =`. Another variant may name it as a teacher: `teacher = { run = "NAME" }`.
    pub name: String,
    /// What it changes in the base, after the sweep's own `set`: dotted key → value.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub set: Map<String, Value>,
    /// Variants whose run of the same seed must be finished first. A teacher is needed without being named here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
}

/// The values of one key of a grid: at least one, no two the same.
impl Leaves for Vec<Value> {
    const EXPECTED: &'static str = "a list of values, such as [1e-3, 1e-2]";

    fn from_list(values: Vec<Value>) -> Result<Self, String> {
        if values.is_empty() {
            return Err("expected one value or more; an empty list leaves no variant".into());
        }
        if values.contains(&Value::Null) {
            return Err("a value that is not a number cannot stand in a config".into());
        }
        match (1..values.len()).find(|&i| values[..i].contains(&values[i])) {
            Some(twice) => Err(format!("{} stands twice in the list", values[twice])),
            None => Ok(values),
        }
    }
}

impl<'de> Deserialize<'de> for Grid {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read_leaves(deserializer, &mut |_, _| Ok(false)).map(Self)
    }
}

impl<'de> Deserialize<'de> for Random {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (mut samples, mut seed) = (None, 0);
        let keys = read_leaves(deserializer, &mut |key, value| match key {
            "samples" => value.whole().map(|number| samples = Some(number)).map(|()| true),
            "seed" => value.whole().map(|number| seed = number).map(|()| true),
            _ => Ok(false),
        })?;
        let Some(samples) = samples else { return Err(serde::de::Error::missing_field("samples")) };
        Ok(Self { samples: usize::try_from(samples).unwrap_or(usize::MAX), seed, keys })
    }
}

impl Serialize for Grid {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|leaf| (&leaf.key, &leaf.value)))
    }
}

impl Serialize for Random {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let numbers = [("samples", Value::from(self.samples)), ("seed", Value::from(self.seed))];
        let json = |leaf: &Leaf<Distribution>| {
            serde_json::to_value(&leaf.value).map(|value| (leaf.key.clone(), value)).map_err(serde::ser::Error::custom)
        };
        let keys = self.keys.iter().map(json).collect::<Result<Vec<_>, _>>()?;
        serializer.collect_map(numbers.into_iter().map(|(key, value)| (key.to_owned(), value)).chain(keys))
    }
}

impl JsonSchema for Grid {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Grid".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "object",
            "description": "the values of each key: dotted key → list of values",
            "minProperties": 1,
            "additionalProperties": { "anyOf": [
                { "type": "array", "minItems": 1, "uniqueItems": true },
                { "$ref": "#/$defs/Grid" },
            ] },
        })
    }
}

impl JsonSchema for Random {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Random".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let distribution = generator.subschema_for::<Distribution>();
        schemars::json_schema!({
            "type": "object",
            "description": "how many draws, from which seed, and a distribution per key",
            "properties": {
                "samples": { "type": "integer", "minimum": 1, "description": "number of variants" },
                "seed": { "type": "integer", "minimum": 0, "default": 0, "description": "seed of the draws" },
            },
            "required": ["samples"],
            "additionalProperties": { "anyOf": [distribution, { "type": "object" }] },
        })
    }
}
