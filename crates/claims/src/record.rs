//! What was known before a run: hashes of claims and of code.
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::study::Claim;

/// Something that a verdict must not be printed without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Flag {
    /// What is judged was written or edited after the runs were made.
    #[serde(rename = "changed after the run")]
    ChangedAfterRun,
    /// The runs were made by different versions of the code.
    #[serde(rename = "mixed code versions")]
    MixedCode,
}

impl fmt::Display for Flag {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(match self {
            Self::ChangedAfterRun => "changed after the run",
            Self::MixedCode => "mixed code versions",
        })
    }
}

/// Where a claim's evidence comes from. The hashes are the caller's; this crate only compares them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provenance {
    /// Hash of the claim's [`Claim::judged_text`] now.
    pub claim: String,
    /// The same hash as it stood when each of the claim's runs was started; `None` for a run that was started
    /// before the claim existed.
    pub claim_at_run: Vec<Option<String>>,
    /// Hash of the code that made each of the claim's runs.
    pub code_of_run: Vec<String>,
}

impl Provenance {
    /// What must be printed beside the verdict.
    pub fn flags(&self) -> Vec<Flag> {
        let changed = self.claim_at_run.iter().any(|before| before.as_ref() != Some(&self.claim));
        let mixed = self.code_of_run.windows(2).any(|pair| pair[0] != pair[1]);
        [(changed, Flag::ChangedAfterRun), (mixed, Flag::MixedCode)]
            .into_iter()
            .filter_map(|(raised, flag)| raised.then_some(flag))
            .collect()
    }
}

impl Claim {
    /// The canonical text of all that decides the verdict, for hashing: one line of JSON with the id, scale,
    /// seeds, kind, margin, baseline, `on_mean`, and of each condition its kind and its expression in canonical
    /// form.
    ///
    /// Prose (statement, figure, notes, published readings) and spelling (spaces, parentheses that change nothing)
    /// are not in it, so that mending a typo after the run raises no flag; moving a threshold or dropping a seed
    /// does.
    pub fn judged_text(&self, seeds: &[u64]) -> String {
        let conditions: Vec<_> = self.conditions.iter().map(|c| json!([c.kind, c.expr])).collect();
        json!({
            "id": self.id,
            "scale": self.scale,
            "seeds": seeds,
            "kind": self.kind,
            "margin": self.margin,
            "baseline": self.baseline,
            "on_mean": self.on_mean,
            "conditions": conditions,
        })
        .to_string()
    }
}
