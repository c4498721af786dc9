use super::*;
use crate::{
    Model, ModelConfig,
    net::transformer::tests::{Reference, Rows},
    testing::{assert_close, check_gradients, device, indices, named_values, normal, randomised, values},
};

const ROWS: usize = 3;
const D: usize = 10;

fn io(length: usize) -> Io {
    Io { input: InputSpec::Tokens { vocabulary: 19, length }, outputs: 7 }
}

/// Two heads of 5, segments of 4 that move by 3.
fn small(norm: Norm, pool: SegmentPool, aggregator: AggregatorConfig) -> HierarchicalConfig {
    HierarchicalConfig {
        size: 4,
        stride: 3,
        pool,
        aggregator,
        hidden: 11,
        d_model: D,
        d_ff: 13,
        n_layers: 2,
        norm,
        activation: PointwiseConfig::default(),
        attention: AttentionConfig { n_heads: 2, bias: true, ..AttentionConfig::default() },
        dtype: Precision::F64,
        ..HierarchicalConfig::default()
    }
}

fn build(config: HierarchicalConfig, length: usize) -> Model {
    let config = ModelConfig::Hierarchical(config);
    config.check(&io(length)).unwrap();
    randomised(config.init((&io(length), &Init::new(5, &device(), config.dtype()))))
}

fn mean(x: &Rows) -> Vec<f64> {
    (0..x[0].len()).map(|i| x.iter().map(|row| row[i]).sum::<f64>() / x.len() as f64).collect()
}

fn placed(mut x: Rows, positions: &[f64]) -> Rows {
    for (t, row) in x.iter_mut().enumerate() {
        row.iter_mut().zip(&positions[t * D..]).for_each(|(x, p)| *x += p);
    }
    x
}

/// The network in plain loops on one document; each segment has its own length and no padding.
fn reference(model: &Model, config: &HierarchicalConfig, tokens: &[usize]) -> Vec<f64> {
    let reference = Reference { parameters: named_values(model), norm: config.norm, n_layers: 2, n_heads: 2 };
    let p = &reference.parameters;
    let normed = |name: &str, x: Rows| if config.norm == Norm::Pre { reference.layer_norm(name, &x) } else { x };
    let encode = |tokens: &[usize]| {
        let x = tokens.iter().map(|token| p["embedding.weight"][token * D..][..D].to_vec()).collect();
        let x = normed("norm", reference.blocks("blocks", placed(x, &p["positions.weight"])));
        if config.pool == SegmentPool::First { x[0].clone() } else { mean(&x) }
    };
    let tokens = &tokens[..config.read(tokens.len())];
    let parts: Rows =
        segments(tokens.len(), config.size, config.stride).map(|segment| encode(&tokens[segment])).collect();
    let joined = match &config.aggregator {
        AggregatorConfig::SegmentMean(_) => mean(&parts),
        AggregatorConfig::SegmentEncoder(_) => {
            let x = placed(parts, &p["aggregator.positions.weight"]);
            mean(&normed("aggregator.norm", reference.blocks("aggregator.blocks", x)))
        }
        AggregatorConfig::SegmentRecurrent(_) => unreachable!("checked where the LSTM stands"),
    };
    let mut hidden = reference.linear("hidden", &vec![joined]);
    hidden[0].iter_mut().for_each(|h| *h = h.max(0.0));
    reference.linear("output", &hidden).pop().unwrap()
}

fn mean_config() -> AggregatorConfig {
    AggregatorConfig::SegmentMean(SegmentMeanConfig {})
}

fn encoder_config() -> AggregatorConfig {
    AggregatorConfig::SegmentEncoder(SegmentEncoderConfig::default())
}

#[test]
fn logits_follow_the_formula_with_whole_and_short_last_segments() {
    for (norm, pool, aggregator) in [
        (Norm::Pre, SegmentPool::Mean, mean_config()),
        (Norm::Pre, SegmentPool::Mean, encoder_config()),
        (Norm::Post, SegmentPool::First, encoder_config()),
    ] {
        // One segment, a shorter one, three whole ones, a short last one.
        for (length, read) in [(4, None), (3, None), (10, None), (11, None), (13, Some(8)), (13, Some(4))] {
            let config = HierarchicalConfig { read, ..small(norm, pool, aggregator.clone()) };
            let model = build(config.clone(), length);
            let (host, tokens) = indices([ROWS, length], 19);
            let expected: Vec<f64> = host.chunks(length).flat_map(|row| reference(&model, &config, row)).collect();
            let logits = model.forward(&Input::Tokens(tokens), &Ask::row(), &Ctx::eval(0, 0));
            assert_eq!(logits.dims(), [ROWS, 7]);
            assert_close(&format!("{norm:?} {length} {read:?}"), &values(&logits), &expected, 1e-11);
        }
    }
}

#[test]
fn the_recurrent_aggregator_reads_segments_in_their_order() {
    let recurrent = AggregatorConfig::SegmentRecurrent(SegmentRecurrentConfig { width: 5 });
    for (aggregator, ordered) in [(recurrent, true), (mean_config(), false)] {
        let config = HierarchicalConfig { stride: 4, ..small(Norm::Pre, SegmentPool::Mean, aggregator) };
        let model = build(config, 8);
        let (_, tokens) = indices([ROWS, 8], 19);
        let swapped = Tensor::cat(vec![tokens.clone().narrow(1, 4, 4), tokens.clone().narrow(1, 0, 4)], 1);
        let logits = |tokens| values(&model.forward(&Input::Tokens(tokens), &Ask::row(), &Ctx::eval(0, 0)));
        let (plain, swapped) = (logits(tokens), logits(swapped));
        let distance = plain.iter().zip(&swapped).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert_eq!(distance > 1e-6, ordered, "{distance}");
    }
}

#[test]
fn documents_longer_than_announced_are_read_too() {
    let model = build(small(Norm::Pre, SegmentPool::Mean, encoder_config()), 10);
    let (_, tokens) = indices([ROWS, 23], 19);
    let logits = model.forward(&Input::Tokens(tokens), &Ask::row(), &Ctx::eval(0, 0));
    assert!(values(&logits).iter().all(|z| z.is_finite()));
}

#[test]
fn gradients_agree_with_central_differences_through_padding() {
    let c = normal([ROWS, 7], DType::F64, "c").detach();
    let (_, tokens) = indices([ROWS, 8], 19);
    let config =
        HierarchicalConfig { d_model: 4, d_ff: 3, hidden: 3, ..small(Norm::Pre, SegmentPool::Mean, encoder_config()) };
    let model = build(config, 8);
    check_gradients(&model, |model| {
        (model.forward(&Input::Tokens(tokens.clone()), &Ask::row(), &Ctx::eval(0, 0)) * c.clone()).sum()
    });
}

#[test]
fn what_does_not_fit_is_refused() {
    let message = |config: HierarchicalConfig| config.check(&io(9)).unwrap_err().to_string();
    assert_eq!(
        message(HierarchicalConfig { size: 64, stride: 80, ..HierarchicalConfig::default() }),
        "model.stride: 80 leaves tokens between segments of 64 unread; expected at most 64"
    );
    assert_eq!(
        message(HierarchicalConfig { read: Some(0), ..HierarchicalConfig::default() }),
        "model.read: 0 tokens tell nothing; expected at least 1"
    );
}
