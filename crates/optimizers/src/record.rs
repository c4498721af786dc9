//! Optimizer state as bytes and back.
//!
//! The container is burnpack, Burn's own. Leaves are named `<parameter path>.<field>`, and each parameter with
//! state has a metadata entry that says what it was (`F32 [128, 59]`), so that a record of another model or
//! precision is refused before anything is changed.
use std::collections::BTreeMap;

use burn::{
    optim::StateSource,
    tensor::{Bytes, Device, Tensor, TensorData},
};
use burn_pack::{Reader, Scalar, Writer};

/// Metadata key of the rule's name; `#` occurs in no parameter path.
const RULE: &str = "#rule";

/// Why optimizer state could not be written or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The state could not be packed.
    #[error("cannot pack the optimizer state: {0}")]
    Unwritable(String),
    /// The bytes are not a complete record: truncated, damaged or another kind of file.
    #[error("not a complete optimizer record: {0}; use another checkpoint")]
    Unreadable(String),
    /// The record was made by another rule.
    #[error(
        "the record holds the state of rule {found:?}, expected {expected:?}; resume with the config it was made with"
    )]
    OtherRule {
        /// The record's rule.
        found: String,
        /// The rule it was loaded into.
        expected: String,
    },
    /// The record has a parameter that the model lacks.
    #[error(
        "the record holds state of parameter {path:?}, which the model lacks; resume with the model it was made with"
    )]
    UnknownParameter {
        /// The parameter's path.
        path: String,
    },
    /// A parameter had another shape or dtype.
    #[error(
        "parameter {path:?} was {found} in the record, expected {expected}; resume with the model it was made with"
    )]
    OtherParameter {
        /// The parameter's path.
        path: String,
        /// Dtype of the state and shape of the parameter in the record.
        found: String,
        /// The same in the model.
        expected: String,
    },
    /// A parameter's state lacks a part.
    #[error("the state of parameter {path:?} is incomplete in the record; use another checkpoint")]
    Incomplete {
        /// The parameter's path.
        path: String,
    },
}

/// Optimizer state, taken apart into named leaves.
#[derive(Debug)]
pub(crate) struct Record {
    /// Name of the rule.
    pub rule: String,
    /// Parameters with state, by path: dtype and shape in words.
    pub parameters: BTreeMap<String, String>,
    pub tensors: Vec<(String, TensorData)>,
    pub scalars: BTreeMap<String, Scalar>,
}

impl Record {
    pub fn into_bytes(self) -> Result<Vec<u8>, StateError> {
        let tensors = self.tensors.into_iter().map(|(name, data)| {
            let (bytes, shape, dtype) = data.into_parts();
            burn_pack::Tensor::new(name, dtype, shape, None, bytes)
        });
        let mut writer = Writer::new(tensors.collect()).with_metadata(RULE, &self.rule);
        for (path, what) in &self.parameters {
            writer = writer.with_metadata(path, what);
        }
        for (name, value) in &self.scalars {
            writer = writer.with_scalar(name, *value);
        }
        writer.into_bytes().map(|bytes| bytes.to_vec()).map_err(|error| StateError::Unwritable(error.to_string()))
    }

    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, StateError> {
        let unreadable = |error: &dyn std::fmt::Display| StateError::Unreadable(error.to_string());
        let reader = Reader::from_bytes(Bytes::from_bytes_vec(bytes)).map_err(|error| unreadable(&error))?;
        let scalars = reader.scalars().clone();
        let mut parameters = reader.metadata().clone();
        let rule = parameters.remove(RULE).ok_or_else(|| unreadable(&"it names no rule"))?;
        let mut tensors = Vec::new();
        for tensor in reader.into_tensors().map_err(|error| unreadable(&error))? {
            let (name, dtype, shape, _, bytes) = tensor.into_parts().map_err(|error| unreadable(&error))?;
            let data = TensorData::try_from_bytes(bytes, shape, dtype).map_err(|error| unreadable(&error))?;
            tensors.push((name, data));
        }
        Ok(Self { rule, parameters, tensors, scalars })
    }
}

/// The tensor `<prefix>.<leaf>` in the dtype it was saved in; `None` if it is missing or of another rank.
pub(crate) fn take_tensor<const D: usize>(
    source: &mut StateSource,
    prefix: &str,
    leaf: &str,
    device: &Device,
) -> Option<Tensor<D>> {
    let data = source.take_tensor(prefix, leaf)?;
    let dtype = data.dtype();
    (data.rank() == D && dtype.is_float()).then(|| Tensor::from_data(data, (device, dtype)))
}
