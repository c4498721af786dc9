//! What can be wrong with a file.
use std::{fmt, path::Path};

/// Something wrong with a file of a data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file, or the file inside an archive as `ARCHIVE/FILE`.
    pub file: String,
    /// The byte of its plain content at which it shows, where there is one.
    pub offset: Option<u64>,
    /// What is there, and what should be.
    pub what: String,
}

impl Fault {
    /// A fault of a file as a whole.
    pub fn new(file: impl AsRef<Path>, what: impl Into<String>) -> Self {
        Self { file: file.as_ref().display().to_string(), offset: None, what: what.into() }
    }

    /// A fault at a byte of the content.
    pub fn at(file: impl AsRef<Path>, offset: usize, what: impl Into<String>) -> Self {
        Self { offset: Some(offset as u64), ..Self::new(file, what) }
    }

    /// A file that the system would not read.
    pub fn io(file: impl AsRef<Path>, error: &std::io::Error) -> Self {
        Self::new(file, format!("cannot be read: {error}"))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.offset {
            Some(offset) => write!(f, "{}: byte {offset}: {}", self.file, self.what),
            None => write!(f, "{}: {}", self.file, self.what),
        }
    }
}

impl std::error::Error for Fault {}
