//! Gradient transforms: published numbers, degenerate cases, laws.
#![allow(missing_docs)]
mod common;

use burn::tensor::DType;
use common::{assert_close, config, toy, values};
use proptest::prelude::*;

/// The gradients of the toy's two parameters after the transforms, and the reported norm.
fn transformed(
    transforms: &str,
    (w, gw, shape): (&[f64], &[f64], [usize; 2]),
    (b, gb): (&[f64], &[f64]),
    dtype: DType,
) -> (Vec<f64>, Vec<f64>, Option<f64>) {
    let model = toy(w, shape, b, dtype);
    let mut chain = config(&format!("name='sgd'\ntransforms={transforms}")).init(&model).unwrap();
    let grads = chain.transform(&model, model.grads(gw, gb));
    let w = grads.get::<2>(model.w.id).unwrap();
    assert_eq!(w.dtype(), dtype);
    (values(&w), values(&grads.get::<1>(model.layer.bias.id).unwrap()), chain.grad_norm())
}

const W1: [f64; 4] = [0.5, -0.25, 1.5, 1.0];
const G1: [f64; 4] = [0.2, 0.4, -0.1, 0.3];
const W2: [f64; 3] = [1.0, 2.0, -2.0];
const G2: [f64; 3] = [0.5, -1.0, 0.25];

#[test]
fn perp_grad_golden() {
    let (w, b, norm) = transformed("['perp_grad']", (&W1, &G1, [2, 2]), (&W2, &G2), DType::F64);
    assert_close(&w, &[0.1808612985, 0.4149170965, -0.1649029486, 0.2606530478], 1e-10, "matrix");
    assert_close(&b, &[0.8880690664, -0.6831300511, -0.2390955179], 1e-10, "vector");
    assert_eq!(norm, None);

    let plain = "[{ name='perp_grad', rescale=false }]";
    let (w, b, _) = transformed(plain, (&W1, &G1, [2, 2]), (&W2, &G2), DType::F64);
    assert_close(&w, &[0.1789473684, 0.4105263158, -0.1631578947, 0.2578947368], 1e-10, "matrix");
    assert_close(&b, &[0.7222222222, -0.5555555556, -0.1944444444], 1e-10, "vector");

    let matrices = "[{ name='perp_grad', min_dims=2 }]";
    assert_eq!(transformed(matrices, (&W1, &G1, [2, 2]), (&W2, &G2), DType::F64).1, G2);
}

#[test]
fn perp_grad_degenerate() {
    for dtype in [DType::F64, DType::F32, DType::F16, DType::BF16] {
        let run = |w: &[f64], g: &[f64]| transformed("['perp_grad']", (w, g, [1, w.len()]), (&[0.25], &[0.75]), dtype);
        // w = 0 leaves the gradient; g = 0 stays 0; one element is passed over.
        let (g, one, _) = run(&[0.0, 0.0], &[0.5, -0.25]);
        assert_eq!((g, one), (vec![0.5, -0.25], vec![0.75]), "{dtype:?}");
        assert_eq!(run(&[0.5, 1.0], &[0.0, 0.0]).0, [0.0, 0.0], "{dtype:?}");
        // Parallel and antiparallel: 0, not the amplified noise.
        assert_eq!(run(&[0.5, 1.25, -3.0], &[1.0, 2.5, -6.0]).0, [0.0; 3], "{dtype:?}");
        assert_eq!(run(&[0.5, 1.25, -3.0], &[-1.0, -2.5, 6.0]).0, [0.0; 3], "{dtype:?}");
        // An f16 gradient near the bottom of its range keeps its size: dots of such numbers are 0 in f16.
        let tiny = 2f64.powi(-14);
        assert_close(&run(&[tiny, 0.0], &[tiny, tiny]).0, &[0.0, tiny * 2f64.sqrt()], tiny * 1e-2, "tiny");
    }
    // Parallel up to the rounding of f32 (0.3 and 0.7 are not exact).
    let w = [0.3, 0.9, -1.1];
    let g = w.map(|w| w * 0.7);
    assert_eq!(transformed("['perp_grad']", (&w, &g, [1, 3]), (&W2, &G2), DType::F32).0, [0.0; 3]);
    let unguarded = "[{ name='perp_grad', guard=0.0 }]";
    assert_ne!(transformed(unguarded, (&w, &g, [1, 3]), (&W2, &G2), DType::F32).0, [0.0; 3]);
    // Squares of 1e-25 are 0 in f32; the projection still works, short by eps/‖g⊥‖ = 1e-5.
    let (g, _, _) = transformed("['perp_grad']", (&[1.0, 0.0], &[1e-25, 1e-25], [1, 2]), (&W2, &G2), DType::F32);
    assert!(g[0].abs() < 1e-32 && (g[1] / 1e-25 - 2f64.sqrt()).abs() < 2e-5, "{g:?}");
    // A NaN stays visible.
    let (g, _, _) = transformed("['perp_grad']", (&[1.0, 2.0], &[f64::NAN, 1.0], [1, 2]), (&W2, &G2), DType::F32);
    assert!(g.iter().all(|g| g.is_nan()));
}

#[test]
fn clip_norm_scales_all_by_one_factor() {
    // ‖g‖² = 9 + 16 + 144, ‖g‖ = 13.
    let run = |max: &str, dtype| {
        let clip = format!("[{{ name='clip_norm', max_norm={max} }}]");
        transformed(&clip, (&[1.0, 1.0], &[3.0, 4.0], [1, 2]), (&[1.0], &[-12.0]), dtype)
    };
    let (w, b, norm) = run("6.5", DType::F64);
    let half = 6.5 / (13.0 + 1e-6);
    assert_close(&w, &[3.0 * half, 4.0 * half], 1e-15, "matrix");
    assert_close(&b, &[-12.0 * half], 1e-15, "vector");
    assert_eq!(norm, Some(13.0));
    assert_eq!(run("20.0", DType::F32), (vec![3.0, 4.0], vec![-12.0], Some(13.0)));
    // In f16 the square of 12 fits, that of 600 does not.
    let clip = "[{ name='clip_norm', max_norm=1.0 }]";
    let (w, b, norm) = transformed(clip, (&[1.0, 1.0], &[600.0, 0.0], [1, 2]), (&[1.0], &[800.0]), DType::F16);
    assert_close(&[w[0], b[0]], &[0.6, 0.8], 1e-3, "f16");
    assert_eq!(norm, Some(1000.0));
    let zero = transformed(clip, (&[1.0, 1.0], &[0.0, 0.0], [1, 2]), (&[1.0], &[0.0]), DType::F32);
    assert_eq!(zero, (vec![0.0, 0.0], vec![0.0], Some(0.0)));
}

#[test]
fn transforms_act_in_the_order_of_the_list() {
    // Without rescaling, projecting shrinks the gradient: clipping first makes it smaller than clipping last.
    let run = |list: &str| transformed(list, (&W1, &G1, [2, 2]), (&W2, &G2), DType::F64);
    let (clip, project) = ("{ name='clip_norm', max_norm=1.0 }", "{ name='perp_grad', rescale=false }");
    let norm = |(w, b, _): &(Vec<f64>, Vec<f64>, _)| w.iter().chain(b).map(|g| g * g).sum::<f64>().sqrt();
    let last = run(&format!("[{project}, {clip}]"));
    assert!((norm(&last) - 1.0).abs() < 2e-6);
    let first = run(&format!("[{clip}, {project}]"));
    assert!(norm(&first) < 0.99);
    assert!((first.2.unwrap() - 1.26984251).abs() < 1e-8, "the norm before clipping");
}

/// The rule sees the transformed gradient.
#[test]
fn step_applies_the_transforms() {
    let model = toy(&W1, [2, 2], &W2, DType::F64);
    let mut chain = config("name='sgd'\nlr=1.0\ntransforms=['perp_grad']").init(&model).unwrap();
    let model = model.step(&mut chain, 0, &G1, &G2);
    let expected = [1.0 - 0.8880690664, 2.0 + 0.6831300511, -2.0 + 0.2390955179];
    assert_close(&values(&model.layer.bias.val()), &expected, 1e-10, "bias");
}

fn vector() -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(-1.0f64..1.0, 2..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn perp_grad_is_orthogonal_and_keeps_the_norm(
        w in vector(), seed in vector(), scale in -12i32..4, f32s in any::<bool>()
    ) {
        let g: Vec<f64> = (0..w.len()).map(|i| seed[i % seed.len()] * 10f64.powi(scale)).collect();
        let (dtype, tolerance) = if f32s { (DType::F32, 1e-4) } else { (DType::F64, 1e-9) };
        let (p, _, _) = transformed("['perp_grad']", (&w, &g, [1, w.len()]), (&W2, &G2), dtype);
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let (gg, ww, pp) = (dot(&g, &g).sqrt(), dot(&w, &w).sqrt(), dot(&p, &p).sqrt());
        let cos = dot(&w, &g) / (ww * gg);
        prop_assume!(ww > 1e-3 && gg > 0.0 && cos.abs() < 0.999);
        prop_assert!((pp / gg - 1.0).abs() < 1e-5, "norm {pp:e} of {gg:e}");
        prop_assert!((dot(&w, &p) / (ww * pp)).abs() < tolerance, "cosine {:e}", dot(&w, &p) / (ww * pp));
    }

    #[test]
    fn clipped_norm_is_bounded(g in vector(), max_norm in 0.01f64..3.0) {
        let w = vec![1.0; g.len()];
        let clip = format!("[{{ name='clip_norm', max_norm={max_norm} }}]");
        let (c, b, norm) = transformed(&clip, (&w, &g, [1, g.len()]), (&[1.0], &[0.5]), DType::F32);
        let after = c.iter().chain(&b).map(|g| g * g).sum::<f64>().sqrt();
        prop_assert!(after <= max_norm.min(norm.unwrap()) * (1.0 + 1e-6));
    }
}
