//! The chain: groups, schedules, what it refuses.
#![allow(missing_docs)]
mod common;

use burn::{optim::GradientsParams, tensor::DType};
use common::{assert_close, config, matrix, refusal, toy, values};
use kiln_optimizers::{OptimConfig, ScheduleConfig, TransformConfig};
use kiln_registry::Tagged;

#[test]
fn groups_set_decay_rate_and_mask() {
    let base = "name='adamw'\nlr=0.1\neps=1e-30\nweight_decay=1.0\n";
    let run = |groups: &str| {
        let model = toy(&[1.0, -1.0], [1, 2], &[2.0], DType::F64);
        let mut chain = config(&format!("{base}groups={groups}")).init(&model).unwrap();
        let model = model.step(&mut chain, 0, &[0.5, 0.5], &[0.5]);
        (values(&model.w.val()), values(&model.layer.bias.val()))
    };
    // Adam's first step is lr against the gradient's sign, after a decay of lr λ = 10 %.
    let assert = |groups, w: [f64; 2], bias: f64| {
        let (actual_w, actual_bias) = run(groups);
        assert_close(&actual_w, &w, 1e-14, groups);
        assert_close(&actual_bias, &[bias], 1e-14, groups);
    };
    assert("[]", [0.8, -1.0], 1.7);
    assert("[{ match='bias$', weight_decay=0.0 }]", [0.8, -1.0], 1.9);
    assert("[{ match='layer', lr_scale=0.5 }]", [0.8, -1.0], 1.9 - 0.05);
    assert("[{ match='^w$', update=false }]", [1.0, -1.0], 1.7);
    // Key by key, the last group that sets it wins.
    let all = "[{ match='', update=false, weight_decay=0.0 }, { match='bias', update=true }]";
    assert(all, [1.0, -1.0], 1.9);
}

#[test]
fn a_frozen_group_keeps_no_state() {
    let model = toy(&[1.0], [1, 1], &[2.0], DType::F32);
    let mut chain = config("name='adam'\ngroups=[{ match='', update=false }]").init(&model).unwrap();
    let _ = model.step(&mut chain, 0, &[1.0], &[1.0]);
    assert_eq!(chain.v_zero(), None);
}

#[test]
fn real_gradients_pass_through() {
    let model = matrix(&[1.0, -2.0], [1, 2], DType::F32);
    let mut chain = config("name='sgd'\nlr=0.25").init(&model).unwrap();
    // d/dw Σ w² = 2 w.
    let loss = model.w.val().square().sum();
    let grads = GradientsParams::from_grads(loss.backward(), &model);
    let model = chain.step(0, model, grads);
    assert_eq!(values(&model.w.val()), [0.5, -1.0]);
    // The new weights are tracked again.
    let grads = GradientsParams::from_grads(model.w.val().square().sum().backward(), &model);
    assert_eq!(values(&chain.step(1, model, grads).w.val()), [0.25, -0.5]);
}

#[test]
fn a_clone_goes_its_own_way() {
    let model = matrix(&[1.0], [1, 1], DType::F64);
    let mut chain = config("name='sgd'\nmomentum=0.5\nlr=1.0").init(&model).unwrap();
    let model = model.step(&mut chain, 0, &[1.0]);
    let before = chain.to_bytes().unwrap();
    let _ = model.clone().step(&mut chain.clone(), 1, &[1.0]);
    assert_eq!(chain.to_bytes().unwrap(), before);
    // v = 0.5 + 1.
    assert_eq!(values(&model.step(&mut chain, 1, &[1.0]).w.val()), [-1.5]);
}

#[test]
fn schedules_and_their_ends() {
    let factors = |toml: &str, steps: &[u64]| {
        let config = config(&format!("name='sgd'\nlr=2.0\nschedule={toml}"));
        config.check().unwrap();
        steps.iter().map(|&step| config.lr(step) / 2.0).collect::<Vec<_>>()
    };
    assert_eq!(factors("'constant'", &[0, 1, u64::MAX]), [1.0; 3]);
    assert_eq!(factors("{ name='linear_warmup', steps=4 }", &[0, 1, 2, 3, 4, 99]), [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]);
    let linear = "{ name='linear', steps=6, warmup=2 }";
    assert_eq!(factors(linear, &[0, 1, 2, 3, 4, 5, 6, u64::MAX]), [0.5, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0]);
    let cosine = "{ name='cosine', steps=10, warmup=2, min_ratio=0.2 }";
    let expected = [0.5, 1.0, 1.0, 0.2 + 0.8 * 0.5, 0.2, 0.2];
    assert_close(&factors(cosine, &[0, 1, 2, 6, 10, u64::MAX]), &expected, 1e-15, "cosine");
    assert_close(&factors("{ name='cosine', steps=3 }", &[0, 1, 2, 3]), &[1.0, 0.75, 0.25, 0.0], 1e-15, "cosine");
    let step = "{ name='step', every=3, factor=0.5 }";
    assert_eq!(factors(step, &[0, 2, 3, 5, 6, 30]), [1.0, 1.0, 0.5, 0.5, 0.25, 2f64.powi(-10)]);
    assert_eq!(factors("{ name='step', every=1 }", &[1]), [0.1]);
    assert_eq!(ScheduleConfig::default().factor(7), 1.0);
}

#[test]
fn lr_follows_the_schedule() {
    let model = matrix(&[1.0], [1, 1], DType::F64);
    let mut chain = config("name='sgd'\nlr=1.0\nschedule={ name='step', every=1, factor=0.5 }").init(&model).unwrap();
    assert_eq!((chain.lr(0), chain.lr(2)), (1.0, 0.25));
    assert_eq!(values(&model.step(&mut chain, 2, &[1.0]).w.val()), [0.75]);
}

#[test]
fn the_canon_is_read_and_written_back() {
    let canon = "name='adamw'\nlr=3e-3\nbetas=[0.9, 0.99]\neps=1e-25\nweight_decay=0.0\ntransforms=[]";
    let canon = config(canon);
    assert_eq!(config(&toml::to_string(&canon).unwrap()), canon);
    for name in OptimConfig::NAMES {
        let short: OptimConfig = serde_json::from_value(serde_json::json!(name)).unwrap();
        short.check().unwrap();
        assert_eq!(config(&toml::to_string(&short).unwrap()), short);
    }
    let full = config(
        "name='sgd'\nstate_dtype='f64'\nschedule={ name='step', every=5 }\n\
         transforms=['perp_grad', { name='clip_norm', max_norm=1.0 }]\n\
         groups=[{ match='bias', weight_decay=0.0, lr_scale=2.0, update=false }]",
    );
    assert_eq!(config(&toml::to_string(&full).unwrap()), full);
}

#[test]
fn every_entry_says_what_it_is() {
    let entries = [OptimConfig::listing(), ScheduleConfig::listing(), TransformConfig::listing()].concat();
    assert!(entries.iter().all(|entry| !entry.summary.is_empty()));
}

#[test]
fn bad_values_are_named() {
    for (toml, message) in [
        ("name='adamq'", "unknown variant `adamq`, expected one of `sgd`"),
        ("name='sgd'\nbetas=[0.9, 0.9]", "unknown field `betas`, expected one of `lr`, `momentum`"),
        ("name='adamw'\nlr=0.0", "0 is out of range; expected a number above 0"),
        ("name='adamw'\nlr='fast'", "invalid type: string \"fast\", expected f64"),
        ("name='adamw'\nbetas=[0.9, 1.0]", "1 is out of range; expected two numbers in [0, 1)"),
        ("name='adamw'\neps=-1e-8", "expected a number of at least 0"),
        ("name='adamw'\nv_zero='ignore'", "expected `skip` or `divide`"),
        ("name='adamw'\nstate_dtype='f8'", "unknown variant `f8`, expected one of `param`, `f16`"),
        ("name='adan'\nbetas=[0.9, 0.9, 2.0]", "2 is out of range; expected three numbers in [0, 1)"),
        ("name='adafactor'\neps=[1e-60, 1e-3]", "expected two numbers above 0"),
        ("name='sgd'\nmomentum=1.0", "1 is out of range; expected a number in [0, 1)"),
        ("name='sgd'\ntransforms=['perpgrad']", "unknown variant `perpgrad`, expected `perp_grad` or `clip_norm`"),
        ("name='sgd'\ntransforms=['clip_norm']", "missing field `max_norm`"),
        ("name='sgd'\nschedule={ name='cosine' }", "missing field `steps`"),
        (
            "name='sgd'\nschedule={ name='cosine', steps=9, min_ratio=2.0 }",
            "2 is out of range; expected a number in [0, 1]",
        ),
        ("name='sgd'\nschedule={ name='step', every=0 }", "expected a whole number of at least 1"),
        (
            "name='sgd'\ngroups=[{ match='[bias', update=false }]",
            "\"[bias\" is not a regular expression: unclosed character class",
        ),
        ("name='sgd'\ngroups=[{ match='b', decay=0.0 }]", "unknown field `decay`"),
    ] {
        let refusal = refusal(toml);
        assert!(refusal.contains(message), "{toml}\n{refusal}");
    }
}

#[test]
fn contradictions_are_named() {
    let model = toy(&[1.0], [1, 1], &[2.0], DType::F32);
    for (toml, expected) in [
        (
            "name='sgd'\nnesterov=true",
            "nesterov: nesterov with momentum = 0 and dampening = 0; it needs momentum above 0 and dampening = 0",
        ),
        (
            "name='adam'\neps=1e-8\nv_zero='divide'\nstate_dtype='f16'",
            "eps: eps = 1e-8 is 0 in the state's dtype, and v_zero = \"divide\" would make 0/0; raise eps or write v_zero = \"skip\"",
        ),
        (
            "name='sgd'\nschedule={ name='cosine', steps=5, warmup=5 }",
            "schedule.warmup: warmup = 5 leaves nothing of steps = 5; make it smaller",
        ),
        (
            "name='sgd'\nschedule={ name='linear', steps=5, warmup=6 }",
            "schedule.warmup: warmup = 6 leaves nothing of steps = 5; make it smaller",
        ),
        (
            "name='sgd'\ngroups=[{ match='w' }]",
            "groups[0].match: the group \"w\" sets nothing; give it weight_decay, lr_scale or update",
        ),
        (
            "name='sgd'\ngroups=[{ match='w', update=false }, { match='biases', update=false }]",
            "groups[1].match: \"biases\" matches no parameter; the model has layer.bias, w",
        ),
        (
            "name='muon'",
            "name: muon updates matrices only, and parameter \"layer.bias\" has shape [1]; choose another rule \
             or freeze it by groups = [{ match = \"layer.bias\", update = false }]",
        ),
    ] {
        assert_eq!(config(toml).init(&model).unwrap_err().to_string(), expected, "{toml}");
    }
    config("name='muon'\ngroups=[{ match='layer.bias', update=false }]").init(&model).unwrap();
}

#[test]
#[should_panic(expected = "parameter \"w\" is not in the model that the chain was made for")]
fn another_model_is_a_slip() {
    use burn::module::{Module, Param};
    use burn::tensor::Tensor;
    #[derive(Module, Debug)]
    struct Other {
        v: Param<Tensor<2>>,
    }
    let other = Other { v: Param::from_tensor(common::tensor(&[1.0], [1, 1], DType::F32).autodiff()) };
    let mut chain = config("name='sgd'").init(&other).unwrap();
    let _ = matrix(&[1.0], [1, 1], DType::F32).step(&mut chain, 0, &[1.0]);
}
