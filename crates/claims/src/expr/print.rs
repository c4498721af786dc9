//! The canonical text of a condition, with no more parentheses than needed.
use std::fmt::{Display, Formatter, Result};

use super::{Comparison, Event, Expr, Metric, Operator, Relation, Steps, Summary};

/// How tightly a form binds; a form in a tighter place gets parentheses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Tightness {
    Sum,
    Product,
    Unary,
}

fn tightness(expr: &Expr) -> Tightness {
    match expr {
        Expr::Binary(Operator::Add | Operator::Subtract, ..) => Tightness::Sum,
        Expr::Binary(Operator::Multiply | Operator::Divide, ..) => Tightness::Product,
        _ => Tightness::Unary,
    }
}

fn within(f: &mut Formatter, expr: &Expr, place: Tightness) -> Result {
    if tightness(expr) < place { write!(f, "({expr})") } else { write!(f, "{expr}") }
}

fn call(f: &mut Formatter, name: &str, arguments: &[Expr]) -> Result {
    write!(f, "{name}(")?;
    for (i, argument) in arguments.iter().enumerate() {
        write!(f, "{}{argument}", if i == 0 { "" } else { ", " })?;
    }
    f.write_str(")")
}

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter) -> Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Never => f.write_str("never"),
            Self::Margin => f.write_str("margin"),
            Self::Event(event) => write!(f, "{event}"),
            Self::Negate(inner) => {
                f.write_str("-")?;
                within(f, inner, Tightness::Unary)
            }
            Self::Binary(operator, left, right) => {
                // Left-associative: an equally tight right operand must keep its parentheses.
                let (place, right_place) = match tightness(self) {
                    Tightness::Sum => (Tightness::Sum, Tightness::Product),
                    _ => (Tightness::Product, Tightness::Unary),
                };
                within(f, left, place)?;
                write!(f, " {operator} ")?;
                within(f, right, right_place)
            }
            Self::Abs(inner) => write!(f, "abs({inner})"),
            Self::Least(inner) => call(f, "least", inner),
            Self::Greatest(inner) => call(f, "greatest", inner),
        }
    }
}

impl Display for Event {
    fn fmt(&self, f: &mut Formatter) -> Result {
        let steps = match self {
            Self::First { metric, relation, bound, steps } => {
                write!(f, "first({metric} {relation} {bound}")?;
                steps
            }
            Self::At { metric, step } => {
                write!(f, "at({metric}, {step}")?;
                &None
            }
            Self::End { metric } => {
                write!(f, "end({metric}")?;
                &None
            }
            Self::Over { summary, metric, steps } => {
                write!(f, "{summary}({metric}")?;
                steps
            }
        };
        if let Some(Steps { from, to }) = steps {
            write!(f, ", {from} to {to}")?;
        }
        f.write_str(")")
    }
}

impl Display for Comparison {
    fn fmt(&self, f: &mut Formatter) -> Result {
        write!(f, "{}", self.first)?;
        self.links.iter().try_for_each(|(relation, side)| write!(f, " {relation} {side}"))
    }
}

impl Display for Metric {
    fn fmt(&self, f: &mut Formatter) -> Result {
        write!(f, "{}.{}", self.run, self.name)
    }
}

impl Display for Operator {
    fn fmt(&self, f: &mut Formatter) -> Result {
        f.write_str(match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
        })
    }
}

impl Display for Summary {
    fn fmt(&self, f: &mut Formatter) -> Result {
        f.write_str(match self {
            Self::Max => "max",
            Self::Min => "min",
            Self::Mean => "mean",
            Self::SlowestRise => "slowest_rise",
        })
    }
}

impl Display for Relation {
    fn fmt(&self, f: &mut Formatter) -> Result {
        f.write_str(match self {
            Self::AtMost => "<=",
            Self::Below => "<",
            Self::AtLeast => ">=",
            Self::Above => ">",
            Self::Equal => "==",
        })
    }
}
