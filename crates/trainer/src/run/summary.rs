//! `summary.json`: how a run ended and what it reached.
use std::{collections::BTreeMap, fmt, path::Path};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::metrics::{self, Row};
use crate::atomic;

/// How a run came to its present end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Every step was made.
    Finished,
    /// The target metric was reached.
    TargetReached,
    /// The time budget was used up.
    TimeUp,
    /// The loss became NaN.
    Nan,
    /// A signal asked for an end; the run can be resumed.
    Interrupted,
}

impl Status {
    /// Whether the run ended by its own rules (an interrupted one did not).
    pub fn is_final(self) -> bool {
        self != Self::Interrupted
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::Finished => "finished",
            Self::TargetReached => "target reached",
            Self::TimeUp => "time up",
            Self::Nan => "loss is not a number",
            Self::Interrupted => "interrupted",
        })
    }
}

/// A metric's last and best value. Losses are best when small, accuracies when large; others have no best.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reached {
    /// Value in the last row; `null` if it is not a finite number.
    #[serde(rename = "final", with = "finite")]
    pub last: f64,
    /// Best value of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best: Option<f64>,
    /// Step of the best value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best_step: Option<u64>,
}

/// What a run reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// How it ended.
    pub status: Status,
    /// The config's identity.
    pub identity: String,
    /// The code that ran.
    pub code: String,
    /// Steps done.
    pub steps: u64,
    /// Seconds of training over all sessions of this run, evaluation and saving included.
    pub train_time_s: f64,
    /// Number of trained parameters.
    pub parameters: usize,
    /// Last and best value of each metric; accuracies are fractions, losses of classes in nats.
    pub metrics: BTreeMap<String, Reached>,
}

impl Summary {
    /// Last and best values of a log.
    pub fn reached(rows: &[Row]) -> BTreeMap<String, Reached> {
        let mut metrics: BTreeMap<String, Reached> = BTreeMap::new();
        for row in rows {
            for (name, value) in row.iter() {
                let better: Option<fn(f64, f64) -> bool> = if metrics::loss_of(name).is_some() {
                    Some(|new, old| new < old)
                } else if metrics::accuracy_of(name).is_some() {
                    Some(|new, old| new > old)
                } else {
                    None
                };
                let entry = metrics.entry(name.into()).or_insert(Reached { last: value, best: None, best_step: None });
                entry.last = value;
                if let Some(better) = better
                    && entry.best.is_none_or(|best| better(value, best))
                    && !value.is_nan()
                {
                    (entry.best, entry.best_step) = (Some(value), Some(row.step));
                }
            }
        }
        metrics
    }

    /// Reads `summary.json`; `None` if it is not there.
    ///
    /// # Errors
    /// If the file is there but damaged.
    pub fn read(path: &Path) -> anyhow::Result<Option<Self>> {
        match std::fs::read_to_string(path) {
            Ok(text) => serde_json::from_str(&text).map(Some).with_context(|| format!("{} is damaged", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Writes `summary.json`.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        atomic::write(path, serde_json::to_string_pretty(self)? + "\n")
    }
}

/// JSON has no NaN: `null` stands for it.
mod finite {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        value.is_finite().then_some(*value).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn best_is_smallest_loss_and_largest_accuracy_and_nan_is_never_best() {
        let rows: Vec<Row> = [(0, 2.0, 0.5), (1, 1.0, 0.9), (2, f64::NAN, 0.8)]
            .into_iter()
            .map(|(step, loss, accuracy)| {
                let mut row = Row::new(step);
                row.push("test_loss", loss);
                row.push("test_accuracy", accuracy);
                row.push("w_norm", loss);
                row.push("zero_loss", loss);
                row
            })
            .collect();
        let reached = Summary::reached(&rows);
        assert_eq!((reached["test_loss"].best, reached["test_loss"].best_step), (Some(1.0), Some(1)));
        assert!(reached["test_loss"].last.is_nan());
        assert_eq!(reached["test_accuracy"], Reached { last: 0.8, best: Some(0.9), best_step: Some(1) });
        assert_eq!((reached["w_norm"].best, reached["zero_loss"].best), (None, None));
    }
}
