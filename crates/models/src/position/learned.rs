//! Learned absolute positions.
use burn::{
    module::{Module, Param},
    tensor::Tensor,
};
use kiln_registry::Entry;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Place, PositionSetting, Positional};
use crate::Invalid;

/// Parameters of [`Learned`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LearnedConfig {
    /// Number of positions; the data's length if left out. More than that serves longer test sequences.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_length: Option<usize>,
}

impl Entry for LearnedConfig {
    const SUMMARY: &'static str = "a learned vector per position, added to the token's";
    const PAPER: &'static str = "Gehring et al. 2017, arXiv:1705.03122";
}

impl LearnedConfig {
    /// The scheme; its table is drawn from `N(0, std²)` as the token vectors are.
    pub fn init(&self, place: &Place<'_>) -> Learned {
        let positions = self.max_length.unwrap_or(place.length);
        Learned { weight: place.init.normal("weight", [positions, place.d_model], place.std) }
    }
}

impl PositionSetting for LearnedConfig {
    fn check(&self, length: usize) -> Result<(), Invalid> {
        match self.max_length {
            Some(max) if max < length => Err(Invalid::new(
                "max_length",
                format!(
                    "{max} learned positions do not cover the data's {length} tokens per row; set at least {length}"
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
}

impl Positional for Learned {
    fn place(&self, x: Tensor<3>) -> Tensor<3> {
        let [_, length, _] = x.dims();
        let table = self.weight.val();
        let [positions, _] = table.dims();
        assert!(length <= positions, "learned positions: a row of {length} tokens, but only {positions} positions");
        x + table.narrow(0, 0, length).unsqueeze::<3>()
    }
}
