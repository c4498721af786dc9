//! `kiln eval`.
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow};
use burn::module::Module;
use burn_store::{ModuleSnapshot, SafetensorsStore};
use clap::Args;
use kiln_activations::Ctx;
use kiln_models::Model;

use super::{Global, print};
use crate::{
    Result, atomic, config,
    error::Sort,
    export::{Arrays, Export, Rows, What, watch},
    run::{RunFolder, checkpoint::Checkpoints},
    train::{
        self,
        engine::{Engine, Evaluated},
        state,
    },
};

/// Evaluate a trained run, under other settings if asked; export weights, attention, logits and more.
#[derive(Debug, Args)]
pub struct Eval {
    /// The run folder.
    run: PathBuf,
    /// Change a key for this evaluation: other data, or model keys that leave the weights' names and shapes.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Write what the file's name says (attention.npz, logits.safetensors, weights.safetensors …) to this .npz or .safetensors
    /// file. May be given several times.
    #[arg(long, value_name = "FILE")]
    export: Vec<PathBuf>,
    /// What the exported file holds, if its name does not say: attention, scores, block, features, logits, embeddings,
    /// inputs, targets or weights.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', requires = "export")]
    what: Vec<String>,
    /// The rows to export: those of this evaluation set, or train [default: test, or the first set].
    #[arg(long, value_name = "SET", requires = "export")]
    split: Option<String>,
    /// Export the first N rows only.
    #[arg(long, value_name = "N", requires = "export")]
    limit: Option<usize>,
}

impl Eval {
    /// Loads the newest complete checkpoint, evaluates every evaluation set, prints and stores the result.
    ///
    /// # Errors
    /// If there is no run, no complete checkpoint, or the weights do not fit the changed settings.
    pub fn run(self, global: &Global) -> Result<()> {
        let exports = self.exports()?;
        let folder = RunFolder::open(&self.run)?;
        let sets = global.sets(&self.set);
        let loaded = config::load(&folder.file("config.toml"), &sets)?;
        let resolved = config::resolve(&loaded)?;
        let (step, files, _) = Checkpoints::of(folder.path()).newest().input()?;
        let mut engine = train::build(&loaded, resolved.source, &resolved.device)?;
        engine.state.model = state::load_model(&files, engine.state.model.clone())
            .with_context(|| format!("cannot evaluate {}", folder.path().display()))
            .input()?;

        let model = engine.state.model.valid();
        let ctx = Ctx::eval(loaded.experiment.run.seed, step);
        for export in &exports {
            let written = match export.what.contains(&What::Weights) {
                true => weights(&model, &export.path).map(|()| "weights".to_owned()),
                false => self.export(export, &mut engine, &model, &ctx),
            };
            global.say(format_args!("{} of step {step}: {}", written?, export.path.display()));
        }
        let mut metrics = BTreeMap::new();
        for set in engine.feed().source().eval_sets() {
            let Evaluated { scored, loss } = engine.evaluate(&model, set, &ctx, &mut []);
            metrics.insert(format!("{set}_loss"), loss);
            metrics.extend(scored.accuracy().map(|accuracy| (format!("{set}_accuracy"), accuracy)));
        }
        let hash = &config::identity(&loaded.experiment)[..8];
        let place = folder.file("eval").join(hash);
        let result = serde_json::json!({ "step": step, "overrides": sets, "metrics": metrics });
        atomic::write(&place.join("summary.json"), format!("{result:#}\n")).failed()?;
        atomic::write(&place.join("config.toml"), config::to_toml(&loaded.experiment)).failed()?;
        for (name, value) in &metrics {
            print(format_args!("{name} {}", kiln_reports::number(*value)));
        }
        global.say(format_args!("stored in {}", place.display()));
        Ok(())
    }
}

impl Eval {
    /// The files to write.
    fn exports(&self) -> Result<Vec<Export>> {
        if self.export.len() > 1 && !self.what.is_empty() {
            let message =
                "--what says what one file holds; with several, name each after what it holds, such as attention.npz";
            return Err(anyhow!(message)).input();
        }
        if self.limit == Some(0) {
            return Err(anyhow!("--limit 0 exports no row; expected at least 1")).input();
        }
        self.export.iter().map(|path| Export::new(path, &self.what)).collect()
    }

    /// Writes one file; what it holds, in words.
    fn export(&self, export: &Export, engine: &mut Engine, model: &Model, ctx: &Ctx) -> Result<String> {
        let rows = Rows { split: self.split.clone(), limit: self.limit };
        let folder = atomic::folder_of(&export.path);
        std::fs::create_dir_all(folder).with_context(|| format!("cannot write {}", export.path.display())).failed()?;
        let mut arrays = Arrays::new(folder);
        let (set, rows) = watch(engine, model, &export.what, &rows, ctx, &mut arrays)?;
        let written = export.write(&arrays)?;
        let names: Vec<&str> = export.what.iter().map(|what| what.name()).collect();
        let of = match export.what.iter().any(|what| what.has_rows()) {
            true => format!(" of {rows} rows of {set}"),
            false => String::new(),
        };
        Ok(format!("{written} arrays ({}{of})", names.join(", ")))
    }
}

/// Writes the weights beside their final place and renames them.
fn weights(model: &Model, path: &Path) -> Result<()> {
    let write = || -> anyhow::Result<()> {
        let folder = atomic::folder_of(path);
        std::fs::create_dir_all(folder)?;
        let staging = tempfile::tempdir_in(folder)?;
        let file = staging.path().join("weights.safetensors");
        // The network's kind is an enum variant; other tools look for `layers.0.weight`.
        let mut store = SafetensorsStore::from_file(&file).with_key_remapping("^[A-Z][A-Za-z0-9]*[.]", "");
        model.save_into(&mut store).map_err(|error| anyhow!("{error}"))?;
        std::fs::rename(&file, path)?;
        Ok(())
    };
    write().with_context(|| format!("cannot write {}", path.display())).failed()
}
