//! The command line: few verbs, results on stdout, progress and errors on stderr.
use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

use crate::{Error, Result};

mod apply;
mod bench;
mod check;
mod config;
mod data;
mod dtype;
mod eval;
mod list;
mod report;
mod reproduce;
mod runs;
mod schema;
mod sweep;
mod train;

/// Train, ablate and reproduce what is published about the softmax and everything that replaces it.
#[derive(Debug, Parser)]
#[command(name = "kiln", version, max_term_width = 100, arg_required_else_help = true)]
#[command(
    after_help = "Exit codes: 0 done, 1 the run failed, 2 bad input, 3 interrupted (go on with kiln train --resume)."
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
                Error::Config(config) => eprintln!("{}", config.render(colour())),
                Error::Interrupted { .. } | Error::Stopped => eprintln!("{error}"),
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
    }
}

/// Whether stderr wants colours.
fn colour() -> bool {
    use std::io::IsTerminal;
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) && std::io::stderr().is_terminal()
}

/// Prints a result line; a reader that went away is no error.
fn print(text: impl std::fmt::Display) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// A table in the house style: a line below the header, none between rows, no wider than the terminal.
fn table<'a>(header: impl IntoIterator<Item = &'a str>) -> comfy_table::Table {
    let style = comfy_table::presets::UTF8_HORIZONTAL_ONLY.row_separator(comfy_table::LineStyle::none());
    let mut table = comfy_table::Table::new();
    table
        .load_style(style)
        .set_content_arrangement(comfy_table::ContentArrangement::Dynamic)
        .set_header(header.into_iter().collect::<Vec<_>>());
    if !table.is_tty() {
        table.set_width(140);
    }
    table
}
