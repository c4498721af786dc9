//! `kiln reproduce`.
use anyhow::anyhow;
use clap::{Args, ValueEnum};
use kiln_claims::Scale;
use kiln_reports::{Reading, StudyReport, Verdict};

use super::{Global, print};
use crate::{
    Result,
    error::Sort,
    plan::{pool, state},
    study::{Book, evidence::Evidence, record, report},
};

/// Run what a study still lacks and judge its claims.
#[derive(Debug, Args)]
pub struct Reproduce {
    /// The study: the name of its folder below experiments/, or the path of its file.
    study: String,
    /// How much of it.
    #[arg(long, default_value = "glance", value_parser = |text: &str| text.parse::<Scale>())]
    scale: Scale,
    /// Only these runs or claims, such as A3 or G2. May be given several times.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,
    /// Make runs anew that another version of the code made.
    #[arg(long, value_enum)]
    rerun: Option<Rerun>,
    /// Write the record and the report beside the study file.
    #[arg(long)]
    record: bool,
    /// Runs at a time; each gets an equal share of the threads.
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Rerun {
    /// Runs of another code version.
    Stale,
}

impl Reproduce {
    /// Trains what is missing, judges, reports.
    ///
    /// # Errors
    /// If the study does not fit, a run fails, or a signal asks for an end.
    pub fn run(self, global: &Global) -> Result<()> {
        let book = Book::open(&self.study)?;
        if self.record && !book.path.exists() {
            return Err(anyhow!("--record writes beside the study file, and this one is the copy inside the binary"))
                .input();
        }
        let cores = global.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
        let jobs = self.jobs.unwrap_or(cores).clamp(1, cores.max(1));
        let plan = book.plan(self.scale, &self.only, (cores / jobs).max(1))?;
        let runs = &plan.runs;
        let options = pool::Options {
            jobs,
            rerun_stale: self.rerun == Some(Rerun::Stale),
            fail_fast: false,
            quiet: global.quiet,
            before: &|job| plan.note_claims(job),
        };
        let missing = runs.jobs.iter().filter(|job| !state::is_done(&runs.folder(job), options.rerun_stale)).count();
        global.say(format_args!("{}: {} runs, {missing} to be made, {jobs} at a time", book.name, runs.jobs.len()));
        let executed = pool::execute(runs, &options)?;
        if executed.interrupted {
            return executed.check();
        }

        let evidence = Evidence::read(&plan)?;
        let result = report::build(&book, self.scale, runs, &evidence);
        report::write(&result, &runs.dir, "REPORT.md", "report.html").failed()?;
        if self.record {
            record::write(&book, self.scale, runs, &evidence, &result).failed()?;
        }
        print(table(&result));
        if let Some(figure) = result.figures.first() {
            print(format_args!("picture: {}", runs.dir.join(&figure.png_path).display()));
        }
        print(format_args!("report:  {}", runs.dir.join("report.html").display()));
        executed.check()
    }
}

/// A row per claim, or per condition where one seed allows no verdict.
fn table(report: &StudyReport) -> comfy_table::Table {
    let glance = !report.claims.is_empty() && report.claims.iter().all(|claim| claim.verdict == Verdict::NoVerdict);
    if glance {
        let mut table = super::table(["claim", "condition", "required", "measured", "holds"]);
        for claim in &report.claims {
            table.add_row([
                claim.id.clone(),
                claim.statement.clone(),
                String::new(),
                "n = 1, no verdict".into(),
                String::new(),
            ]);
            for condition in &claim.conditions {
                let value = condition.values.first().map_or(Reading::Missing, |value| value.value);
                let holds = match condition.holds {
                    Some(true) => "✓",
                    Some(false) => "✗",
                    None => "–",
                };
                let kind = condition.kind.to_string();
                table.add_row([
                    kind,
                    condition.expression.clone(),
                    condition.required.clone(),
                    value.to_string(),
                    holds.into(),
                ]);
            }
        }
        return table;
    }
    let mut table = super::table(["claim", "statement", "verdict", "measured"]);
    for claim in &report.claims {
        let flags: String = claim.flags.iter().map(|flag| format!(", {flag}")).collect();
        let verdict = format!("{} {}{flags}", claim.verdict.mark(), claim.verdict);
        let measured = if claim.headline.is_empty() { claim.reason.clone() } else { claim.headline.clone() };
        table.add_row([claim.id.clone(), claim.statement.clone(), verdict, measured]);
    }
    table
}
