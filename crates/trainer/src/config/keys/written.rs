//! Where the value of a key comes from.
use kiln_config::{Document, Step, steps};
use serde::Serialize;
use serde_json::Value;

use super::name_of;

/// One place that says what a key is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Setting {
    /// The value it gives.
    pub value: Value,
    /// The file, or the whole `--set` argument.
    pub source: String,
    /// The line in the file; none for an argument.
    pub line: Option<usize>,
}

/// Why a key has its value.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "from", rename_all = "snake_case")]
pub enum Source {
    /// It was written.
    Written {
        /// The place in effect: `file.toml:14`, or `--set optim.lr=1`.
        at: String,
    },
    /// It follows from an entry that was chosen.
    Entry {
        /// The entry's name.
        name: String,
        /// Where it was chosen.
        at: String,
    },
    /// Nothing was said.
    Default,
}

impl Setting {
    /// What every layer of a document says about a key, the lowest first.
    pub fn history(document: &Document, key: &str) -> Vec<Self> {
        let leaf = |leaf: kiln_config::Leaf| Self {
            value: serde_json::to_value(leaf.value).unwrap_or_default(),
            source: leaf.origin.source,
            line: leaf.origin.line,
        };
        document.history(key).into_iter().map(leaf).collect()
    }

    /// `file.toml:14`, or `--set optim.lr=1`.
    pub fn place(&self) -> String {
        match self.line {
            Some(line) => format!("{}:{line}", self.source),
            None => self.source.clone(),
        }
    }
}

impl Source {
    /// Why the key has the value it has.
    pub fn of(document: &Document, key: &str) -> Self {
        if let Some(origin) = document.origin(key) {
            return Self::Written { at: origin.to_string() };
        }
        let path = steps(key).unwrap_or_default();
        for length in (1..path.len()).rev() {
            let table = join(&path[..length]);
            let value = document.value(&table).and_then(|value| serde_json::to_value(value).ok());
            if let Some(name) = value.as_ref().and_then(name_of)
                && let Some(origin) = document.origin(&format!("{table}.name")).or_else(|| document.origin(&table))
            {
                return Self::Entry { name: name.to_owned(), at: origin.to_string() };
            }
        }
        Self::Default
    }
}

/// A path as it is written.
pub fn join(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Index(index) => text.push_str(&format!("[{index}]")),
            Step::Key(key) => {
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(key);
            }
        }
    }
    text
}
