//! What the runs of a plan logged, as the claims read it.
use std::collections::{BTreeMap, BTreeSet, HashMap};

use kiln_claims::{Claim, Provenance, Records};

use super::{ClaimHashes, StudyPlan};
use crate::{
    Result,
    error::Sort,
    run::{
        RunFolder,
        metrics::{self, Row},
        summary::Summary,
    },
};

/// One finished run.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Its log.
    pub rows: Vec<Row>,
    /// Its summary.
    pub summary: Summary,
    /// Claims and their hashes when it was started.
    pub claims: ClaimHashes,
    series: BTreeMap<String, Vec<(u64, f64)>>,
}

/// The finished runs of a plan.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    runs: HashMap<(String, u64), Finished>,
}

impl Evidence {
    /// Reads every finished run; those that are missing are left out.
    ///
    /// # Errors
    /// If a log or a summary is damaged.
    pub fn read(plan: &StudyPlan) -> Result<Self> {
        let mut runs = HashMap::new();
        for job in &plan.runs.jobs {
            let Ok(folder) = RunFolder::open(&plan.runs.folder(job)) else { continue };
            let Some(summary) = folder.summary()?.filter(|summary| summary.status.is_final()) else { continue };
            let rows = metrics::read(&folder.file("metrics.jsonl")).input()?;
            let series = metrics::names(&rows).into_iter().map(|name| (name.clone(), metrics::series(&rows, &name)));
            let finished = Finished { series: series.collect(), rows, summary, claims: plan.claims_before(job) };
            runs.insert((job.run.clone(), job.seed), finished);
        }
        Ok(Self { runs })
    }

    /// One run, if it is finished.
    pub fn run(&self, run: &str, seed: u64) -> Option<&Finished> {
        self.runs.get(&(run.to_owned(), seed))
    }

    /// Hash of every version of the code that made one of the runs.
    pub fn code_versions(&self) -> BTreeSet<String> {
        self.runs.values().map(|run| run.summary.code.clone()).collect()
    }

    /// What was known when the runs of a claim were started.
    pub fn provenance(&self, claim: &Claim, hash: String, seeds: &[u64]) -> Provenance {
        let runs: Vec<&Finished> =
            claim.runs().iter().flat_map(|run| seeds.iter().filter_map(|seed| self.run(run, *seed))).collect();
        Provenance {
            claim: hash,
            claim_at_run: runs.iter().map(|run| run.claims.get(&claim.id).cloned()).collect(),
            code_of_run: runs.iter().map(|run| run.summary.code.clone()).collect(),
        }
    }
}

impl Records for Evidence {
    fn series(&self, run: &str, seed: u64, metric: &str) -> Option<&[(u64, f64)]> {
        self.run(run, seed)?.series.get(metric).map(Vec::as_slice)
    }

    fn finished(&self, run: &str, seed: u64) -> bool {
        self.run(run, seed).is_some()
    }

    fn metrics(&self, run: &str, seed: u64) -> Vec<String> {
        self.run(run, seed).map(|run| run.series.keys().cloned().collect()).unwrap_or_default()
    }
}
