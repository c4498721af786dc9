//! What can be wrong with an `[optim]` section that is well formed by itself.

/// A value of an `[optim]` section that does not go with its neighbours or with the model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {message}")]
pub struct Invalid {
    /// The key below `[optim]` that should change, such as `nesterov` or `groups[0].match`.
    pub key: String,
    /// What came, what was expected, what to do.
    pub message: String,
}

impl Invalid {
    /// A complaint about `key`.
    pub fn new(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { key: key.into(), message: message.into() }
    }

    /// The same complaint, seen from the table that holds `outer`.
    pub(crate) fn under(self, outer: &str) -> Self {
        Self { key: format!("{outer}.{}", self.key), ..self }
    }
}
