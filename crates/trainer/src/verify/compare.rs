//! Two runs, bit by bit.
use std::{collections::BTreeMap, fs};

use anyhow::{Context, anyhow};
use burn::tensor::{Bytes, DType, TensorData};
use burn_pack::Reader;
use serde::Serialize;

use crate::run::{RunFolder, checkpoint::Checkpoints, metrics};

/// Differences that are listed one by one; the rest is counted.
const LISTED: usize = 5;

/// One place where a run is not the first one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// The other run.
    pub run: String,
    /// `weights`, `optimizer`, `metrics` or `step`.
    pub what: &'static str,
    /// Which value: `layers.0.weight[17]`, `step 3, test_loss`.
    pub place: String,
    /// The first run's value.
    pub first: String,
    /// The other's.
    pub other: String,
}

/// Where `other`, called `name`, differs from `first`: in its log, its last weights or its optimizer's state.
///
/// # Errors
/// If a run's files cannot be read.
pub fn runs(first: &RunFolder, other: &RunFolder, name: &str) -> anyhow::Result<Vec<Difference>> {
    let mut found = Found { run: name, differences: Vec::new() };
    let (step, files, _) = Checkpoints::of(first.path()).newest()?;
    let (other_step, other_files, _) = Checkpoints::of(other.path()).newest()?;
    if step != other_step {
        found.add("step", "the last one".into(), step.to_string(), other_step.to_string());
    }
    for (what, file) in [("weights", "model.bpk"), ("optimizer", "optimizer.bpk")] {
        let read = |files: &BTreeMap<String, Vec<u8>>| -> anyhow::Result<Record> {
            record(files.get(file).with_context(|| format!("a checkpoint without {file}"))?)
        };
        found.records(what, &read(&files)?, &read(&other_files)?);
    }
    let log = |run: &RunFolder| {
        let path = run.file("metrics.jsonl");
        fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    if log(first)? != log(other)? {
        found.logs(&metrics::read(&first.file("metrics.jsonl"))?, &metrics::read(&other.file("metrics.jsonl"))?);
    }
    Ok(found.differences)
}

/// A record's values by name, each as its number format, its shape and its bytes.
type Record = BTreeMap<String, (DType, Vec<usize>, Vec<u8>)>;

/// Reads a record. Its parameters' identifiers, which are new in every process, are left out.
fn record(bytes: &[u8]) -> anyhow::Result<Record> {
    let damaged = |error: burn_pack::Error| anyhow!("a damaged record: {error}");
    let reader = Reader::from_bytes(Bytes::from_bytes_vec(bytes.to_vec())).map_err(damaged)?;
    let scalars: Vec<_> = reader.scalars().iter().map(|(name, value)| (name.clone(), format!("{value:?}"))).collect();
    let mut record = Record::new();
    for (name, value) in scalars {
        record.insert(name, (DType::U8, vec![value.len()], value.into_bytes()));
    }
    for tensor in reader.into_tensors().map_err(damaged)? {
        let (name, dtype, shape, _, bytes) = tensor.into_parts().map_err(damaged)?;
        record.insert(name, (dtype, shape.to_vec(), bytes.to_vec()));
    }
    Ok(record)
}

struct Found<'a> {
    run: &'a str,
    differences: Vec<Difference>,
}

impl Found<'_> {
    fn add(&mut self, what: &'static str, place: String, first: String, other: String) {
        self.differences.push(Difference { run: self.run.to_owned(), what, place, first, other });
    }

    /// Lists the first few, and says how many more there are.
    fn all(&mut self, what: &'static str, found: Vec<(String, String, String)>) {
        let more = found.len().saturating_sub(LISTED);
        for (place, first, other) in found.into_iter().take(LISTED) {
            self.add(what, place, first, other);
        }
        if more > 0 {
            self.add(what, format!("and {more} more"), String::new(), String::new());
        }
    }

    fn records(&mut self, what: &'static str, first: &Record, other: &Record) {
        let mut found = Vec::new();
        for (name, value) in first {
            match other.get(name) {
                None => found.push((name.clone(), "there".into(), "missing".into())),
                Some(theirs) if theirs != value => found.push(values(name, value, theirs)),
                Some(_) => {}
            }
        }
        let extra = other.keys().filter(|name| !first.contains_key(*name));
        found.extend(extra.map(|name| (name.clone(), "missing".into(), "there".into())));
        self.all(what, found);
    }

    fn logs(&mut self, first: &[metrics::Row], other: &[metrics::Row]) {
        let mut found = Vec::new();
        for (ours, theirs) in first.iter().zip(other) {
            for (metric, value) in ours.iter() {
                let their = theirs.get(metric);
                if their.map(f64::to_bits) != Some(value.to_bits()) {
                    let their = their.map_or_else(|| "missing".to_owned(), |value| value.to_string());
                    found.push((format!("step {}, {metric}", ours.step), value.to_string(), their));
                }
            }
        }
        if first.len() != other.len() {
            found.push(("rows".into(), first.len().to_string(), other.len().to_string()));
        }
        if found.is_empty() {
            found.push(("the bytes of the log".into(), "equal in value".into(), "written in another way".into()));
        }
        self.all("metrics", found);
    }
}

/// The first value of two tensors that differs.
fn values(
    name: &str,
    (dtype, shape, bytes): &(DType, Vec<usize>, Vec<u8>),
    (other_dtype, other_shape, other_bytes): &(DType, Vec<usize>, Vec<u8>),
) -> (String, String, String) {
    if (dtype, shape) != (other_dtype, other_shape) {
        return (name.into(), format!("{dtype:?} {shape:?}"), format!("{other_dtype:?} {other_shape:?}"));
    }
    let size = dtype.size().max(1);
    let differ = |(a, b): (&[u8], &[u8])| a != b;
    let at = bytes.chunks(size).zip(other_bytes.chunks(size)).position(differ).unwrap_or_default();
    let count = bytes.chunks(size).zip(other_bytes.chunks(size)).filter(|pair| differ(*pair)).count();
    let shown = |bytes: &[u8]| {
        let one = bytes[at * size..((at + 1) * size).min(bytes.len())].to_vec();
        let hex: String = one.iter().rev().map(|byte| format!("{byte:02x}")).collect();
        let value = TensorData::try_from_bytes(Bytes::from_bytes_vec(one), [1], *dtype).ok();
        let value = value.and_then(|data| data.iter::<f64>().next());
        value.map_or_else(|| format!("0x{hex}"), |value| format!("{value:e} (0x{hex})"))
    };
    (format!("{name}[{at}], {count} of {} values", bytes.len() / size), shown(bytes), shown(other_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_that_differs_is_shown_with_its_bits() {
        let of = |values: [f32; 3]| {
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            Record::from([("a.weight".to_owned(), (DType::F32, vec![3], bytes))])
        };
        let mut found = Found { run: "x", differences: Vec::new() };
        found.records("weights", &of([1.0, 2.0, 0.0]), &of([1.0, 3.0, -0.0]));
        found.records("weights", &of([1.0, 2.0, 0.0]), &of([1.0, 2.0, 0.0]));
        let [difference] = &found.differences[..] else { panic!("{:?}", found.differences) };
        assert_eq!(difference.place, "a.weight[1], 2 of 3 values");
        assert_eq!((difference.first.as_str(), difference.other.as_str()), ("2e0 (0x40000000)", "3e0 (0x40400000)"));
    }

    #[test]
    fn zeros_of_either_sign_and_missing_values_differ() {
        let row = |value: f64| {
            let mut row = metrics::Row::new(4);
            row.push("loss", value);
            row
        };
        let mut found = Found { run: "x", differences: Vec::new() };
        found.logs(&[row(0.0), row(1.0)], &[row(-0.0)]);
        let places: Vec<&str> = found.differences.iter().map(|difference| difference.place.as_str()).collect();
        assert_eq!(places, ["step 4, loss", "rows"]);
        found.differences.clear();
        found.records("weights", &Record::from([("a".into(), (DType::U8, vec![0], vec![]))]), &Record::new());
        assert_eq!(found.differences[0].other, "missing");
    }
}
