//! Learned absolute positions.
use burn::{
    module::{Module, Param},
    tensor::Tensor,
};
use kiln_registry::Entry;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Place, PositionSetting, Positional, Stage};
use crate::{
    Invalid,
    attention::Side,
    kernel::{self, Epilogue},
};

/// Parameters of [`Learned`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LearnedConfig {
    /// Number of positions; the data's length if left out. More than that serves longer test sequences.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_length: Option<usize>,
    /// What happens to a token beyond the last position.
    pub overflow: Overflow,
}

/// What happens to a token beyond the last learned position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Overflow {
    /// The table must cover the data's longest row; a config that does not is refused.
    #[default]
    Error,
    /// It gets the last position's vector.
    Clamp,
}

impl Entry for LearnedConfig {
    const SUMMARY: &'static str = "a learned vector per position, added to the token's";
    const PAPER: &'static str = "Gehring et al. 2017, arXiv:1705.03122";
}

impl LearnedConfig {
    /// The scheme; its table is drawn from `N(0, std²)` as the token vectors are.
    pub fn init(&self, place: &Place<'_>) -> Learned {
        let positions = self.max_length.unwrap_or(place.length);
        Learned {
            weight: place.init.normal("weight", [positions, place.d_model], place.std),
            clamp: self.overflow == Overflow::Clamp,
        }
    }
}

impl PositionSetting for LearnedConfig {
    fn stage(&self) -> Stage {
        Stage::Embedding
    }

    fn check(&self, length: usize, _: usize) -> Result<(), Invalid> {
        match self.max_length {
            None if length == 0 => Err(Invalid::new(
                "max_length",
                "this data does not say how long its rows are; say how many positions there are".into(),
            )),
            Some(max) if max < length && self.overflow == Overflow::Error => Err(Invalid::new(
                "max_length",
                format!(
                    "{max} learned positions do not cover the data's {length} tokens per row; set at least {length}, or overflow = \"clamp\""
                ),
            )),
            _ => Ok(()),
        }
    }
}

/// A table of position vectors.
/// ```text
/// y_t = x_t + P_t
/// ```
#[derive(Module, Debug)]
pub struct Learned {
    /// `[max_length, d_model]`
    pub weight: Param<Tensor<2>>,
    clamp: bool,
}

impl Positional for Learned {
    fn place(&self, x: Tensor<3>, side: &Side) -> Tensor<3> {
        let [rows, length, d_model] = x.dims();
        let table = self.weight.val();
        let [positions, _] = table.dims();
        if let Some(start) = side.start
            && start + length <= positions
        {
            return x + table.narrow(0, start, length).unsqueeze::<3>();
        }
        let last = positions as i64 - 1;
        // Padding has a place below 0 and is seen by nobody.
        let places = side.places.clone().clamp_min(0);
        let places = if self.clamp { places.clamp_max(last) } else { places };
        let places = places.expand([rows, length]).reshape([rows * length, 1]);
        x + kernel::gather_sum(table, places, None, Epilogue::None).reshape([rows, length, d_model])
    }
}
