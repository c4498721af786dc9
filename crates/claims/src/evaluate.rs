//! Expressions over logged series, for one seed.
use std::fmt;

use serde::{Serialize, Serializer};

use crate::{
    expr::{Comparison, Event, Expr, Metric, Operator, Relation, Steps, Summary},
    suggest::hint,
};

/// The logs of a study's runs.
pub trait Records {
    /// The logged values of a metric by step, steps increasing; `None` if the run does not log it or is missing.
    fn series(&self, run: &str, seed: u64, metric: &str) -> Option<&[(u64, f64)]>;

    /// Whether the run came to its own end.
    fn finished(&self, run: &str, seed: u64) -> bool;

    /// The metrics that the run logs, for suggestions in messages.
    fn metrics(&self, _run: &str, _seed: u64) -> Vec<String> {
        Vec::new()
    }
}

/// What an expression comes to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// A number; may be NaN or infinite where the log is.
    Number(f64),
    /// An event that did not happen, or arithmetic with one.
    Never,
}

impl fmt::Display for Value {
    /// The width and the precision of the format apply.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Never => f.pad("never"),
        }
    }
}

impl Serialize for Value {
    /// A number, or a string for `never`, `NaN`, `inf` and `-inf`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) if number.is_finite() => serializer.serialize_f64(*number),
            other => serializer.collect_str(other),
        }
    }
}

/// Why an expression has no value. This is no failed condition: the claim could not be judged.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum EvalError {
    /// The run is missing, or was interrupted.
    #[error("run {run}, seed {seed}, is not finished")]
    Unfinished {
        /// Name of the run.
        run: String,
        /// Its seed.
        seed: u64,
    },
    /// The run is there, the metric is not.
    #[error("run {run}, seed {seed}, does not log \"{metric}\"; {hint}")]
    NoMetric {
        /// Name of the run.
        run: String,
        /// Its seed.
        seed: u64,
        /// What was asked for.
        metric: String,
        /// The nearest metric that is logged.
        hint: String,
    },
    /// No row at this step.
    #[error("{metric}, seed {seed}, has no row at step {step}; the nearest are {nearest}")]
    NoRow {
        /// What was asked for.
        metric: String,
        /// Seed of the run.
        seed: u64,
        /// At which step.
        step: u64,
        /// The rows around it.
        nearest: String,
    },
    /// The log does not cover the steps over which an event is taken.
    #[error("{metric}, seed {seed}, is logged from step {logged_from} to {logged_to}, not from {from} to {to}")]
    NotCovered {
        /// What was asked for.
        metric: String,
        /// Seed of the run.
        seed: u64,
        /// First logged step.
        logged_from: u64,
        /// Last logged step.
        logged_to: u64,
        /// First step asked for.
        from: u64,
        /// Last step asked for.
        to: u64,
    },
    /// Steps are whole numbers of at least 0.
    #[error("{expr} = {value} is no step; expected a whole number of at least 0")]
    NotAStep {
        /// The expression that should be a step.
        expr: String,
        /// What it came to.
        value: f64,
    },
    /// Too few rows for the question.
    #[error("{metric}, seed {seed}, has too few rows for {what}")]
    TooFewRows {
        /// What was asked for.
        metric: String,
        /// Seed of the run.
        seed: u64,
        /// The question.
        what: String,
    },
    /// `margin` outside a claim of kind `within`.
    #[error("the word `margin` has no value here; it belongs to claims of kind \"within\"")]
    NoMargin,
}

/// A condition, evaluated: its sides' values and whether it holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The sides from left to right.
    pub sides: Vec<Value>,
    /// Whether every link of the chain holds.
    pub holds: bool,
}

impl Comparison {
    /// Evaluates the condition on one seed of the records. `margin` is the claim's, if it has one.
    ///
    /// # Errors
    /// If a run, a metric or a row is missing.
    pub fn evaluate(&self, records: &dyn Records, seed: u64, margin: Option<f64>) -> Result<Reading, EvalError> {
        let sides = self.sides().map(|side| read(side, records, seed, margin)).collect::<Result<Vec<_>, _>>()?;
        let holds = self.holds_for(&sides);
        Ok(Reading { sides, holds })
    }

    /// Whether the condition holds for these values of its sides.
    ///
    /// `never` fails except against the written word `never`; a side that is not finite fails.
    pub(crate) fn holds_for(&self, values: &[Value]) -> bool {
        let sides: Vec<(&Expr, Value)> = self.sides().zip(values.iter().copied()).collect();
        self.relations().zip(sides.windows(2)).all(|(relation, pair)| {
            let [(left, a), (right, b)] = pair else { return false };
            match (a, b) {
                (Value::Number(a), Value::Number(b)) => a.is_finite() && b.is_finite() && relation.holds(*a, *b),
                (Value::Never, Value::Never) => {
                    relation == Relation::Equal && (**left == Expr::Never || **right == Expr::Never)
                }
                _ => false,
            }
        })
    }
}

/// Evaluates an expression on one seed of the records.
///
/// # Errors
/// If a run, a metric or a row is missing.
pub fn read(expr: &Expr, records: &dyn Records, seed: u64, margin: Option<f64>) -> Result<Value, EvalError> {
    Scope { records, seed, margin }.value(expr)
}

struct Scope<'a> {
    records: &'a dyn Records,
    seed: u64,
    margin: Option<f64>,
}

impl<'a> Scope<'a> {
    fn value(&self, expr: &Expr) -> Result<Value, EvalError> {
        match expr {
            Expr::Number(number) => Ok(Value::Number(*number)),
            Expr::Never => Ok(Value::Never),
            Expr::Margin => self.margin.map(Value::Number).ok_or(EvalError::NoMargin),
            Expr::Event(event) => self.event(event),
            Expr::Negate(inner) => self.combine(&[inner.as_ref()], |x| -x[0]),
            Expr::Abs(inner) => self.combine(&[inner.as_ref()], |x| x[0].abs()),
            Expr::Binary(operator, left, right) => self.combine(&[left.as_ref(), right.as_ref()], |x| match operator {
                Operator::Add => x[0] + x[1],
                Operator::Subtract => x[0] - x[1],
                Operator::Multiply => x[0] * x[1],
                Operator::Divide => x[0] / x[1],
            }),
            Expr::Least(inner) => self.combine(&inner.iter().collect::<Vec<_>>(), |x| extreme(x, Relation::Below)),
            Expr::Greatest(inner) => self.combine(&inner.iter().collect::<Vec<_>>(), |x| extreme(x, Relation::Above)),
        }
    }

    /// Every argument is evaluated, so that a missing row is never hidden behind a `never`.
    fn combine(&self, arguments: &[&Expr], f: impl Fn(&[f64]) -> f64) -> Result<Value, EvalError> {
        let values = arguments.iter().map(|expr| self.value(expr)).collect::<Result<Vec<_>, _>>()?;
        let numbers: Option<Vec<f64>> = values.into_iter().map(Value::number).collect();
        Ok(numbers.map_or(Value::Never, |numbers| Value::Number(f(&numbers))))
    }

    fn event(&self, event: &Event) -> Result<Value, EvalError> {
        let metric = event.metric();
        let rows = self.rows(metric)?;
        match event {
            Event::First { relation, bound, steps, .. } => {
                let (Value::Number(bound), Some(rows)) = (self.value(bound)?, self.select(metric, rows, steps)?) else {
                    return Ok(Value::Never);
                };
                let first = rows.iter().find(|(_, value)| relation.holds(*value, bound));
                Ok(first.map_or(Value::Never, |(step, _)| Value::Number(*step as f64)))
            }
            Event::At { step, .. } => match self.step(step)? {
                None => Ok(Value::Never),
                Some(step) => match rows.binary_search_by_key(&step, |(logged, _)| *logged) {
                    Ok(row) => Ok(Value::Number(rows[row].1)),
                    Err(next) => Err(EvalError::NoRow {
                        metric: metric.to_string(),
                        seed: self.seed,
                        step,
                        nearest: around(rows, next),
                    }),
                },
            },
            Event::End { .. } => match rows.last() {
                Some((_, value)) => Ok(Value::Number(*value)),
                None => Err(self.too_few(metric, "end")),
            },
            Event::Over { summary, steps, .. } => match self.select(metric, rows, steps)? {
                None => Ok(Value::Never),
                Some(rows) => {
                    let values: Vec<f64> = rows.iter().map(|(_, value)| *value).collect();
                    summarise(*summary, &values)
                        .map(Value::Number)
                        .ok_or_else(|| self.too_few(metric, &summary.to_string()))
                }
            },
        }
    }

    fn rows(&self, metric: &Metric) -> Result<&'a [(u64, f64)], EvalError> {
        let Metric { run, name } = metric;
        if !self.records.finished(run, self.seed) {
            return Err(EvalError::Unfinished { run: run.clone(), seed: self.seed });
        }
        self.records.series(run, self.seed, name).ok_or_else(|| {
            let logged = self.records.metrics(run, self.seed);
            let hint = hint(name, logged.iter().map(String::as_str));
            EvalError::NoMetric { run: run.clone(), seed: self.seed, metric: name.clone(), hint }
        })
    }

    /// The rows of these steps; `None` if one end is an event that never happens.
    fn select<'r>(
        &self,
        metric: &Metric,
        rows: &'r [(u64, f64)],
        steps: &Option<Steps>,
    ) -> Result<Option<&'r [(u64, f64)]>, EvalError> {
        let Some(Steps { from, to }) = steps else { return Ok(Some(rows)) };
        let (Some(from), Some(to)) = (self.step(from)?, self.step(to)?) else { return Ok(None) };
        let [(logged_from, _), .., (logged_to, _)] = *rows else {
            return Err(self.too_few(metric, "a range of steps"));
        };
        if from < logged_from || to > logged_to {
            let metric = metric.to_string();
            return Err(EvalError::NotCovered { metric, seed: self.seed, logged_from, logged_to, from, to });
        }
        let start = rows.partition_point(|(step, _)| *step < from);
        let end = rows.partition_point(|(step, _)| *step <= to);
        Ok(Some(&rows[start..end.max(start)]))
    }

    fn step(&self, expr: &Expr) -> Result<Option<u64>, EvalError> {
        /// Up to here every whole f64 is exactly one step.
        const LARGEST: f64 = 9_007_199_254_740_992.0;
        match self.value(expr)? {
            Value::Never => Ok(None),
            Value::Number(value) if value.fract() == 0.0 && (0.0..=LARGEST).contains(&value) => Ok(Some(value as u64)),
            Value::Number(value) => Err(EvalError::NotAStep { expr: expr.to_string(), value }),
        }
    }

    fn too_few(&self, metric: &Metric, what: &str) -> EvalError {
        EvalError::TooFewRows { metric: metric.to_string(), seed: self.seed, what: what.into() }
    }
}

impl Value {
    /// The number, unless it is `never`.
    pub fn number(self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(number),
            Self::Never => None,
        }
    }
}

/// The logged steps on both sides of a gap.
fn around(rows: &[(u64, f64)], next: usize) -> String {
    let near = rows[next.saturating_sub(1)..(next + 1).min(rows.len())].iter().map(|(step, _)| step.to_string());
    match near.collect::<Vec<_>>() {
        steps if steps.is_empty() => "none".into(),
        steps => steps.join(" and "),
    }
}

/// The largest (or smallest) number; NaN if one of them is, or if there is none.
fn extreme(values: &[f64], relation: Relation) -> f64 {
    let keep = |best: f64, x: f64| if best.is_nan() || relation.holds(best, x) { best } else { x };
    values.iter().copied().reduce(keep).unwrap_or(f64::NAN)
}

/// Several values as one; `None` if there are too few. A NaN among them comes out as NaN.
fn summarise(summary: Summary, values: &[f64]) -> Option<f64> {
    match (summary, values) {
        (_, []) | (Summary::SlowestRise, [_]) => None,
        (Summary::Max, _) => Some(extreme(values, Relation::Above)),
        (Summary::Min, _) => Some(extreme(values, Relation::Below)),
        (Summary::Mean, _) => Some(values.iter().sum::<f64>() / values.len() as f64),
        (Summary::SlowestRise, _) => {
            let rises: Vec<f64> = values.windows(2).map(|pair| pair[1] - pair[0]).collect();
            Some(extreme(&rises, Relation::Below))
        }
    }
}
