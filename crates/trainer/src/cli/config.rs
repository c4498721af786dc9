//! `kiln config`.
use clap::Args;

use super::{ConfigArgs, Global, print};
use crate::{Result, config};

/// Print a config with all defaults, as it would run.
#[derive(Debug, Args)]
pub struct Print {
    #[command(flatten)]
    config: ConfigArgs,
    /// Print as JSON.
    #[arg(long)]
    json: bool,
}

impl Print {
    /// Reads, checks and prints.
    ///
    /// # Errors
    /// If the config does not say what Kiln can do.
    pub fn run(self, global: &Global) -> Result<()> {
        let loaded = config::load(&self.config.config, &global.sets(&self.config.set))?;
        config::resolve(&loaded)?;
        if self.json {
            print(format_args!("{:#}", serde_json::to_value(&loaded.experiment).unwrap_or_default()));
        } else {
            print(config::to_toml(&loaded.experiment).trim_end());
        }
        Ok(())
    }
}
