//! What holds for every core, for all its features, denominators, decays and rules.
use kiln_activations::Ctx;
use kiln_registry::Tagged;
use serde_json::{Value, json};

use super::{
    CoreConfig, DecayConfig,
    testing::{LENGTH, config, fits},
};
use crate::attention::{denominator::DenominatorConfig, features::FeaturesConfig};

mod forms;
mod hidden;
mod steps;
mod values;

/// Every feature map, at sizes that fit a test.
fn features() -> Vec<Value> {
    let mut all: Vec<Value> = FeaturesConfig::NAMES
        .iter()
        .map(|name| match *name {
            // No gradient passes the shift of the exponents, which eps brings into the result.
            "favor" => json!({ "name": name, "m": 17, "eps": 0.0 }),
            "cos_reweight" => json!({ "name": name, "max_len": 512 }),
            name => json!({ "name": name }),
        })
        .collect();
    all.extend([
        json!({ "name": "softmax", "efficient": true }),
        json!({ "name": "favor", "m": 17, "variant": "sine_cosine" }),
        json!({ "name": "favor", "m": 17, "stabilizer": "global", "eps": 0.0 }),
        json!({ "name": "favor", "m": 17, "stabilizer": "none", "orthogonal": false }),
        json!({ "name": "favor_generalized", "function": "exp", "projection": { "m": 17, "row_norm": "sqrt_d" } }),
    ]);
    all
}

/// Every core with every choice it has.
fn cases() -> Vec<(String, CoreConfig)> {
    let mut all: Vec<Value> = features()
        .into_iter()
        .map(|features| {
            let denominator = if features["name"] == "identity" { "none" } else { "sum" };
            json!({ "name": "kernel", "features": features, "denominator": denominator })
        })
        .collect();
    for denominator in DenominatorConfig::NAMES {
        all.push(json!({ "name": "kernel", "denominator": denominator }));
        // A constant beside shifted weights stands in the way of an exact comparison.
        let exact = match *denominator {
            "rms" => json!({ "name": "rms", "eps": 1e-20 }),
            name => json!({ "name": name }),
        };
        all.push(json!({ "name": "kernel", "features": "exp", "denominator": exact }));
    }
    for decay in DecayConfig::NAMES {
        all.push(json!({ "name": "decayed", "decay": decay }));
    }
    all.push(json!({ "name": "decayed", "decay": "scalar", "features": "taylor2", "denominator": "l2" }));
    for (rule, features) in [("inline", "identity"), ("inline", "exp"), ("mala", "elu1"), ("mala_sums", "relu_sq")] {
        all.push(json!({ "name": "centred", "rule": rule, "features": features }));
    }
    for landmarks in [
        json!({ "name": "segments", "m": 3 }),
        json!({ "name": "segments", "m": 17 }),
        json!({ "name": "patches", "grid": [1, LENGTH], "ratio": 1 }),
    ] {
        all.push(json!({ "name": "nystrom", "landmarks": landmarks, "steps": 40 }));
    }
    all.push(json!({ "name": "nystrom", "landmarks": { "name": "segments", "m": 3 }, "inverse": "cholesky", "symmetric": true }));
    for normalize in ["none", "mean", "row"] {
        all.push(json!({ "name": "gaussian", "normalize": normalize }));
    }
    for denominator in DenominatorConfig::NAMES {
        all.push(json!({ "name": "ratio", "denominator": denominator }));
    }
    for numerator in ["taylor", "elu1"] {
        all.push(json!({ "name": "ratio", "numerator": numerator }));
    }
    all.push(json!("scores"));
    all.into_iter().map(|value| (value.to_string(), config(value))).collect()
}

/// Every case with every direction it has.
fn directions() -> impl Iterator<Item = (String, CoreConfig, bool)> {
    cases().into_iter().flat_map(|(name, config)| {
        let directions = [false, true].into_iter().filter(|causal| fits(&config, *causal)).collect::<Vec<_>>();
        directions.into_iter().map(move |causal| (format!("{name}, causal {causal}"), config.clone(), causal))
    })
}

/// The same core with its sums in another form; `None` where it has one only.
fn in_form(config: &CoreConfig, form: &str, chunk: usize) -> Option<CoreConfig> {
    let mut value = serde_json::to_value(config).unwrap();
    let table = value.as_object_mut().unwrap();
    if !table.contains_key("chunk") {
        return None;
    }
    table.insert("form".into(), json!(form));
    table.insert("chunk".into(), json!(chunk));
    Some(super::testing::config(value))
}

fn eval() -> Ctx {
    Ctx::eval(0, 0)
}

#[test]
fn every_core_has_a_case() {
    let cases = cases();
    for name in CoreConfig::NAMES {
        assert!(cases.iter().any(|(_, config)| config.name() == *name), "{name}");
    }
}
