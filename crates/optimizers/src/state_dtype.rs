//! The precision in which a rule computes and keeps its state.
use burn::tensor::DType;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The dtype of a rule's state and arithmetic.
///
/// Gradient and weight are cast to it, the update is computed in it, and the new weight is rounded back to
/// the parameter's dtype.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StateDtype {
    /// Each parameter's own dtype.
    #[default]
    Param,
    /// IEEE half precision. Second moments below 6e-8 round to 0 in it.
    F16,
    /// bfloat16: the range of `f32` with 8 bits of mantissa.
    Bf16,
    /// Single precision.
    F32,
    /// Double precision.
    F64,
}

impl StateDtype {
    /// The dtype for a parameter of dtype `param`.
    pub fn resolve(self, param: DType) -> DType {
        match self {
            Self::Param => param,
            Self::F16 => DType::F16,
            Self::Bf16 => DType::BF16,
            Self::F32 => DType::F32,
            Self::F64 => DType::F64,
        }
    }
}
