//! A trained run that another run learns from.
use std::path::PathBuf;

use burn::{module::Module as _, tensor::Device};
use kiln_activations::Init;
use kiln_models::{Io, Model};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Misfit;
use crate::{
    atomic,
    config::{self, schema::Experiment},
    run::{
        RunFolder,
        checkpoint::{Checkpoints, Files},
    },
    train::{feed, state},
};

/// Which run teaches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TeacherConfig {
    /// Its folder, such as `runs/softmax-s0-1f2e3d4c`. It must have come to its end.
    pub run: PathBuf,
    /// Which of its states.
    #[serde(default)]
    pub checkpoint: Checkpoint,
    /// SHA-256 of its resolved config; filled in when the student's config is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// SHA-256 of its weights; filled in when the student's config is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<String>,
}

/// Which state of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Checkpoint {
    /// The newest one.
    #[default]
    Final,
}

/// A run as it was found.
struct Found {
    experiment: Experiment,
    files: Files,
}

fn misfit(message: String) -> Misfit {
    Misfit { key: "teacher.run", message }
}

impl TeacherConfig {
    /// Reads the run.
    fn find(&self) -> Result<Found, Misfit> {
        let name = self.run.display();
        let read = |error: &dyn std::fmt::Display| misfit(format!("the teacher {name} cannot be used: {error}"));
        let folder = RunFolder::open(&self.run).map_err(|error| read(&error))?;
        if !folder.finished() {
            let message = format!(
                "the teacher {name} has not come to its end; go on with it by: kiln train --resume {name}, or take another run"
            );
            return Err(misfit(message));
        }
        let (experiment, _) =
            config::load_as::<Experiment>(&folder.file("config.toml")).map_err(|error| read(&error))?;
        let (_, files, _) = Checkpoints::of(folder.path()).newest().map_err(|error| read(&format!("{error:#}")))?;
        Ok(Found { experiment, files })
    }

    /// Writes down which run it is. A teacher that was written down before and is gone may stay so until it is needed.
    ///
    /// # Errors
    /// If there is no such run, it has not come to its end, or it is another one than was written down.
    pub fn pin(&mut self) -> Result<(), Misfit> {
        if self.weights.is_some() && !self.run.exists() {
            return Ok(());
        }
        let Found { experiment, files } = self.find()?;
        let identity = config::identity(&experiment);
        let weights = atomic::sha256(state::model_bytes(&files).map_err(|error| misfit(error.to_string()))?);
        for (before, now, what) in [(&self.identity, &identity, "config"), (&self.weights, &weights, "weights")] {
            if before.as_ref().is_some_and(|before| before != now) {
                let message = format!(
                    "the teacher {} has changed since: its {what} had the SHA-256 {}, now {now}; restore it, or leave out \
                     `identity` and `weights` to begin with it as it is",
                    self.run.display(),
                    before.as_deref().unwrap_or_default()
                );
                return Err(misfit(message));
            }
        }
        (self.identity, self.weights) = (Some(identity), Some(weights));
        Ok(())
    }

    /// The trained network, on `device`, for a student on data with these two ends.
    ///
    /// # Errors
    /// If the run is not there or learned from data with other ends.
    pub fn load(&self, io: &Io, device: &Device) -> Result<Model, Misfit> {
        let Found { experiment, files } = self.find()?;
        let own = feed::io(&experiment.data.spec());
        if own != *io {
            let message = format!(
                "the teacher {} reads {} and answers with {} classes, but the data gives {} and {} classes; take a teacher \
                 that was trained on data of this kind",
                self.run.display(),
                own.input,
                own.outputs,
                io.input,
                io.outputs
            );
            return Err(misfit(message));
        }
        let init = Init::new(experiment.run.seed, device, experiment.model.dtype());
        let model = experiment.model.init((io, &init.child("model")));
        let model =
            state::load_model(&files, model).map_err(|error| misfit(format!("{}: {error:#}", self.run.display())))?;
        Ok(model.no_grad())
    }
}
