//! Update rules: PyTorch's numbers, hand formulas, the tiny-eps table, convergence of every entry.
#![allow(missing_docs)]
mod common;

use burn::tensor::DType;
use common::{assert_close, config, matrix, toy, values};
use kiln_optimizers::OptimConfig;
use kiln_registry::Tagged;
use serde_json::Value;

fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(items) => items.iter().flat_map(numbers).collect(),
        number => vec![number.as_f64().unwrap()],
    }
}

/// `golden/torch_rules.py` made the numbers. Kiln's own rules agree to rounding; Burn's hold their
/// hyper-parameters in f32.
#[test]
fn five_steps_are_those_of_pytorch() {
    let golden: Value = serde_json::from_str(include_str!("../golden/torch_rules.json")).unwrap();
    for case in golden["cases"].as_array().unwrap() {
        let config: OptimConfig = serde_json::from_value(case["config"].clone()).unwrap();
        let tolerance = if ["sgd", "adam", "adamw"].contains(&config.name()) { 1e-14 } else { 1e-6 };
        let mut model = matrix(&numbers(&golden["start"]), [2, 3], DType::F64);
        let mut chain = config.init(&model).unwrap();
        let steps = golden["gradients"].as_array().unwrap().iter().zip(case["weights"].as_array().unwrap());
        for (t, (g, expected)) in steps.enumerate() {
            model = model.step(&mut chain, t as u64, &numbers(g));
            let what = format!("{} after step {t}", case["config"]);
            assert_close(&values(&model.w.val()), &numbers(expected), tolerance, &what);
        }
    }
}

/// Two steps on one scalar weight 2 with gradients 1 and −0.5, against the formula of each rule's doc, written
/// out in plain numbers.
fn two_steps(toml: &str) -> [f64; 2] {
    let mut model = matrix(&[2.0], [1, 1], DType::F64);
    let mut chain = config(toml).init(&model).unwrap();
    [1.0, -0.5].map(|g| {
        model = model.clone().step(&mut chain, 0, &[g]);
        values(&model.w.val())[0]
    })
}

#[test]
fn sgd_and_adam_by_hand() {
    // b = 1; 2 − 0.1. b = 0.9·1 − 0.5 = 0.4; 1.9 − 0.04.
    assert_close(&two_steps("name='sgd'\nlr=0.1\nmomentum=0.9"), &[1.9, 1.86], 1e-15, "sgd");
    // First step of Adam is lr; second: m̂ = (0.09 − 0.05)/0.19, v̂ = (0.000999 + 0.00025)/0.001999.
    let second = 1.9 - 0.1 * (0.04 / 0.19) / (0.001249f64 / 0.001999).sqrt();
    assert_close(&two_steps("name='adam'\nlr=0.1\neps=1e-30"), &[1.9, second], 1e-13, "adam");
    // Decoupled decay takes lr λ = 0.05 of the weight first.
    let second = 1.8 * 0.95 - 0.1 * (0.04 / 0.19) / (0.001249f64 / 0.001999).sqrt();
    assert_close(&two_steps("name='adamw'\nlr=0.1\neps=1e-30\nweight_decay=0.5"), &[1.8, second], 1e-13, "adamw");
}

#[test]
fn burns_rules_by_hand() {
    // AdaGrad: 1/√1, then −0.5/√1.25.
    let expected = [1.9, 1.9 + 0.05 / 1.25f64.sqrt()];
    assert_close(&two_steps("name='adagrad'\nlr=0.1"), &expected, 1e-7, "adagrad");
    // RMSprop, α = 0.5: v = 0.5, then 0.25 + 0.125.
    let expected = [2.0 - 0.1 / 0.5f64.sqrt(), 2.0 - 0.1 / 0.5f64.sqrt() + 0.05 / 0.375f64.sqrt()];
    assert_close(&two_steps("name='rmsprop'\nlr=0.1\nalpha=0.5"), &expected, 1e-7, "rmsprop");
    // Lion: signs of 0.1·1 and of 0.9·0.01 − 0.1·0.5 < 0.
    assert_close(&two_steps("name='lion'\nlr=0.1"), &[1.9, 2.0], 1e-7, "lion");
    // LAMB: a scalar's step is ±‖w‖ lr.
    assert_close(&two_steps("name='lamb'\nlr=0.1"), &[1.8, 1.62], 1e-7, "lamb");
    // Adan: m̂ = 1; then d = −1.5, m = 0.02·0.98 − 0.02·0.5, δ = −0.08·1.5, n = 0.01·0.99 + 0.01(−0.5 − 0.92·1.5)².
    let m = (0.02 * 0.98 - 0.01) / (1.0 - 0.98f64.powi(2));
    let d = -0.12 / (1.0 - 0.92f64.powi(2));
    let n = (0.01 * 0.99 + 0.01 * 1.88f64.powi(2)) / (1.0 - 0.99f64.powi(2));
    assert_close(&two_steps("name='adan'\nlr=0.1"), &[1.9, 1.9 - 0.1 * (m + 0.92 * d) / n.sqrt()], 1e-6, "adan");
    // Adafactor in a 1×1 matrix, absolute steps: v = g² at first; then ρ = 1 − 2^−0.8 of it is kept.
    let rho = 1.0 - 2f64.powf(-0.8);
    let v = rho + (1.0 - rho) * 0.25;
    let expected = [1.9, 1.9 + 0.1 * (0.5 / v.sqrt()).min(1.0)];
    let toml = "name='adafactor'\nlr=0.1\nrelative_step=false\nscale_parameter=false";
    assert_close(&two_steps(toml), &expected, 1e-6, "adafactor");
    // Muon: velocity 1, then 0.95 − 0.5 = 0.45; Nesterov's look-ahead stays positive, then −0.5 + 0.95·0.45 < 0.
    let mut x = 1.0f64;
    for _ in 0..5 {
        x = 3.4445 * x - 4.775 * x.powi(3) + 2.0315 * x.powi(5);
    }
    assert_close(&two_steps("name='muon'\nlr=0.1"), &[2.0 - 0.1 * x, 2.0], 1e-6, "muon");
}

/// First-step updates in units of lr, in f32 with β₂ = 0.999, by the size of the gradient and eps.
#[test]
fn tiny_eps_table() {
    let eps = [1e-8, 1e-18, 1e-25, 1e-30];
    let table = [
        (1e-8, [0.5, 1.0, 1.0, 1.0]),
        (1e-12, [1e-4, 1.0, 1.0, 1.0]),
        (1e-19, [1e-11, 0.0909, 1.0, 1.0]),
        (1e-21, [1e-13, 9.99e-4, 0.845, 0.845]),
        (1e-22, [1e-14, 1e-4, 1000.0, 1e8]),
        (1e-23, [1e-15, 1e-5, 100.0, 1e7]),
    ];
    for (g, row) in table {
        for (eps, divided) in eps.into_iter().zip(row) {
            // The weight starts at 0, so that nothing of the update is rounded away.
            let update = |v_zero: &str| {
                let model = matrix(&[0.0, 0.0], [1, 2], DType::F32);
                let config = config(&format!("name='adam'\nlr=1.0\neps={eps:e}\nv_zero='{v_zero}'"));
                let mut chain = config.init(&model).unwrap();
                let model = model.step(&mut chain, 0, &[g, 1.0]);
                (-values(&model.w.val())[0], chain.v_zero().unwrap())
            };
            let dead = g < 5e-22;
            let (step, share) = update("divide");
            assert!((step / divided - 1.0).abs() < 3e-3, "g {g:e}, eps {eps:e}: {step:e}, expected {divided:e}");
            assert_eq!(share, if dead { 0.5 } else { 0.0 }, "g {g:e}");
            let (skipped, share) = update("skip");
            assert_eq!(skipped, if dead { 0.0 } else { step }, "g {g:e}, eps {eps:e}");
            assert_eq!(share, if dead { 0.5 } else { 0.0 }, "g {g:e}");
        }
    }
}

#[test]
fn v_zero_is_for_adam_alone_and_after_a_step() {
    let model = matrix(&[1.0], [1, 1], DType::F32);
    let mut adam = config("name='adam'").init(&model).unwrap();
    assert_eq!(adam.v_zero(), None);
    let _ = model.clone().step(&mut adam, 0, &[1.0]);
    assert_eq!(adam.v_zero(), Some(0.0));
    let mut sgd = config("name='sgd'\nmomentum=0.9").init(&model).unwrap();
    let _ = model.step(&mut sgd, 0, &[1.0]);
    assert_eq!(sgd.v_zero(), None);
}

/// ½‖W − T‖² from W = some matrix, with a decaying rate: every entry gets within 1 % of the way.
#[test]
fn every_rule_descends_a_parabola() {
    let (start, target) = ([1.0, -1.0, 0.5, 2.0, 0.3, -0.7], [0.2, 0.4, -0.6, 0.8, 1.0, -0.3]);
    for name in OptimConfig::NAMES {
        let toml = format!("name='{name}'\nlr=0.1\nschedule={{ name='cosine', steps=300 }}");
        let mut model = matrix(&start, [2, 3], DType::F32);
        let mut chain = config(&toml).init(&model).unwrap();
        for step in 0..300 {
            let g: Vec<f64> = values(&model.w.val()).iter().zip(&target).map(|(w, t)| w - t).collect();
            model = model.step(&mut chain, step, &g);
        }
        let distance = |w: &[f64]| w.iter().zip(&target).map(|(w, t)| (w - t).powi(2)).sum::<f64>();
        let left = distance(&values(&model.w.val())) / distance(&start);
        assert!(left < 1e-2, "{name} is left with {left:e} of the parabola");
    }
}

/// The state's dtype decides the arithmetic, the parameter keeps its own.
#[test]
fn state_dtype_is_apart_from_the_parameters() {
    let g = [1e-4, 3e-4];
    let half = |toml: &str| {
        let model = matrix(&[0.5, -0.5], [1, 2], DType::F16);
        let mut chain = config(toml).init(&model).unwrap();
        let model = model.step(&mut chain, 0, &g);
        assert_eq!(model.w.dtype(), DType::F16);
        (values(&model.w.val()), chain.v_zero())
    };
    // 1e-3 · (1e-4)² is 0 in f16, where nothing moves; in f32 Adam's first step is lr.
    assert_eq!(half("name='adam'\nlr=0.125"), (vec![0.5, -0.5], Some(1.0)));
    let (w, dead) = half("name='adam'\nlr=0.125\nstate_dtype='f32'");
    assert_close(&w, &[0.375, -0.625], 1e-3, "f16 weights under f32 state");
    assert_eq!(dead, Some(0.0));
}

#[test]
fn parameters_without_gradient_stay() {
    let model = toy(&[1.0, 2.0], [1, 2], &[3.0], DType::F64);
    let mut chain = config("name='adamw'\nweight_decay=0.5").init(&model).unwrap();
    let mut grads = model.grads(&[1.0, 1.0], &[1.0]);
    let _ = grads.remove::<1>(model.layer.bias.id);
    let stepped = chain.step(0, model, grads);
    assert_eq!(values(&stepped.layer.bias.val()), [3.0]);
    assert_ne!(values(&stepped.w.val()), [1.0, 2.0]);
    assert!(stepped.w.val().is_require_grad());
}
