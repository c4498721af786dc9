//! A small schema with registries in every position, and files that are held in memory.
#![allow(dead_code, reason = "each test file uses its part")]

use std::{collections::HashMap, io, path::Path};

use kiln_config::{Document, Loader};
use kiln_registry::{Entry, range, registry};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! params {
    ($name:ident { $($(#[$meta:meta])* $field:ident : $type:ty),* $(,)? }) => {
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name { $($(#[$meta])* pub $field: $type),* }
        impl Entry for $name { const SUMMARY: &'static str = "a test entry"; }
    };
}

fn one_and_a_half() -> f64 {
    1.5
}

params!(Softmax {});
params!(Entmax {
    #[serde(default = "one_and_a_half", deserialize_with = "range::positive")]
    alpha: f64
});
registry! { config Normalizer("normalizer"); "softmax" => Softmax(Softmax), "entmax" => Entmax(Entmax) }

params!(Clip { norm: f64 });
params!(PerpGrad {});
registry! { config Transform("transform"); "clip" => Clip(Clip), "perp_grad" => PerpGrad(PerpGrad) }

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Dtype {
    F16,
    F32,
}

params!(Attention { n_heads: usize, normalizer: Normalizer });
params!(Mlp { widths: Vec<usize>, #[serde(default)] bias: bool });
params!(Transformer { attention: Attention, #[serde(default)] dropout: Option<f64> });
registry! { config Model("model"); "mlp" => Mlp(Mlp), "transformer" => Transformer(Transformer) }

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Optim {
    #[serde(deserialize_with = "range::positive")]
    pub lr: f64,
    #[serde(default, deserialize_with = "range::pair_below_one")]
    pub betas: [f64; 2],
    #[serde(default)]
    pub transforms: Vec<Transform>,
    #[serde(default)]
    pub state_dtype: Option<Dtype>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Stop {
    Never,
    After(u8),
    Reached { metric: String, value: f64 },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(default)]
    pub seed: u64,
    pub model: Model,
    pub optim: Optim,
    #[serde(default)]
    pub stop: Option<Stop>,
}

/// A config that is right; its lines are counted on in the tests.
pub const GOOD: &str = r#"seed = 3

[model]
dropout = 0
name = "transformer"
[model.attention]
n_heads = 4
normalizer = { alpha = 2, name = "entmax" }

[optim]
lr = 3e-3
betas = [0.9, 0.99]
transforms = ["perp_grad", { name = "clip", norm = 1 }]
state_dtype = "f32"
"#;

/// Files in memory.
pub struct Shelf(pub HashMap<&'static str, Vec<u8>>);

impl Shelf {
    pub fn new<const N: usize>(files: [(&'static str, &str); N]) -> Self {
        Self(files.map(|(path, text)| (path, text.as_bytes().to_vec())).into())
    }
}

impl Loader for Shelf {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let found = path.to_str().and_then(|path| self.0.get(path));
        found.cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// What reading `GOOD` says after `from` was replaced by `to`.
pub fn complaint(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from:?} is not in the config");
    let document = Document::parse("x.toml", &GOOD.replacen(from, to, 1)).expect("TOML");
    document.deserialize::<Config>().expect_err("an error").to_string()
}
