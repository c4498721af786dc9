use burn::tensor::{DType, Tensor, TensorData};
use kiln_activations::Ctx;
use serde_json::json;

use super::*;
use crate::{
    attention::core::testing::{build, config, example, straight, upstream},
    position::Rotation,
    testing::{assert_close, device, values},
};

/// log α of the example, a leaf.
fn log_decay() -> Tensor<4> {
    let alpha: Vec<f64> = [0.9, 0.8, 0.7, 0.95, 0.6, 0.5, 0.85, 0.99].iter().map(|x: &f64| x.ln()).collect();
    Tensor::from_data(TensorData::new(alpha, [1, 1, 4, 2]), (&device(), DType::F64)).require_grad()
}

#[test]
fn a_factor_per_channel_by_numbers() {
    for (chunk, pairs) in
        [(4, Pairs::Exact), (4, Pairs::Split), (3, Pairs::Split), (2, Pairs::Exact), (1, Pairs::Split)]
    {
        let (heads, log_decay) = (example(straight(true, 4)).heads, log_decay());
        let terms = Fading { q: heads.q.clone(), k: heads.k.clone(), v: heads.v.clone(), log_decay: log_decay.clone() };
        let (o, _) = fading(terms, None, chunk, pairs);
        let expected = [0.1, 0.0, -0.54, -0.09, -1.8372, 1.356, 0.2001, 0.0294];
        assert_close("O", &values(&o), &expected, 1e-12);
        let gradients = (o * upstream()).sum().backward();
        let at = |x: &Tensor<4>| values(&x.grad(&gradients).unwrap());
        let dq = [0.4, -0.6, -0.41, -0.435, 1.16, -0.55, -0.1712, 0.65935];
        assert_close("dQ", &at(&heads.q), &dq, 1e-12);
        assert_close("dK", &at(&heads.k), &[0.9664, 1.0681, 0.612, -0.802, -0.43, 1.596, -0.1, -0.2], 1e-12);
        let dv = [-0.2543, 0.6285, 0.1266, 0.4326, 0.1922, -0.9478, 0.1, 0.1];
        assert_close("dV", &at(&heads.v), &dv, 1e-12);
        // dα = d log α / α.
        let alpha = values(&log_decay).into_iter().map(f64::exp);
        let dalpha: Vec<f64> = at(&log_decay).iter().zip(alpha).map(|(d, alpha)| d / alpha).collect();
        assert_close("dα", &dalpha, &[0.0, 0.0, -0.0192, -0.3588, 0.8946, -0.46692, 0.0656, 0.226], 1e-12);
    }
}

#[test]
fn one_factor_per_head_by_numbers() {
    let heads = example(straight(true, 4)).heads;
    let log_decay = Tensor::full([1, 1, 4, 1], 0.9f64.ln(), (&device(), DType::F64));
    for chunk in [1, 3, 4] {
        let terms = Fading { q: heads.q.clone(), k: heads.k.clone(), v: heads.v.clone(), log_decay: log_decay.clone() };
        let (o, _) = fading(terms, None, chunk, Pairs::Split);
        let expected = [0.1, 0.0, -0.54, -0.09, -1.5024, 1.41, 0.10736, 0.1634];
        assert_close("O", &values(&o), &expected, 1e-12);
    }
}

#[test]
fn retention_fades_by_its_head() {
    // Head h keeps 31/32, 63/64, …: two tokens with q = k = v = 1 give 1 and 1 + α.
    let core = config(json!({ "name": "decayed", "decay": "retention", "denominator": "none", "scale": 1.0 }));
    let core = build(&core, [3, 1, 1], DType::F64);
    let one = || Tensor::<4>::ones([1, 3, 2, 1], (&device(), DType::F64));
    let mut pass = example(straight(true, 2));
    pass.heads = super::Heads { q: one(), k: one(), v: one() };
    pass.x = pass.x.narrow(1, 0, 2);
    let expected = [1.0, 1.0 + 31.0 / 32.0, 1.0, 1.0 + 63.0 / 64.0, 1.0, 1.0 + 127.0 / 128.0];
    assert_close("O", &values(&pass.forward(&core, &Ctx::eval(0, 0))), &expected, 1e-14);
}

#[test]
fn a_strong_decay_over_a_long_row_stays_in_range() {
    // −log α = 5 at every token: over 200 tokens the split form without safe chunks would meet e^1000.
    let long = |x: f64| Tensor::<4>::full([1, 1, 200, 3], x, (&device(), DType::F32));
    let terms = Fading { q: long(1.0), k: long(1.0), v: long(1.0), log_decay: long(-5.0) };
    let (o, state) = fading(terms, None, safe_chunk(64, 5.0), Pairs::Split);
    // Geometric sums: Σ e^(−5 n) over three channels.
    let expected = 3.0 / (1.0 - (-5f64).exp());
    assert_close("last", &values(&o)[597..], &[expected; 3], 1e-6);
    assert!(values(&state).iter().all(|x| x.is_finite()));
    assert_eq!((safe_chunk(64, 5.0), safe_chunk(64, 0.1), safe_chunk(64, 1000.0)), (16, 64, 1));
}

#[test]
fn what_does_not_fit_is_refused() {
    let refusal = |extra: serde_json::Value, causal| {
        let mut value = json!({ "name": "decayed" });
        value.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        config(value).check(5, causal).unwrap_err().to_string()
    };
    assert!(refusal(json!({}), false).contains("needs a causal pattern"));
    let message = refusal(json!({ "denominator": "sum" }), true);
    assert!(message.contains("denominator: \"sum\" divides by the sum of the weights"), "{message}");
    let message = refusal(json!({ "features": "taylor2" }), true);
    assert!(message.contains("\"taylor2\" makes 31 features of 5 channels"), "{message}");
    let message = refusal(json!({ "min_log_decay": 0.0 }), true);
    assert!(message.contains("0 is out of range; expected a number below 0"), "{message}");
}

#[test]
fn turned_keys_that_fade_by_numbers() {
    // Angles 0.3, −0.8, −0.1, 1.9 and one factor per token.
    let heads = example(straight(true, 4)).heads;
    let tensor = |entries: [f64; 4]| {
        Tensor::<4>::from_data(TensorData::new(entries.to_vec(), [1, 1, 4, 1]), (&device(), DType::F64))
    };
    let angles = tensor([0.3, -0.8, -0.1, 1.9]);
    let rotation = Rotation::Given { queries: angles.clone(), keys: angles };
    let log_decay = tensor([0.9f64, 0.7, 0.6, 0.85].map(f64::ln));
    for (chunk, pairs) in [(1, Pairs::Split), (3, Pairs::Split), (4, Pairs::Exact)] {
        let terms = Fading {
            q: rotation.queries(heads.q.clone()),
            k: rotation.keys(heads.k.clone()),
            v: heads.v.clone(),
            log_decay: log_decay.clone(),
        };
        let expected = [0.1, 0.0, -0.1031720497, -0.09, -1.928254892, 1.857467512, 0.1999834801, -0.3887088206];
        assert_close("O", &values(&fading(terms, None, chunk, pairs).0), &expected, 1e-9);
    }
}
