//! The precision a loss is computed in, and the order of its sums.
use burn::tensor::DType;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The precision a loss is computed in, whatever the precision of the logits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LossDtype {
    /// Half precision, emulated: every term and result is rounded to half, sums are accumulated in `f32`.
    F16,
    /// Single precision.
    #[default]
    F32,
    /// Double precision.
    F64,
}

impl LossDtype {
    /// The storage type of the loss.
    pub fn dtype(self) -> DType {
        match self {
            Self::F16 => DType::F16,
            Self::F32 => DType::F32,
            Self::F64 => DType::F64,
        }
    }
}

/// The order in which a row's terms are added. It decides at which margin a sum absorbs its small terms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SumOrder {
    /// Element i goes to lane i mod 16, then neighbouring lanes are added pairwise.
    #[default]
    Lanes,
    /// One after the other.
    Sequential,
}
