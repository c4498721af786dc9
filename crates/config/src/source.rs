//! Texts and places in them.
use std::{fmt, ops::Range, sync::Arc};

/// What kind of text a [`Source`] holds, which decides how a place in it is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SourceKind {
    /// A file: its places have lines and columns.
    File,
    /// One argument of the command line: naming it says where.
    Argument,
}

/// A text that values were read from.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) kind: SourceKind,
}

impl Source {
    pub(crate) fn file(name: impl Into<String>, text: impl Into<String>) -> Arc<Self> {
        Arc::new(Self { name: name.into(), text: text.into(), kind: SourceKind::File })
    }

    /// The `--set` argument; its text is the whole argument, so that the caret stands under what was typed.
    pub(crate) fn argument(text: String) -> Arc<Self> {
        Arc::new(Self { name: text.clone(), text, kind: SourceKind::Argument })
    }
}

/// A range of bytes of a [`Source`].
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) source: Arc<Source>,
    pub(crate) range: Range<usize>,
}

impl Span {
    /// The span, moved to legal byte positions of its text.
    pub(crate) fn new(source: &Arc<Source>, range: Range<usize>) -> Self {
        let start = source.text.floor_char_boundary(range.start);
        let end = source.text.ceil_char_boundary(range.end).max(start);
        Self { source: source.clone(), range: start..end }
    }

    /// All of `source`.
    pub(crate) fn whole(source: &Arc<Source>) -> Self {
        Self { source: source.clone(), range: 0..source.text.len() }
    }

    /// The line the span starts on, from 1.
    pub(crate) fn line(&self) -> usize {
        self.source.text[..self.range.start].matches('\n').count() + 1
    }

    /// The column the span starts at, in characters from 1.
    pub(crate) fn column(&self) -> usize {
        self.source.text[self.line_start()..self.range.start].chars().count() + 1
    }

    /// The line the span starts on, without its end, and the part of the span on it, in bytes of that line.
    pub(crate) fn first_line(&self) -> (&str, Range<usize>) {
        let start = self.line_start();
        let line = self.source.text[start..].split('\n').next().unwrap_or_default().trim_end_matches('\r');
        let clip = |at: usize| (at - start).min(line.len());
        (line, clip(self.range.start)..clip(self.range.end))
    }

    pub(crate) fn origin(&self) -> Origin {
        Origin { source: self.source.name.clone(), line: (self.source.kind == SourceKind::File).then(|| self.line()) }
    }

    fn line_start(&self) -> usize {
        self.source.text[..self.range.start].rfind('\n').map_or(0, |newline| newline + 1)
    }
}

/// `file.toml:14:1`, or the argument as typed.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.source.kind {
            SourceKind::File => write!(f, "{}:{}:{}", self.source.name, self.line(), self.column()),
            SourceKind::Argument => write!(f, "{}", self.source.name),
        }
    }
}

/// Where a value was written; shown as `file.toml:14` or `--set optim.lr=3e-4`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The file's path as it was given, or the whole `--set` argument.
    pub source: String,
    /// The line in the file, from 1; none for an argument.
    pub line: Option<usize>,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}", self.source),
            None => write!(f, "{}", self.source),
        }
    }
}
