//! What every head owes: the tests walk the registry, so that a new entry is among them.
mod reference;

use burn::{
    module::{Module, Param},
    store::ModuleRecord,
    tensor::{Bytes, DType, Int, Tensor, TensorData},
};
use kiln_activations::{
    Ctx, Init, LossTerms, Probe,
    loss::{LossConfig, Scores, Target, TargetKind},
};
use kiln_registry::Tagged;

use super::{Head, HeadConfig, Site};
use crate::{
    Ask,
    block::Draw,
    testing::{assert_close, check_gradients, device, normal, randomised, values},
};

const ROWS: usize = 7;
const FEATURES: usize = 13;
const OUTPUTS: usize = 11;
const SITE: Site = Site { features: FEATURES, outputs: OUTPUTS, bias: true, draw: Draw::Uniform };

/// Parameters beside the defaults, which are chosen for large problems.
const VARIANTS: &[&str] = &[
    r#"{ "name": "normalised", "s": 5, "layer_norm": true }"#,
    r#"{ "name": "normalised", "s": 5, "learn_scale": true }"#,
    r#"{ "name": "cosface", "s": 8, "m": 0.2 }"#,
    r#"{ "name": "curricular_face", "s": 8, "m": 0.3 }"#,
    r#"{ "name": "adaptive_margin", "s": 2, "rivals": "mean" }"#,
    r#"{ "name": "arcface", "s": 8, "m": 0.5 }"#,
    r#"{ "name": "combined_margin", "s": 8, "m1": 1.5, "m2": 0.2, "m3": 0.1 }"#,
    r#"{ "name": "partial_fc", "s": 8, "m": 0.1, "rate": 0.8 }"#,
    r#"{ "name": "partial_fc", "s": 8, "m": 0.1, "rate": 1 }"#,
    r#"{ "name": "wrapped_cauchy", "s": 3, "learn_scale": true, "concentration": -1 }"#,
    r#"{ "name": "equiangular", "temperature": 0.5 }"#,
    r#"{ "name": "equiangular", "temperature": 0.5, "simplex": true }"#,
    r#"{ "name": "fourier", "frequencies": 2, "gamma": 0.1 }"#,
    r#"{ "name": "vq_logits", "codes": 3, "map": "bands", "token_bias": false }"#,
    r#"{ "name": "svm", "penalty": "half_sum_square", "weight": 0.1 }"#,
    r#"{ "name": "nbc", "tau": 5, "weight": 9, "per_class": false, "projection": 3 }"#,
];

/// Every entry at its defaults, and the variants.
fn configs() -> Vec<HeadConfig> {
    let defaults = HeadConfig::NAMES.iter().map(|name| HeadConfig::by_name(name).expect("defaults that suffice"));
    let variants = VARIANTS.iter().map(|json| serde_json::from_str(json).expect("a good variant"));
    defaults.chain(variants).collect()
}

fn build(config: &HeadConfig, seed: u64, dtype: DType) -> Head {
    config.check(&SITE).unwrap_or_else(|invalid| panic!("{}: {invalid}", config.name()));
    config.init((&SITE, &Init::new(seed, &device(), dtype)))
}

/// The right class of a row.
fn class(row: usize) -> usize {
    row * 5 % OUTPUTS
}

fn classes(rows: usize) -> Tensor<1, Int> {
    let classes: Vec<i32> = (0..rows).map(|row| class(row) as i32).collect();
    Tensor::from_data(TensorData::new(classes, [rows]), &device())
}

fn knowing(rows: usize) -> Ask {
    Ask::row().knowing(Target::Classes(classes(rows)))
}

/// −∞ as 0: a class that is left out.
fn finite(logits: Tensor<2>) -> Tensor<2> {
    let left_out = logits.clone().detach().equal_elem(f64::NEG_INFINITY);
    logits.mask_fill(left_out, 0.0)
}

#[test]
fn shapes_dtypes_and_laws() {
    for config in configs() {
        let (name, laws) = (config.name(), config.laws());
        for (dtype, slack) in [(DType::F64, 1e-12), (DType::F32, 1e-5), (DType::F16, 1e-2), (DType::BF16, 1e-1)] {
            let head = build(&config, 3, dtype);
            let features = normal([ROWS, FEATURES], dtype, "features").detach();
            let logits = head.forward(features.clone(), &Ask::row(), &Ctx::eval(0, 0));
            assert_eq!((logits.dims(), logits.dtype()), ([ROWS, OUTPUTS], dtype), "{name}");
            let found = values(&logits);
            assert!(found.iter().all(|z| z.is_finite()), "{name} {dtype:?}: {found:?}");
            match laws.scores {
                Scores::Logits { bound: Some(bound) } => {
                    assert!(found.iter().all(|z| z.abs() <= bound * (1.0 + slack)), "{name}: beyond {bound}");
                }
                Scores::LogWeights => assert!(found.iter().all(|z| *z <= slack + 1e-4), "{name}: above 0"),
                _ => {}
            }
            let training = head.forward(features, &knowing(ROWS), &Ctx::train(0, 3));
            assert_eq!((training.dims(), training.dtype()), ([ROWS, OUTPUTS], dtype), "{name}");
            let moved = values(&training);
            assert!(moved.iter().all(|z| z.is_finite() || *z == f64::NEG_INFINITY), "{name} {dtype:?}: {moved:?}");
            let right = (0..ROWS).all(|row| moved[row * OUTPUTS + class(row)].is_finite());
            assert!(right, "{name}: the right class is never left out");
            if !laws.needs_classes {
                assert_eq!(moved, found, "{name}: nothing depends on the right answers");
            }
        }
        if let Some(vectors) = build(&config, 3, DType::F32).unembedding() {
            assert_eq!(vectors.dims(), [OUTPUTS, FEATURES], "{name}: a row per class");
        }
    }
}

#[test]
fn rows_depend_on_each_other_where_the_laws_say_so() {
    for config in configs().iter().filter(|config| !config.laws().batch_coupled) {
        let head = build(config, 3, DType::F64);
        let features = normal([ROWS, FEATURES], DType::F64, "features").detach();
        let all = values(&head.forward(features.clone(), &knowing(ROWS), &Ctx::train(0, 3)));
        let few = values(&head.forward(features.narrow(0, 0, 5), &knowing(5), &Ctx::train(0, 3)));
        assert_close(config.name(), &few, &all[..5 * OUTPUTS], 1e-13);
    }
}

/// A head and what it reads, so that both are differentiated.
#[derive(Module, Debug)]
struct Bench {
    head: Head,
    features: Param<Tensor<2>>,
}

#[test]
fn gradients_agree_with_central_differences() {
    for config in configs().iter().filter(|config| config.laws().exact_gradient) {
        println!("{config:?}");
        let init = Init::new(5, &device(), DType::F64);
        let head = randomised(build(config, 3, DType::F64));
        let bench = Bench { head, features: init.normal("features", [5, FEATURES], 1.0) };
        let c = normal([5, OUTPUTS], DType::F64, "c").detach();
        let terms = LossTerms::default();
        let ctx = Ctx::train(0, 3).with_loss_terms(&terms);
        check_gradients(&bench, |bench| {
            let logits = bench.head.forward(bench.features.val(), &knowing(5), &ctx);
            let sum = (finite(logits) * c.clone()).sum();
            terms.take().into_iter().fold(sum, |sum, term| sum + term.value)
        });
    }
}

#[test]
fn a_record_carries_everything() {
    for config in configs() {
        let trained = randomised(build(&config, 3, DType::F32));
        let features = normal([ROWS, FEATURES], DType::F32, "features").detach();
        let logits = |head: &Head| values(&head.forward(features.clone(), &Ask::row(), &Ctx::eval(0, 0)));
        let bytes = trained.clone().into_record().into_bytes().expect("a record").to_vec();
        let record = ModuleRecord::from_bytes(Bytes::from_bytes_vec(bytes)).expect("whole");
        let loaded = build(&config, 3, DType::F32).try_load_record(record).expect("it fits");
        assert_eq!(logits(&loaded), logits(&trained), "{}", config.name());
        assert_eq!(logits(&trained.valid()), logits(&trained), "{}", config.name());
    }
}

#[test]
fn first_values_depend_on_the_seed_alone() {
    for config in configs() {
        let features = normal([ROWS, FEATURES], DType::F32, "features").detach();
        let logits =
            |seed| values(&build(&config, seed, DType::F32).forward(features.clone(), &Ask::row(), &Ctx::eval(0, 0)));
        assert_eq!(logits(3), logits(3), "{}", config.name());
        assert_ne!(logits(3), logits(4), "{}", config.name());
    }
}

#[test]
fn a_probe_sees_features_and_logits() {
    for config in configs() {
        let head = build(&config, 3, DType::F64);
        let features = normal([ROWS, FEATURES], DType::F64, "features").detach();
        let probe = Probe::of(["features", "logits"]);
        let logits = head.answer(features.clone(), &Ask::row(), &Ctx::eval(0, 0).with_probe(&probe));
        let records = probe.take();
        let names: Vec<&str> = records.iter().map(|record| record.name.as_str()).collect();
        assert_eq!(names, ["features", "logits"]);
        assert_eq!(values(&records[0].rows), values(&features));
        assert_eq!(values(&records[1].rows), values(&logits));
    }
}

#[test]
fn a_config_is_read_and_printed_back() {
    for config in configs() {
        let json = serde_json::to_value(&config).expect("it has a JSON form");
        assert_eq!(serde_json::from_value::<HeadConfig>(json).expect("it reads itself"), config);
    }
}

#[test]
fn what_does_not_fit_a_loss_or_the_data_is_refused() {
    let softmax = LossConfig::default();
    for config in configs() {
        let fit = LossConfig::NAMES.iter().filter_map(|name| LossConfig::by_name(name));
        let fits = |loss: LossConfig| {
            loss.check_target(TargetKind::Classes).is_ok() && config.trains(&loss, TargetKind::Classes).is_ok()
        };
        assert!(fit.into_iter().any(fits), "{} has no loss", config.name());
        let message = config.trains(&softmax, TargetKind::Values);
        assert_eq!(
            message.is_err(),
            config.laws().needs_classes || softmax.check_scores(config.laws().scores).is_err()
        );
    }
    let message = HeadConfig::by_name("cosface").expect("known").trains(&softmax, TargetKind::Labels).unwrap_err();
    assert!(message.starts_with("the head \"cosface\" moves or leaves out logits by the class of a row, and the data gives labels; heads that fit: linear, normalised"), "{message}");
}
