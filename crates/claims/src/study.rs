//! The study file as it is written. No logic beyond look-ups; [`Study::check`] compares its parts.
use std::{collections::BTreeMap, fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    expr::{Comparison, Expr},
    suggest::hint,
};

/// A study: what is trained, and what is claimed about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Kiln study")]
pub struct Study {
    /// Heading of the report.
    pub title: String,
    /// The paper under test: authors, year, title or number.
    pub paper: String,
    /// What the study asks, in a sentence or two.
    pub question: String,
    /// What a reader has to know before the verdicts, such as how the thresholds were found.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// The sizes at which the study can be run.
    pub scales: PerScale<ScaleSpec>,
    /// The runs by name. A name is a letter followed by letters, digits or underscores.
    pub runs: BTreeMap<String, RunSpec>,
    /// Which logged metrics the report shows.
    #[serde(default, skip_serializing_if = "ReportSpec::is_default")]
    pub report: ReportSpec,
    /// The claims, in the order of the report.
    #[serde(default)]
    pub claims: Vec<Claim>,
}

/// The size of a study.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// A minute or two: something to look at, no verdict.
    Glance,
    /// Small settings, several seeds, verdicts.
    Quick,
    /// The paper's own settings.
    Paper,
}

impl Scale {
    /// Every scale, smallest first.
    pub const ALL: [Self; 3] = [Self::Glance, Self::Quick, Self::Paper];

    /// The scale's name, as it stands in a file and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Glance => "glance",
            Self::Quick => "quick",
            Self::Paper => "paper",
        }
    }
}

impl fmt::Display for Scale {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Scale {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.map(Self::name);
        Self::ALL
            .into_iter()
            .find(|scale| scale.name() == text)
            .ok_or_else(|| format!("unknown scale \"{text}\"; {}", hint(text, known)))
    }
}

/// One value per scale, as far as given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PerScale<T> {
    /// At scale `glance`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub glance: Option<T>,
    /// At scale `quick`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quick: Option<T>,
    /// At scale `paper`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paper: Option<T>,
}

impl<T> Default for PerScale<T> {
    fn default() -> Self {
        Self { glance: None, quick: None, paper: None }
    }
}

impl<T> PerScale<T> {
    /// The value at this scale.
    pub fn get(&self, scale: Scale) -> Option<&T> {
        match scale {
            Scale::Glance => self.glance.as_ref(),
            Scale::Quick => self.quick.as_ref(),
            Scale::Paper => self.paper.as_ref(),
        }
    }

    /// The given values, smallest scale first.
    pub fn iter(&self) -> impl Iterator<Item = (Scale, &T)> {
        Scale::ALL.into_iter().filter_map(|scale| Some((scale, self.get(scale)?)))
    }

    fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}

/// `[scales.<scale>]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScaleSpec {
    /// Seeds of every run at this scale.
    pub seeds: Vec<u64>,
    /// What it may cost, in words: "90 s on 2 cores".
    pub budget: String,
    /// What a reader has to know about this scale.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// Instead of claims of its own, this scale shows those conditions of another scale's claims that its own
    /// runs decide, without a verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shows: Option<Scale>,
}

/// `[runs.<name>]`: a config and how this run differs from it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunSpec {
    /// What the run is, for tables and legends: "add 0.8, StableMax".
    pub summary: String,
    /// The config file, as it would be written after `kiln train`: a path from the top of the source tree.
    pub config: String,
    /// At which scales the run is made.
    pub scales: Vec<Scale>,
    /// Differences from the config: dotted key → value, applied in the order in which they are written.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub set: Map<String, Value>,
    /// Number of steps, if not the config's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub steps: Option<u64>,
    /// Runs that must be finished before this one starts (it begins with their weights, or learns from them).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
    /// Further differences at one scale.
    #[serde(default, skip_serializing_if = "PerScale::is_empty")]
    pub per_scale: PerScale<ScaleOverrides>,
}

/// `[runs.<name>.per_scale.<scale>]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScaleOverrides {
    /// Differences from the config, after the run's own.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub set: Map<String, Value>,
    /// Number of steps at this scale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub steps: Option<u64>,
}

/// `[[claims]]`: a statement, and the conditions under which it counts as reproduced.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// Short name, such as `G3`; the same claim at another scale has the same id.
    pub id: String,
    /// What is claimed, in a sentence.
    pub statement: String,
    /// The figure of the paper; empty for claims of the study's own.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub figure: String,
    /// The scale whose runs decide it.
    pub scale: Scale,
    /// What kind of statement it is.
    #[serde(default)]
    pub kind: ClaimKind,
    /// For kind `within`: the largest difference that counts as equal; `margin` in an expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub margin: Option<f64>,
    /// For kind `within`: the quantity whose spread over seeds says whether the margin can be resolved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Expr>,
    /// Directions and thresholds are judged on the mean over seeds instead of on every seed.
    #[serde(default)]
    pub on_mean: bool,
    /// Why the claim is declared but not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_run: Option<String>,
    /// What a reader has to know about this claim.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// What must hold.
    pub conditions: Vec<Condition>,
}

/// `[report]`: which logged metrics the report shows beside the claims. No verdict depends on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReportSpec {
    /// Columns of the table of runs: the value in the last logged row, seed by seed.
    pub table: Vec<String>,
    /// A figure over the steps for each of these metrics, with every run that logs it.
    pub curves: Vec<String>,
    /// Figures over something else than steps.
    pub profiles: Vec<ProfileSpec>,
}

impl Default for ReportSpec {
    fn default() -> Self {
        let names = |names: [&str; 3]| names.map(String::from).to_vec();
        Self {
            table: names(["train_accuracy", "test_accuracy", "zero_loss"]),
            curves: names(["test_accuracy", "zero_loss", "w_norm"]),
            profiles: Vec::new(),
        }
    }
}

impl ReportSpec {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Every metric that table and profiles read from the last row.
    pub fn end_metrics(&self) -> impl Iterator<Item = &str> {
        let points = self.profiles.iter().flat_map(|profile| &profile.points);
        self.table.iter().map(String::as_str).chain(points.map(|(_, metric)| metric.as_str()))
    }
}

/// `[[report.profiles]]`: a figure of several metrics of the last logged row, each at its own place on the axis, such as
/// the accuracy over the length of the row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProfileSpec {
    /// Short name of its files: letters, digits, underscores.
    pub name: String,
    /// Heading.
    pub title: String,
    /// Label of the axis that the places lie on; it is logarithmic.
    pub x: String,
    /// Label of the axis of the values.
    pub y: String,
    /// Place above 0 and metric of each point.
    pub points: Vec<(f64, String)>,
    /// The runs that are drawn.
    pub runs: Vec<String>,
}

/// What kind of statement a claim makes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClaimKind {
    /// Something does better than its control, or reaches what it should.
    #[default]
    Superior,
    /// Two things differ by no more than a margin.
    Within,
    /// Several things come in an order.
    Order,
    /// A value that has no spread, such as a count of exact zeros; judged on every seed.
    Exact,
}

/// One condition of a claim.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// What follows if it fails.
    pub kind: ConditionKind,
    /// The condition; see the crate documentation for the language.
    pub expr: Comparison,
    /// The published reading of the same quantity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<String>,
    /// The measured side is the number that stands for the claim in the table; at most one per claim.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub headline: bool,
}

/// What follows if a condition fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConditionKind {
    /// The experiment itself was sound (the control did train); else the claim is `void`.
    Precondition,
    /// The sign of the effect; else the claim is `not reproduced`.
    Direction,
    /// The size of the effect; else the claim is only `partly` reproduced.
    Threshold,
}

impl fmt::Display for ConditionKind {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(match self {
            Self::Precondition => "precondition",
            Self::Direction => "direction",
            Self::Threshold => "threshold",
        })
    }
}

impl Claim {
    /// Every run that its conditions and its baseline read, sorted, each once.
    pub fn runs(&self) -> Vec<&str> {
        let baseline = self.baseline.iter().flat_map(Expr::metrics).map(|metric| metric.run.as_str());
        let mut runs: Vec<&str> =
            self.conditions.iter().flat_map(|condition| condition.expr.runs()).chain(baseline).collect();
        runs.sort_unstable();
        runs.dedup();
        runs
    }
}

impl Study {
    /// The claims that are judged at this scale; none at a scale that only shows another's conditions.
    pub fn claims_at(&self, scale: Scale) -> impl Iterator<Item = &Claim> {
        self.claims.iter().filter(move |claim| claim.scale == scale)
    }

    /// The scale whose claims are looked at when this one is run: itself, or the one it shows.
    pub fn source_of(&self, scale: Scale) -> Scale {
        self.scales.get(scale).and_then(|spec| spec.shows).unwrap_or(scale)
    }
}
