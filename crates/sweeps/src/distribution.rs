//! What a value is drawn from.
use kiln_stream::Draws;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::tree::Leaves;

/// The distribution of one key of a random sweep.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Distribution {
    /// Any number from low to high, each as likely as any other.
    Uniform([f64; 2]),
    /// Any number from low to high, both above 0; its logarithm is uniform.
    LogUniform([f64; 2]),
    /// A whole number from low to high, both included.
    Integer([i64; 2]),
    /// One of these values.
    Choice(Vec<Value>),
}

const NAMES: [&str; 4] = ["uniform", "log_uniform", "integer", "choice"];

impl Distribution {
    /// One draw. Numbers are rounded to six digits, so that they can be read and typed; they stay within the bounds.
    pub fn draw(&self, draws: &mut Draws) -> Value {
        match self {
            Self::Uniform([low, high]) => readable(low + (high - low) * draws.uniform(), *low, *high),
            Self::LogUniform([low, high]) => {
                let (bottom, top) = (libm::log(*low), libm::log(*high));
                readable(libm::exp(bottom + (top - bottom) * draws.uniform()), *low, *high)
            }
            Self::Integer([low, high]) => {
                // Two's complement: the width of any range of i64 fits, and wrapping back lands inside it.
                let width = high.wrapping_sub(*low) as u64;
                let offset = match usize::try_from(width).ok().and_then(|width| width.checked_add(1)) {
                    Some(count) => draws.below(count) as u64,
                    None => draws.word(),
                };
                low.wrapping_add(offset as i64).into()
            }
            Self::Choice(values) => values[draws.below(values.len())].clone(),
        }
    }

    fn read(name: &str, value: &Value) -> Result<Self, String> {
        let range = |what: &str| {
            value.as_array().filter(|pair| pair.len() == 2).ok_or_else(|| format!("expected [low, high], {what}"))
        };
        let numbers = |what: &str| {
            let pair: Vec<f64> = range(what)?.iter().filter_map(Value::as_f64).filter(|x| x.is_finite()).collect();
            <[f64; 2]>::try_from(pair).map_err(|_| format!("expected [low, high], {what}"))
        };
        let ordered = |low: &dyn std::fmt::Display, high: &dyn std::fmt::Display, holds: bool| match holds {
            true => Ok(()),
            false => Err(format!("{low} is not below {high}; expected [low, high]")),
        };
        match name {
            "uniform" => {
                let [low, high] = numbers("two numbers")?;
                ordered(&low, &high, low < high).map(|()| Self::Uniform([low, high]))
            }
            "log_uniform" => {
                let [low, high] = numbers("two numbers above 0")?;
                if low <= 0.0 {
                    return Err(format!("{low} has no logarithm; expected [low, high], two numbers above 0"));
                }
                ordered(&low, &high, low < high).map(|()| Self::LogUniform([low, high]))
            }
            "integer" => {
                let what = "two whole numbers, both included";
                let pair: Vec<i64> = range(what)?.iter().filter_map(Value::as_i64).collect();
                let [low, high] = <[i64; 2]>::try_from(pair).map_err(|_| format!("expected [low, high], {what}"))?;
                ordered(&low, &high, low < high).map(|()| Self::Integer([low, high]))
            }
            _ => match value.as_array() {
                Some(values) => <Vec<Value> as Leaves>::from_list(values.clone()).map(Self::Choice),
                None => Err("expected a list of values".into()),
            },
        }
    }
}

/// A number of six digits, between its bounds.
fn readable(value: f64, low: f64, high: f64) -> Value {
    let rounded: f64 = format!("{value:.5e}").parse().unwrap_or(value);
    rounded.clamp(low, high).into()
}

impl Leaves for Distribution {
    const EXPECTED: &'static str = "a distribution: { uniform = [low, high] }, { log_uniform = [low, high] }, \
                                    { integer = [low, high] } or { choice = [value, …] }";

    fn from_entry(key: &str, value: &Value) -> Option<Result<Self, String>> {
        NAMES.contains(&key).then(|| Self::read(key, value))
    }

    fn advice(key: &str) -> String {
        let known: Vec<&str> = NAMES.iter().copied().chain(["samples", "seed"]).collect();
        let near = kiln_config::nearest(key, &known);
        near.map_or_else(String::new, |near| format!("; did you mean \"{near}\"?"))
    }
}
