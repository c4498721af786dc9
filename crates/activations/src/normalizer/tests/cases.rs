//! The entries under test, and the values computed for them elsewhere.
use std::path::PathBuf;

use burn::tensor::DType;
use kiln_registry::Tagged;
use serde::Deserialize;

use super::{Normalizer, NormalizerConfig};
use crate::{Init, testing::device};

/// One file of golden values.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct GoldenFile {
    /// Where the values come from.
    pub(super) origin: String,
    /// Parameters at which the laws are tested as well.
    #[serde(default)]
    variants: Vec<toml::Table>,
    #[serde(default, rename = "case")]
    pub(super) cases: Vec<Case>,
}

/// One row, and what comes of it.
#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    #[serde(default)]
    config: toml::Table,
    /// Whether the row belongs to a training step.
    #[serde(default)]
    pub(super) training: bool,
    pub(super) scores: Vec<f64>,
    #[serde(default)]
    pub(super) keep: Vec<bool>,
    #[serde(default)]
    pub(super) upstream: Vec<f64>,
    pub(super) weights: Option<Vec<f64>>,
    pub(super) d_scores: Option<Vec<f64>>,
    /// The gradient at the row parameters, in the map's own units.
    pub(super) d_params: Option<Vec<f64>>,
    pub(super) log_weights: Option<Vec<f64>>,
    pub(super) d_scores_log: Option<Vec<f64>>,
    /// Relative tolerance in `f32` for a map whose gradient cancels.
    pub(super) f32_tolerance: Option<f64>,
}

impl Case {
    pub(super) fn config(&self, name: &str) -> NormalizerConfig {
        load(name, &self.config)
    }
}

fn load(name: &str, params: &toml::Table) -> NormalizerConfig {
    NormalizerConfig::load(name, params.clone()).unwrap_or_else(|error| panic!("golden config of {name}: {error}"))
}

/// The golden file of an entry, if there is one.
pub(super) fn golden(name: &str) -> Option<GoldenFile> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("golden/normalizer/{name}.toml"));
    let text = std::fs::read_to_string(&path).ok()?;
    Some(toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

/// Every configuration under test, with a text that names it.
pub(super) fn configs() -> Vec<(String, NormalizerConfig)> {
    let mut all: Vec<(String, NormalizerConfig)> = Vec::new();
    for name in NormalizerConfig::NAMES {
        let file = golden(name).unwrap_or_default();
        let named =
            file.variants.iter().chain(file.cases.iter().map(|case| &case.config)).map(|params| load(name, params));
        for config in NormalizerConfig::by_name(name).into_iter().chain(named) {
            if all.iter().all(|(_, other)| *other != config) {
                all.push((serde_json::to_string(&config).expect("a config can be written"), config));
            }
        }
    }
    all
}

/// Every configuration under test, built.
pub(super) fn maps() -> Vec<(String, Normalizer)> {
    configs().into_iter().map(|(what, config)| (what, config.init(&Init::new(0, &device(), DType::F64)))).collect()
}

/// Those whose result depends on nothing but the scores.
pub(super) fn fixed_maps() -> Vec<(String, Normalizer)> {
    maps().into_iter().filter(|(_, map)| !map.laws().stochastic).collect()
}
