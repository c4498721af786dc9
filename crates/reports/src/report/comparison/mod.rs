//! The comparison of several variants over several seeds: one page, one table, in five forms.
//!
//! All forms are printed from one set of rows of text ([`table`]), so they agree to the last digit.

mod csv;
mod curves;
mod digits;
mod environment;
mod latex;
mod page;
mod table;
mod wire;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Scale;

pub use csv::{comparison_csv_seeds, comparison_csv_summary};
pub use curves::comparison_figures;
pub use latex::comparison_latex;
pub use page::{comparison_html, comparison_markdown};

/// Which way a metric improves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// Accuracy.
    Larger,
    /// Loss.
    Smaller,
}

impl fmt::Display for Better {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Better::Larger => "larger is better",
            Better::Smaller => "smaller is better",
        })
    }
}

/// How the values of a metric are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricFormat {
    /// As they are.
    #[default]
    Plain,
    /// Fractions, shown as per cent: 0.25 as 25 %.
    Percent,
}

impl MetricFormat {
    /// The value as it is shown.
    fn shown(self, value: f64) -> f64 {
        match self {
            MetricFormat::Plain => value,
            MetricFormat::Percent => 100.0 * value,
        }
    }
}

/// What the band around a mean curve shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BandKind {
    /// From the lowest to the highest seed.
    #[default]
    Range,
    /// The 95 % t interval of the mean. With two or three seeds it is far wider than the seeds themselves.
    Interval,
}

impl fmt::Display for BandKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BandKind::Range => "band: lowest to highest seed",
            BandKind::Interval => "band: 95 % t interval of the mean",
        })
    }
}

/// A metric to compare by.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ComparedMetric {
    /// Name, as in the runs' values and curves: `test_accuracy`.
    pub name: String,
    /// Unit of the values, such as `nats` or `steps`; empty for none. Of a percentage it is `%` whatever stands here.
    pub unit: String,
    /// Plain, or fractions as per cent.
    pub format: MetricFormat,
    /// Which way it improves, if that is known.
    pub better: Option<Better>,
    /// Vertical axis of its curves.
    pub scale: Scale,
    /// Path of its figure beside the Markdown file; empty for no link.
    pub figure_path: String,
}

impl ComparedMetric {
    fn unit(&self) -> &str {
        match self.format {
            MetricFormat::Plain => &self.unit,
            MetricFormat::Percent => "%",
        }
    }

    /// Name and unit: `test_accuracy (%)`.
    fn heading(&self) -> String {
        if self.unit().is_empty() { self.name.clone() } else { format!("{} ({})", self.name, self.unit()) }
    }
}

/// How far a run got.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// To its end.
    #[default]
    Finished,
    /// It began and broke off, for this reason.
    Failed(String),
    /// There is no run, for this reason.
    Missing(String),
}

/// One run: one variant with one seed. Values and curves of a run that did not finish take part like all others, so leave
/// out what should not; what is left out is counted in the table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SeedRun {
    /// Whether it finished, and why not.
    pub state: RunState,
    /// End values by metric. A diverged run says NaN or ∞, which the table reports. In JSON these are strings.
    #[serde(with = "wire::values")]
    pub end: BTreeMap<String, f64>,
    /// Curves by metric, points `(x, y)`. In JSON values that are not finite are strings.
    #[serde(with = "wire::curves")]
    pub curves: BTreeMap<String, Vec<(f64, f64)>>,
    /// Machine, versions, hashes: label and value. Shown once where all runs agree, per run where they do not.
    pub environment: Vec<(String, String)>,
}

/// One variant of the experiment, over its seeds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Variant {
    /// Name; unique among the variants.
    pub name: String,
    /// Config keys and values: `loss.normalizer`, `stablemax`. Keys on which all variants agree are not shown.
    pub settings: Vec<(String, String)>,
    /// Its runs by seed, the planned ones that are missing included.
    pub runs: BTreeMap<u64, SeedRun>,
}

/// All that a comparison shows. Empty parts leave no heading behind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ComparisonReport {
    /// Heading.
    pub title: String,
    /// What is asked, in a sentence; may be empty.
    pub question: String,
    /// Name of the variant that the others are compared with; empty for no comparison.
    pub baseline: String,
    /// The variants, in the order of the table.
    pub variants: Vec<Variant>,
    /// The metrics, in the order of the page.
    pub metrics: Vec<ComparedMetric>,
    /// Label of the horizontal axis of the curves: `step`.
    pub x: String,
    /// What the bands of the curves show.
    pub band: BandKind,
    /// Remarks that concern the whole comparison.
    pub notes: Vec<String>,
}

impl ComparisonReport {
    fn baseline(&self) -> Option<&Variant> {
        self.variants.iter().find(|variant| variant.name == self.baseline)
    }
}
