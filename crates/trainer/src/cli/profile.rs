//! `kiln profile`.
use anyhow::Context;
use clap::Args;

use super::{ConfigArgs, Global, print, table};
use crate::{
    Result,
    bench::profile::{Effort, Phase, profile},
    config,
    error::Sort,
    train,
};

/// Where the time of a training goes: data, forward with loss, backward, optimizer, evaluation, logging, checkpoints.
#[derive(Debug, Args)]
pub struct Profile {
    #[command(flatten)]
    config: ConfigArgs,
    /// Steps that are timed.
    #[arg(long, default_value_t = 20)]
    steps: usize,
    /// Steps before them.
    #[arg(long, default_value_t = 3)]
    warmup: usize,
    /// Times that evaluation, logging and saving are timed.
    #[arg(long, default_value_t = 3)]
    rows: usize,
    /// Print an object.
    #[arg(long)]
    json: bool,
}

impl Profile {
    /// Measures and prints. No run is written.
    ///
    /// # Errors
    /// If the config does not say what Kiln can do.
    pub fn run(self, global: &Global) -> Result<()> {
        let loaded = config::load(&self.config.config, &global.sets(&self.config.set))?;
        let resolved = config::resolve(&loaded)?;
        train::set_threads(loaded.experiment.run.threads);
        let mut engine = train::ready(&loaded, resolved.source, &resolved.device)?;
        let scratch = tempfile::tempdir().context("cannot make a temporary folder").failed()?;
        let effort = Effort { steps: self.steps, warmup: self.warmup, rows: self.rows };
        let phases = profile(&mut engine, &effort, scratch.path()).failed()?;
        let step: f64 = phases.iter().map(|phase| phase.ms_per_step).sum();
        if self.json {
            let result = serde_json::json!({
                "phases": phases,
                "ms_per_step": step,
                "steps": self.steps.max(1),
                "threads": rayon::current_num_threads(),
                "device": loaded.experiment.run.device,
            });
            print(format_args!("{result:#}"));
            return Ok(());
        }
        print(report(&phases));
        let seconds = 1e-3 * step * resolved.steps as f64;
        print(format_args!(
            "{step:.3} ms per step, {} for the {} steps of the run; {} threads, {}",
            indicatif::HumanDuration(std::time::Duration::from_secs_f64(seconds)),
            resolved.steps,
            rayon::current_num_threads(),
            loaded.experiment.run.device
        ));
        Ok(())
    }
}

fn report(phases: &[Phase]) -> comfy_table::Table {
    let mut table = table(["phase", "ms each time", "every", "ms per step", "share"]);
    for phase in phases {
        let every = if phase.every == 1 { "step".to_owned() } else { format!("{} steps", phase.every) };
        table.add_row([
            phase.phase.to_owned(),
            format!("{:.3}", phase.ms),
            every,
            format!("{:.3}", phase.ms_per_step),
            format!("{:.1} %", 100.0 * phase.share),
        ]);
    }
    table
}
