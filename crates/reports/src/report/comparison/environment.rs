//! Where runs were made: once where they agree, run by run where they do not.

use serde::Serialize;

use super::ComparisonReport;

/// Facts about all runs.
#[derive(Serialize)]
pub(super) struct Environment<'a> {
    /// Label and value, of what is the same in every run.
    pub common: Vec<(&'a str, &'a str)>,
    /// What is not.
    pub differing: Vec<Differing<'a>>,
}

/// A fact on which runs differ.
#[derive(Serialize)]
pub(super) struct Differing<'a> {
    pub label: &'a str,
    /// Value (`None` where a run does not say) and the runs that have it: `softmax: 0, 1; stablemax: 2`.
    pub values: Vec<(Option<&'a str>, String)>,
}

/// A run's variant and seed.
type Run<'a> = (&'a str, u64);

impl<'a> Environment<'a> {
    /// Gathers the facts of all runs that say any; a run that never began says none.
    pub fn of(report: &'a ComparisonReport) -> Self {
        let runs: Vec<(Run<'a>, &[(String, String)])> = report
            .variants
            .iter()
            .flat_map(|variant| variant.runs.iter().map(|(&seed, run)| ((variant.name.as_str(), seed), run)))
            .map(|(name, run)| (name, run.environment.as_slice()))
            .filter(|(_, facts)| !facts.is_empty())
            .collect();
        let mut labels: Vec<&str> = Vec::new();
        for (label, _) in runs.iter().flat_map(|(_, facts)| *facts) {
            if !labels.contains(&label.as_str()) {
                labels.push(label);
            }
        }
        let (mut common, mut differing) = (Vec::new(), Vec::new());
        for label in labels {
            let mut values: Vec<(Option<&str>, Vec<Run<'_>>)> = Vec::new();
            for &(run, facts) in &runs {
                let value = facts.iter().find(|(name, _)| name == label).map(|(_, value)| value.as_str());
                match values.iter_mut().find(|(known, _)| *known == value) {
                    Some((_, who)) => who.push(run),
                    None => values.push((value, vec![run])),
                }
            }
            match values.as_slice() {
                [(Some(value), _)] => common.push((label, *value)),
                _ => differing.push(Differing {
                    label,
                    values: values.into_iter().map(|(value, who)| (value, listed(&who))).collect(),
                }),
            }
        }
        Self { common, differing }
    }
}

/// Runs by variant: `softmax: 0, 1; stablemax: 2`.
fn listed(runs: &[Run<'_>]) -> String {
    let mut text = String::new();
    for (i, (variant, seed)) in runs.iter().enumerate() {
        match i.checked_sub(1).map(|before| runs[before].0) {
            Some(before) if before == *variant => text += &format!(", {seed}"),
            Some(_) => text += &format!("; {variant}: {seed}"),
            None => text += &format!("{variant}: {seed}"),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::{SeedRun, Variant};
    use super::*;

    fn run(facts: &[(&str, &str)]) -> SeedRun {
        let environment = facts.iter().map(|(label, value)| ((*label).into(), (*value).into())).collect();
        SeedRun { environment, ..SeedRun::default() }
    }

    #[test]
    fn only_what_differs_is_listed_by_run() {
        let fast = run(&[("code", "a1"), ("cpu", "fast")]);
        let slow = run(&[("code", "a1"), ("cpu", "slow"), ("gpu", "none")]);
        let variant = |name: &str, runs: [SeedRun; 2]| Variant {
            name: name.into(),
            runs: (0..).zip(runs).collect(),
            ..Variant::default()
        };
        let report = ComparisonReport {
            variants: vec![
                variant("a", [fast.clone(), fast.clone()]),
                variant("b", [slow, fast]),
                variant("never began", [run(&[]), run(&[])]),
            ],
            ..ComparisonReport::default()
        };
        let environment = Environment::of(&report);
        assert_eq!(environment.common, [("code", "a1")]);
        let of = |i: usize| (environment.differing[i].label, environment.differing[i].values.clone());
        assert_eq!(of(0), ("cpu", vec![(Some("fast"), "a: 0, 1; b: 1".into()), (Some("slow"), "b: 0".into())]));
        assert_eq!(of(1), ("gpu", vec![(None, "a: 0, 1; b: 1".into()), (Some("none"), "b: 0".into())]));
    }
}
