use kiln_activations::Probe;

use super::*;
use crate::{
    Model, ModelConfig,
    net::transformer::tests::{Reference, Rows},
    testing::{assert_close, device, named_values, normal, randomised, values},
};

const ROWS: usize = 3;
const IO: Io = Io { input: InputSpec::Image { channels: 2, height: 6, width: 9 }, outputs: 7 };

/// Two heads of 5, patches of 3 x 3.
fn small(norm: Norm, pool: Pool) -> VitConfig {
    VitConfig {
        patch: 3,
        d_model: 10,
        d_ff: 13,
        norm,
        activation: PointwiseConfig::default(),
        pool,
        attention: AttentionConfig { n_heads: 2, bias: true, ..AttentionConfig::default() },
        dtype: Precision::F64,
        ..VitConfig::default()
    }
}

fn build(config: VitConfig) -> Model {
    let config = ModelConfig::Vit(config);
    config.check(&IO).unwrap();
    randomised(config.init((&IO, &Init::new(5, &device(), config.dtype()))))
}

/// The network in plain loops on one image.
fn reference(model: &Model, config: &VitConfig, image: &[f64]) -> Vec<f64> {
    let reference = Reference { parameters: named_values(model), norm: config.norm, n_layers: 2, n_heads: 2 };
    let mut tiles: Rows = Vec::new();
    for (top, left) in [0, 3].into_iter().flat_map(|top| [0, 3, 6].map(|left| (top, left))) {
        let mut tile = Vec::new();
        for c in 0..2 {
            (0..3).for_each(|y| tile.extend_from_slice(&image[(c * 6 + top + y) * 9 + left..][..3]));
        }
        tiles.push(tile);
    }
    let mut x = reference.linear("patches", &tiles);
    if config.pool == Pool::ClassToken {
        x.insert(0, reference.parameters["class_token"].clone());
    }
    let positions = &reference.parameters["positions.weight"];
    for (t, row) in x.iter_mut().enumerate() {
        row.iter_mut().zip(&positions[t * 10..]).for_each(|(x, p)| *x += p);
    }
    let mut x = reference.blocks("blocks", x);
    if config.norm == Norm::Pre {
        x = reference.layer_norm("norm", &x);
    }
    let read = match config.pool {
        Pool::ClassToken => x[0].clone(),
        Pool::Mean => (0..10).map(|i| x.iter().map(|row| row[i]).sum::<f64>() / x.len() as f64).collect(),
    };
    reference.linear("output", &vec![read]).pop().unwrap()
}

#[test]
fn logits_follow_the_formula() {
    for (norm, pool) in [(Norm::Pre, Pool::Mean), (Norm::Pre, Pool::ClassToken), (Norm::Post, Pool::Mean)] {
        let config = small(norm, pool);
        let model = build(config.clone());
        let x = normal([ROWS, 2, 6, 9], DType::F64, "x").detach();
        let expected: Vec<f64> =
            values(&x).chunks(2 * 6 * 9).flat_map(|image| reference(&model, &config, image)).collect();
        let logits = model.forward(&Input::Image(x), &Ask::row(), &Ctx::eval(0, 0));
        assert_eq!(logits.dims(), [ROWS, 7]);
        assert_close(&format!("{norm:?} {pool:?}"), &values(&logits), &expected, 1e-11);
    }
}

#[test]
fn a_probe_sees_each_block_and_its_attention() {
    let model = build(small(Norm::Pre, Pool::ClassToken));
    let probe = Probe::of(["block", "attention"]);
    let x = normal([ROWS, 2, 6, 9], DType::F64, "x").detach();
    model.forward(&Input::Image(x), &Ask::row(), &Ctx::eval(0, 0).with_probe(&probe));
    let found: Vec<_> = probe.take().into_iter().map(|record| (record.name, record.shape)).collect();
    let attention = ("attention".to_owned(), vec![ROWS, 2, 7, 7]);
    let block = ("block".to_owned(), vec![ROWS, 7, 10]);
    assert_eq!(found, [attention.clone(), block.clone(), attention, block]);
}

#[test]
fn what_does_not_fit_is_refused() {
    let message = |config: VitConfig| config.check(&IO).unwrap_err().to_string();
    assert_eq!(
        message(VitConfig { patch: 2, ..VitConfig::default() }),
        "model.patch: patches of 2 x 2 do not tile images of 6 x 9; expected one of 1, 3"
    );
    let heads = AttentionConfig { n_heads: 7, ..AttentionConfig::default() };
    let message = message(VitConfig { patch: 3, attention: heads, ..VitConfig::default() });
    assert!(message.starts_with("model.attention.n_heads"), "{message}");
}
