//! Reading what a network computes on its way.
use anyhow::{anyhow, bail, ensure};
use burn::tensor::{DType, Int, Tensor};
use kiln_activations::{Ctx, Probe, Record, loss::Target};
use kiln_config::nearest;
use kiln_datasets::{BatchSource, Split};
use kiln_models::{Input, Model};

use super::{Arrays, Kind, What, arrays::Number};
use crate::{
    Result,
    error::Sort,
    train::{
        engine::{Engine, passes},
        feed::DeviceBatch,
    },
};

/// Bytes that an export may take if nobody said how many rows it shall have.
const UNASKED: u64 = 4 << 30;

/// Which rows are exported.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// The name of an evaluation set, or `train`; else the test set, or the first there is.
    pub split: Option<String>,
    /// The first rows only.
    pub limit: Option<usize>,
}

impl Rows {
    /// The set.
    ///
    /// # Errors
    /// If the data has no such set: those it has.
    pub fn set(&self, source: &dyn BatchSource) -> anyhow::Result<Split> {
        let mut sets = source.eval_sets();
        let standard = sets.iter().copied().find(|set| *set == Split::Test).or(sets.first().copied());
        if source.len(Split::Train).is_some_and(|rows| rows > 0) {
            sets.push(Split::Train);
        }
        let Some(name) = &self.split else {
            return standard.ok_or_else(|| anyhow!("the data has no evaluation set; name a set with --split"));
        };
        let names: Vec<String> = sets.iter().map(Split::to_string).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        sets.iter().copied().find(|set| set.to_string() == *name).ok_or_else(|| {
            let near = nearest(name, &names).map(|near| format!("did you mean {near:?}? ")).unwrap_or_default();
            anyhow!("the data has no set {name:?}; {near}expected one of: {}", names.join(", "))
        })
    }
}

/// Adds to `arrays` what is asked for of some rows, as an evaluation of `model` (on the inference device) computes it. Returns
/// the set and the number of its rows.
///
/// # Errors
/// If the network does not compute something that is asked for, the rows do not exist, or the arrays would fill the disk.
pub fn watch(
    engine: &mut Engine,
    model: &Model,
    what: &[What],
    rows: &Rows,
    ctx: &Ctx,
    arrays: &mut Arrays,
) -> Result<(Split, usize)> {
    let set = rows.set(engine.feed().source()).input()?;
    let batch = engine.batch(set);
    let kind = match engine.experiment().model.dtype() {
        DType::F64 => Kind::F64,
        _ => Kind::F32,
    };
    if what.contains(&What::Embeddings) {
        let name = engine.experiment().model.name();
        embeddings(model, name, kind, arrays)?;
    }
    let all = batch.input.rows();
    let taken = rows.limit.map_or(all, |limit| limit.min(all));
    if !what.iter().any(|what| what.has_rows()) {
        return Ok((set, taken));
    }
    if taken == 0 {
        return Err(anyhow!("{set} has no rows to export")).input();
    }
    let watched: Vec<What> = what.iter().copied().filter(|what| what.is_watched()).collect();
    let bytes = bytes_per_row(engine, model, &batch, &watched, ctx).input()? * kind.bytes() as u64 * taken as u64;
    if rows.limit.is_none() && bytes > UNASKED {
        let message = format!(
            "{} of the {all} rows of {set} would take {}; say how many of them with --limit ({all} for all)",
            watched.iter().map(|what| what.name()).collect::<Vec<_>>().join(", "),
            indicatif::HumanBytes(bytes)
        );
        return Err(anyhow!(message)).input();
    }

    let probe = Probe::of(watched.iter().map(|what| what.name()));
    if !watched.is_empty() {
        for piece in passes(model, &batch, taken, ctx, Some(&probe)) {
            for record in piece.records {
                add_record(arrays, &record, kind).failed()?;
            }
        }
    }
    if what.contains(&What::Inputs) {
        add_inputs(arrays, &batch.input.rows_in(0..taken), kind).failed()?;
    }
    if what.contains(&What::Targets) {
        add_targets(arrays, &batch.target, taken * batch.answers, kind).failed()?;
    }
    Ok((set, taken))
}

/// Numbers per row of all that is watched, by a look at one row.
fn bytes_per_row(
    engine: &Engine,
    model: &Model,
    batch: &DeviceBatch,
    watched: &[What],
    ctx: &Ctx,
) -> anyhow::Result<u64> {
    if watched.is_empty() {
        return Ok(0);
    }
    let probe = Probe::default();
    let records: Vec<Record> = passes(model, batch, 1, ctx, Some(&probe)).flat_map(|piece| piece.records).collect();
    for what in watched {
        if records.iter().any(|record| record.name == what.name()) {
            continue;
        }
        let there = What::ALL.into_iter().filter(|what| records.iter().any(|record| record.name == what.name()));
        let there: Vec<&str> = there.map(What::name).collect();
        let config = &engine.experiment().model;
        let reason =
            if *what == What::Attention && !config.attends() { ": nothing in it makes such weights" } else { "" };
        bail!(
            "the network {:?} records no {}{reason}; what can be exported of it: {}",
            config.name(),
            what.name(),
            there.join(", ")
        );
    }
    let wanted = records.iter().filter(|record| watched.iter().any(|what| what.name() == record.name));
    Ok(wanted.map(|record| record.shape.iter().map(|&n| n as u64).product::<u64>()).sum())
}

fn embeddings(model: &Model, name: &str, kind: Kind, arrays: &mut Arrays) -> Result<()> {
    let (inputs, classes) = (model.embedding(), model.unembedding());
    if inputs.is_none() && classes.is_none() {
        let message = format!("the network {name:?} has no vector for each input or class: no embeddings to export");
        return Err(anyhow!(message)).input();
    }
    for (part, table) in [("inputs", inputs), ("classes", classes)] {
        if let Some(table) = table {
            let name = format!("{}/{part}", What::Embeddings.name());
            arrays.add(What::Embeddings, &name, kind, &table.dims(), floats(&table)).failed()?;
        }
    }
    Ok(())
}

fn add_record(arrays: &mut Arrays, record: &Record, kind: Kind) -> anyhow::Result<()> {
    let what = What::named(&record.name).ok_or_else(|| anyhow!("an unknown record: {}", record.name))?;
    // Attention is known by its block; the core inside it is the only one that records.
    let part = record.path.strip_suffix("attention.core").unwrap_or(&record.path).trim_end_matches('.');
    let name = if part.is_empty() { record.name.clone() } else { format!("{}/{part}", record.name) };
    let (dims, device) = (record.rows.dims(), record.rows.device());
    let rows = match record.keep.mask(dims, &device) {
        Some(mask) if what == What::Scores => record.rows.clone().mask_fill(mask.bool_not(), f64::NEG_INFINITY),
        _ => record.rows.clone(),
    };
    ensure!(!record.shape.is_empty(), "{name}: a record without axes");
    arrays.add(what, &name, kind, &record.shape, floats(&rows))
}

fn add_inputs(arrays: &mut Arrays, input: &Input, kind: Kind) -> anyhow::Result<()> {
    let mut add = |kind, shape: &[usize], numbers: Box<dyn Iterator<Item = Number>>| {
        arrays.add(What::Inputs, What::Inputs.name(), kind, shape, numbers)
    };
    match input {
        Input::OneHot(ids) | Input::Tokens(ids) => add(Kind::I64, &ids.dims(), Box::new(ints(ids))),
        Input::TokenSums { ids, parts } => {
            let [rows, columns] = ids.dims();
            add(Kind::I64, &[rows, columns / parts, *parts], Box::new(ints(ids)))
        }
        Input::Floats(values) => add(kind, &values.dims(), Box::new(floats(values))),
        Input::Items(values) => add(kind, &values.dims(), Box::new(floats(values))),
        Input::Image(values) => add(kind, &values.dims(), Box::new(floats(values))),
    }
}

fn add_targets(arrays: &mut Arrays, target: &Target, answers: usize, kind: Kind) -> anyhow::Result<()> {
    let name = What::Targets.name();
    match target {
        Target::Classes(classes) => {
            let classes = classes.clone().narrow(0, 0, answers);
            arrays.add(What::Targets, name, Kind::I64, &classes.dims(), ints(&classes))
        }
        Target::Soft(values) | Target::Labels(values) | Target::Values(values) => {
            let values = values.clone().narrow(0, 0, answers);
            arrays.add(What::Targets, name, kind, &values.dims(), floats(&values))
        }
    }
}

fn floats<const D: usize>(tensor: &Tensor<D>) -> impl Iterator<Item = Number> + use<D> {
    tensor.to_data().iter::<f64>().map(Number::Float).collect::<Vec<_>>().into_iter()
}

fn ints<const D: usize>(tensor: &Tensor<D, Int>) -> impl Iterator<Item = Number> + use<D> {
    tensor.to_data().iter::<i64>().map(Number::Int).collect::<Vec<_>>().into_iter()
}
