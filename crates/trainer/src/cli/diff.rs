//! `kiln diff`.
use std::path::PathBuf;

use clap::Args;

use super::{
    Global, print,
    terminal::{self, Paint},
};
use crate::{
    Error, Result,
    run::compare::{Comparison, Side},
};

/// What differs between two runs or configs: keys, data, code, machine, results. Exit code 0: nothing, 1: something.
#[derive(Debug, Args)]
pub struct Diff {
    /// A run folder or a config file.
    a: PathBuf,
    /// Another one.
    b: PathBuf,
    /// Print an object.
    #[arg(long)]
    json: bool,
}

impl Diff {
    /// Compares and prints.
    ///
    /// # Errors
    /// If one of them cannot be read; [`Error::Told`] if they differ.
    pub fn run(self, global: &Global) -> Result<()> {
        let sides = [Side::read(&self.a)?, Side::read(&self.b)?];
        let comparison = Comparison::new(&sides);
        match self.json {
            true => print(serde_json::to_string_pretty(&comparison).unwrap_or_default()),
            false => print(text(&comparison, Paint::stdout()).trim()),
        }
        if comparison.differs {
            return Err(Error::Told);
        }
        global.say("nothing differs");
        Ok(())
    }
}

fn text(comparison: &Comparison, paint: Paint) -> String {
    let mut text = String::new();
    let mut section = |title: &str, table: String| text.push_str(&format!("{}\n{table}\n\n", paint.bold(title)));
    let absent = || "–".to_owned();
    if !comparison.keys.is_empty() {
        let mut table = terminal::table(["key", "a", "b"]);
        for key in &comparison.keys {
            let shown = |value: &Option<serde_json::Value>| value.as_ref().map_or_else(absent, ToString::to_string);
            table.add_row([key.key.clone(), shown(&key.a), shown(&key.b)]);
        }
        section("config", table.to_string());
    }
    if !comparison.data.same {
        let short = |hash: &String| hash[..12].to_owned();
        let mut table = terminal::table(["", "a", "b"]);
        table.add_row([
            "rows and split (SHA-256 of [data] and run.seed)".into(),
            short(&comparison.data.a),
            short(&comparison.data.b),
        ]);
        section("data", table.to_string());
    }
    if !comparison.environment.is_empty() {
        let mut table = terminal::table(["", "a", "b"]);
        for field in &comparison.environment {
            let shown = |value: &Option<String>| value.clone().unwrap_or_else(absent);
            table.add_row([field.name.to_owned(), shown(&field.a), shown(&field.b)]);
        }
        section("code and machine", table.to_string());
    }
    if let Some(results) = &comparison.results {
        if let Some([a, b]) = &results.ends {
            let mut table = terminal::table(["", "a", "b"]);
            table.add_row(["end", a, b]);
            section("ends", table.to_string());
        }
        if !results.differing.is_empty() {
            let number = |value: Option<f64>| value.map_or_else(absent, kiln_reports::number);
            let mut table = terminal::table(["metric", "last a", "last b", "best a", "best b"]);
            for metric in &results.differing {
                table.add_row([
                    metric.metric.clone(),
                    number(metric.a.last),
                    number(metric.b.last),
                    number(metric.a.best),
                    number(metric.b.best),
                ]);
            }
            section("results", table.to_string());
        }
        if results.equal > 0 {
            text.push_str(&format!("{} metrics have equal last and best values\n", results.equal));
        }
        for (side, only) in [("a", &results.only_a), ("b", &results.only_b)] {
            if !only.is_empty() {
                text.push_str(&format!("only {side} logs: {}\n", only.join(", ")));
            }
        }
    }
    text
}
