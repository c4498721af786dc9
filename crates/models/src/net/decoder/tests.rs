//! The decoder against itself: in pieces, at places, with padding.
use burn::tensor::{Bool, Int, Tensor, TensorData};
use kiln_registry::Tagged;
use serde_json::json;

use super::*;
use crate::{
    Model, ModelConfig,
    attention::{PresetConfig, Remember},
    testing::{assert_close, check_gradients, device, indices, normal, randomised, values},
};

const ROWS: usize = 3;
const LENGTH: usize = 7;
const VOCABULARY: usize = 13;
const IO: Io = Io { input: InputSpec::Tokens { vocabulary: VOCABULARY, length: 24 }, outputs: VOCABULARY };

fn config(attention: serde_json::Value) -> DecoderConfig {
    serde_json::from_value(json!({
        "d_model": 10, "d_ff": 11, "n_layers": 2, "dtype": "f64", "attention": attention,
    }))
    .unwrap()
}

fn build(config: &DecoderConfig) -> Decoder {
    randomised(config.init((&IO, &Init::new(5, &device(), config.dtype()))))
}

fn ctx() -> Ctx {
    Ctx::eval(0, 0)
}

/// Every preset that a decoder takes.
fn decoders() -> Vec<(&'static str, Decoder)> {
    let named = PresetConfig::NAMES.iter().map(|name| {
        let mut config = config(json!({ "name": name, "n_heads": 2 }));
        config.attention.d_head = Some(4);
        (*name, config)
    });
    named.filter(|(_, config)| config.check(&IO).is_ok()).map(|(name, config)| (name, build(&config))).collect()
}

#[test]
fn answers_at_places_are_rows_of_all_answers() {
    for (name, decoder) in decoders() {
        let (_, tokens) = indices([ROWS, LENGTH], VOCABULARY);
        let input = Input::Tokens(tokens);
        let ask = |places: Vec<i64>| {
            let count = places.len();
            let places = Tensor::<1, Int>::from_data(TensorData::new(places, [count]), &device());
            decoder.forward(&input, &Ask::places(places), &ctx())
        };
        let all = ask((0..(ROWS * LENGTH) as i64).collect());
        assert_eq!(all.dims(), [ROWS * LENGTH, VOCABULARY]);
        let some = ask(vec![20, 3, 9]);
        let picked = all.clone().select(0, Tensor::from_data(TensorData::new(vec![20i64, 3, 9], [3]), &device()));
        assert_close(name, &values(&some), &values(&picked), 1e-12);
        let last = decoder.forward(&input, &Ask::row(), &ctx());
        let ends = Tensor::from_data(TensorData::new(vec![6i64, 13, 20], [3]), &device());
        assert_close(name, &values(&last), &values(&all.select(0, ends)), 1e-12);
    }
}

#[test]
fn decoding_in_pieces_equals_the_whole_and_greedy_needs_no_cache() {
    for (name, decoder) in decoders() {
        let (_, tokens) = indices([ROWS, LENGTH], VOCABULARY);
        let places = Tensor::arange(0..(ROWS * LENGTH) as i64, &device());
        let whole = decoder.forward(&Input::Tokens(tokens.clone()), &Ask::places(places), &ctx());
        if !decoder.blocks[0].attention.core_steps_exactly() {
            continue;
        }
        let mut state = decoder.state(ROWS);
        let mut found = Vec::new();
        for (start, length) in [(0, 3), (3, 1), (4, 2), (6, 1)] {
            let (logits, next) = decoder.extend(tokens.clone().narrow(1, start, length), None, state, &ctx());
            found.push(logits);
            state = next;
        }
        assert!(state.bytes() > 0);
        assert_close(name, &values(&Tensor::cat(found, 1)), &values(&whole), 1e-10);

        let cached = values(&decoder.greedy(tokens.clone(), 5, &ctx()).float());
        let mut all = tokens;
        for _ in 0..5 {
            let next = decoder.forward(&Input::Tokens(all.clone()), &Ask::row(), &ctx()).argmax(1);
            all = Tensor::cat(vec![all, next], 1);
        }
        assert_eq!(cached, values(&all.narrow(1, LENGTH, 5).float()), "{name}");
    }
}

#[test]
fn padding_on_the_left_changes_nothing() {
    let mut config = config(json!({ "n_heads": 2, "d_head": 4, "position": "rope" }));
    config.positions = PositionConfig::Learned(LearnedConfig::default());
    let decoder = build(&config);
    let (_, tokens) = indices([ROWS, LENGTH], VOCABULARY);
    let kept = |pads: [usize; ROWS]| -> Tensor<2, Bool> {
        let kept: Vec<bool> = pads.iter().flat_map(|pad| (0..LENGTH).map(move |t| t >= *pad)).collect();
        Tensor::from_data(TensorData::new(kept, [ROWS, LENGTH]), &device())
    };
    let pads = [0, 2, 5];
    let (_, state) = decoder.extend(tokens.clone(), Some(kept(pads)), decoder.state(ROWS), &ctx());
    let (_, next) = indices([ROWS, 1], VOCABULARY);
    let (logits, _) = decoder.extend(next.clone(), None, state, &ctx());
    for (row, pad) in pads.into_iter().enumerate() {
        let alone = Tensor::cat(vec![tokens.clone().narrow(1, pad, LENGTH - pad), next.clone()], 1).narrow(0, row, 1);
        let expected = decoder.forward(&Input::Tokens(alone), &Ask::row(), &ctx());
        assert_close("row", &values(&logits.clone().narrow(0, row, 1)), &values(&expected), 1e-11);
    }
}

#[test]
fn vectors_go_in_as_well_and_gradients_are_right() {
    let io = Io { input: InputSpec::Items { features: 3 }, outputs: 5 };
    let config = DecoderConfig { positions: PositionConfig::default(), ..config(json!({ "n_heads": 2 })) };
    let model: Model = ModelConfig::Decoder(config.clone()).init((&io, &Init::new(5, &device(), config.dtype())));
    let model = randomised(model);
    let x = normal([2, 4, 3], DType::F64, "x").detach();
    let c = normal([2, 5], DType::F64, "c").detach();
    check_gradients(&model, |model| (model.forward(&Input::Items(x.clone()), &Ask::row(), &ctx()) * c.clone()).sum());
    assert!(model.embedding().is_none());
}

#[test]
fn what_does_not_fit_is_refused() {
    let refuse = |config: DecoderConfig, io: &Io| config.check(io).unwrap_err().to_string();
    let base = config(json!({ "n_heads": 2 }));
    let pairs = Io { input: InputSpec::OneHot { width: 118, hot: 2 }, outputs: 59 };
    assert!(refuse(base.clone(), &pairs).starts_with("model.name: \"decoder\" takes tokens or sequences of vectors"));
    let rope = serde_json::from_value(json!("rope")).unwrap();
    assert_eq!(
        refuse(DecoderConfig { positions: rope, ..base.clone() }, &IO),
        "model.positions: \"rope\" acts inside attention; write position = \"rope\" in [model.attention]"
    );
    assert!(
        refuse(config(json!({ "n_heads": 3 })), &IO)
            .starts_with("model.attention.n_heads: d_model = 10 is not a multiple")
    );
    assert_eq!(
        refuse(DecoderConfig { embedding_std: Some(0.0), ..base }, &IO),
        "model.embedding_std: expected a finite number above 0"
    );
}
