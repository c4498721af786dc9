//! What can be wrong with a data set.

/// A value of a `[data]` section that does not go with its neighbours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {message}")]
pub struct Invalid {
    /// The key below `[data]` that should change, such as `p`.
    pub key: &'static str,
    /// What came, what was expected, what to do.
    pub message: String,
}

impl Invalid {
    /// A complaint about `key`.
    pub fn new(key: &'static str, message: impl Into<String>) -> Self {
        Self { key, message: message.into() }
    }
}

/// Why a data set could not be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// Its parameters do not go together.
    #[error("data.{0}")]
    Invalid(#[from] Invalid),
    /// It is not there or is damaged.
    #[error("{0}")]
    Read(#[from] crate::read::ReadError),
}
