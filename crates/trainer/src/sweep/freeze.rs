//! One plan file: made once, kept until the user asks for another.
use std::path::Path;

use anyhow::anyhow;
use kiln_sweeps::Variant;

use super::{PlannedVariant, SweepFile, SweepPlan, changes, differences::differences, draft, draft::check};
use crate::{
    Result, atomic,
    error::Sort,
    plan::{
        Draft, Plan,
        lock::{self, Lock},
        state::State,
    },
};

/// What the command line says of the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Threads of each run, where nothing else decides.
    pub threads: usize,
    /// Whether the user asked for so many; else a plan that is there keeps its own when it is made anew.
    pub explicit: bool,
    /// Whether a plan that no longer fits its file is made anew.
    pub replan: bool,
}

/// A frozen plan, kept from being replaced while this value lives.
#[derive(Debug)]
pub struct Prepared {
    /// The plan.
    pub plan: SweepPlan,
    /// Whether it was written just now.
    pub new: bool,
    /// Held in common by all who work on the plan.
    _share: Lock,
}

/// The plan in `dir`, made from the file if there is none; every config is checked before it is written.
///
/// # Errors
/// If a config does not fit, the file was edited since the plan was made and `replan` is not wanted, another process works on
/// the plan that is to be replaced, or the folder cannot be written.
pub fn prepare(file: &SweepFile, dir: &Path, wanted: Wanted) -> Result<Prepared> {
    let gate = dir.join("locks").join("plan.lock");
    let mut new = false;
    loop {
        let found = SweepPlan::read(dir)?;
        let threads = threads(file, found.as_ref(), wanted);
        let draft = draft(file, dir, threads)?;
        let now = describe(file, &draft, threads);
        match &found {
            // Read once more under the share: what is there now stays while it is held.
            Some(before) if before.runs == now.runs && *before == now => {
                let share = lock::share(&gate).input()?;
                match SweepPlan::read(dir)? {
                    Some(plan) if plan == now => return Ok(Prepared { plan, new, _share: share }),
                    _ => continue,
                }
            }
            Some(before) if before.runs != now.runs && !wanted.replan => {
                return Err(edited(file, before, &now, &draft));
            }
            _ => {}
        }
        // Headings and the baseline decide nothing about a run and are taken over as they are.
        let runs_change = found.as_ref().is_none_or(|before| before.runs != now.runs);
        if runs_change {
            check(file, &draft)?;
        }
        let alone = match found.is_some() && runs_change {
            true => lock::claim(&gate).input()?.ok_or_else(|| busy(dir)).input()?,
            false if found.is_some() => lock::share(&gate).input()?,
            false => lock::wait(&gate).input()?,
        };
        // Somebody else may have been faster.
        if SweepPlan::read(dir)? != found {
            continue;
        }
        if runs_change {
            draft.write_configs().input()?;
            new = true;
        }
        let text = serde_json::to_string_pretty(&now).failed()?;
        atomic::write(&dir.join(Plan::FILE), text + "\n").input()?;
        drop(alone);
    }
}

fn busy(dir: &Path) -> anyhow::Error {
    anyhow!("another process works on the plan in {}; let it end or stop it before --replan", dir.display())
}

/// What the file says comes first, then a plan that is there, then the command line.
fn threads(file: &SweepFile, found: Option<&SweepPlan>, wanted: Wanted) -> usize {
    let kept = found.filter(|_| !(wanted.replan && wanted.explicit)).map(|plan| plan.threads);
    file.sweep.threads.or(kept).unwrap_or(wanted.threads).max(1)
}

fn edited(file: &SweepFile, before: &SweepPlan, now: &SweepPlan, draft: &Draft) -> crate::Error {
    let kept = now.runs.jobs.iter().filter(|job| {
        before.runs.jobs.iter().any(|old| old.name == job.name) && matches!(now.runs.state(job), State::Done(_))
    });
    let message = format!(
        "{} is not what the plan in {} was made from:\n{}\n--replan makes the plan anew; {} of its {} runs are there and kept",
        file.path.display(),
        before.runs.dir.display(),
        changes::between(before, now, draft).join("\n"),
        kept.count(),
        now.runs.jobs.len(),
    );
    crate::Error::Input(anyhow!(message))
}

/// The plan as it would be written.
fn describe(file: &SweepFile, draft: &Draft, threads: usize) -> SweepPlan {
    let sweep = &file.sweep;
    SweepPlan {
        title: sweep.title.clone(),
        question: sweep.question.trim().to_owned(),
        baseline: sweep.baseline.clone(),
        metrics: sweep.metrics.clone(),
        threads,
        seeds: sweep.seeds.clone(),
        variants: variants(file, draft),
        runs: draft.plan.clone(),
    }
}

/// The variants with what their configs differ in, as those of the first seed say it.
fn variants(file: &SweepFile, draft: &Draft) -> Vec<PlannedVariant> {
    let config = |variant: &Variant| {
        let mut jobs = draft.plan.jobs.iter().zip(&draft.loaded);
        jobs.find(|(job, _)| job.run == variant.name && job.seed == file.sweep.seeds[0]).map(|(_, loaded)| loaded)
    };
    let configs: Vec<_> = file.variants.iter().filter_map(config).collect();
    let all = file.variants.iter().zip(differences(&configs, &draft.plan));
    all.map(|(variant, settings)| PlannedVariant { name: variant.name.clone(), label: variant.label.clone(), settings })
        .collect()
}
