//! Everything a resumed run needs. What is not in here may not influence a step.
use anyhow::{Context, anyhow, bail};
use burn::{module::Module, store::ModuleRecord, tensor::Bytes};
use kiln_models::Model;
use kiln_optimizers::Chain;
use serde::{Deserialize, Serialize};

use crate::run::checkpoint::Files;

/// Parameters, optimizer, step and clock of a run. There is no random state: draws are counted, not continued.
#[derive(Clone, Debug)]
pub struct TrainState {
    /// The network, on the training device.
    pub model: Model,
    /// Gradient transforms, rule and schedule with their states.
    pub chain: Chain,
    /// Updates made so far.
    pub step: u64,
}

/// The part of a checkpoint that is not tensors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// Updates made so far.
    pub step: u64,
    /// Length of the log up to here.
    pub metrics_bytes: u64,
    /// Seconds of training so far.
    pub elapsed_s: f64,
}

const MODEL: &str = "model.bpk";
const OPTIMIZER: &str = "optimizer.bpk";
const POSITION: &str = "position.json";

impl TrainState {
    /// The state as the files of a checkpoint.
    ///
    /// # Errors
    /// If a record cannot be written.
    pub fn to_files(&self, metrics_bytes: u64, elapsed_s: f64) -> anyhow::Result<Files> {
        let model =
            self.model.clone().into_record().into_bytes().map_err(|e| anyhow!("cannot record the model: {e}"))?;
        let position = Position { step: self.step, metrics_bytes, elapsed_s };
        Ok(Files::from([
            (MODEL.into(), model.to_vec()),
            (OPTIMIZER.into(), self.chain.to_bytes().context("cannot record the optimizer")?),
            (POSITION.into(), serde_json::to_vec_pretty(&position)?),
        ]))
    }

    /// The state in the files of a checkpoint, loaded into a freshly built model and chain.
    ///
    /// # Errors
    /// If a file is missing, or does not fit the model or the optimizer.
    pub fn from_files(files: &Files, model: Model, mut chain: Chain) -> anyhow::Result<(Self, Position)> {
        let model = load_model(files, model)?;
        chain.load_bytes(file(files, OPTIMIZER)?.to_vec()).context("the optimizer's state does not fit")?;
        let position: Position = serde_json::from_slice(file(files, POSITION)?).context("damaged position.json")?;
        Ok((Self { model, chain, step: position.step }, position))
    }
}

/// The record of the model's weights.
///
/// # Errors
/// If it is missing.
pub fn model_bytes(files: &Files) -> anyhow::Result<&[u8]> {
    file(files, MODEL)
}

/// The model alone.
///
/// # Errors
/// If the record is missing or does not fit.
pub fn load_model(files: &Files, model: Model) -> anyhow::Result<Model> {
    let bytes = Bytes::from_bytes_vec(model_bytes(files)?.to_vec());
    ModuleRecord::from_bytes(bytes)
        .and_then(|record| model.try_load_record(record))
        .map_err(|error| anyhow!("the saved weights do not fit this model: {error}"))
}

fn file<'a>(files: &'a Files, name: &str) -> anyhow::Result<&'a [u8]> {
    match files.get(name) {
        Some(bytes) => Ok(bytes),
        None => bail!("the checkpoint holds no {name}"),
    }
}
