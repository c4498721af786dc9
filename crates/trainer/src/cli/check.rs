//! `kiln check`.
use anyhow::anyhow;
use burn::tensor::DType;
use clap::Args;
use kiln_activations::check::{Entry, Finding, Setting, entries};

use super::{Global, dtype, list, print, table};
use crate::{Result, device, error::Sort, train};

/// Check every map and loss on this device against its f64 definition.
#[derive(Debug, Args)]
pub struct Check {
    /// Which ones: * and ? stand for any letters and any letter; a loss also goes by its own name. All if left out.
    patterns: Vec<String>,
    /// The dtypes of the scores: --dtype f32,f16. The choices are f64, f32, f16, bf16.
    #[arg(long, value_name = "DTYPES", value_delimiter = ',', default_value = "f32", value_parser = dtype::parse)]
    dtype: Vec<DType>,
    /// Print an array of objects, one per quantity.
    #[arg(long)]
    json: bool,
}

impl Check {
    /// Checks and prints.
    ///
    /// # Errors
    /// If nothing matches, the device cannot do it, or a check fails.
    pub fn run(self, global: &Global) -> Result<()> {
        train::set_threads(global.threads);
        let device = device::open(global.device()).map_err(|message| anyhow!(message)).input()?;
        let all = entries();
        let known: Vec<String> = all.iter().flat_map(Entry::names).collect();
        list::check_patterns(&self.patterns, known.iter().map(String::as_str))?;
        for &dtype in &self.dtype {
            dtype::check(&device, dtype)?;
        }
        let chosen = |entry: &&Entry| entry.names().iter().any(|name| list::matches_any(&self.patterns, name));
        let mut findings = Vec::new();
        for &dtype in &self.dtype {
            let setting = Setting::new(device.clone(), dtype);
            for entry in all.iter().filter(chosen) {
                global.chat(format_args!("checking {} in {}", entry.name(), dtype::name(dtype)));
                findings.extend(entry.check(&setting));
            }
        }
        if self.json {
            print(serde_json::to_string_pretty(&findings).unwrap_or_default());
        } else {
            print(report(&findings));
        }
        let failed = findings.iter().filter(|finding| !finding.passed()).count();
        if failed > 0 {
            return Err(anyhow!("{failed} of {} checks failed on {}", findings.len(), global.device())).failed();
        }
        global.say(format_args!("all {} checks passed on {}", findings.len(), global.device()));
        Ok(())
    }
}

fn report(findings: &[Finding]) -> comfy_table::Table {
    let mut table = table(["entry", "dtype", "what", "error (ulp)", "composed", "worst case", "verdict"]);
    for finding in findings {
        let verdict = match finding.problem {
            None => "pass".to_owned(),
            Some(problem) => {
                format!("FAIL: {problem}; got {:e}, expected {:e}", finding.place.got, finding.place.want)
            }
        };
        table.add_row([
            finding.name.clone(),
            finding.dtype.to_owned(),
            finding.quantity.to_string(),
            units(finding.error_ulp),
            finding.composed_ulp.map_or_else(|| "none".to_owned(), units),
            finding.place.to_string(),
            verdict,
        ]);
    }
    table
}

/// Units of the last place, with as many digits as say something.
fn units(ulp: f64) -> String {
    if ulp < 1e4 { format!("{ulp:.1}") } else { format!("{ulp:.1e}") }
}
