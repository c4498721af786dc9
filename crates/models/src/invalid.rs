//! Why a config does not fit.

/// A model setting that does not fit its neighbours or the data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("model.{key}: {message}")]
pub struct Invalid {
    /// The key at fault, dotted and relative to `[model]`, such as `attention.n_heads`.
    pub key: String,
    /// What came, what was expected and what to do.
    pub message: String,
}

impl Invalid {
    /// The setting `key` is at fault.
    pub fn new(key: &str, message: String) -> Self {
        Self { key: key.into(), message }
    }
}
