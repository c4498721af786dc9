//! The number format of a network's parameters and hidden states.
use burn::tensor::DType;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `dtype` of a model. The loss and the optimizer state have their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 11 significant bits; sums are accumulated in `f32`.
    F16,
    /// 8 significant bits; sums are accumulated in `f32`.
    Bf16,
    /// 24 significant bits.
    #[default]
    F32,
    /// 53 significant bits.
    F64,
}

impl Precision {
    /// The tensor type.
    pub fn dtype(self) -> DType {
        match self {
            Self::F16 => DType::F16,
            Self::Bf16 => DType::BF16,
            Self::F32 => DType::F32,
            Self::F64 => DType::F64,
        }
    }
}
