//! What is wrong with a config, where, and what to do about it.
use std::{fmt, sync::Arc};

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde::de::{self, Expected, Unexpected};

use crate::{
    path::KeyPath,
    source::{Origin, Source, SourceKind, Span},
    wording,
};

/// A config that cannot be used.
///
/// `Display` gives one line (`file.toml:14:1: unknown key "alhpa" in [model.attention.normalizer]; did you mean
/// "alpha"? allowed: alpha`) and below it the line of the file with a caret. [`headline`](Self::headline) is the one
/// line alone, [`render`](Self::render) the whole with colour on request.
#[derive(Clone)]
pub struct ConfigError(Box<Report>);

#[derive(Clone, Debug)]
struct Report {
    problem: Problem,
    /// The table for a key that is unknown or missing, else the value.
    path: KeyPath,
    place: Option<Place>,
    help: Option<String>,
}

/// Where the caret goes.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    Span(Span),
    /// The source as a whole, without a caret.
    Source(Arc<Source>),
}

#[derive(Clone, Debug)]
pub(crate) enum Problem {
    /// The schema knows no such key in this table.
    UnknownKey { key: String, allowed: &'static [&'static str] },
    /// A choice by name, and there is no entry of that name.
    UnknownName { name: String, known: &'static [&'static str] },
    /// A required key is not in this table.
    MissingKey { key: &'static str },
    /// A value of the wrong type, size or form.
    Unexpected { found: String, expected: String },
    /// A value that is wrong for a reason of its own.
    Invalid(String),
    /// Something that does not concern one value: the file, the syntax, the assignment.
    Other(String),
}

impl ConfigError {
    pub(crate) fn new(problem: Problem) -> Self {
        Self(Box::new(Report { problem, path: KeyPath::default(), place: None, help: None }))
    }

    /// Says where the problem is, unless a deeper level has already said it.
    pub(crate) fn at(mut self, place: Place, path: &KeyPath) -> Self {
        if self.0.place.is_none() {
            self.0.place = Some(place);
            self.0.path = path.clone();
        }
        self
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.0.help = Some(help.into());
        self
    }

    /// Where, what came, what was expected, in one line.
    pub fn headline(&self) -> String {
        match &self.0.place {
            Some(Place::Span(span)) => format!("{span}: {}", self.message()),
            Some(Place::Source(source)) => format!("{}: {}", source.name, self.message()),
            None => self.message(),
        }
    }

    /// The file and line, or the argument, that the error points at.
    pub fn origin(&self) -> Option<Origin> {
        match self.0.place.as_ref()? {
            Place::Span(span) => Some(span.origin()),
            Place::Source(source) => Some(Origin { source: source.name.clone(), line: None }),
        }
    }

    /// The headline, the line it speaks of with a caret, and what to do.
    pub fn render(&self, color: bool) -> String {
        let mut text = self.headline();
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        if let Some(Place::Span(span)) = &self.0.place {
            let (line, range) = span.first_line();
            let snippet = Snippet::source(line)
                .line_start(span.line())
                .line_numbering(span.source.kind == SourceKind::File)
                .annotation(AnnotationKind::Primary.span(range));
            let mut group = Group::with_level(Level::ERROR).element(snippet);
            if let Some(help) = &self.0.help {
                group = group.element(Level::HELP.message(help.as_str()));
            }
            text = format!("{text}\n{}", renderer.render(&[group]));
        } else if let Some(help) = &self.0.help {
            text = format!("{text}\nhelp: {help}");
        }
        text
    }

    fn message(&self) -> String {
        let path = &self.0.path;
        match &self.0.problem {
            Problem::UnknownKey { key, allowed: [] } => {
                format!("unknown key {key:?} {}; it takes no parameters", inside(path))
            }
            Problem::UnknownKey { key, allowed } => {
                format!("unknown key {key:?} {}; {}", inside(path), choices(key, allowed, "allowed"))
            }
            Problem::UnknownName { name, known } => {
                let (table, choice) = path.without_name().split_last_key();
                let table = if table.is_root() { String::new() } else { format!(" {}", inside(&table)) };
                format!("unknown {choice} {name:?}{table}; {}", choices(name, known, "known"))
            }
            Problem::MissingKey { key } => format!("missing key {key:?} {}", inside(path)),
            Problem::Unexpected { found, expected } => about(path, &format!("expected {expected}, found {found}")),
            Problem::Invalid(message) => about(path, message),
            Problem::Other(message) => message.clone(),
        }
    }
}

fn about(path: &KeyPath, message: &str) -> String {
    if path.is_root() { message.to_owned() } else { format!("{path}: {message}") }
}

fn inside(table: &KeyPath) -> String {
    if table.is_root() { "at the top level".into() } else { format!("in [{table}]") }
}

fn choices(wrong: &str, right: &[&str], word: &str) -> String {
    let nearest = wording::nearest(wrong, right).map(|near| format!("did you mean {near:?}? ")).unwrap_or_default();
    format!("{nearest}{word}: {}", right.join(", "))
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

/// As `Display`, which is what a failed `unwrap` and a `main` that returns the error should show.
impl fmt::Debug for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for ConfigError {}

impl de::Error for ConfigError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(Problem::Invalid(message.to_string()))
    }

    fn invalid_type(unexpected: Unexpected, expected: &dyn Expected) -> Self {
        let expected = wording::expected(&expected.to_string());
        let asked_for_whole = expected.starts_with("a whole number");
        let error = Self::new(Problem::Unexpected { found: wording::found(unexpected), expected });
        match unexpected {
            Unexpected::Float(x) if asked_for_whole && x.fract() == 0.0 && x.abs() < 1e15 => {
                error.help(format!("write {x}, without point and exponent"))
            }
            _ => error,
        }
    }

    fn invalid_value(unexpected: Unexpected, expected: &dyn Expected) -> Self {
        Self::invalid_type(unexpected, expected)
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        let expected = wording::expected(&expected.to_string());
        Self::new(Problem::Unexpected { found: format!("{length} of them"), expected })
    }

    fn unknown_variant(name: &str, known: &'static [&'static str]) -> Self {
        Self::new(Problem::UnknownName { name: name.into(), known })
    }

    fn unknown_field(key: &str, allowed: &'static [&'static str]) -> Self {
        Self::new(Problem::UnknownKey { key: key.into(), allowed })
    }

    fn missing_field(key: &'static str) -> Self {
        Self::new(Problem::MissingKey { key })
    }
}
