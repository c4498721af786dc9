//! Saving and loading: the same bits as without, and no panic on foreign bytes.
#![allow(missing_docs)]
mod common;

use burn::tensor::DType;
use common::{Toy, config, matrix, toy, values};
use kiln_optimizers::{Chain, OptimConfig, StateError};
use kiln_registry::Tagged;

/// Gradients that change sign and size from step to step, so that every part of a state is in play.
fn advance(mut model: Toy, chain: &mut Chain, steps: std::ops::Range<u64>) -> Toy {
    for step in steps {
        let g = |i: u64| ((step * 7 + i * 3) % 11) as f64 / 8.0 - 0.6;
        let w: Vec<f64> = (0..6).map(g).collect();
        model = model.step(chain, step, &w, &[g(6), g(7), g(8)]);
    }
    model
}

/// A chain and a model as a new process builds them: new parameter ids, the weights of `model`.
fn rebuilt(config: &OptimConfig, model: &Toy) -> (Toy, Chain) {
    let dtype = model.w.dtype();
    let model = toy(&values(&model.w.val()), model.w.dims(), &values(&model.layer.bias.val()), dtype);
    let chain = config.init(&model).unwrap();
    (model, chain)
}

#[test]
fn ten_steps_are_five_and_five() {
    let variants = OptimConfig::NAMES.iter().map(|name| {
        let frozen = if *name == "muon" { "groups=[{ match='bias', update=false }]" } else { "" };
        format!("name='{name}'\nlr=0.01\n{frozen}")
    });
    let more = [
        "name='sgd'\nmomentum=0.9\nnesterov=true",
        "name='rmsprop'\nmomentum=0.5",
        "name='rmsprop'\ncentered=true\neps=0.01",
        "name='adamw'\nstate_dtype='f32'\nweight_decay=0.1\ntransforms=['perp_grad']",
        "name='adan'\nstate_dtype='f64'",
    ];
    for toml in variants.chain(more.map(String::from)) {
        let config = config(&toml);
        for dtype in [DType::F32, DType::F64, DType::F16, DType::BF16] {
            let start = toy(&[0.5, -1.0, 0.25, 2.0, -0.3, 0.7], [2, 3], &[0.1, -0.2, 0.3], dtype);
            let mut chain = config.init(&start).unwrap();
            let half = advance(start, &mut chain, 0..5);
            let bytes = chain.to_bytes().unwrap();
            let whole = advance(half.clone(), &mut chain, 5..10);

            let (half, mut chain2) = rebuilt(&config, &half);
            chain2.load_bytes(bytes.clone()).unwrap();
            assert_eq!(chain2.to_bytes().unwrap(), bytes, "{toml} {dtype:?}");
            let resumed = advance(half, &mut chain2, 5..10);
            let what = format!("{toml} {dtype:?}");
            assert_eq!(values(&resumed.w.val()), values(&whole.w.val()), "{what}");
            assert_eq!(values(&resumed.layer.bias.val()), values(&whole.layer.bias.val()), "{what}");
            assert_eq!(chain2.to_bytes().unwrap(), chain.to_bytes().unwrap(), "{what}");
            assert!(values(&whole.w.val()).iter().all(|w| w.is_finite()), "{what}");
        }
    }
}

/// Without the state the second half differs, or the test above would prove nothing.
#[test]
fn state_matters() {
    let config = config("name='adam'");
    let start = toy(&[0.5; 6], [2, 3], &[0.1; 3], DType::F64);
    let mut chain = config.init(&start).unwrap();
    let half = advance(start, &mut chain, 0..5);
    let whole = advance(half.clone(), &mut chain, 5..10);
    let (half, mut fresh) = rebuilt(&config, &half);
    assert_ne!(values(&advance(half, &mut fresh, 5..10).w.val()), values(&whole.w.val()));
}

#[test]
fn loading_replaces_all_state() {
    let model = toy(&[0.5; 6], [2, 3], &[0.1; 3], DType::F32);
    let empty = config("name='adam'").init(&model).unwrap();
    let mut used = empty.clone();
    let _ = advance(model, &mut used, 0..2);
    used.load_bytes(empty.to_bytes().unwrap()).unwrap();
    assert_eq!(used.v_zero(), None);
}

#[test]
fn foreign_and_damaged_bytes_are_refused() {
    let model = toy(&[0.5; 6], [2, 3], &[0.1; 3], DType::F32);
    let mut chain = config("name='adam'").init(&model).unwrap();
    let _ = advance(model.clone(), &mut chain, 0..2);
    let bytes = chain.to_bytes().unwrap();

    let mut other = config("name='sgd'").init(&model).unwrap();
    let error = other.load_bytes(bytes.clone()).unwrap_err().to_string();
    assert!(error.contains("holds the state of rule \"adam\", expected \"sgd\""), "{error}");

    let small = matrix(&[1.0; 6], [2, 3], DType::F32);
    let error = config("name='adam'").init(&small).unwrap().load_bytes(bytes.clone()).unwrap_err();
    assert_eq!(error, StateError::UnknownParameter { path: "layer.bias".into() });
    assert!(error.to_string().contains("parameter \"layer.bias\", which the model lacks"), "{error}");

    let wide = toy(&[0.5; 6], [3, 2], &[0.1; 3], DType::F32);
    let error = config("name='adam'").init(&wide).unwrap().load_bytes(bytes.clone()).unwrap_err().to_string();
    assert!(error.contains("parameter \"w\" was F32 [2, 3] in the record, expected F32 [3, 2]"), "{error}");

    let double = toy(&[0.5; 6], [2, 3], &[0.1; 3], DType::F64);
    let error = config("name='adam'").init(&double).unwrap().load_bytes(bytes.clone()).unwrap_err().to_string();
    assert!(error.contains("was F32 [3] in the record, expected F64 [3]"), "{error}");

    for length in (0..bytes.len()).step_by(7) {
        let error = chain.load_bytes(bytes[..length].to_vec()).unwrap_err();
        assert!(matches!(error, StateError::Unreadable(_)), "{length}: {error}");
    }
    let error = chain.load_bytes(b"a text file".to_vec()).unwrap_err().to_string();
    assert!(error.starts_with("not a complete optimizer record"), "{error}");
    assert_eq!(chain.to_bytes().unwrap(), bytes, "a refused record leaves the state as it was");

    // Any damaged byte is refused or read as other numbers, but never stops the program.
    for i in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[i] ^= 0x55;
        let _ = chain.clone().load_bytes(damaged);
    }
}
