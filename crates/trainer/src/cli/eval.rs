//! `kiln eval`.
use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Context, anyhow};
use burn::module::Module;
use burn_store::{ModuleSnapshot, SafetensorsStore};
use clap::Args;
use kiln_activations::Ctx;

use super::{Global, print};
use crate::{
    Result, atomic, config,
    error::Sort,
    run::{RunFolder, checkpoint::Checkpoints},
    train::{self, engine::Evaluated, state},
};

/// Evaluate a trained run, under other settings if asked, or export its weights.
#[derive(Debug, Args)]
pub struct Eval {
    /// The run folder.
    run: PathBuf,
    /// Change a key for this evaluation: other data, or model keys that leave the weights' names and shapes.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Write the weights to this .safetensors file.
    #[arg(long, value_name = "FILE")]
    export: Option<PathBuf>,
}

impl Eval {
    /// Loads the newest complete checkpoint, evaluates every evaluation set, prints and stores the result.
    ///
    /// # Errors
    /// If there is no run, no complete checkpoint, or the weights do not fit the changed settings.
    pub fn run(self, global: &Global) -> Result<()> {
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
        if let Some(path) = &self.export {
            export(&model, path)?;
            global.say(format_args!("weights of step {step}: {}", path.display()));
        }
        let ctx = Ctx::eval(loaded.experiment.run.seed, step);
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

/// Writes the weights beside their final place and renames them.
fn export(model: &kiln_models::Model, path: &std::path::Path) -> Result<()> {
    if path.extension().is_none_or(|extension| extension != "safetensors") {
        return Err(anyhow!("{}: weights are exported as .safetensors; name the file so", path.display())).input();
    }
    let write = || -> anyhow::Result<()> {
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(std::path::Path::new("."));
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
