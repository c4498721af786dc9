//! From a TOML file to an experiment that can run.
//!
//! [`load`] reads the layers and fills in the schema; [`resolve`] checks the parts against each other and
//! against the data, before anything is trained or written.
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use kiln_config::{Document, Loader};
use kiln_datasets::{BatchSource, Order, Split};

use crate::{Error, Result, atomic, device, measure, task::Misfit, train::feed::io};

mod answers;
pub mod keys;
pub mod leaves;
pub mod places;
pub mod schema;

use schema::Experiment;

/// An experiment and the text it came from.
#[derive(Debug)]
pub struct Loaded {
    /// The file as found.
    pub path: PathBuf,
    /// The overrides, as given to `--set`.
    pub sets: Vec<String>,
    /// What the file and the overrides say, defaults filled in.
    pub experiment: Experiment,
    /// The layers, with the position of every key.
    pub document: Document,
}

/// An experiment whose parts fit each other, with its data opened.
#[derive(Debug)]
pub struct Resolved {
    /// The device results are computed on (not the autodiff one).
    pub device: Device,
    /// The data.
    pub source: Box<dyn BatchSource>,
    /// Steps to make.
    pub steps: u64,
}

/// More threads to make batches than this are taken for a slip of the pen.
const MAX_WORKERS: usize = 64;

/// Where config texts come from: files, then the copies inside the binary.
struct Texts;

impl Loader for Texts {
    fn read(&self, path: &Path) -> std::io::Result<Vec<u8>> {
        places::read(path)
    }

    fn names_beside(&self, path: &Path) -> Vec<String> {
        kiln_config::Files.names_beside(path).into_iter().chain(places::shipped_beside(path)).collect()
    }
}

/// Reads a config file and `--set` overrides.
///
/// # Errors
/// If the file cannot be read or does not fit the schema.
pub fn load(path: &Path, sets: &[String]) -> Result<Loaded> {
    let mut loaded = read(path, sets)?;
    loaded.pin()?;
    Ok(loaded)
}

impl Loaded {
    /// Writes into the config what it stands for outside of itself, such as the hash of a teacher's weights.
    ///
    /// # Errors
    /// If what it names is not there or has changed.
    pub fn pin(&mut self) -> Result<()> {
        self.experiment.task.pin().map_err(|misfit| refuse_task(&self.document, &misfit))
    }
}

/// As [`load`], for an experiment that names what is still to come, such as the run of a teacher: nothing is pinned.
///
/// # Errors
/// If the file cannot be read or does not fit the schema.
pub fn read(path: &Path, sets: &[String]) -> Result<Loaded> {
    let path = places::find(path);
    let mut document = Document::load(&path, &Texts)?;
    for set in sets {
        document.set(set)?;
    }
    let experiment = document.deserialize::<Experiment>()?;
    Ok(Loaded { path, sets: sets.to_vec(), experiment, document })
}

/// Points at the key of a task that does not fit.
pub fn refuse_task(document: &Document, misfit: &Misfit) -> Error {
    document.error_at(&format!("task.{}", misfit.key), &misfit.message, None).into()
}

/// Reads any other schema from a TOML file, such as a study.
///
/// # Errors
/// If the file cannot be read or does not fit the schema.
pub fn load_as<T: serde::de::DeserializeOwned>(path: &Path) -> Result<(T, Document)> {
    let document = Document::load(places::find(path), &Texts)?;
    Ok((document.deserialize()?, document))
}

/// The config's stem: `stablemax` for `configs/grokking/stablemax.toml`.
pub fn stem(path: &Path) -> String {
    path.file_stem().map_or_else(|| "run".into(), |stem| stem.to_string_lossy().into_owned())
}

/// The resolved config as TOML, defaults included.
pub fn to_toml(experiment: &Experiment) -> String {
    toml::to_string(experiment).expect("a config that was read from TOML can be written as TOML")
}

/// SHA-256 of what decides a run's results: the resolved config without the place it is written to and the threads that make
/// its batches.
pub fn identity(experiment: &Experiment) -> String {
    let mut experiment = experiment.clone();
    experiment.run.dir = PathBuf::new();
    experiment.run.workers = None;
    atomic::sha256(serde_json::to_vec(&experiment).expect("a config has a JSON form"))
}

/// Checks the experiment's parts against each other and opens its data.
///
/// # Errors
/// If two parts do not go together; the error points at the key to change.
pub fn resolve(loaded: &Loaded) -> Result<Resolved> {
    let Loaded { experiment, document, .. } = loaded;
    let refuse = |key: &str, message: &str| document.error_at(key, message, None);

    let device = device::open(&experiment.run.device).map_err(|message| refuse("run.device", &message))?;
    device::fits(&device, experiment).map_err(|(key, message)| refuse(key, &message))?;
    if experiment.run.threads == Some(0) {
        return Err(refuse("run.threads", "0 threads cannot work; expected a whole number of at least 1").into());
    }
    if let Some(workers) = experiment.run.workers.filter(|workers| *workers > MAX_WORKERS) {
        let message = format!("{workers} threads to make batches; expected 0 to {MAX_WORKERS}");
        return Err(refuse("run.workers", &message).into());
    }
    let data = &experiment.data;
    data.check().map_err(|invalid| refuse(&format!("data.{}", invalid.key), &invalid.message))?;
    let spec = data.spec();
    experiment
        .model
        .check(&io(&spec))
        .map_err(|invalid| refuse(&format!("model.{}", invalid.key), &invalid.message))?;
    answers::check(experiment).map_err(|(key, message)| refuse(key, &message))?;
    experiment.loss.check().map_err(|message| refuse("loss.normalizer", &message))?;
    experiment.task.check(experiment, &io(&spec)).map_err(|misfit| refuse_task(document, &misfit))?;
    experiment.optim.check().map_err(|invalid| refuse(&format!("optim.{}", invalid.key), &invalid.message))?;

    let train = &experiment.train;
    if let Some(target) = &train.stop.target
        && target.above.is_some() == target.below.is_some()
    {
        return Err(refuse("train.stop.target", "give exactly one of `above` and `below`").into());
    }
    if train.stop.time_s.is_some_and(|time| time.is_nan() || time <= 0.0) {
        return Err(refuse("train.stop.time_s", "expected a number of seconds above 0").into());
    }
    let source = data.open(experiment.run.seed).map_err(|error| refuse("data", &error.to_string()))?;
    let endless = source.len(Split::Train).is_none();
    if endless && train.batch_size.is_none() {
        return Err(refuse("train", "the training rows never end; give `batch_size`, such as 128").into());
    }
    if endless && train.epochs.is_some() {
        return Err(refuse("train.epochs", "the training rows never end, so there are no epochs; give `steps`").into());
    }
    let rows = source.len(Split::Train).unwrap_or(usize::MAX);
    if let Some(size) = train.batch_size
        && !(1..=rows).contains(&size)
    {
        let message = format!("{size} rows per batch; the training set has {rows}, expected 1 to {rows}");
        return Err(refuse("train.batch_size", &message).into());
    }
    let steps = match (train.steps, train.epochs) {
        (Some(steps), None) => steps,
        (None, Some(epochs)) => {
            let order = train.batch_size.map_or(Order::Full, |size| Order::Sequential { size });
            epochs * order.steps_per_epoch(rows)
        }
        (None, None) => return Err(refuse("train", "how long? give `steps` or `epochs`").into()),
        (Some(_), Some(_)) => return Err(refuse("train.epochs", "give `steps` or `epochs`, not both").into()),
    };
    if steps == 0 {
        let key = if train.steps.is_some() { "train.steps" } else { "train.epochs" };
        return Err(refuse(key, "0 trains nothing; expected a whole number of at least 1").into());
    }
    let context = measure::Context {
        source: &*source,
        optimizer: experiment.optim.name(),
        attends: experiment.model.attends(),
        loss: &experiment.loss,
    };
    for measure in &experiment.eval.measures {
        let name = measure.name();
        measure.check(&context).map_err(|message| refuse("eval.measures", &format!("{name}: {message}")))?;
    }
    Ok(Resolved { device, source, steps })
}
