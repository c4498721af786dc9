//! The laws each map declares, and what holds for all maps. Every entry of the registry takes part by being in it.
use burn::tensor::{Bool, DType, Tensor, TensorData};
use kiln_registry::Tagged;
use proptest::prelude::*;

use super::{Gradient, Keep, Normalizer, NormalizerConfig};
use crate::{
    Ctx, Init,
    kernel::row_loss,
    loss::{LossDtype, SumOrder},
    testing::{assert_bits, assert_close, assert_gradient, classes, device, gradient, normal, tensor, values},
};

/// Every entry that needs no parameters, with its name.
fn maps() -> impl Iterator<Item = (&'static str, Normalizer)> {
    NormalizerConfig::NAMES.iter().filter_map(|name| {
        let config = NormalizerConfig::by_name(name)?;
        Some((*name, config.init(&Init::new(0, &device(), DType::F64))))
    })
}

fn ctx() -> Ctx {
    Ctx::eval(0, 0)
}

fn weights(map: &Normalizer, x: &[f64]) -> Vec<f64> {
    values(map.weights(tensor(x, x.len(), DType::F64), -1, None, &ctx()))
}

fn mask(bits: &[bool], n: usize) -> Tensor<2, Bool> {
    Tensor::from_data(TensorData::new(bits.to_vec(), [bits.len() / n, n]), &device())
}

fn scores() -> impl Strategy<Value = Vec<f64>> {
    (1usize..20, -5.0..4.0f64).prop_flat_map(|(n, log_scale)| {
        prop::collection::vec((-1.0..1.0f64).prop_map(move |x| x * 10f64.powf(log_scale)), n)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    #[test]
    fn declared_laws_hold(x in scores(), shift in -50.0..50.0f64) {
        for (name, map) in maps().filter(|(_, map)| !map.laws().stochastic) {
            let laws = map.laws();
            let y = weights(&map, &x);
            prop_assert!(y.iter().all(|y| y.is_finite()), "{name} of {x:?}: {y:?}");
            let sum: f64 = y.iter().sum();
            if laws.sums_to_one {
                prop_assert!((sum - 1.0).abs() < 1e-12, "{name} of {x:?} sums to {sum}");
                prop_assert!(y.iter().all(|&y| y >= 0.0), "{name} of {x:?}: {y:?}");
            }
            if !laws.row_can_be_zero {
                prop_assert!(sum != 0.0, "{name} of {x:?} is all zeros");
            }
            if laws.shift_invariant {
                let moved: Vec<f64> = x.iter().map(|x| x + shift).collect();
                assert_close(&format!("{name} of {x:?} moved by {shift}"), &weights(&map, &moved), &y, 1e-9, 1e-11);
            }
            if laws.order_preserving {
                for (i, j) in (0..x.len()).flat_map(|i| (0..x.len()).map(move |j| (i, j))) {
                    prop_assert!(x[i] < x[j] || y[i] >= y[j], "{name} of {x:?}: {y:?}");
                }
            }
            if !laws.can_be_zero && x.iter().all(|x| x.abs() < 100.0) {
                prop_assert!(y.iter().all(|&y| y > 0.0), "{name} of {x:?}: {y:?}");
            }
            let n = x.len();
            let g = tensor(&normal(n as u64, n, 1.0), n, DType::F64);
            let dx = gradient(tensor(&x, n, DType::F64), g, |x| map.weights(x, 1, None, &ctx()));
            prop_assert!(dx.iter().all(|dx| dx.is_finite()), "gradient of {name} at {x:?}: {dx:?}");
            // The order of the entries means nothing.
            let reversed: Vec<f64> = x.iter().rev().copied().collect();
            let mut back = weights(&map, &reversed);
            back.reverse();
            assert_close(&format!("{name} of {x:?} reversed"), &back, &y, 1e-12, 1e-15);
            if let Some(log) = map.log_weights(tensor(&x, x.len(), DType::F64), -1, None, &ctx()) {
                let exp: Vec<f64> = values(log).iter().map(|log| log.exp()).collect();
                assert_close(&format!("exp of log {name} of {x:?}"), &exp, &y, 1e-10, 1e-300);
            }
        }
    }

    #[test]
    fn masked_is_removed(x in scores(), bits in prop::collection::vec(any::<bool>(), 20)) {
        let n = x.len();
        let bits = &bits[..n];
        for (name, map) in maps().filter(|(_, map)| !map.laws().stochastic) {
            let y = values(map.weights(tensor(&x, n, DType::F64), 1, Some(mask(bits, n)), &ctx()));
            let left: Vec<f64> = (0..n).filter(|&i| bits[i]).map(|i| x[i]).collect();
            let kept: Vec<f64> = (0..n).filter(|&i| bits[i]).map(|i| y[i]).collect();
            prop_assert!((0..n).all(|i| bits[i] || y[i] == 0.0), "{name} of {x:?} under {bits:?}: {y:?}");
            if !left.is_empty() {
                assert_bits(&format!("{name} of {x:?} under {bits:?}"), &kept, &weights(&map, &left));
            }
        }
    }
}

#[test]
fn gradients_agree_with_differences() {
    for (name, map) in maps().filter(|(_, map)| map.laws().gradient == Gradient::Exact) {
        for (rows, n, scale) in [(3, 1, 1.0), (5, 2, 3.0), (3, 17, 2.0), (2, 63, 1.0), (3, 4, 1e-3)] {
            let (x, g) = (normal(n as u64, rows * n, scale), normal(99, rows * n, 1.0));
            let what = format!("{name} [{rows}, {n}] at scale {scale}");
            assert_gradient(&what, &x, &g, n, |x| map.rows(x, &Keep::All, &ctx()));
            if map.has_log_form() {
                let log = |x| map.log_rows(x, &Keep::All, &ctx()).expect("a log form");
                assert_gradient(&format!("log {what}"), &x, &g, n, log);
            }
        }
    }
}

/// The kernel against the composed form through autodiff, on masked, prefixed and whole rows, one of them empty.
#[test]
fn kernels_agree_with_the_composed_form() {
    for (rows, n) in [(3, 1), (7, 2), (5, 3), (11, 63), (3, 100), (7, 257)] {
        let (x, g) = (normal(n as u64, rows * n, 3.0), normal(5, rows * n, 1.0));
        let bits: Vec<bool> = (0..rows * n).map(|i| i / n != 1 && (i * 7 + i / 3) % 4 != 0).collect();
        let mask = Keep::Mask(mask(&bits, n));
        for (name, map) in maps().filter(|(_, map)| map.laws().gradient == Gradient::Exact) {
            for (dtype, tolerance) in [(DType::F64, 1e-12), (DType::F32, 2e-5)] {
                for keep in [&Keep::All, &mask] {
                    let what = format!("{name} [{rows}, {n}] {dtype:?}");
                    let x = tensor(&x, n, dtype);
                    let kernel = |x| map.rows(x, keep, &ctx());
                    let composed = |x| map.composed(x, keep);
                    assert_close(&what, &values(kernel(x.clone())), &values(composed(x.clone())), tolerance, 1e-30);
                    let g = tensor(&g, n, dtype);
                    let (dx, want) = (gradient(x.clone(), g.clone(), kernel), gradient(x.clone(), g.clone(), composed));
                    assert_close(&format!("gradient of {what}"), &dx, &want, tolerance, tolerance * 0.1);
                    if map.has_log_form() {
                        // Removed log weights are −∞; 0 in their place so that the sum with g stays finite.
                        let finite = |y: Tensor<2>| {
                            let removed = y.clone().detach().equal_elem(f64::NEG_INFINITY);
                            y.mask_fill(removed, 0.0)
                        };
                        let kernel = |x| map.log_rows(x, keep, &ctx()).expect("a log form");
                        let composed = |x| map.composed_log(x, keep).expect("a log form");
                        let (y, want) = (values(kernel(x.clone())), values(composed(x.clone())));
                        assert_close(&format!("log {what}"), &y, &want, tolerance, tolerance * 0.1);
                        let dx = gradient(x.clone(), g.clone(), |x| finite(kernel(x)));
                        let want = gradient(x.clone(), g.clone(), |x| finite(composed(x)));
                        assert_close(&format!("gradient of log {what}"), &dx, &want, tolerance, tolerance * 0.3);
                    }
                }
            }
        }
    }
}

#[test]
fn an_empty_row_is_zeros_without_gradient() {
    for (name, map) in maps() {
        let x = tensor(&[1.0, 2.0, f64::NAN, f64::NEG_INFINITY], 2, DType::F64);
        let keep = Some(mask(&[false, false, false, true], 2));
        assert_eq!(values(map.weights(x.clone(), 1, keep.clone(), &ctx())), [0.0; 4], "{name}");
        let g = tensor(&[1.0; 4], 2, DType::F64);
        let dx = gradient(x.clone(), g, |x| map.weights(x, 1, keep.clone(), &ctx()));
        assert_eq!(dx, [0.0; 4], "{name}");
        if let Some(log) = map.log_weights(x, 1, keep, &ctx()) {
            assert_eq!(values(log), [f64::NEG_INFINITY; 4], "{name}");
        }
    }
}

#[test]
fn a_nan_makes_its_row_nan() {
    for (name, map) in maps() {
        let y = values(map.weights(tensor(&[1.0, f64::NAN, 0.0, 1.0, 2.0, 3.0], 3, DType::F64), 1, None, &ctx()));
        assert!(y[..3].iter().all(|y| y.is_nan()) && y[3..].iter().all(|y| y.is_finite()), "{name}: {y:?}");
    }
}

#[test]
fn every_axis_is_that_axis_moved_last() {
    let data = TensorData::new(normal(1, 2 * 3 * 5 * 4, 2.0), [2, 3, 5, 4]);
    let x = Tensor::<4>::from_data(data, (&device(), DType::F64));
    // Broadcast over two axes.
    let keep = Tensor::<4, Bool>::from_data(
        TensorData::new((0..15).map(|i| i % 4 != 1).collect::<Vec<_>>(), [1, 3, 5, 1]),
        &device(),
    );
    for (name, map) in maps().filter(|(_, map)| !map.laws().stochastic) {
        for dim in -4..4isize {
            let axis = dim.rem_euclid(4) as usize;
            let y = map.weights(x.clone(), dim, Some(keep.clone()), &ctx());
            assert_eq!(y.dims(), [2, 3, 5, 4]);
            let (x_last, keep_last) =
                (x.clone().swap_dims(axis, 3), keep.clone().expand([2, 3, 5, 4]).swap_dims(axis, 3));
            let want = map.weights(x_last, -1, Some(keep_last), &ctx()).swap_dims(axis, 3);
            assert_bits(&format!("{name} over {dim}"), &values(y.clone()), &values(want));
            if map.laws().sums_to_one {
                let sums = values(y.sum_dim(axis));
                assert!(sums.iter().all(|sum| (sum - 1.0).abs() < 1e-12 || *sum == 0.0), "{name} over {dim}: {sums:?}");
            }
        }
    }
}

#[test]
fn storage_types_keep_their_type() {
    for (name, map) in maps().filter(|(_, map)| !map.laws().stochastic) {
        let x = normal(2, 5 * 63, 1.0);
        let want = values(map.weights(tensor(&x, 63, DType::F64), 1, None, &ctx()));
        for (dtype, tolerance) in [(DType::F32, 1e-5), (DType::F16, 3e-3), (DType::BF16, 2e-2)] {
            let y = map.weights(tensor(&x, 63, dtype), 1, None, &ctx());
            assert_eq!(y.dtype(), dtype, "{name}");
            assert_close(&format!("{name} {dtype:?}"), &values(y), &want, tolerance, tolerance * 1e-2);
        }
    }
}

#[test]
fn gradients_pass_a_cast() {
    for (name, map) in maps().filter(|(_, map)| map.laws().gradient == Gradient::Exact) {
        let x = tensor(&normal(3, 15, 1.0), 5, DType::F32).require_grad();
        let g = tensor(&normal(4, 15, 1.0), 5, DType::F64);
        let y = map.weights(x.clone().cast(DType::F64), 1, None, &ctx());
        let grad = x.grad(&(y * g.clone()).sum().backward()).expect("x takes part");
        assert_eq!(grad.dtype(), DType::F32, "{name}");
        let want = gradient(x.detach().cast(DType::F64), g, |x| map.weights(x, 1, None, &ctx()));
        assert_close(name, &values(grad), &want, 1e-6, 1e-9);
    }
}

/// The loss kernel is minus the log weight of the target.
#[test]
fn nll_is_minus_the_log_weight() {
    let (rows, n) = (7, 63);
    let x = tensor(&normal(6, rows * n, 3.0), n, DType::F64);
    let target: Vec<usize> = (0..rows).map(|row| row * 9).collect();
    for (name, map) in maps().filter(|(_, map)| map.has_log_form()) {
        let log = values(map.log_weights(x.clone(), 1, None, &ctx()).expect("a log form"));
        let want: Vec<f64> = target.iter().enumerate().map(|(row, class)| -log[row * n + class]).collect();
        for sum in [SumOrder::Lanes, SumOrder::Sequential] {
            let kernel = map.nll(sum).unwrap_or_else(|| panic!("{name} has a log form and no loss kernel"));
            let params = map.row_params(&x, &Keep::All);
            let (loss, _) = row_loss(x.clone(), params, classes(&target), &Keep::All, kernel, LossDtype::F64);
            assert_close(name, &values(loss), &want, 1e-12, 0.0);
        }
    }
}
