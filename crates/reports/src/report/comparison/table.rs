//! The rows of a comparison as text, from which every form of it is made.

use std::collections::BTreeSet;

use kiln_analyses::holm::holm;
use kiln_analyses::seeds::{BySeed, Estimate, Interval, Paired};
use serde::Serialize;

use super::digits::{Digits, probability};
use super::{Better, ComparedMetric, ComparisonReport, Variant};

/// Corrected p values below this are set in bold.
const SIGNIFICANT: f64 = 0.05;

/// The table of one metric.
#[derive(Serialize)]
pub(super) struct Table<'a> {
    pub metric: &'a ComparedMetric,
    /// Name and unit.
    pub heading: String,
    /// `larger is better`, or empty.
    pub direction: String,
    /// Seeds with a column in the table of single values.
    pub seeds: Vec<u64>,
    pub rows: Vec<Row<'a>>,
    /// Whether there is a baseline.
    pub compared: bool,
    /// Number of p values, the family of Holm's correction.
    pub comparisons: usize,
}

/// One variant. Texts are ready to print; `None` is what does not exist, or is NaN because the mean beside it is.
#[derive(Serialize)]
pub(super) struct Row<'a> {
    pub variant: &'a str,
    /// Place among the variants.
    pub index: usize,
    pub is_baseline: bool,
    pub count: usize,
    pub planned: usize,
    pub non_finite: usize,
    pub mean: Option<String>,
    pub deviation: Option<String>,
    pub interval: Option<Ends>,
    /// One per seed of the table.
    pub values: Vec<Option<String>>,
    /// None for the baseline, and without one.
    pub versus: Option<Versus>,
}

/// The two ends of an interval.
#[derive(Serialize)]
pub(super) struct Ends {
    pub low: String,
    pub high: String,
}

/// A variant beside the baseline.
#[derive(Serialize)]
pub(super) struct Versus {
    pub pairs: usize,
    pub only_variant: usize,
    pub only_baseline: usize,
    /// With its sign.
    pub difference: Option<String>,
    pub deviation: Option<String>,
    pub interval: Option<Ends>,
    pub p: Option<String>,
    pub corrected: Option<String>,
    /// Whether the corrected p value is below 0.05.
    pub significant: bool,
    /// Class in the style sheet of a significant difference: good, bad or neutral.
    pub class: &'static str,
}

impl<'a> Table<'a> {
    /// The tables of all metrics.
    pub fn all(report: &'a ComparisonReport) -> Vec<Self> {
        report.metrics.iter().map(|metric| Self::of(report, metric)).collect()
    }

    fn of(report: &'a ComparisonReport, metric: &'a ComparedMetric) -> Self {
        let values: Vec<BySeed> = report.variants.iter().map(|variant| by_seed(variant, metric)).collect();
        let seeds: BTreeSet<u64> = report.variants.iter().flat_map(|variant| variant.runs.keys().copied()).collect();
        let baseline = report.variants.iter().position(|variant| variant.name == report.baseline);
        let pairs: Vec<Option<Paired>> = (0..values.len())
            .map(|i| baseline.filter(|&b| b != i).map(|b| Paired::between(&values[i], &values[b])))
            .collect();
        let p: Vec<f64> = pairs.iter().map(|paired| paired.and_then(|paired| paired.p).unwrap_or(f64::NAN)).collect();
        let rows = report.variants.iter().enumerate().zip(&values).zip(pairs.iter().zip(holm(&p)));
        Self {
            metric,
            heading: metric.heading(),
            direction: metric.better.map_or_else(String::new, |better| better.to_string()),
            rows: rows
                .map(|(((index, variant), values), (paired, corrected))| Row {
                    index,
                    is_baseline: baseline == Some(index),
                    versus: paired.as_ref().map(|paired| Versus::of(paired, corrected, metric.better)),
                    ..Row::of(variant, values, &seeds)
                })
                .collect(),
            seeds: seeds.into_iter().collect(),
            compared: baseline.is_some(),
            comparisons: p.iter().filter(|p| !p.is_nan()).count(),
        }
    }
}

/// A variant's values of a metric, as they are shown.
pub(super) fn by_seed(variant: &Variant, metric: &ComparedMetric) -> BySeed {
    let value = |(&seed, run): (&u64, &super::SeedRun)| Some((seed, metric.format.shown(*run.end.get(&metric.name)?)));
    variant.runs.iter().filter_map(value).collect()
}

impl<'a> Row<'a> {
    fn of(variant: &'a Variant, values: &BySeed, seeds: &BTreeSet<u64>) -> Self {
        let estimate = Estimate::of(values.values().copied());
        let digits = Digits::of(estimate.mean, estimate.error);
        let text = |value: f64| digits.text(value);
        Self {
            variant: &variant.name,
            index: 0,
            is_baseline: false,
            count: estimate.count,
            planned: variant.runs.len(),
            non_finite: estimate.non_finite,
            mean: estimate.mean.map(text),
            deviation: estimate.deviation.filter(|sd| !sd.is_nan()).map(text),
            interval: Ends::of(estimate.interval, digits),
            values: seeds.iter().map(|seed| values.get(seed).copied().map(text)).collect(),
            versus: None,
        }
    }

    /// Number of seeds: `3`, `2 of 3` if a run is missing, `3, 1 not finite` if one diverged.
    pub fn seeds(&self) -> String {
        let of = if self.planned > self.count { format!(" of {}", self.planned) } else { String::new() };
        let bad = if self.non_finite > 0 { format!(", {} not finite", self.non_finite) } else { String::new() };
        format!("{}{of}{bad}", self.count)
    }

    /// How many pairs the difference rests on, where that is not the number of seeds: `2 pairs`.
    pub fn pairs(&self) -> Option<String> {
        let pairs = self.versus.as_ref().map(|versus| versus.pairs).filter(|&pairs| pairs != self.count)?;
        Some(if pairs == 1 { "1 pair".to_owned() } else { format!("{pairs} pairs") })
    }
}

impl Versus {
    fn of(paired: &Paired, corrected: f64, better: Option<Better>) -> Self {
        let difference = &paired.difference;
        let digits = Digits::of(difference.mean, difference.error);
        let p = paired.p.filter(|p| !p.is_nan());
        let significant = corrected < SIGNIFICANT;
        let class = match (better, difference.mean) {
            (Some(better), Some(mean)) if significant => {
                if (mean > 0.0) == (better == Better::Larger) {
                    "good"
                } else {
                    "bad"
                }
            }
            _ => "neutral",
        };
        Self {
            pairs: difference.count,
            only_variant: paired.only_variant,
            only_baseline: paired.only_baseline,
            difference: difference.mean.map(|mean| digits.signed(mean)),
            deviation: difference.deviation.filter(|sd| !sd.is_nan()).map(|sd| digits.text(sd)),
            interval: Ends::of(difference.interval, digits),
            p: p.map(probability),
            corrected: p.map(|_| probability(corrected)),
            significant,
            class,
        }
    }
}

impl Ends {
    fn of(interval: Option<Interval>, digits: Digits) -> Option<Self> {
        let Interval { low, high } = interval.filter(|interval| !(interval.low.is_nan() || interval.high.is_nan()))?;
        Some(Self { low: digits.text(low), high: digits.text(high) })
    }
}

/// How to read the tables, in sentences.
pub(super) fn reading(report: &ComparisonReport, tables: &[Table<'_>]) -> Vec<String> {
    if tables.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![
        "mean ± sd: mean and sample standard deviation (n − 1) over n seeds; intervals are 95 % Student t intervals of \
         the mean (n − 1 degrees of freedom). Digits go down to the second one of the standard error."
            .to_owned(),
    ];
    let bad: usize = tables.iter().flat_map(|table| &table.rows).map(|row| row.non_finite).sum();
    if bad > 0 {
        lines.push(
            "A value that is NaN or infinite is kept: it makes the mean NaN, and no p value is counted.".to_owned(),
        );
    }
    let Some(baseline) = report.baseline() else {
        if !report.baseline.is_empty() {
            lines.push(format!("The baseline {} is not among the variants, so nothing is compared.", report.baseline));
        }
        return lines;
    };
    lines.push(format!(
        "Differences are variant − {}, paired by seed: a seed that only one of the two has is left out. Their interval is \
         the t interval of the mean paired difference, p is of the two-sided paired t test.",
        baseline.name
    ));
    let counts: BTreeSet<usize> = tables.iter().map(|table| table.comparisons).collect();
    let made = match (counts.first(), counts.last()) {
        (Some(least), Some(most)) if least != most => format!("{least} to {most} comparisons"),
        (Some(1), _) => "1 comparison".to_owned(),
        (Some(count), _) => format!("{count} comparisons"),
        _ => "comparisons".to_owned(),
    };
    lines.push(format!(
        "p (Holm) is corrected for the {made} of each metric; {} shown, and nothing is corrected across metrics. Bold: below \
         0.05.",
        if tables.len() == 1 { "1 metric is".to_owned() } else { format!("{} metrics are", tables.len()) },
    ));
    lines
}
