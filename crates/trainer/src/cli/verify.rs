//! `kiln verify`.
use std::path::PathBuf;

use anyhow::anyhow;
use clap::{Args, Subcommand};

use super::{Global, print, table, terminal::Paint};
use crate::{
    Error, Result,
    config::{self, places},
    error::Sort,
    verify::{self, Difference, Finding},
};

/// Hold promises against the real thing: the same bits again, the same bits after a cut.
#[derive(Debug, Args)]
pub struct Verify {
    #[command(subcommand)]
    promise: Promise,
}

#[derive(Debug, Subcommand)]
enum Promise {
    /// Run again, and with other numbers of threads: weights, optimizer state and log are the same to the last bit.
    Determinism {
        #[command(flatten)]
        what: What,
        /// The threads of each run, in order; all are compared with the first.
        #[arg(long, value_name = "N,N", value_delimiter = ',', default_values_t = [1, 2, 2])]
        with: Vec<usize>,
    },
    /// Cut a run in the middle and resume it: it ends as one that was not cut.
    Resume {
        #[command(flatten)]
        what: What,
    },
}

/// What is run.
#[derive(Clone, Debug, Args)]
struct What {
    /// TOML files; looked for here, in the parent folders, then among the copies inside the binary.
    #[arg(value_name = "CONFIG", required_unless_present = "shipped", conflicts_with = "shipped")]
    configs: Vec<PathBuf>,
    /// Every config inside the binary, or those of one folder such as grokking; those whose data is not here are skipped.
    #[arg(long, value_name = "FOLDER", num_args = 0..=1, default_missing_value = "")]
    shipped: Option<String>,
    /// Change a key: --set optim.lr=3e-4. May be given several times.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Steps of each run, if the config does not have fewer.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u64).range(2..))]
    steps: u64,
    /// Print an array of objects, one per config.
    #[arg(long)]
    json: bool,
}

impl Verify {
    /// Runs, compares and prints. The runs are made in temporary folders.
    ///
    /// # Errors
    /// If a config does not fit or a run fails; [`Error::Told`] if a promise is not kept.
    pub fn run(self, global: &Global) -> Result<()> {
        let (what, with) = match self.promise {
            Promise::Determinism { what, with } => {
                if with.len() < 2 || with.contains(&0) {
                    return Err(anyhow!("--with takes at least two numbers of threads, each at least 1, such as 1,2"))
                        .input();
                }
                (what, Some(with))
            }
            Promise::Resume { what } => (what, None),
        };
        let configs = what.configs()?;
        let mut findings = Vec::new();
        for path in configs {
            let check = || -> Result<Finding> {
                let loaded = config::load(&path, &global.sets(&what.set))?;
                match &with {
                    Some(threads) => verify::determinism(&loaded, what.steps, threads),
                    None => verify::resume(&loaded, what.steps),
                }
            };
            let finding = match check() {
                Err(Error::Config(error)) if what.shipped.is_some() && is_about_missing_data(&error) => {
                    skipped(&path, with.is_some(), error.headline())
                }
                result => result?,
            };
            if let (false, None) = (what.json, finding.holds) {
                global.say(format_args!("skipped: {}", finding.about));
            }
            global.chat(format_args!("{}: {}", finding.config, finding.about));
            findings.push(finding);
        }
        match what.json {
            true => print(serde_json::to_string_pretty(&findings).unwrap_or_default()),
            false => print(report(&findings, Paint::stdout())),
        }
        let broken = findings.iter().filter(|finding| finding.holds == Some(false)).count();
        if broken > 0 { Err(Error::Told) } else { Ok(()) }
    }
}

impl What {
    fn configs(&self) -> Result<Vec<PathBuf>> {
        let Some(folder) = &self.shipped else { return Ok(self.configs.clone()) };
        let start = if folder.is_empty() { "configs/".to_owned() } else { format!("configs/{folder}/") };
        let found: Vec<PathBuf> = places::shipped_experiments(&start).map(PathBuf::from).collect();
        if found.is_empty() {
            let mut known: Vec<&str> =
                places::shipped_experiments("configs/").filter_map(|path| path.split('/').nth(1)).collect();
            known.dedup();
            return Err(anyhow!("no shipped config is below configs/{folder}; folders: {}", known.join(", "))).input();
        }
        Ok(found)
    }
}

/// Whether a config is refused only since its data is not on this machine.
fn is_about_missing_data(error: &kiln_config::ConfigError) -> bool {
    error.headline().contains("kiln data fetch")
}

fn skipped(path: &std::path::Path, determinism: bool, why: String) -> Finding {
    let promise = if determinism { "determinism" } else { "resume" };
    Finding { config: path.display().to_string(), promise, holds: None, about: why, steps: 0, differences: Vec::new() }
}

fn report(findings: &[Finding], paint: Paint) -> String {
    let mut all = table(["config", "steps", "what", "verdict"]);
    for finding in findings {
        let verdict = match finding.holds {
            Some(true) => "same bits",
            Some(false) => "DIFFERS",
            None => "skipped",
        };
        let about = if finding.holds.is_none() { "its data is not here" } else { &finding.about };
        all.add_row([finding.config.as_str(), &finding.steps.to_string(), about, verdict]);
    }
    let mut text = all.to_string();
    for finding in findings.iter().filter(|finding| !finding.differences.is_empty()) {
        let mut table = table(["run", "what", "place", "first run", "this run"]);
        for difference in &finding.differences {
            let Difference { run, what, place, first, other } = difference;
            table.add_row([run, *what, place, first, other]);
        }
        text.push_str(&format!("\n\n{}\n{table}", paint.bad(&finding.config)));
    }
    let (kept, of) = (
        findings.iter().filter(|finding| finding.holds == Some(true)).count(),
        findings.iter().filter(|finding| finding.holds.is_some()).count(),
    );
    let line = format!("{kept} of {of} keep the promise");
    text.push_str(&format!("\n{}", if kept == of { paint.good(&line) } else { paint.bad(&line) }));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_promise_shows_where() {
        let finding = |holds, differences| Finding {
            config: "a.toml".into(),
            promise: "resume",
            holds,
            about: "two runs".into(),
            steps: 6,
            differences,
        };
        let difference = Difference {
            run: "the resumed run".into(),
            what: "weights",
            place: "layers.0.weight[3], 1 of 9 values".into(),
            first: "1e0".into(),
            other: "2e0".into(),
        };
        let text = report(&[finding(Some(true), Vec::new()), finding(Some(false), vec![difference])], Paint::stdout());
        for part in ["same bits", "DIFFERS", "layers.0.weight[3], 1 of 9 values", "2e0", "1 of 2 keep the promise"] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
    }
}
