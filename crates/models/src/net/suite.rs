//! What every network owes, walked from the registry.
use burn::{
    module::Module,
    store::ModuleRecord,
    tensor::{DType, Int, Tensor, TensorData},
};
use kiln_activations::{Ctx, Init, Probe};
use kiln_registry::Tagged;
use serde_json::{Value, json};

use super::*;
use crate::{
    InputSpec,
    testing::{assert_close, check_gradients, device, indices, normal, randomised, values},
};

const ROWS: usize = 5;
const OUTPUTS: usize = 3;

const TOKENS: InputSpec = InputSpec::Tokens { vocabulary: 11, length: 7 };
const IMAGE: InputSpec = InputSpec::Image { channels: 2, height: 7, width: 8 };

/// A small config of the network in f64, and an input it takes.
fn case(name: &str) -> (ModelConfig, Io) {
    let (keys, input) = match name {
        "cnn" => (json!({ "channels": [3], "kernel": 3, "hidden": [5], "dropout": 0.5 }), IMAGE),
        "gru" => (json!({ "width": 3, "input_dropout": 0.25 }), TOKENS),
        "hierarchical" => (
            json!({ "size": 4, "stride": 3, "d_model": 4, "d_ff": 5, "hidden": 3, "attention": { "n_heads": 2 },
                "aggregator": { "name": "recurrent", "width": 3 } }),
            InputSpec::Tokens { vocabulary: 11, length: 9 },
        ),
        "lenet" => (json!({}), InputSpec::Image { channels: 1, height: 16, width: 17 }),
        "mlp" => (json!({ "widths": [7, 5], "bias": true, "dropout": 0.5 }), InputSpec::Floats { width: 13 }),
        "query_pool" => (json!({ "width": 4 }), InputSpec::Items { features: 3 }),
        "resnet" => (json!({ "depth": 8, "width": 1 }), IMAGE),
        "soft_decision_tree" => (json!({ "depth": 3, "learn_temperature": true }), InputSpec::Floats { width: 5 }),
        "decoder" => {
            let positions = json!({ "name": "learned", "max_length": 9 });
            (json!({ "d_model": 6, "d_ff": 5, "positions": positions, "attention": { "n_heads": 2 } }), TOKENS)
        }
        "transformer" => (json!({ "d_model": 6, "d_ff": 5, "attention": { "n_heads": 2 } }), TOKENS),
        "vit" => (
            json!({ "patch": 2, "d_model": 4, "d_ff": 5, "pool": "class_token", "attention": { "n_heads": 2 } }),
            InputSpec::Image { channels: 2, height: 4, width: 6 },
        ),
        _ => panic!("give \"{name}\" a line here: its smallest interesting config and an input"),
    };
    // The name comes first, as in a file.
    let mut config = json!({ "name": name, "dtype": "f64" });
    config.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    let config: ModelConfig = serde_json::from_value(config).unwrap_or_else(|error| panic!("{name}: {error}"));
    (config, Io { input, outputs: OUTPUTS })
}

fn cases() -> impl Iterator<Item = (&'static str, ModelConfig, Io)> {
    ModelConfig::NAMES.iter().map(|name| {
        let (config, io) = case(name);
        config.check(&io).unwrap_or_else(|error| panic!("{name}: {error}"));
        (*name, config, io)
    })
}

fn build(config: &ModelConfig, io: &Io, seed: u64) -> Model {
    config.init((io, &Init::new(seed, &device(), config.dtype())))
}

/// Rows of that kind.
fn input(spec: InputSpec) -> Input {
    match spec {
        InputSpec::OneHot { width, hot } => Input::OneHot(indices([ROWS, hot], width).1),
        InputSpec::Tokens { vocabulary, length } => Input::Tokens(indices([ROWS, length], vocabulary).1),
        InputSpec::TokenSums { vocabulary, parts, length } => {
            Input::TokenSums { ids: indices([ROWS, length * parts], vocabulary).1, parts }
        }
        InputSpec::Floats { width } => Input::Floats(normal([ROWS, width], DType::F64, "x").detach()),
        InputSpec::Items { features } => Input::Items(normal([ROWS, 6, features], DType::F64, "x").detach()),
        InputSpec::Image { channels, height, width } => {
            Input::Image(normal([ROWS, channels, height, width], DType::F64, "x").detach())
        }
    }
}

/// Asks as training does: with the answers.
fn taught() -> Ask {
    let classes: Vec<i64> = (0..ROWS as i64).map(|row| row % OUTPUTS as i64).collect();
    let classes = Tensor::<1, Int>::from_data(TensorData::new(classes, [ROWS]), &device());
    Ask::row().knowing(kiln_activations::loss::Target::Classes(classes))
}

#[test]
fn logits_have_their_shape_and_repeat() {
    for (name, config, io) in cases() {
        let model = build(&config, &io, 1);
        for (ask, ctx) in [(Ask::row(), Ctx::eval(2, 3)), (taught(), Ctx::train(2, 3))] {
            let logits = |model: &Model| model.forward(&input(io.input), &ask, &ctx);
            assert_eq!(logits(&model).dims(), [ROWS, OUTPUTS], "{name}");
            assert_eq!(logits(&model).dtype(), DType::F64, "{name}");
            assert_eq!(values(&logits(&model)), values(&logits(&build(&config, &io, 1))), "{name}");
            assert_ne!(values(&logits(&model)), values(&logits(&build(&config, &io, 2))), "{name}");
        }
    }
}

#[test]
fn gradients_agree_with_central_differences() {
    for (name, config, io) in cases().filter(|(name, ..)| *name != "lenet") {
        let model = randomised(build(&config, &io, 1));
        let c = normal([ROWS, OUTPUTS], DType::F64, "c").detach();
        // A training pass: dropout repeats, and batch statistics are part of the function.
        println!("{name}");
        check_gradients(&model, |model| {
            (model.forward(&input(io.input), &taught(), &Ctx::train(2, 3)) * c.clone()).sum()
        });
    }
}

#[test]
fn parts_of_a_batch_give_their_part_of_the_answers() {
    for (name, config, io) in cases() {
        let model = randomised(build(&config, &io, 1));
        let logits = |input: &Input| values(&model.forward(input, &Ask::row(), &Ctx::eval(2, 3)));
        let (whole, input) = (logits(&input(io.input)), input(io.input));
        for rows in [0..1, 1..4, 4..5] {
            let expected = &whole[rows.start * OUTPUTS..rows.end * OUTPUTS];
            assert_close(&format!("{name} {rows:?}"), &logits(&input.rows_in(rows)), expected, 1e-12);
        }
    }
}

#[test]
fn a_record_brings_every_value_back() {
    for (name, config, io) in cases() {
        let model = randomised(build(&config, &io, 1));
        let bytes = model.clone().into_record().into_bytes().unwrap();
        let record = ModuleRecord::from_bytes(bytes).unwrap();
        let loaded = build(&config, &io, 2).try_load_record(record).unwrap_or_else(|error| panic!("{name}: {error}"));
        for ctx in [Ctx::eval(2, 3), Ctx::train(2, 3)] {
            let logits = |model: &Model| values(&model.forward(&input(io.input), &taught(), &ctx));
            assert_eq!(logits(&loaded), logits(&model), "{name}");
        }
        // Without autodiff some operations take another path.
        let eval = Ctx::eval(2, 3);
        let inferred = values(&loaded.valid().forward(&inner(&input(io.input)), &Ask::row(), &eval));
        let expected = values(&model.forward(&input(io.input), &Ask::row(), &eval));
        assert_close(name, &inferred, &expected, 1e-12);
    }
}

/// The input on the device of inference.
fn inner(input: &Input) -> Input {
    match input {
        Input::OneHot(x) => Input::OneHot(x.clone()),
        Input::Tokens(x) => Input::Tokens(x.clone()),
        Input::TokenSums { ids, parts } => Input::TokenSums { ids: ids.clone(), parts: *parts },
        Input::Floats(x) => Input::Floats(x.clone().inner()),
        Input::Items(x) => Input::Items(x.clone().inner()),
        Input::Image(x) => Input::Image(x.clone().inner()),
    }
}

#[test]
fn another_head_takes_the_place_of_the_output_layer() {
    for (name, config, io) in cases() {
        let mut json = serde_json::to_value(&config).unwrap();
        json["head"] = json!({ "name": "cosface", "s": 8, "m": 0.25 });
        // A network without a place for a head says so.
        let Some(_) = config.head() else {
            let error = serde_json::from_value::<ModelConfig>(json).unwrap_err().to_string();
            assert!(error.contains("takes no head: ") && error.contains("choose another network"), "{name}: {error}");
            continue;
        };
        let plain: Vec<String> = crate::parameters(&build(&config, &io, 1)).into_iter().map(|p| p.name).collect();
        assert!(!plain.iter().any(|name| name.starts_with("head")), "{name}: {plain:?}");
        let config: ModelConfig = serde_json::from_value(json).unwrap_or_else(|error| panic!("{name}: {error}"));
        config.check(&io).unwrap_or_else(|error| panic!("{name}: {error}"));
        let model = build(&config, &io, 1);
        let found: Vec<String> = crate::parameters(&model).into_iter().map(|p| p.name).collect();
        let head: Vec<&String> = found.iter().filter(|name| !plain.contains(name)).collect();
        assert_eq!(head, ["head.classes.weight"], "{name}");
        let lost = plain.iter().filter(|name| !found.contains(name)).count();
        assert!((1..=2).contains(&lost), "{name}: weight and bias of the output layer go");
        let probe = Probe::of(["features", "logits"]);
        let logits = model.forward(&input(io.input), &Ask::row(), &Ctx::eval(2, 3).with_probe(&probe));
        let records = probe.take();
        assert_eq!(records.len(), 2, "{name}");
        assert_eq!(values(&records[1].rows), values(&logits), "{name}");
        assert_eq!(model.unembedding().unwrap().dims(), [OUTPUTS, records[0].shape[1]], "{name}");
        // While training the right class is a quarter of the scale behind.
        let told = values(&model.forward(&input(io.input), &taught(), &Ctx::eval(2, 3)));
        for (i, (told, plain)) in told.iter().zip(values(&logits)).enumerate() {
            let own = i % OUTPUTS == i / OUTPUTS % OUTPUTS;
            assert_close(name, &[*told], &[plain - if own { 2.0 } else { 0.0 }], 1e-12);
        }
    }
}

#[test]
fn a_config_is_printed_as_it_was_read() {
    for (name, config, _) in cases() {
        let printed = serde_json::to_value(&config).unwrap();
        assert_eq!(serde_json::from_value::<ModelConfig>(printed).unwrap(), config, "{name}");
        let short: ModelConfig = serde_json::from_value(Value::from(name)).unwrap();
        assert_eq!(short.name(), name);
    }
}

#[test]
fn every_kind_of_input_is_taken_or_refused_by_name() {
    let kinds = [
        InputSpec::OneHot { width: 13, hot: 2 },
        TOKENS,
        InputSpec::TokenSums { vocabulary: 11, parts: 2, length: 7 },
        InputSpec::Floats { width: 13 },
        InputSpec::Items { features: 3 },
        InputSpec::Image { channels: 1, height: 16, width: 17 },
    ];
    for (name, config, own) in cases() {
        let mut taken = 0;
        for kind in kinds {
            // Of its own kind the sizes that fit it.
            let same = std::mem::discriminant(&kind) == std::mem::discriminant(&own.input);
            let kind = if same { own.input } else { kind };
            let io = Io { input: kind, outputs: OUTPUTS };
            match config.check(&io) {
                Ok(()) => {
                    taken += 1;
                    let logits = build(&config, &io, 1).forward(&input(kind), &Ask::row(), &Ctx::eval(2, 3));
                    assert_eq!(logits.dims(), [ROWS, OUTPUTS], "{name}");
                }
                Err(error) => {
                    assert_eq!(error.key, "name", "{name} on {kind}: {error}");
                    for part in [format!("\"{name}\""), kind.to_string()] {
                        assert!(error.message.contains(&part), "{part} is missing in: {error}");
                    }
                }
            }
        }
        assert!(taken > 0, "{name} takes nothing");
    }
}

#[test]
fn what_is_recorded_has_a_name_of_its_own_and_rows_first() {
    for (name, config, io) in cases() {
        let probe = Probe::default();
        let ctx = Ctx::eval(2, 3).with_probe(&probe);
        build(&config, &io, 1).forward(&input(io.input), &Ask::row(), &ctx);
        let records = probe.take();
        let mut names: Vec<String> = records.iter().map(|record| format!("{}/{}", record.name, record.path)).collect();
        for (record, name) in records.iter().zip(&names) {
            assert_eq!(record.shape[0] % ROWS, 0, "{name}: {:?}", record.shape);
        }
        let recorded = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), recorded, "{name}: {names:?}");
        assert!(names.contains(&"logits/".to_owned()), "{name}: {names:?}");
        assert_eq!(records.iter().any(|record| record.name == "attention"), config.attends(), "{name}: {names:?}");
    }
}
