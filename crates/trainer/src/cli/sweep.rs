//! `kiln sweep`.
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::{Global, print};
use crate::{
    Result, config,
    plan::{pool, state::State},
    sweep::{self, Overview, Prepared, RunView, SweepFile, SweepPlan, VariantView, Wanted},
};

/// Vary an experiment over keys and seeds: plan, train what is missing, see how far it is.
#[derive(Debug, Args)]
pub struct Sweep {
    #[command(subcommand)]
    verb: Action,
    /// The folder that sweeps' folders are made in.
    #[arg(long, default_value = sweep::DIR, global = true)]
    dir: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Resolve and check every config and freeze them into one plan; nothing is trained.
    Plan(Choice),
    /// Train what the plan lacks; makes the plan if there is none.
    Run {
        #[command(flatten)]
        choice: Choice,
        /// Stop at the first run that fails; the others can be gone on with.
        #[arg(long)]
        fail_fast: bool,
    },
    /// How far each run is.
    Status {
        /// The sweep's TOML file, or its folder.
        sweep: PathBuf,
        /// Print one object.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
struct Choice {
    /// A sweep's TOML file; looked for here, in the parent folders, then among the copies inside the binary.
    sweep: PathBuf,
    /// Make the plan anew if the file was edited; finished runs whose config is the same are kept.
    #[arg(long)]
    replan: bool,
    /// Runs at a time; when the plan is made, each gets an equal share of the threads.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// Print one object, as `kiln sweep status --json` does.
    #[arg(long)]
    json: bool,
}

impl Sweep {
    /// Plans, trains or tells.
    ///
    /// # Errors
    /// If the sweep does not fit, was edited since it was planned, a run fails, or a signal asks for an end.
    pub fn run(self, global: &Global) -> Result<()> {
        match self.verb {
            Action::Plan(choice) => {
                let prepared = choice.prepare(&self.dir, global)?;
                let plan = &prepared.plan;
                let word = if prepared.new { "planned" } else { "planned before" };
                global.say(format_args!("{}: {word}, {}", plan.runs.dir.display(), size(plan)));
                show(&plan.overview(), choice.json, || settings(plan));
                Ok(())
            }
            Action::Run { choice, fail_fast } => train(&choice, fail_fast, &self.dir, global),
            Action::Status { sweep, json } => {
                // The plan counts, whatever has become of the file.
                let dir = if sweep.is_dir() { sweep.clone() } else { self.dir.join(config::stem(&sweep)) };
                let Some(plan) = SweepPlan::read(&dir)? else {
                    SweepFile::open(&sweep)?;
                    return SweepPlan::find_in(&dir, &sweep).map(drop);
                };
                show(&plan.overview(), json, || states(&plan.overview()));
                tell_failures(&plan.overview(), json);
                Ok(())
            }
        }
    }
}

/// Threads that the whole command may use.
fn cores(global: &Global) -> usize {
    global.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)).max(1)
}

impl Choice {
    fn prepare(&self, dir: &Path, global: &Global) -> Result<Prepared> {
        let file = SweepFile::open(&self.sweep)?;
        let cores = cores(global);
        let jobs = self.jobs.map_or(cores, usize::from).min(cores);
        let explicit = self.jobs.is_some() || global.threads.is_some();
        sweep::prepare(&file, &file.dir(dir), Wanted { threads: cores / jobs, explicit, replan: self.replan })
    }
}

fn train(choice: &Choice, fail_fast: bool, dir: &Path, global: &Global) -> Result<()> {
    let prepared = choice.prepare(dir, global)?;
    let plan = &prepared.plan;
    // A plan that is there keeps its threads per run; so many of these fit.
    let jobs = choice.jobs.map_or_else(|| cores(global) / plan.threads, usize::from).max(1);
    let missing = plan.runs.jobs.len() - plan.overview().count("done");
    global.say(format_args!("{}: {}, {missing} to be made, {jobs} at a time", plan.runs.dir.display(), size(plan)));
    let options = pool::Options { jobs, rerun_stale: false, fail_fast, quiet: global.quiet, before: &|_| Ok(()) };
    let executed = pool::execute(&plan.runs, &options)?;
    let overview = plan.overview();
    show(&overview, choice.json, || states(&overview));
    executed.check()
}

/// `12 runs of 1 thread each`.
fn size(plan: &SweepPlan) -> String {
    let threads = if plan.threads == 1 { "1 thread".to_owned() } else { format!("{} threads", plan.threads) };
    format!("{} runs of {threads} each", plan.runs.jobs.len())
}

fn show(overview: &Overview, json: bool, table: impl FnOnce() -> comfy_table::Table) {
    match json {
        true => print(serde_json::to_string_pretty(&overview.to_json()).unwrap_or_default()),
        false => print(table()),
    }
}

/// Variants and what they differ in.
fn settings(plan: &SweepPlan) -> comfy_table::Table {
    let keys = plan.variants.iter().flat_map(|variant| variant.settings.iter().map(|(key, _)| key.as_str()));
    let mut columns: Vec<&str> = Vec::new();
    for key in keys {
        if !columns.contains(&key) {
            columns.push(key);
        }
    }
    let mut table = super::table(["variant"].into_iter().chain(columns.iter().copied()));
    for variant in &plan.variants {
        let value = |key: &&str| variant.settings.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone());
        let cells = columns.iter().map(|key| value(key).unwrap_or_else(|| "–".into()));
        table.add_row(std::iter::once(name(plan.baseline.as_deref(), &variant.name)).chain(cells));
    }
    table
}

/// Variants by seeds.
fn states(overview: &Overview) -> comfy_table::Table {
    let seeds: Vec<String> = overview.seeds.iter().map(|seed| format!("seed {seed}")).collect();
    let mut table = super::table(["variant"].into_iter().chain(seeds.iter().map(String::as_str)));
    for variant in &overview.variants {
        let cell = |seed: &u64| {
            let of = |variant: &VariantView| variant.runs.iter().find(|run| run.seed == *seed).map(state);
            of(variant).unwrap_or_default()
        };
        let cells = overview.seeds.iter().map(cell);
        table.add_row(std::iter::once(name(overview.baseline.as_deref(), &variant.name)).chain(cells));
    }
    table
}

fn name(baseline: Option<&str>, name: &str) -> String {
    if baseline == Some(name) { format!("{name} (baseline)") } else { name.to_owned() }
}

/// `done`, `running (step 40)`.
fn state(run: &RunView) -> String {
    use crate::run::summary::Status;
    match (&run.state, run.step) {
        (State::Done(Status::Finished), _) => "done".into(),
        (State::Done(status), _) => format!("done ({status})"),
        (State::Running | State::Missing, Some(step)) => format!("{} (step {step})", run.word()),
        _ => run.word().into(),
    }
}

/// The reason of every run that failed.
fn tell_failures(overview: &Overview, json: bool) {
    for (variant, run) in overview.runs().filter(|_| !json) {
        if let State::Failed(reason) = &run.state {
            print(format_args!("{variant}-s{}: {reason}", run.seed));
        }
    }
}
