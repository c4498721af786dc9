//! What holds for every attention, walked over presets, positions, patterns and normalizers.
mod golden;
mod laws;
mod refusals;
mod stepping;

use burn::tensor::{Bool, DType, Tensor, TensorData};
use kiln_activations::{Ctx, Init};
use kiln_registry::Tagged;
use serde_json::{Value, json};

use super::{Attention, AttentionConfig, CoreConfig, Fit, PresetConfig, Scope, Side, features::FeaturesConfig};
use crate::{
    block::Draw,
    testing::{device, normal, randomised},
};

const D_MODEL: usize = 14;
const LENGTH: usize = 11;
const ROWS: usize = 3;

fn read(value: Value) -> AttentionConfig {
    serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{value}: {error}"))
}

fn fit(causal: bool) -> Fit {
    Fit { d_model: D_MODEL, length: 64, causal }
}

fn build(config: &AttentionConfig, d_model: usize) -> Attention {
    let init = Init::new(3, &device(), DType::F64);
    config.init(&init, d_model, 64, [Draw::Normal, Draw::Normal], 0.0)
}

/// Every preset at two heads, by name, and every position, pattern and extra of the plain one: 7 channels per head would
/// not turn in pairs, so heads have 4 channels, and 7 per value.
fn all() -> Vec<(String, AttentionConfig)> {
    let two_heads = |name: &&str| {
        let mut config = read(json!({ "name": name, "n_heads": 2 }));
        (config.d_head, config.d_value) = (Some(4), Some(7));
        if let CoreConfig::Kernel(kernel) = &mut config.core
            && let FeaturesConfig::Favor(favor) = &mut kernel.features
        {
            // Only without its eps does the stabiliser, which passes no gradient, cancel.
            (favor.m, favor.eps) = (5, 0.0);
        }
        config.bias = *name == "cosformer";
        (name.to_string(), config)
    };
    let slots = [
        ("learned scale", json!({ "learn_scale": true })),
        ("fixed scale", json!({ "scale": 0.3 })),
        ("unit vectors", json!({ "qk_norm": "l2" })),
        ("multi-query", json!({ "kv_heads": 1 })),
        ("low rank", json!({ "rank_qk": 2, "rank_v": 3 })),
        ("one projection", json!({ "shared_qk": true })),
        ("biases", json!({ "bias": true })),
        ("local convolution", json!({ "local_conv": { "kernel": 3 }, "pattern": "causal" })),
        ("head gate", json!({ "gate": { "per_head": true, "activation": "silu" } })),
        ("prefix", json!({ "pattern": { "name": "prefix", "length": 3 } })),
        ("local", json!({ "pattern": { "name": "local", "radius": 2 } })),
        ("window with sinks", json!({ "pattern": { "name": "window", "width": 3, "sinks": 2 } })),
        ("causal", json!({ "pattern": "causal" })),
        ("entmax", json!({ "normalizer": "entmax", "pattern": "causal" })),
        ("sigmoid", json!({ "normalizer": "sigmoid" })),
        ("ssmax", json!({ "normalizer": "ssmax", "pattern": "causal" })),
    ];
    let slots = slots.into_iter().map(|(name, value)| (name.to_owned(), value));
    let positions = crate::position::PositionConfig::NAMES
        .iter()
        .filter(|name| !["learned", "sinusoidal"].contains(name))
        .map(|name| (format!("position {name}"), json!({ "position": name })));
    let slots = slots.chain(positions).map(|(name, mut value)| {
        let own = value.as_object_mut().unwrap();
        own.insert("n_heads".into(), json!(2));
        own.insert("d_head".into(), json!(4));
        own.insert("d_value".into(), json!(7));
        (name, read(value))
    });
    PresetConfig::NAMES.iter().map(two_heads).chain(slots).collect()
}

/// Those that may stand in a network that looks ahead or not, with parameters that are neither 0 nor 1.
fn fitting(causal: bool) -> Vec<(String, AttentionConfig, Attention)> {
    let fits = all().into_iter().filter(|(_, config)| config.check(fit(causal)).is_ok());
    fits.map(|(name, config)| {
        let mut attention = randomised(build(&config, D_MODEL));
        if name == "cosformer" {
            // Queries and keys far above 0, so that no rectified feature bends within the step of a difference.
            for layer in [Some(&mut attention.query), attention.key.as_mut()].into_iter().flatten() {
                let bias = Tensor::full([8], 12.0, (&device(), DType::F64)).require_grad();
                layer.bias = Some(burn::module::Param::from_tensor(bias));
            }
        }
        (name, config, attention)
    })
    .collect()
}

fn x(length: usize, name: &str) -> Tensor<3> {
    normal([ROWS, length, D_MODEL], DType::F64, name)
}

fn scope(config: &AttentionConfig, causal: bool, side: Side) -> Scope {
    Scope::of(config.pattern_in(causal).pattern(), side)
}

fn ctx() -> Ctx {
    Ctx::eval(0, 0)
}

/// `[rows, length]` of 1 and 0.
fn kept<const L: usize>(rows: &[[i32; L]]) -> Tensor<2, Bool> {
    let flat: Vec<bool> = rows.iter().flatten().map(|one| *one == 1).collect();
    Tensor::from_data(TensorData::new(flat, [rows.len(), L]), &device())
}
