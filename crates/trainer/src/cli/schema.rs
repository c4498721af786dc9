//! `kiln schema`.
use clap::{Args, ValueEnum};

use super::print;
use crate::{Result, config::schema::Experiment};

/// Print the JSON Schema of experiment, study or sweep files.
#[derive(Debug, Args)]
pub struct Print {
    /// Which file it describes.
    #[arg(value_enum, default_value_t = Kind::Experiment)]
    kind: Kind,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    Experiment,
    Study,
    Sweep,
}

/// The schema of experiment files, draft 2020-12.
pub fn experiment() -> String {
    pretty(schemars::schema_for!(Experiment))
}

/// The schema of study files, draft 2020-12.
pub fn study() -> String {
    pretty(schemars::schema_for!(kiln_claims::Study))
}

/// The schema of sweep files, draft 2020-12.
pub fn sweep() -> String {
    pretty(schemars::schema_for!(kiln_sweeps::Sweep))
}

fn pretty(schema: schemars::Schema) -> String {
    let mut value = schema.to_value();
    if let Some(properties) = value.get_mut("properties").and_then(serde_json::Value::as_object_mut) {
        // Read by the config layer before the schema sees the file.
        let extends = serde_json::json!({ "type": "string", "description": "a base file, relative to this one" });
        properties.insert("extends".into(), extends);
    }
    format!("{value:#}")
}

impl Print {
    /// Prints.
    ///
    /// # Errors
    /// Never.
    pub fn run(self) -> Result<()> {
        print(match self.kind {
            Kind::Experiment => experiment(),
            Kind::Study => study(),
            Kind::Sweep => sweep(),
        });
        Ok(())
    }
}
