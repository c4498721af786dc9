use std::collections::BTreeMap;

use burn::{module::Module, store::ModuleRecord};
use kiln_activations::normalizer::NormalizerConfig;

use super::*;
use crate::{
    Model, ModelConfig, parameters,
    testing::{assert_close, check_gradients, device, indices, named_values, normal, randomised, values},
};

const ROWS: usize = 3;
const LENGTH: usize = 5;
const VOCABULARY: usize = 19;
const OUTPUTS: usize = 17;

const IO: Io = Io { input: InputSpec::Tokens { vocabulary: VOCABULARY, length: LENGTH }, outputs: OUTPUTS };

fn build(config: TransformerConfig) -> Model {
    let config = ModelConfig::Transformer(config);
    config.check(&IO).unwrap();
    config.init((&IO, &Init::new(5, &device(), config.dtype())))
}

/// Two heads of 11, every bias.
fn small(norm: Norm, positions: bool) -> TransformerConfig {
    let positions = if positions {
        PositionConfig::Learned(LearnedConfig::default())
    } else {
        PositionConfig::Unaware(UnawareConfig::default())
    };
    TransformerConfig {
        d_model: 22,
        d_ff: 13,
        n_layers: 2,
        norm,
        positions,
        attention: AttentionConfig { n_heads: 2, bias: true, ..AttentionConfig::default() },
        output_bias: true,
        dtype: Precision::F64,
        ..TransformerConfig::mechanistic()
    }
}

/// A network's parameters, and the formula in plain loops: every position of every layer is computed.
pub(crate) struct Reference {
    pub parameters: BTreeMap<String, Vec<f64>>,
    pub norm: Norm,
    pub n_layers: usize,
    pub n_heads: usize,
}

pub(crate) type Rows = Vec<Vec<f64>>;

impl Reference {
    pub(crate) fn linear(&self, name: &str, x: &Rows) -> Rows {
        let weight = &self.parameters[&format!("{name}.weight")];
        let bias = self.parameters.get(&format!("{name}.bias"));
        let inputs = x[0].len();
        let outputs = weight.len() / inputs;
        let value = |row: &[f64], j: usize| {
            (0..inputs).map(|i| row[i] * weight[i * outputs + j]).sum::<f64>() + bias.map_or(0.0, |b| b[j])
        };
        x.iter().map(|row| (0..outputs).map(|j| value(row, j)).collect()).collect()
    }

    pub(crate) fn layer_norm(&self, name: &str, x: &Rows) -> Rows {
        let (weight, bias) = (&self.parameters[&format!("{name}.weight")], &self.parameters[&format!("{name}.bias")]);
        let one = |row: &Vec<f64>| {
            let n = row.len() as f64;
            let mean = row.iter().sum::<f64>() / n;
            let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
            let scaled = row.iter().map(|x| (x - mean) / (variance + 1e-5).sqrt());
            scaled.zip(weight).zip(bias).map(|((x, w), b)| x * w + b).collect()
        };
        x.iter().map(one).collect()
    }

    fn attention(&self, name: &str, x: &Rows) -> Rows {
        let part = |part: &str| self.linear(&format!("{name}.{part}"), x);
        let (q, k, v) = (part("query"), part("key"), part("value"));
        let (length, d_model) = (x.len(), x[0].len());
        let d_head = d_model / self.n_heads;
        let mut mixed = vec![vec![0.0; d_model]; length];
        for h in 0..self.n_heads {
            let head = h * d_head..(h + 1) * d_head;
            for t in 0..length {
                let score = |s: usize| head.clone().map(|i| q[t][i] * k[s][i]).sum::<f64>() / (d_head as f64).sqrt();
                let scores: Vec<f64> = (0..length).map(score).collect();
                let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let terms: Vec<f64> = scores.iter().map(|s| (s - largest).exp()).collect();
                let total: f64 = terms.iter().sum();
                for (s, term) in terms.iter().enumerate() {
                    head.clone().for_each(|i| mixed[t][i] += term / total * v[s][i]);
                }
            }
        }
        self.linear(&format!("{name}.output"), &mixed)
    }

    fn feed_forward(&self, name: &str, x: &Rows) -> Rows {
        let mut hidden = self.linear(&format!("{name}.up"), x);
        hidden.iter_mut().flatten().for_each(|h| *h = h.max(0.0));
        self.linear(&format!("{name}.down"), &hidden)
    }

    /// One half of a block: the part's output joins the residual stream.
    fn join(&self, norm: &str, x: &Rows, part: impl Fn(&Rows) -> Rows) -> Rows {
        let added = if self.norm == Norm::Pre { part(&self.layer_norm(norm, x)) } else { part(x) };
        let sum: Rows = x.iter().zip(added).map(|(x, y)| x.iter().zip(y).map(|(x, y)| x + y).collect()).collect();
        if self.norm == Norm::Post { self.layer_norm(norm, &sum) } else { sum }
    }

    /// All blocks, by the name of their list.
    pub(crate) fn blocks(&self, list: &str, mut x: Rows) -> Rows {
        for l in 0..self.n_layers {
            let name = |part: &str| format!("{list}.{l}.{part}");
            x = self.join(&name("attention_norm"), &x, |x| self.attention(&name("attention"), x));
            x = self.join(&name("feed_forward_norm"), &x, |x| self.feed_forward(&name("feed_forward"), x));
        }
        x
    }

    fn logits(&self, tokens: &[usize], d_model: usize) -> Vec<f64> {
        let embedding = &self.parameters["embedding.weight"];
        let positions = self.parameters.get("positions.weight");
        let vector = |(t, token): (usize, &usize)| {
            (0..d_model)
                .map(|i| embedding[token * d_model + i] + positions.map_or(0.0, |p| p[t * d_model + i]))
                .collect()
        };
        let mut x = self.blocks("blocks", tokens.iter().enumerate().map(vector).collect());
        if self.norm == Norm::Pre {
            x = self.layer_norm("norm", &x);
        }
        self.linear("output", &x).pop().unwrap()
    }
}

#[test]
fn logits_follow_the_formula() {
    for norm in [Norm::None, Norm::Pre, Norm::Post] {
        for positions in [false, true] {
            let model = randomised(build(small(norm, positions)));
            let (host, tokens) = indices([ROWS, LENGTH], VOCABULARY);
            let logits = model.forward(&Input::Tokens(tokens), &Ask::row(), &Ctx::eval(0, 0));
            assert_eq!(logits.dims(), [ROWS, OUTPUTS]);
            let reference = Reference { parameters: named_values(&model), norm, n_layers: 2, n_heads: 2 };
            let expected: Vec<f64> = host.chunks(LENGTH).flat_map(|row| reference.logits(row, 22)).collect();
            assert_close(&format!("logits {norm:?} {positions}"), &values(&logits), &expected, 1e-12);
        }
    }
}

#[test]
fn gradients_agree_with_central_differences() {
    for norm in [Norm::None, Norm::Pre, Norm::Post] {
        let config = TransformerConfig {
            d_model: 4,
            d_ff: 3,
            attention: AttentionConfig { n_heads: 2, bias: true, ..AttentionConfig::default() },
            dropout: 0.25,
            ..small(norm, true)
        };
        let io = Io { input: InputSpec::Tokens { vocabulary: 5, length: 3 }, outputs: 2 };
        let model = ModelConfig::Transformer(config).init((&io, &Init::new(5, &device(), DType::F64)));
        let model = randomised(model);
        let (_, tokens) = indices([7, 3], 5);
        let c = normal([7, 2], DType::F64, "c").detach();
        check_gradients(&model, |model| {
            (model.forward(&Input::Tokens(tokens.clone()), &Ask::row(), &Ctx::train(0, 3)) * c.clone()).sum()
        });
    }
}

#[test]
fn dropout_acts_in_training_only_and_repeats() {
    let model = build(TransformerConfig { dropout: 0.5, ..small(Norm::Post, false) });
    let plain = build(small(Norm::Post, false));
    let (_, tokens) = indices([ROWS, LENGTH], VOCABULARY);
    let input = Input::Tokens(tokens);
    let logits = |model: &Model, ctx: &Ctx| values(&model.forward(&input, &Ask::row(), ctx));
    let calm = logits(&model, &Ctx::eval(1, 4));
    assert_eq!(calm, logits(&plain, &Ctx::train(1, 4)));
    let noisy = logits(&model, &Ctx::train(1, 4));
    assert_ne!(noisy, calm);
    assert_eq!(noisy, logits(&model, &Ctx::train(1, 4)));
    assert_ne!(noisy, logits(&model, &Ctx::train(1, 5)));
    assert_ne!(noisy, logits(&model, &Ctx::train(2, 4)));
}

#[test]
fn without_positions_the_order_of_earlier_tokens_is_unseen() {
    let forward = |positions: bool, tokens: [[i64; 3]; 1]| {
        let model = build(small(Norm::None, positions));
        values(&model.forward(&Input::Tokens(Tensor::from_data(tokens, &device())), &Ask::row(), &Ctx::eval(0, 0)))
    };
    assert_close("logits", &forward(false, [[1, 2, 3]]), &forward(false, [[2, 1, 3]]), 1e-12);
    assert_ne!(forward(true, [[1, 2, 3]]), forward(true, [[2, 1, 3]]));
}

#[test]
fn the_normalizer_is_the_config_s_choice() {
    let logits = |normalizer: &str| {
        let mut config = small(Norm::None, true);
        let name = serde::de::value::StrDeserializer::<serde::de::value::Error>::new(normalizer);
        config.attention.normalizer = <NormalizerConfig as serde::Deserialize>::deserialize(name).unwrap();
        let (_, tokens) = indices([ROWS, LENGTH], VOCABULARY);
        values(&build(config).forward(&Input::Tokens(tokens), &Ask::row(), &Ctx::eval(0, 0)))
    };
    assert_ne!(logits("softmax"), logits("stablemax"));
}

#[test]
fn parameters_have_readable_names() {
    let model = build(TransformerConfig { n_layers: 1, ..small(Norm::Pre, true) });
    let found = parameters(&model);
    let names: Vec<&str> = found.iter().map(|p| p.name.as_str()).collect();
    let of = |part: &str| ["weight", "bias"].map(|leaf| format!("{part}.{leaf}"));
    let block = [
        "attention.query",
        "attention.key",
        "attention.value",
        "attention.output",
        "attention_norm",
        "feed_forward.up",
        "feed_forward.down",
        "feed_forward_norm",
    ];
    let mut expected = vec!["embedding.weight".to_owned(), "positions.weight".to_owned()];
    expected.extend(block.iter().flat_map(|part| of(&format!("blocks.0.{part}"))));
    expected.extend(["norm", "output"].iter().flat_map(|part| of(part)));
    assert_eq!(names, expected);
    let query = found.iter().find(|p| p.name == "blocks.0.attention.query.bias").unwrap();
    assert_eq!((query.layer.as_str(), query.rank), ("blocks.0.attention.query", 1));
    assert_eq!(found[0].rank, 2);
}

#[test]
fn torch_scheme_draws_as_documented() {
    let config = TransformerConfig { dtype: Precision::F64, d_model: 32, ..TransformerConfig::post_norm_encoder() };
    let found = named_values(&build(config));
    let largest = |name: &str| found[name].iter().fold(0.0f64, |a, b| a.max(b.abs()));
    let near = |name: &str, bound: f64| {
        let found = largest(name);
        assert!(found <= bound && found > 0.9 * bound, "{name}: {found} of {bound}");
    };
    for part in ["query", "key", "value"] {
        near(&format!("blocks.0.attention.{part}.weight"), (6.0f64 / (32.0 + 96.0)).sqrt());
        assert_eq!(largest(&format!("blocks.0.attention.{part}.bias")), 0.0);
    }
    near("blocks.0.attention.output.weight", 1.0 / 32f64.sqrt());
    assert_eq!(largest("blocks.0.attention.output.bias"), 0.0);
    near("blocks.0.feed_forward.up.bias", 1.0 / 32f64.sqrt());
    near("blocks.0.feed_forward.down.weight", 1.0 / 2048f64.sqrt());
    near("output.weight", 1.0 / 32f64.sqrt());
    let embedding = &found["embedding.weight"];
    let variance = embedding.iter().map(|x| x * x).sum::<f64>() / embedding.len() as f64;
    // Five standard errors of a normal variance.
    assert!((variance - 1.0).abs() < 5.0 * (2.0 / embedding.len() as f64).sqrt(), "{variance}");
}

#[test]
fn first_values_depend_on_seed_and_path_alone() {
    let first = named_values(&build(small(Norm::None, true)));
    // Another part more, another width elsewhere: the shared parameters stay.
    let second = named_values(&build(TransformerConfig { d_ff: 29, n_layers: 3, ..small(Norm::Pre, true) }));
    for name in ["embedding.weight", "positions.weight", "blocks.1.attention.value.weight", "output.weight"] {
        assert_eq!(first[name], second[name], "{name}");
    }
    assert_ne!(first["blocks.0.attention.value.weight"], first["blocks.1.attention.value.weight"]);
    let config = ModelConfig::Transformer(small(Norm::None, true));
    let other = named_values(&config.init((&IO, &Init::new(6, &device(), DType::F64))));
    assert_ne!(first["embedding.weight"], other["embedding.weight"]);
}

#[test]
fn a_record_brings_every_value_back() {
    for dtype in [Precision::F32, Precision::F64, Precision::Bf16] {
        let config = TransformerConfig { dtype, ..small(Norm::Post, true) };
        let model = randomised(build(config.clone()));
        let bytes = model.clone().into_record().into_bytes().unwrap();
        let loaded = build(config).try_load_record(ModuleRecord::from_bytes(bytes).unwrap()).unwrap();
        assert_eq!(named_values(&loaded), named_values(&model));
        let (_, tokens) = indices([ROWS, LENGTH], VOCABULARY);
        let logits =
            |model: &Model| model.forward(&Input::Tokens(tokens.clone()), &Ask::row(), &Ctx::eval(0, 0)).to_data();
        assert_eq!(logits(&loaded), logits(&model));
        let ids = |model: &Model| parameters(model).into_iter().map(|p| p.id).collect::<Vec<_>>();
        assert_eq!(ids(&loaded), ids(&model));
    }
}

#[test]
fn a_record_of_another_network_is_refused() {
    let io = Io { input: InputSpec::Floats { width: 3 }, outputs: 2 };
    let mlp = ModelConfig::Mlp(crate::net::MlpConfig::default()).init((&io, &Init::new(0, &device(), DType::F32)));
    let error = build(small(Norm::None, false)).try_load_record(mlp.into_record()).unwrap_err();
    assert!(error.to_string().contains("Transformer.embedding.weight"), "{error}");
}

#[test]
fn what_does_not_fit_is_refused() {
    let refuse = |config: TransformerConfig, io: &Io| config.check(io).unwrap_err().to_string();
    let heads = |n_heads| AttentionConfig { n_heads, ..AttentionConfig::default() };
    assert_eq!(
        refuse(TransformerConfig { d_model: 130, attention: heads(4), ..TransformerConfig::default() }, &IO),
        "model.attention.n_heads: d_model = 130 is not a multiple of n_heads = 4; try d_model = 128 or 132"
    );
    assert_eq!(
        refuse(TransformerConfig { d_model: 3, attention: heads(4), ..TransformerConfig::default() }, &IO),
        "model.attention.n_heads: d_model = 3 is not a multiple of n_heads = 4; try d_model = 4"
    );
    let positions = PositionConfig::Learned(LearnedConfig { max_length: Some(2), ..LearnedConfig::default() });
    assert_eq!(
        refuse(TransformerConfig { positions, ..TransformerConfig::default() }, &IO),
        "model.positions.max_length: 2 learned positions do not cover the data's 5 tokens per row; set at least 5, or \
         overflow = \"clamp\""
    );
    let pairs = Io { input: InputSpec::OneHot { width: 118, hot: 2 }, outputs: 59 };
    assert_eq!(
        refuse(TransformerConfig::default(), &pairs),
        "model.name: \"transformer\" takes tokens, but the data gives one-hot rows (2 hot of 118); choose the token \
         encoding in [data], or name = \"mlp\""
    );
}
