use std::collections::BTreeMap;

use super::*;
use crate::{
    Model, ModelConfig,
    block::conv::tests::{Map, convolved},
    parameters,
    testing::{assert_close, device, named_values, normal, randomised, running_values, values},
};

const ROWS: usize = 3;
const IO: Io = Io { input: InputSpec::Image { channels: 2, height: 7, width: 5 }, outputs: 11 };

fn build(depth: usize, width: usize, shortcut: Shortcut) -> Model {
    let config =
        ModelConfig::ResNet(ResNetConfig { depth, width, shortcut, dtype: Precision::F64, ..Default::default() });
    config.check(&IO).unwrap();
    config.init((&IO, &Init::new(5, &device(), config.dtype())))
}

/// The network's values, and the formula in plain loops on a whole batch.
struct Reference {
    values: BTreeMap<String, Vec<f64>>,
    training: bool,
}

impl Reference {
    fn conv(&self, name: &str, x: &[Map], kernel: usize, stride: usize) -> Vec<Map> {
        let weight = &self.values[&format!("{name}.weight")];
        let inputs = x[0].shape[0];
        let outputs = weight.len() / (inputs * kernel * kernel);
        let filters = Filters { inputs, outputs, kernel, stride, padding: kernel / 2 };
        x.iter().map(|x| convolved(x, weight, None, filters)).collect()
    }

    fn norm(&self, name: &str, x: Vec<Map>) -> Vec<Map> {
        let value = |part: &str, c: usize| self.values[&format!("{name}.{part}")][c];
        let [channels, height, width] = x[0].shape;
        let plane = |x: &Map, c: usize| x.values[c * height * width..(c + 1) * height * width].to_vec();
        let moments: Vec<(f64, f64)> = (0..channels)
            .map(|c| {
                if !self.training {
                    return (value("running_mean.value", c), value("running_variance.value", c));
                }
                let all: Vec<f64> = x.iter().flat_map(|x| plane(x, c)).collect();
                let mean = all.iter().sum::<f64>() / all.len() as f64;
                (mean, all.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / all.len() as f64)
            })
            .collect();
        let scaled = |x: Map| {
            Map::build(x.shape, |c, i, j| {
                let (mean, variance) = moments[c];
                let x = x.at(c, i as isize, j as isize);
                (x - mean) / (variance + 1e-5).sqrt() * value("weight", c) + value("bias", c)
            })
        };
        x.into_iter().map(scaled).collect()
    }

    fn relu(x: Vec<Map>) -> Vec<Map> {
        let relu = |x: Map| Map { shape: x.shape, values: x.values.into_iter().map(|x| x.max(0.0)).collect() };
        x.into_iter().map(relu).collect()
    }

    fn block(&self, name: &str, x: Vec<Map>, shrinks: bool) -> Vec<Map> {
        let part = |part: &str| format!("{name}.{part}");
        let stride = if shrinks { 2 } else { 1 };
        let h = Self::relu(self.norm(&part("first_norm"), self.conv(&part("first"), &x, 3, stride)));
        let h = self.norm(&part("second_norm"), self.conv(&part("second"), &h, 3, 1));
        let added = if self.values.contains_key(&part("projection.weight")) {
            self.norm(&part("projection_norm"), self.conv(&part("projection"), &x, 1, stride))
        } else {
            let shape = h[0].shape;
            let picked = |x: &Map| {
                Map::build(shape, |c, i, j| {
                    if c < x.shape[0] { x.at(c, (i * stride) as isize, (j * stride) as isize) } else { 0.0 }
                })
            };
            x.iter().map(picked).collect()
        };
        let sum = |(h, x): (Map, Map)| Map {
            shape: h.shape,
            values: h.values.iter().zip(x.values).map(|(h, x)| h + x).collect(),
        };
        Self::relu(h.into_iter().zip(added).map(sum).collect())
    }

    fn logits(&self, images: Vec<Map>, per_stage: usize) -> Vec<f64> {
        let mut x = Self::relu(self.norm("stem_norm", self.conv("stem", &images, 3, 1)));
        for i in 0..3 * per_stage {
            x = self.block(&format!("blocks.{i}"), x, i > 0 && i % per_stage == 0);
        }
        let (weight, bias) = (&self.values["output.weight"], &self.values["output.bias"]);
        let row = |x: &Map| -> Vec<f64> {
            let pixels = x.shape[1] * x.shape[2];
            let means: Vec<f64> = x.values.chunks(pixels).map(|x| x.iter().sum::<f64>() / pixels as f64).collect();
            let logit =
                |j| bias[j] + means.iter().enumerate().map(|(i, m)| m * weight[i * bias.len() + j]).sum::<f64>();
            (0..bias.len()).map(logit).collect()
        };
        x.iter().flat_map(row).collect()
    }
}

#[test]
fn logits_follow_the_formula() {
    for (depth, shortcut) in [(14, Shortcut::Identity), (8, Shortcut::Projection)] {
        let model = randomised(build(depth, 3, shortcut));
        let x = normal([ROWS, 2, 7, 5], DType::F64, "x").detach();
        let host = values(&x);
        let images = || host.chunks(2 * 7 * 5).map(|x| Map { shape: [2, 7, 5], values: x.to_vec() }).collect();
        for (training, ctx) in [(true, Ctx::train(0, 0)), (false, Ctx::eval(0, 0))] {
            let logits = model.forward(&Input::Image(x.clone()), &Ask::row(), &ctx);
            assert_eq!(logits.dims(), [ROWS, 11]);
            let mut all = named_values(&model);
            all.extend(running_values(&model));
            let expected = Reference { values: all, training }.logits(images(), (depth - 2) / 6);
            assert_close(&format!("{depth} {training}"), &values(&logits), &expected, 1e-11);
        }
    }
}

#[test]
fn the_papers_smallest_network_has_its_number_of_parameters() {
    let io = Io { input: InputSpec::Image { channels: 3, height: 32, width: 32 }, outputs: 10 };
    let config = ModelConfig::ResNet(ResNetConfig::default());
    let model = config.init((&io, &Init::new(0, &device(), config.dtype())));
    // 3x3 filters: 3·16 + 6·16² + 16·32 + 5·32² + 32·64 + 5·64² of nine weights; norms: 7·2·16 + 6·2·32 + 6·2·64; dense 650.
    let filters = 9 * (3 * 16 + 6 * 256 + 512 + 5 * 1024 + 2048 + 5 * 4096);
    assert_eq!(Module::num_params(&model), filters + 2 * (7 * 16 + 6 * 32 + 6 * 64) + 650);
    let convolutions = parameters(&model).iter().filter(|parameter| parameter.rank == 4).count();
    assert_eq!(convolutions + 1, 20);
}

#[test]
fn what_does_not_fit_is_refused() {
    let config = |depth| ResNetConfig { depth, ..ResNetConfig::default() };
    for (depth, advice) in [(21, "try 20 or 26"), (6, "try 8 or 14"), (2, "try 8 or 14")] {
        assert_eq!(
            config(depth).check(&IO).unwrap_err().to_string(),
            format!("model.depth: a depth of {depth} is not 6n + 2 for any n of at least 1; {advice}")
        );
    }
}
