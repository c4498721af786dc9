//! From readings to a word.
use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Serialize};

use crate::{
    evaluate::{EvalError, Reading, Records, Value, read},
    record::{Flag, Provenance},
    study::{Claim, Condition, ConditionKind},
};

/// The verdict on a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Word {
    /// Every condition holds.
    #[serde(rename = "reproduced")]
    Reproduced,
    /// Every direction holds, some threshold fails.
    #[serde(rename = "partly")]
    Partly,
    /// A direction fails.
    #[serde(rename = "not reproduced")]
    NotReproduced,
    /// A precondition fails: the experiment cannot speak.
    #[serde(rename = "void")]
    Void,
    /// The margin is smaller than the noise.
    #[serde(rename = "undecidable")]
    Undecidable,
    /// Nothing to judge.
    #[serde(rename = "not run")]
    NotRun,
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(match self {
            Self::Reproduced => "reproduced",
            Self::Partly => "partly",
            Self::NotReproduced => "not reproduced",
            Self::Void => "void",
            Self::Undecidable => "undecidable",
            Self::NotRun => "not run",
        })
    }
}

/// A claim, judged.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// The verdict itself.
    pub word: Word,
    /// Why it is not `reproduced`; empty if it is.
    pub reason: String,
    /// What must be printed beside the word.
    pub flags: Vec<Flag>,
    /// Number of seeds.
    pub n: usize,
    /// Each condition with its values.
    pub rows: Vec<ConditionRow>,
}

impl Verdict {
    /// The condition whose value stands for the claim.
    pub fn headline(&self) -> Option<&ConditionRow> {
        self.rows.iter().find(|row| row.headline)
    }
}

impl fmt::Display for Verdict {
    /// The word, followed by its flags: `partly, changed after the run`.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let flags: String = self.flags.iter().map(|flag| format!(", {flag}")).collect();
        f.pad(&format!("{}{flags}", self.word))
    }
}

/// A condition with its values on each seed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ConditionRow {
    /// What follows if it fails.
    pub kind: ConditionKind,
    /// The whole condition, in canonical form.
    pub expr: String,
    /// The measured side: `at(A3.test_accuracy, 2500)`.
    pub measured: String,
    /// What it is held against: `>= 0.95`.
    pub threshold: String,
    /// The published reading of the same quantity.
    pub published: Option<String>,
    /// Whether its measured value stands for the claim.
    pub headline: bool,
    /// One entry per seed; none for a claim declared as not run.
    pub seeds: Vec<SeedRow>,
    /// The same on the means over seeds, where the claim is judged on them.
    pub mean: Option<SideValues>,
    /// Whether it holds on every seed, or on the mean where the claim is judged on that.
    pub holds: bool,
}

/// A condition on one seed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SeedRow {
    /// The seed.
    pub seed: u64,
    /// The values, if there are any.
    pub values: Option<SideValues>,
    /// Why there are none.
    pub problem: Option<String>,
}

/// The values of a condition's sides.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SideValues {
    /// Value of the measured side.
    pub value: Value,
    /// Values of the other sides, from left to right.
    pub bounds: Vec<Value>,
    /// Whether the condition holds for them.
    pub holds: bool,
}

impl SideValues {
    fn new(reading: Reading, measured: usize) -> Self {
        let Reading { mut sides, holds } = reading;
        let value = sides.remove(measured);
        Self { value, bounds: sides, holds }
    }
}

/// Judges a claim on the records of its runs.
///
/// A claim declared as not run keeps its rows, without values. A missing run, metric or row gives `not run` with
/// the reason, never a pass and never a failure. Otherwise the first that applies, in this order: a precondition
/// fails on some seed (`void`; preconditions are never judged on the mean); a direction fails (`not reproduced`);
/// the margin is below two standard errors of the baseline, or there are too few seeds to know (`undecidable`); a
/// threshold fails (`partly`); `reproduced`. So noise cannot hide a failed direction, and a threshold that noise
/// alone could pass or miss is not decided.
pub fn judge(claim: &Claim, seeds: &[u64], records: &dyn Records, provenance: &Provenance) -> Verdict {
    let verdict = |word, reason, flags, rows| Verdict { word, reason, flags, n: seeds.len(), rows };
    let rows = |seeds: &[u64]| -> Vec<ConditionRow> {
        claim.conditions.iter().map(|condition| row(condition, claim, seeds, records)).collect()
    };
    if let Some(reason) = &claim.not_run {
        return verdict(Word::NotRun, reason.clone(), Vec::new(), rows(&[]));
    }
    let rows = rows(seeds);
    let (word, reason) = weigh(claim, seeds, records, &rows);
    verdict(word, reason, provenance.flags(), rows)
}

fn weigh(claim: &Claim, seeds: &[u64], records: &dyn Records, rows: &[ConditionRow]) -> (Word, String) {
    if seeds.is_empty() {
        return (Word::NotRun, "no seeds".into());
    }
    if let Some(problem) = rows.iter().flat_map(|row| &row.seeds).find_map(|seed| seed.problem.clone()) {
        return (Word::NotRun, problem);
    }
    let failed = |kind| rows.iter().find(|row| row.kind == kind && !row.holds).map(failure);
    if let Some(failure) = failed(ConditionKind::Precondition) {
        return (Word::Void, failure);
    }
    if let Some(failure) = failed(ConditionKind::Direction) {
        return (Word::NotReproduced, failure);
    }
    match unresolved(claim, seeds, records) {
        Err(problem) => return (Word::NotRun, problem.to_string()),
        Ok(Some(reason)) => return (Word::Undecidable, reason),
        Ok(None) => {}
    }
    match failed(ConditionKind::Threshold) {
        Some(failure) => (Word::Partly, failure),
        None => (Word::Reproduced, String::new()),
    }
}

/// The values of each condition that `runs` alone decide, on these seeds; no verdict follows from them.
pub fn observe(claim: &Claim, runs: &BTreeSet<&str>, seeds: &[u64], records: &dyn Records) -> Vec<ConditionRow> {
    claim
        .conditions
        .iter()
        .filter(|condition| condition.expr.runs().iter().all(|run| runs.contains(run)))
        .map(|condition| row(condition, claim, seeds, records))
        .collect()
}

fn row(condition: &Condition, claim: &Claim, seeds: &[u64], records: &dyn Records) -> ConditionRow {
    let Condition { kind, expr, published, headline } = condition;
    let measured = expr.measured_side();
    let readings: Vec<Result<Reading, EvalError>> =
        seeds.iter().map(|seed| expr.evaluate(records, *seed, claim.margin)).collect();
    let whole: Option<Vec<&Reading>> = readings.iter().map(|reading| reading.as_ref().ok()).collect();
    let on_mean = claim.on_mean && *kind != ConditionKind::Precondition;
    let mean = whole.as_ref().filter(|whole| on_mean && !whole.is_empty()).map(|whole| {
        let sides: Vec<Value> =
            (0..whole[0].sides.len()).map(|side| mean(whole.iter().map(|r| r.sides[side]))).collect();
        SideValues::new(Reading { holds: expr.holds_for(&sides), sides }, measured)
    });
    let holds = match &mean {
        Some(mean) => mean.holds,
        None => whole.is_some_and(|whole| !whole.is_empty() && whole.iter().all(|reading| reading.holds)),
    };
    let seeds = seeds.iter().zip(readings).map(|(seed, reading)| match reading {
        Ok(reading) => SeedRow { seed: *seed, values: Some(SideValues::new(reading, measured)), problem: None },
        Err(error) => SeedRow { seed: *seed, values: None, problem: Some(error.to_string()) },
    });
    ConditionRow {
        kind: *kind,
        expr: expr.to_string(),
        measured: expr.measured(),
        threshold: expr.threshold(),
        published: published.clone(),
        headline: *headline,
        seeds: seeds.collect(),
        mean,
        holds,
    }
}

/// The mean, `never` if one of the values is.
fn mean(values: impl Iterator<Item = Value>) -> Value {
    let numbers: Option<Vec<f64>> = values.map(Value::number).collect();
    numbers.map_or(Value::Never, |numbers| Value::Number(numbers.iter().sum::<f64>() / numbers.len() as f64))
}

/// Where and with which value a condition failed.
fn failure(row: &ConditionRow) -> String {
    let place = match &row.mean {
        Some(mean) => format!("on the mean ({})", short(mean.value)),
        None => {
            let failed: Vec<String> = row
                .seeds
                .iter()
                .filter_map(|seed| Some((seed.seed, seed.values.as_ref()?)))
                .filter(|(_, values)| !values.holds)
                .map(|(seed, values)| format!("{seed} ({})", short(values.value)))
                .collect();
            format!("on seed {}", failed.join(", "))
        }
    };
    format!("{} fails {place}: {}", row.kind, row.expr)
}

/// A value for a sentence: whole numbers in full, others with four significant digits.
fn short(value: Value) -> String {
    match value {
        Value::Number(number) if number.fract() != 0.0 && number.is_finite() => {
            format!("{number:.3e}").parse().map_or_else(|_| value.to_string(), |rounded: f64| rounded.to_string())
        }
        other => other.to_string(),
    }
}

/// Why the margin of a `within` claim says nothing, if so.
fn unresolved(claim: &Claim, seeds: &[u64], records: &dyn Records) -> Result<Option<String>, EvalError> {
    let (Some(margin), Some(baseline)) = (claim.margin, &claim.baseline) else { return Ok(None) };
    let values: Vec<Value> =
        seeds.iter().map(|seed| read(baseline, records, *seed, claim.margin)).collect::<Result<_, _>>()?;
    let numbers: Option<Vec<f64>> = values.into_iter().map(Value::number).collect();
    let error = numbers.and_then(|numbers| standard_error(&numbers));
    Ok(match error {
        None => Some(format!("the spread of {baseline} is unknown with n = {}", seeds.len())),
        Some(error) if margin < 2.0 * error => {
            Some(format!("the margin {margin} is below two standard errors of {baseline}: 2 × {error:.4}"))
        }
        // A NaN spread is no evidence of a small one.
        Some(error) if error.is_nan() => Some(format!("the spread of {baseline} is not a number")),
        Some(_) => None,
    })
}

/// Standard error of the mean: the sample standard deviation (n − 1) over √n; `None` below two values.
pub fn standard_error(values: &[f64]) -> Option<f64> {
    if values.len() < 2 {
        return None;
    }
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0);
    Some((variance / n).sqrt())
}
