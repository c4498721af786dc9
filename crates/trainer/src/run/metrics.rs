//! `metrics.jsonl`: the log of a run, one JSON object per logged step.
use std::{
    collections::BTreeSet,
    fs::{File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use serde_json::{Map, Value, json};

/// One logged step: metrics in the order in which they were measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// Updates made before this row's weights.
    pub step: u64,
    values: Vec<(String, f64)>,
}

impl Row {
    /// An empty row.
    pub fn new(step: u64) -> Self {
        Self { step, values: Vec::new() }
    }

    /// Adds a metric.
    pub fn push(&mut self, name: impl Into<String>, value: f64) {
        self.values.push((name.into(), value));
    }

    /// The metric's value in this row.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.values.iter().find(|(n, _)| n == name).map(|(_, value)| *value)
    }

    /// Every metric of the row.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        self.values.iter().map(|(name, value)| (name.as_str(), *value))
    }

    /// The row as a JSON object; JSON has no NaN and no infinities, so those are strings.
    pub fn to_json(&self) -> Value {
        let mut object = Map::new();
        object.insert("step".into(), json!(self.step));
        for (name, value) in &self.values {
            let value = if value.is_finite() { json!(value) } else { json!(value.to_string()) };
            object.insert(name.clone(), value);
        }
        Value::Object(object)
    }

    fn parse(line: &str) -> anyhow::Result<Self> {
        let object: Map<String, Value> = serde_json::from_str(line)?;
        let mut row = Row::new(object.get("step").and_then(Value::as_u64).context("the row has no step")?);
        for (name, value) in object.iter().filter(|(name, _)| *name != "step") {
            let number = match value {
                Value::Number(number) => number.as_f64(),
                Value::String(text) => text.parse().ok(),
                _ => None,
            };
            row.push(name, number.with_context(|| format!("{name} is not a number"))?);
        }
        Ok(row)
    }
}

/// Reads a log. A last line without its end, as a kill can leave it, is passed over.
///
/// # Errors
/// If the file cannot be read or another line is damaged; the message has its number.
pub fn read(path: &Path) -> anyhow::Result<Vec<Row>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
    whole
        .lines()
        .enumerate()
        .map(|(i, line)| Row::parse(line).with_context(|| format!("{}:{}: damaged row", path.display(), i + 1)))
        .collect()
}

/// The series of one metric.
pub fn series(rows: &[Row], metric: &str) -> Vec<(u64, f64)> {
    rows.iter().filter_map(|row| Some((row.step, row.get(metric)?))).collect()
}

/// Every metric name of a log, in order of first appearance.
pub fn names(rows: &[Row]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    rows.iter().flat_map(Row::iter).filter(|(name, _)| seen.insert(*name)).map(|(name, _)| name.to_owned()).collect()
}

/// The data set a loss belongs to: `test` for `test_loss`. The share `zero_loss` is no loss.
pub fn loss_of(name: &str) -> Option<&str> {
    name.strip_suffix("_loss").filter(|set| *set != "zero")
}

/// The data set or group an accuracy belongs to: `test_swap_seen` for `test_swap_seen_accuracy`.
pub fn accuracy_of(name: &str) -> Option<&str> {
    name.strip_suffix("_accuracy")
}

/// The log as CSV; a metric missing from a row is an empty field.
pub fn to_csv(rows: &[Row]) -> String {
    let names = names(rows);
    let mut text = format!("step,{}\n", names.join(","));
    for row in rows {
        text.push_str(&row.step.to_string());
        for name in &names {
            text.push(',');
            if let Some(value) = row.get(name) {
                text.push_str(&value.to_string());
            }
        }
        text.push('\n');
    }
    text
}

/// The log of a run in progress.
#[derive(Debug)]
pub struct MetricsLog {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl MetricsLog {
    /// Opens the log for appending after its first `keep_bytes` bytes; what follows them (rows that a resumed
    /// run is about to write again) is cut off.
    ///
    /// # Errors
    /// If the file cannot be opened or is shorter than that.
    pub fn open(path: &Path, keep_bytes: u64) -> anyhow::Result<Self> {
        let open = || -> anyhow::Result<File> {
            let file = OpenOptions::new().create(true).append(true).open(path)?;
            let length = file.metadata()?.len();
            if length < keep_bytes {
                bail!("it holds {length} bytes, the checkpoint has seen {keep_bytes}");
            }
            file.set_len(keep_bytes)?;
            Ok(file)
        };
        let file = open().with_context(|| format!("cannot continue {}", path.display()))?;
        Ok(Self { path: path.to_owned(), file, bytes: keep_bytes })
    }

    /// Appends a row.
    ///
    /// # Errors
    /// If the disk does not take it.
    pub fn append(&mut self, row: &Row) -> anyhow::Result<()> {
        let line = row.to_json().to_string() + "\n";
        self.file.write_all(line.as_bytes()).with_context(|| format!("cannot write {}", self.path.display()))?;
        self.bytes += line.len() as u64;
        Ok(())
    }

    /// Length of the log, for a checkpoint to remember.
    ///
    /// # Errors
    /// If the rows so far cannot be made durable.
    pub fn sync(&self) -> anyhow::Result<u64> {
        self.file.sync_data().with_context(|| format!("cannot write {}", self.path.display()))?;
        Ok(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(step: u64, loss: f64) -> Row {
        let mut row = Row::new(step);
        row.push("train_loss", loss);
        row
    }

    #[test]
    fn rows_come_back_bit_for_bit_and_a_torn_line_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut log = MetricsLog::open(&path, 0).unwrap();
        let rows = [row(0, 0.1 + 0.2), row(50, f64::NAN), row(100, f64::NEG_INFINITY), row(150, 5e-324)];
        for row in &rows {
            log.append(row).unwrap();
        }
        let kept = log.sync().unwrap();
        std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"step\":200,\"tr").unwrap();
        let read_back = read(&path).unwrap();
        assert_eq!(read_back.len(), 4);
        for (a, b) in rows.iter().zip(&read_back) {
            assert_eq!(a.get("train_loss").unwrap().to_bits(), b.get("train_loss").unwrap().to_bits());
        }
        // Resuming cuts the torn line off.
        MetricsLog::open(&path, kept).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), kept);
        assert!(format!("{:#}", MetricsLog::open(&path, kept + 1).unwrap_err()).contains("the checkpoint has seen"));
    }

    #[test]
    fn a_damaged_row_is_named_by_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        std::fs::write(&path, "{\"step\":0}\n{\"step\":\n").unwrap();
        assert!(format!("{:#}", read(&path).unwrap_err()).contains("metrics.jsonl:2: damaged row"));
    }

    #[test]
    fn csv_has_a_column_per_metric() {
        let mut late = row(2, 0.5);
        late.push("extra", 1.0);
        assert_eq!(to_csv(&[row(1, 0.25), late]), "step,train_loss,extra\n1,0.25,\n2,0.5,1\n");
    }
}
