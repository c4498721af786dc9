//! Parameter groups: settings of their own for the parameters whose path matches.
use std::{borrow::Cow, fmt};

use burn::module::{ParamGroup, ParamGroupError, ParamId};
use kiln_registry::range;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use crate::Invalid;

/// Settings for the parameters whose path matches. Where several groups match and set the same key, the last
/// of them wins, key by key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupConfig {
    /// Which parameters: see [`Pattern`].
    #[serde(rename = "match")]
    pub pattern: Pattern,
    /// Weight decay instead of the rule's own.
    #[serde(default, deserialize_with = "some_non_negative", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub weight_decay: Option<f64>,
    /// Factor on the learning rate (1 if no group says otherwise).
    #[serde(default, deserialize_with = "some_non_negative", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub lr_scale: Option<f64>,
    /// `false` freezes: neither the weight nor the rule's state changes. The gradient still takes part in the
    /// transforms, since the mask is the last link of the chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update: Option<bool>,
}

fn some_non_negative<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    range::non_negative(deserializer).map(Some)
}

impl GroupConfig {
    /// # Errors
    /// If the group sets nothing.
    pub(crate) fn check(&self) -> Result<(), Invalid> {
        if self.weight_decay.is_none() && self.lr_scale.is_none() && self.update.is_none() {
            return Err(Invalid::new(
                "match",
                format!("the group {} sets nothing; give it weight_decay, lr_scale or update", self.pattern),
            ));
        }
        Ok(())
    }
}

/// A regular expression that is searched for in a parameter's path from the model's root, such as
/// `layers.0.weight`. A plain piece of the path matches itself; `^` and `$` tie it to the ends.
#[derive(Clone)]
pub struct Pattern {
    source: String,
    group: ParamGroup,
}

impl Pattern {
    /// # Errors
    /// If `source` is not a regular expression; the message says why.
    pub fn new(source: impl Into<String>) -> Result<Self, String> {
        let source = source.into();
        match ParamGroup::from_regex(&source) {
            Ok(group) => Ok(Self { source, group }),
            Err(ParamGroupError::InvalidPatternError(why)) => {
                // The parser draws a caret over several lines and sums up in the last.
                let why = why.rsplit("error: ").next().unwrap_or(&why).trim();
                Err(format!("{source:?} is not a regular expression: {why}"))
            }
        }
    }

    /// Whether the parameter at `path` is meant.
    pub fn matches(&self, path: &str) -> bool {
        // A regular expression looks at the path alone; the id is there for Burn's other kinds of groups.
        self.group.matches(&ParamId::from(0), Some(path))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{:?}", self.source)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Pattern({:?})", self.source)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.source.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl JsonSchema for Pattern {
    fn schema_name() -> Cow<'static, str> {
        "Pattern".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "regex" })
    }
}

/// What the groups say about one parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Settings {
    pub weight_decay: f64,
    pub lr_scale: f64,
    pub update: bool,
}

impl Settings {
    /// The settings of the parameter at `path`, under a rule with this weight decay.
    pub fn of(path: &str, groups: &[GroupConfig], weight_decay: f64) -> Self {
        let rule = Self { weight_decay, lr_scale: 1.0, update: true };
        groups.iter().filter(|group| group.pattern.matches(path)).fold(rule, |settings, group| Self {
            weight_decay: group.weight_decay.unwrap_or(settings.weight_decay),
            lr_scale: group.lr_scale.unwrap_or(settings.lr_scale),
            update: group.update.unwrap_or(settings.update),
        })
    }
}
