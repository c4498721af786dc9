//! Every head once more in plain loops, from the names and values of its parameters.
use std::{
    collections::BTreeMap,
    f64::consts::{PI, TAU},
};

use super::*;
use crate::testing::{named_values, running_values};

/// What the loops read.
struct Plain<'a> {
    parameters: &'a BTreeMap<String, Vec<f64>>,
    /// Vectors that are frozen or shared: a row per class.
    vectors: Vec<f64>,
    features: &'a [f64],
    /// A running statistic, for heads that have one.
    running: Option<f64>,
    /// The right class of every row, while training.
    told: Option<Vec<usize>>,
}

impl Plain<'_> {
    fn parameter(&self, name: &str) -> &[f64] {
        self.parameters.get(name).unwrap_or_else(|| panic!("no parameter {name} in {:?}", self.parameters.keys()))
    }

    fn rows(&self) -> impl Iterator<Item = &[f64]> {
        self.features.chunks(FEATURES)
    }

    /// `h W + b`, from weights of `[features, outputs]`.
    fn dense(&self, layer: &str, outputs: usize) -> Vec<f64> {
        let (weight, bias) = (self.parameter(&format!("{layer}.weight")), self.parameter(&format!("{layer}.bias")));
        let logit = |h: &[f64], k: usize| (0..FEATURES).map(|i| h[i] * weight[i * outputs + k]).sum::<f64>() + bias[k];
        self.rows().flat_map(|h| (0..outputs).map(move |k| logit(h, k)).collect::<Vec<_>>()).collect()
    }

    /// The cosines of rows with the vectors of the classes.
    fn cosines(&self, features: &[f64]) -> Vec<f64> {
        let length = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
        let cosine = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>() / length(a) / length(b);
        let vectors = || self.vectors.chunks(FEATURES);
        features.chunks(FEATURES).flat_map(|h| vectors().map(|w| cosine(h, w)).collect::<Vec<_>>()).collect()
    }

    /// Scaled cosines, where `own` says what becomes of the right class's while training.
    fn margin(&self, s: f64, own: impl Fn(f64) -> f64) -> Vec<f64> {
        let mut c = self.cosines(self.features);
        for (row, class) in self.told.iter().flatten().enumerate() {
            let c = &mut c[row * OUTPUTS + class];
            *c = own(*c);
        }
        c.iter().map(|c| s * c).collect()
    }

    /// `softplus(ŝ) + 1`
    fn learned_scale(&self) -> f64 {
        self.parameter("scale")[0].exp().ln_1p() + 1.0
    }
}

/// cos(arccos c + m), and `c − m sin m` beyond π.
fn added(c: f64, m: f64) -> f64 {
    if c.acos() + m > PI { c - m * m.sin() } else { (c.acos() + m).cos() }
}

fn reference(config: &HeadConfig, plain: &Plain<'_>) -> Vec<f64> {
    match config {
        HeadConfig::LinearHead(_) => plain.dense("output", OUTPUTS),
        HeadConfig::Svm(_) | HeadConfig::Gumbel(_) | HeadConfig::Nbc(_) => plain.dense("output", OUTPUTS),
        HeadConfig::Normalised(config) => {
            let normed = |h: &[f64]| -> Vec<f64> {
                let mean = h.iter().sum::<f64>() / FEATURES as f64;
                let variance = h.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / FEATURES as f64;
                h.iter().map(|x| (x - mean) / (variance + 1e-5).sqrt()).collect()
            };
            let features: Vec<f64> = match config.layer_norm {
                true => plain.rows().flat_map(normed).collect(),
                false => plain.features.to_vec(),
            };
            let s = if config.learn_scale { plain.learned_scale() } else { config.s };
            plain.cosines(&features).iter().map(|c| s * c).collect()
        }
        HeadConfig::CosFace(config) => plain.margin(config.s, |c| c - config.m),
        // Of classes that were left out the caller knows.
        HeadConfig::PartialFc(config) => plain.margin(config.s, |c| c - config.m),
        HeadConfig::ArcFace(config) => plain.margin(config.s, |c| added(c, config.m)),
        HeadConfig::CurricularFace(config) => {
            let c = plain.cosines(plain.features);
            let mut z = plain.margin(config.s, |c| added(c, config.m));
            let Some(told) = &plain.told else { return z };
            let own: Vec<f64> = told.iter().enumerate().map(|(row, class)| c[row * OUTPUTS + class]).collect();
            let before = plain.running.expect("it has a running mean");
            let t = 0.99 * before + 0.01 * own.iter().sum::<f64>() / own.len() as f64;
            for (row, class) in told.iter().enumerate() {
                for k in (0..OUTPUTS).filter(|k| k != class) {
                    let c = c[row * OUTPUTS + k];
                    if c > (own[row].acos() + config.m).cos() {
                        z[row * OUTPUTS + k] = config.s * c * (t + c);
                    }
                }
            }
            z
        }
        HeadConfig::CombinedMargin(config) => plain.margin(config.s, |c| {
            let angle = config.m1 * c.acos() + config.m2;
            let turns = (angle / PI).floor();
            (if turns % 2.0 == 0.0 { 1.0 } else { -1.0 }) * angle.cos() - 2.0 * turns - config.m3
        }),
        // While training, scale and margin follow the batch; its own tests have the numbers.
        HeadConfig::AdaptiveMargin(config) => plain.margin(config.s, |c| c),
        HeadConfig::WrappedCauchy(config) => {
            let s = if config.learn_scale { plain.learned_scale() } else { config.s };
            let g = plain.parameter("concentration");
            let density = |(i, c): (usize, &f64)| {
                let gamma = 1.0 / (1.0 + (-g[i % OUTPUTS]).exp());
                s * (1.0 - gamma * gamma) / (TAU * (1.0 + gamma * gamma - 2.0 * gamma * c))
            };
            plain.cosines(plain.features).iter().enumerate().map(density).collect()
        }
        HeadConfig::Equiangular(config) => {
            // The vectors are taken as they are: theirs is the length 1.
            let product = |h: &[f64], w: &[f64]| h.iter().zip(w).map(|(h, w)| h * w).sum::<f64>();
            let logit = |h: &[f64], w: &[f64]| product(h, w) / product(h, h).sqrt() / config.temperature;
            plain.rows().flat_map(|h| plain.vectors.chunks(FEATURES).map(|w| logit(h, w)).collect::<Vec<_>>()).collect()
        }
        HeadConfig::Fourier(config) => {
            let terms = config.frequencies + 1;
            let logits = |row: &[f64]| -> Vec<f64> {
                let density = |j: usize| {
                    let t = -1.0 + (2 * j + 1) as f64 / OUTPUTS as f64;
                    let wave = |k: usize| (PI * k as f64 * t).sin_cos();
                    let real: f64 = (0..terms).map(|k| row[k] * wave(k).1 - row[terms + k] * wave(k).0).sum();
                    let imaginary: f64 = (0..terms).map(|k| row[k] * wave(k).0 + row[terms + k] * wave(k).1).sum();
                    real * real + imaginary * imaginary
                };
                let sum: f64 = (0..OUTPUTS).map(density).sum();
                (0..OUTPUTS).map(|j| (density(j) / sum + 1e-5).ln()).collect()
            };
            plain.dense("output", 2 * terms).chunks(2 * terms).flat_map(logits).collect()
        }
        HeadConfig::VqLogits(config) => {
            let bias = |k: usize| if config.token_bias { plain.parameter("bias")[k] } else { 0.0 };
            let product = |h: &[f64], w: &[f64]| h.iter().zip(w).map(|(h, w)| h * w).sum::<f64>();
            let logits = |h: &[f64]| -> Vec<f64> {
                plain.vectors.chunks(FEATURES).enumerate().map(|(k, w)| product(h, w) + bias(k)).collect()
            };
            plain.rows().flat_map(logits).collect()
        }
    }
}

#[test]
fn heads_agree_with_plain_loops() {
    for config in configs() {
        let head = randomised(build(&config, 3, DType::F64));
        let features = normal([ROWS, FEATURES], DType::F64, "features").detach();
        let parameters = named_values(&head);
        for told in [false, true] {
            if told && matches!(config, HeadConfig::AdaptiveMargin(_)) {
                continue;
            }
            let ask = if told { knowing(ROWS) } else { Ask::row() };
            let ctx = if told { Ctx::train(0, 3) } else { Ctx::eval(0, 3) };
            let found = values(&head.forward(features.clone(), &ask, &ctx));
            let plain = Plain {
                parameters: &parameters,
                vectors: head.unembedding().map(|vectors| values(&vectors)).unwrap_or_default(),
                features: &values(&features),
                running: running_values(&head).into_values().next().map(|value| value[0]),
                told: told.then(|| (0..ROWS).map(class).collect()),
            };
            let want = reference(&config, &plain);
            assert_eq!(want.len(), found.len());
            // A class that is left out is none of the loops' business; those of the batch never are.
            let pairs = found.iter().zip(&want).filter(|(z, _)| **z != f64::NEG_INFINITY);
            let (found, want): (Vec<f64>, Vec<f64>) = pairs.unzip();
            assert!(found.len() >= ROWS * ROWS, "{config:?}: {} logits are left", found.len());
            assert_close(&format!("{config:?}, told {told}"), &found, &want, 1e-9);
        }
    }
}
