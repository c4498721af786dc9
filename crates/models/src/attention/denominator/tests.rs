use burn::tensor::{DType, Tensor, TensorData};
use kiln_activations::{Ctx, Init, normalizer::NormalizerConfig};
use kiln_registry::Tagged;
use serde_json::{Value, json};

use super::*;
use crate::testing::{assert_close, device, values};

fn built(value: Value) -> (Denominator, DenominatorLaws) {
    let config: DenominatorConfig = serde_json::from_value(value).unwrap();
    let (init, normalizer) = (Init::new(3, &device(), DType::F64), NormalizerConfig::default());
    let denominator = config.init(&CoreInit {
        init: &init,
        d_model: 3,
        n_heads: 1,
        d_head: 2,
        d_value: 2,
        length: 64,
        normalizer: &normalizer,
        dropout: 0.0,
    });
    assert_eq!(denominator.laws(), config.laws());
    (denominator, config.laws())
}

fn tensor<const N: usize>(entries: &[f64], shape: [usize; N]) -> Tensor<N> {
    Tensor::from_data(TensorData::new(entries.to_vec(), shape), (&device(), DType::F64))
}

/// Exponentials of the causal scores of a worked example with four tokens, shifted by `shift`, mixed by a denominator.
fn of_exponentials(value: Value, shift: f64) -> Vec<f64> {
    let q = [[1.0, 0.5], [-0.3, 0.8], [0.6, -1.2], [0.2, 0.4]];
    let k = [[0.4, -0.6], [1.1, 0.3], [-0.5, 0.7], [0.9, -0.2]];
    let v = [[1.0, 0.0], [0.0, 1.0], [2.0, -1.0], [-1.0, 0.5]];
    let (mut numerators, mut sums) = (vec![0.0; 8], vec![0.0; 4]);
    for i in 0..4 {
        for j in 0..=i {
            let z = (q[i][0] * k[j][0] + q[i][1] * k[j][1]) / 2f64.sqrt();
            let weight = (z + shift).exp();
            sums[i] += weight;
            numerators[2 * i] += weight * v[j][0];
            numerators[2 * i + 1] += weight * v[j][1];
        }
    }
    let (denominator, laws) = built(value);
    let x = tensor(&[0.0; 12], [1, 4, 3]);
    let parts = Parts {
        numerator: tensor(&numerators, [1, 1, 4, 2]),
        sum: laws.uses_sum.then(|| tensor(&sums, [1, 1, 4, 1])),
        count: Some(tensor(&[1.0, 2.0, 3.0, 4.0], [1, 1, 4, 1])),
        x: &x,
    };
    values(&denominator.divide(parts, &Ctx::eval(0, 0)))
}

const SOFTMAX: [f64; 8] =
    [1.0, 0.0, 0.4108084106, 0.5891915894, 0.7839037414, 0.2160962586, 0.4781243478, 0.1537971467];

#[test]
fn exponentials_over_each_denominator_by_numbers() {
    assert_close("sum", &of_exponentials(json!("sum"), 0.0), &SOFTMAX, 1e-9);
    assert_close("detached_sum", &of_exponentials(json!("detached_sum"), 0.0), &SOFTMAX, 1e-9);
    let l2 = [1.0, 0.0, 0.5719423242, 0.8202938362, 0.964040853, 0.265754085, 0.9519622276, 0.3062154752];
    assert_close("l2", &of_exponentials(json!("l2"), 0.0), &l2, 1e-9);
    let rms = [1.414212335, 0.0, 0.8088461193, 1.160067122, 1.36335826, 0.3758326482, 1.346273429, 0.4330526422];
    assert_close("rms", &of_exponentials(json!({ "name": "rms", "eps": 1e-6, "gain": false }), 0.0), &rms, 1e-9);
}

#[test]
fn small_sums_stay_small_under_clamp_min_1() {
    // e^−20 times all weights: sums far below 1 are left out, those far above are divided by.
    let small = of_exponentials(json!("clamp_min_1"), -20.0);
    let plain = of_exponentials(json!("none"), -20.0);
    assert_eq!(small, plain);
    assert_close("large", &of_exponentials(json!("clamp_min_1"), 20.0), &SOFTMAX, 1e-9);
}

#[test]
fn a_gate_at_0_halves_the_mean() {
    // x = 0, so the gate is sigmoid(0) = 1/2.
    let gated = of_exponentials(json!("gate"), 0.0);
    let mean = of_exponentials(json!({ "name": "none", "mean": true }), 0.0);
    let sums = of_exponentials(json!("none"), 0.0);
    let halves: Vec<f64> = mean.iter().map(|x| 0.5 * x).collect();
    assert_close("gate", &gated, &halves, 1e-14);
    let quarter: Vec<f64> = sums[6..].iter().map(|x| 0.25 * x).collect();
    assert_close("mean", &mean[6..], &quarter, 1e-14);
}

#[test]
fn what_cancels_a_factor_says_so() {
    for name in DenominatorConfig::NAMES {
        // No constant in the way of the comparison.
        let value = match *name {
            "rms" => json!({ "name": name, "eps": 1e-30 }),
            name => json!({ "name": name }),
        };
        let (_, laws) = built(value.clone());
        let [a, b] = [-3.0, 3.0].map(|shift| of_exponentials(value.clone(), shift));
        let same = a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-12);
        // Sums from e⁻³ to 4 e³: below 1, clamp_min_1 cancels nothing.
        assert_eq!(same, laws.scale_free, "{name}: {a:?} {b:?}");
    }
}

#[test]
fn nothing_over_nothing_is_nothing_with_a_finite_slope() {
    for name in DenominatorConfig::NAMES {
        let (denominator, laws) = built(json!({ "name": name }));
        let numerator = tensor(&[0.0; 2], [1, 1, 1, 2]).require_grad();
        let x = tensor(&[1.0; 3], [1, 1, 3]);
        let parts = Parts {
            numerator: numerator.clone(),
            sum: laws.uses_sum.then(|| tensor(&[0.0], [1, 1, 1, 1])),
            count: Some(tensor(&[1.0], [1, 1, 1, 1])),
            x: &x,
        };
        let y = denominator.divide(parts, &Ctx::eval(0, 0));
        assert_eq!(values(&y), [0.0; 2], "{name}");
        let gradient = numerator.grad(&y.sum().backward()).unwrap();
        assert!(values(&gradient).iter().all(|x| x.is_finite()), "{name}");
    }
}

#[test]
fn a_detached_sum_is_a_constant() {
    let (denominator, _) = built(json!("detached_sum"));
    let sum = tensor(&[2.0], [1, 1, 1, 1]).require_grad();
    let x = tensor(&[1.0; 3], [1, 1, 3]);
    let numerator = tensor(&[1.0, 3.0], [1, 1, 1, 2]).require_grad();
    let parts = Parts { numerator: numerator.clone(), sum: Some(sum.clone()), count: None, x: &x };
    let gradients = denominator.divide(parts, &Ctx::eval(0, 0)).sum().backward();
    assert!(sum.grad(&gradients).is_none());
    assert_eq!(values(&numerator.grad(&gradients).unwrap()), [0.5, 0.5]);
}
