//! No positions.
use burn::module::Module;
use kiln_registry::Entry;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Place, PositionSetting, Positional, Stage};

/// Parameters of [`Unaware`]: none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UnawareConfig {}

impl Entry for UnawareConfig {
    const SUMMARY: &'static str = "no positions: the network sees a set of tokens";
}

impl UnawareConfig {
    /// The scheme.
    pub fn init(&self, _: &Place<'_>) -> Unaware {
        Unaware
    }
}

impl PositionSetting for UnawareConfig {
    fn stage(&self) -> Stage {
        Stage::None
    }
}

/// Token vectors, queries, keys and scores as they are.
#[derive(Module, Debug)]
pub struct Unaware;

impl Positional for Unaware {}
