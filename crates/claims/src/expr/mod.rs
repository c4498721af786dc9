//! The language of conditions: its tree, how it is printed, and how it is read.
//!
//! Printing gives one canonical text, and reading that text gives the same tree again.
pub(crate) mod lexer;
mod parser;
mod print;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, fmt, ops::Range, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A number computed from events, numbers and arithmetic.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// A number, at least 0 (a minus sign is [`Expr::Negate`]).
    Number(f64),
    /// The word `never`; the parser lets it stand only as a whole side of `==`.
    Never,
    /// The word `margin`: the margin of a claim of kind `within`.
    Margin,
    /// Something read from the log of a run.
    Event(Event),
    /// `-x`
    Negate(Box<Expr>),
    /// `x + y` and the like.
    Binary(Operator, Box<Expr>, Box<Expr>),
    /// `abs(x)`
    Abs(Box<Expr>),
    /// `least(x, y, …)`
    Least(Vec<Expr>),
    /// `greatest(x, y, …)`
    Greatest(Vec<Expr>),
}

/// Arithmetic between two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
}

/// Something read from the log of a run.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// `first(RUN.metric >= bound)`: the first logged step at which the comparison holds.
    First {
        /// What is watched.
        metric: Metric,
        /// How it is compared.
        relation: Relation,
        /// With what.
        bound: Box<Expr>,
        /// In which steps; everywhere if absent.
        steps: Option<Steps>,
    },
    /// `at(RUN.metric, step)`: the value logged at exactly that step.
    At {
        /// What is read.
        metric: Metric,
        /// At which step.
        step: Box<Expr>,
    },
    /// `end(RUN.metric)`: the value in the last logged row.
    End {
        /// What is read.
        metric: Metric,
    },
    /// `max(RUN.metric)` and the like.
    Over {
        /// How many values become one.
        summary: Summary,
        /// What is read.
        metric: Metric,
        /// In which steps; everywhere if absent.
        steps: Option<Steps>,
    },
}

/// How the values of several rows become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Summary {
    /// The largest.
    Max,
    /// The smallest.
    Min,
    /// The arithmetic mean of the logged rows.
    Mean,
    /// The smallest difference between neighbouring logged rows.
    SlowestRise,
}

/// `RUN.metric`
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Metric {
    /// The run's name in the study.
    pub run: String,
    /// The metric's name in the log, such as `test_accuracy` or `w_norm[layers.0.weight]`.
    pub name: String,
}

/// `from to to`, both ends included, in steps.
#[derive(Clone, Debug, PartialEq)]
pub struct Steps {
    /// First step.
    pub from: Box<Expr>,
    /// Last step.
    pub to: Box<Expr>,
}

/// How two numbers are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// `<=`
    AtMost,
    /// `<`
    Below,
    /// `>=`
    AtLeast,
    /// `>`
    Above,
    /// `==`
    Equal,
}

impl Relation {
    /// Whether `left` stands in this relation to `right`; with a NaN it never does.
    pub fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Self::AtMost => left <= right,
            Self::Below => left < right,
            Self::AtLeast => left >= right,
            Self::Above => left > right,
            Self::Equal => left == right,
        }
    }
}

/// A condition: two or more sides with a relation between neighbours.
///
/// In a file it is a string; deserialising parses it, so that a study in memory holds no text that might not parse.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    first: Expr,
    links: Vec<(Relation, Expr)>,
}

impl Comparison {
    /// The sides from left to right.
    pub fn sides(&self) -> impl Iterator<Item = &Expr> {
        std::iter::once(&self.first).chain(self.links.iter().map(|(_, side)| side))
    }

    /// The relations between neighbouring sides.
    pub fn relations(&self) -> impl Iterator<Item = Relation> {
        self.links.iter().map(|(relation, _)| *relation)
    }

    /// Number of the side whose value is the measured one: the first that reads a run, or the first of all.
    pub fn measured_side(&self) -> usize {
        self.sides().position(|side| !side.metrics().is_empty()).unwrap_or(0)
    }

    /// The measured side as text.
    pub fn measured(&self) -> String {
        self.sides().nth(self.measured_side()).map(Expr::to_string).unwrap_or_default()
    }

    /// What the measured side is held against: `<= 0.5`, or `25000 <= … <= 45000` where it stands inside a chain.
    pub fn threshold(&self) -> String {
        let measured = self.measured_side();
        let mut parts: Vec<String> = Vec::new();
        for (i, side) in self.sides().enumerate() {
            if i > 0 {
                parts.push(self.links[i - 1].0.to_string());
            }
            match i == measured {
                true if i == 0 => {}
                true => parts.push("…".into()),
                false => parts.push(side.to_string()),
            }
        }
        parts.join(" ")
    }

    /// Every metric that is read, sorted, each once.
    pub fn metrics(&self) -> Vec<&Metric> {
        sorted(|visit| self.sides().for_each(|side| side.visit(visit)))
    }

    /// Every run that is read, sorted, each once.
    pub fn runs(&self) -> Vec<&str> {
        let mut runs: Vec<&str> = self.metrics().into_iter().map(|metric| metric.run.as_str()).collect();
        runs.dedup();
        runs
    }

    /// Whether the word `margin` occurs.
    pub fn uses_margin(&self) -> bool {
        self.sides().any(Expr::uses_margin)
    }
}

impl Expr {
    /// Every metric that is read, sorted, each once.
    pub fn metrics(&self) -> Vec<&Metric> {
        sorted(|visit| self.visit(visit))
    }

    /// Whether the word `margin` occurs.
    pub fn uses_margin(&self) -> bool {
        let mut found = false;
        self.visit(&mut |expr| found |= *expr == Expr::Margin);
        found
    }

    /// Calls `see` with this expression and every one inside it.
    fn visit<'a>(&'a self, see: &mut dyn FnMut(&'a Expr)) {
        see(self);
        match self {
            Self::Number(_) | Self::Never | Self::Margin => {}
            Self::Negate(inner) | Self::Abs(inner) => inner.visit(see),
            Self::Binary(_, left, right) => {
                left.visit(see);
                right.visit(see);
            }
            Self::Least(inner) | Self::Greatest(inner) => inner.iter().for_each(|expr| expr.visit(see)),
            Self::Event(event) => event.inner().for_each(|expr| expr.visit(see)),
        }
    }
}

impl Event {
    /// What is read.
    pub fn metric(&self) -> &Metric {
        match self {
            Self::First { metric, .. } | Self::At { metric, .. } | Self::End { metric } | Self::Over { metric, .. } => {
                metric
            }
        }
    }

    /// The expressions that say when, and against what.
    fn inner(&self) -> impl Iterator<Item = &Expr> {
        let (one, steps) = match self {
            Self::First { bound, steps, .. } => (Some(bound), steps.as_ref()),
            Self::At { step, .. } => (Some(step), None),
            Self::End { .. } => (None, None),
            Self::Over { steps, .. } => (None, steps.as_ref()),
        };
        one.into_iter().chain(steps.into_iter().flat_map(|steps| [&steps.from, &steps.to])).map(Box::as_ref)
    }
}

/// The metrics of all expressions that `walk` visits.
fn sorted<'a>(walk: impl FnOnce(&mut dyn FnMut(&'a Expr))) -> Vec<&'a Metric> {
    let mut metrics = Vec::new();
    walk(&mut |expr| {
        if let Expr::Event(event) = expr {
            metrics.push(event.metric());
        }
    });
    metrics.sort();
    metrics.dedup();
    metrics
}

/// A text that is no condition: what is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ExprError {
    /// The whole text.
    pub source_text: String,
    /// The failing part, in bytes of the text.
    pub span: Range<usize>,
    /// What is wrong, what was expected, what to do.
    pub message: String,
}

impl ExprError {
    pub(crate) fn new(source: &str, span: Range<usize>, message: impl Into<String>) -> Self {
        Self { source_text: source.to_owned(), span, message: message.into() }
    }

    /// Where the failing part begins, in characters from 1.
    pub fn column(&self) -> usize {
        self.source_text[..self.span.start].chars().count() + 1
    }
}

impl fmt::Display for ExprError {
    /// The message with its column, then the text with the failing part underlined.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let (column, width) = (self.column(), self.source_text[self.span.clone()].chars().count().max(1));
        // One line however it was written, so that the carets stay below what they mean.
        let line: String = self.source_text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        write!(f, "column {column}: {}\n  {line}\n  {:space$}{:^<width$}", self.message, "", "", space = column - 1)
    }
}

impl FromStr for Comparison {
    type Err = ExprError;
    fn from_str(text: &str) -> Result<Self, ExprError> {
        parser::comparison(text)
    }
}

impl FromStr for Expr {
    type Err = ExprError;
    fn from_str(text: &str) -> Result<Self, ExprError> {
        parser::expression(text)
    }
}

/// Both kinds of text are strings in a file.
macro_rules! string_in_files {
    ($type:ty, $name:literal, $description:literal) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "description": $description })
            }
        }
    };
}
string_in_files!(Comparison, "Comparison", "a condition over events of runs: at(A3.test_accuracy, 2500) >= 0.95");
string_in_files!(Expr, "Expr", "a number over events of runs: at(A3.test_accuracy, 2500)");
