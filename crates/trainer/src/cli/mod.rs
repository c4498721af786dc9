//! The command line: few verbs, results on stdout, progress and errors on stderr.
use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

use crate::{Error, Result};
use terminal::table;

mod apply;
mod bench;
mod check;
mod complete;
mod config;
mod data;
mod diff;
mod dtype;
mod eval;
mod explain;
mod list;
mod man;
mod profile;
mod report;
mod reproduce;
mod runs;
mod schema;
mod sweep;
mod terminal;
mod train;
mod verify;

/// Train, ablate and reproduce what is published about the softmax and everything that replaces it.
#[derive(Debug, Parser)]
#[command(name = "kiln", version, max_term_width = 100, arg_required_else_help = true)]
#[command(
    after_help = "Exit codes: 0 done, 1 the run failed or the answer is no, 2 bad input, 3 interrupted (go on with kiln train --resume)."
)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

/// Options every verb takes.
#[derive(Clone, Debug, Default, Args)]
pub struct Global {
    /// Say more.
    #[arg(short, long, global = true, conflicts_with = "quiet")]
    verbose: bool,
    /// Say nothing but results and errors.
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Worker threads on the CPU (run.threads).
    #[arg(long, global = true, value_name = "N")]
    threads: Option<usize>,
    /// Where to compute: flex, ndarray, wgpu, vulkan, cuda:0 (run.device).
    #[arg(long, global = true, value_name = "NAME")]
    device: Option<String>,
}

impl Global {
    /// The `--set` overrides with those that have an option of their own.
    fn sets(&self, sets: &[String]) -> Vec<String> {
        let mut sets = sets.to_vec();
        sets.extend(self.threads.map(|threads| format!("run.threads={threads}")));
        sets.extend(self.device.as_ref().map(|device| format!("run.device=\"{device}\"")));
        sets
    }

    /// The name of the device for verbs without a config: flex if nothing is said.
    fn device(&self) -> &str {
        self.device.as_deref().unwrap_or("flex")
    }

    /// A line for people who want to hear more, on stderr.
    fn chat(&self, line: impl std::fmt::Display) {
        if self.verbose {
            eprintln!("{line}");
        }
    }

    /// A line for people, on stderr.
    fn say(&self, line: impl std::fmt::Display) {
        if !self.quiet {
            eprintln!("{line}");
        }
    }
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Train the experiment of a config file, or go on with a run.
    Train(train::Train),
    /// Evaluate a trained run, under other settings if asked; export weights, attention, logits and more.
    Eval(eval::Eval),
    /// Print a config with all defaults, as it would run.
    Config(config::Print),
    /// Explain a config key: what it is, what it may be, and who set it.
    Explain(explain::Explain),
    /// What differs between two runs or configs: keys, data, code, machine, results.
    Diff(diff::Diff),
    /// List what a config can name.
    List(list::List),
    /// List, fetch and check the data sets that are not generated.
    Data(data::Data),
    /// Print the JSON Schema of experiment, study or sweep files.
    Schema(schema::Print),
    /// Run what a study still lacks and judge its claims.
    Reproduce(reproduce::Reproduce),
    /// Vary an experiment over keys and seeds: plan, train what is missing, see how far it is.
    Sweep(sweep::Sweep),
    /// Write the report of a run anew.
    Report(report::Report),
    /// List runs, compare their sizes, remove them.
    Runs(runs::Runs),
    /// Check every map and loss on this device against its f64 definition.
    Check(check::Check),
    /// Apply one map to numbers: weights, log weights, gradient, a plot.
    Apply(apply::Apply),
    /// Measure speed.
    Bench(bench::Bench),
    /// Hold promises against the real thing: the same bits again, the same bits after a cut.
    Verify(verify::Verify),
    /// Where the time of a training goes, phase by phase.
    Profile(profile::Profile),
    /// Print the completion script of a shell.
    Completions(complete::Completions),
    /// Print a manual page, of kiln or of one of its verbs.
    Man(man::Manual),
    /// Answer a completion script.
    #[command(hide = true)]
    Complete(complete::Complete),
}

/// A config file and changes to it.
#[derive(Clone, Debug, Args)]
pub struct ConfigArgs {
    /// A TOML file; looked for here, in the parent folders, then among the copies inside the binary.
    config: PathBuf,
    /// Change a key: --set optim.lr=3e-4. May be given several times.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// Runs the command line; errors go to stderr, the exit code tells their kind.
pub fn main() -> ExitCode {
    let result = std::panic::catch_unwind(run);
    match result {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            match &error {
                Error::Config(config) => eprintln!("{}", config.render(terminal::colour(&std::io::stderr()))),
                Error::Interrupted { .. } | Error::Stopped => eprintln!("{error}"),
                Error::Told => {}
                _ => eprintln!("error: {error}"),
            }
            ExitCode::from(error.exit_code())
        }
        Err(_) => ExitCode::from(1),
    }
}

fn run() -> Result<()> {
    let Cli { global, verb } = Cli::parse();
    match verb {
        Verb::Train(verb) => verb.run(&global),
        Verb::Eval(verb) => verb.run(&global),
        Verb::Config(verb) => verb.run(&global),
        Verb::Explain(verb) => verb.run(&global),
        Verb::Diff(verb) => verb.run(&global),
        Verb::List(verb) => verb.run(),
        Verb::Data(verb) => verb.run(&global),
        Verb::Schema(verb) => verb.run(),
        Verb::Reproduce(verb) => verb.run(&global),
        Verb::Sweep(verb) => verb.run(&global),
        Verb::Report(verb) => verb.run(&global),
        Verb::Runs(verb) => verb.run(&global),
        Verb::Check(verb) => verb.run(&global),
        Verb::Apply(verb) => verb.run(&global),
        Verb::Bench(verb) => verb.run(&global),
        Verb::Verify(verb) => verb.run(&global),
        Verb::Profile(verb) => verb.run(&global),
        Verb::Completions(verb) => verb.run(),
        Verb::Man(verb) => verb.run(&global),
        Verb::Complete(verb) => verb.run(),
    }
}

/// Prints a result line; a reader that went away is no error.
fn print(text: impl std::fmt::Display) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "{text}");
}
