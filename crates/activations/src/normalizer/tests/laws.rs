//! The laws each map declares, and what holds for all maps.
use burn::tensor::{Bool, DType, Tensor, TensorData};
use proptest::{prelude::*, test_runner::RngSeed};

use super::{
    Normalizer,
    cases::{fixed_maps, maps},
    ctx, mask,
};
use crate::testing::{assert_bits, assert_close, device, gradient, normal, tensor, values};

fn weights(map: &Normalizer, x: &[f64]) -> Vec<f64> {
    values(map.weights(tensor(x, x.len(), DType::F64), -1, None, &ctx()))
}

/// Rows of 1 to 19 scores, of any size from 1e-5 to 1e4.
fn scores() -> impl Strategy<Value = Vec<f64>> {
    (1usize..20, -5.0..4.0f64).prop_flat_map(|(n, log_scale)| {
        prop::collection::vec((-1.0..1.0f64).prop_map(move |x| x * 10f64.powf(log_scale)), n)
    })
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 64, failure_persistence: None, rng_seed: RngSeed::Fixed(1), ..Default::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn declared_laws_hold(x in scores(), shift in -50.0..50.0f64) {
        for (name, map) in fixed_maps() {
            let laws = map.laws();
            let y = weights(&map, &x);
            prop_assert!(y.iter().all(|y| y.is_finite()), "{name} of {x:?}: {y:?}");
            let sum: f64 = y.iter().sum();
            if laws.sums_to_one {
                prop_assert!((sum - 1.0).abs() < 1e-12, "{name} of {x:?} sums to {sum}");
            }
            if laws.non_negative {
                prop_assert!(y.iter().all(|&y| y >= 0.0), "{name} of {x:?}: {y:?}");
            }
            if !laws.row_can_be_zero {
                prop_assert!(y.iter().any(|&y| y != 0.0), "{name} of {x:?} is all zeros");
            }
            if laws.shift_invariant {
                let moved: Vec<f64> = x.iter().map(|x| x + shift).collect();
                assert_close(&format!("{name} of {x:?} moved by {shift}"), &weights(&map, &moved), &y, 1e-9, 1e-9);
            }
            if laws.order_preserving {
                for (i, j) in (0..x.len()).flat_map(|i| (0..x.len()).map(move |j| (i, j))) {
                    prop_assert!(x[i] <= x[j] || y[i] >= y[j], "{name} of {x:?}: {y:?}");
                }
            }
            // Beyond that a map that scales its scores by the row's length underflows.
            if !laws.can_be_zero && x.iter().all(|x| x.abs() < 10.0) {
                prop_assert!(y.iter().all(|&y| y != 0.0), "{name} of {x:?}: {y:?}");
            }
        }
    }

    #[test]
    fn the_order_of_the_entries_means_nothing(x in scores()) {
        // Which of two equal scores is the larger may depend on their order.
        prop_assume!((0..x.len()).all(|i| !x[..i].contains(&x[i])));
        for (name, map) in fixed_maps() {
            let y = weights(&map, &x);
            let reversed: Vec<f64> = x.iter().rev().copied().collect();
            let mut back = weights(&map, &reversed);
            back.reverse();
            let largest = y.iter().fold(0.0f64, |max, y| max.max(y.abs()));
            assert_close(&format!("{name} of {x:?} reversed"), &back, &y, 1e-11, 1e-13 * largest);
        }
    }

    #[test]
    fn gradients_are_finite(x in scores()) {
        let n = x.len();
        let g = tensor(&normal(n as u64, n, 1.0), n, DType::F64);
        for (name, map) in fixed_maps() {
            let dx = gradient(tensor(&x, n, DType::F64), g.clone(), |x| map.weights(x, 1, None, &ctx()));
            prop_assert!(dx.iter().all(|dx| dx.is_finite()), "gradient of {name} at {x:?}: {dx:?}");
        }
    }

    #[test]
    fn the_log_form_is_the_logarithm(x in scores()) {
        for (name, map) in fixed_maps() {
            if let Some(log) = map.log_weights(tensor(&x, x.len(), DType::F64), -1, None, &ctx()) {
                let exp: Vec<f64> = values(log).iter().map(|log| log.exp()).collect();
                assert_close(&format!("exp of log {name} of {x:?}"), &exp, &weights(&map, &x), 1e-10, 1e-290);
            }
        }
    }

    #[test]
    fn masked_is_removed(x in scores(), bits in prop::collection::vec(any::<bool>(), 20)) {
        let n = x.len();
        let bits = &bits[..n];
        for (name, map) in fixed_maps().into_iter().filter(|(_, map)| map.laws().removes_masked) {
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
fn scores_of_extreme_size_stay_finite_in_single_precision() {
    for (name, map) in fixed_maps() {
        for scale in [1e-5, 1e-2, 1.0, 1e2, 1e4] {
            for n in [1, 2, 63, 257] {
                let x = tensor(&normal(n as u64, 2 * n, scale), n, DType::F32);
                let g = tensor(&normal(7, 2 * n, 1.0), n, DType::F32);
                let y = values(map.weights(x.clone(), 1, None, &ctx()));
                assert!(y.iter().all(|y| y.is_finite()), "{name} of {n} scores at scale {scale}");
                let dx = gradient(x, g, |x| map.weights(x, 1, None, &ctx()));
                assert!(dx.iter().all(|dx| dx.is_finite()), "gradient of {name} of {n} scores at scale {scale}");
            }
        }
    }
}

#[test]
fn equal_scores_get_equal_weights() {
    for (name, map) in fixed_maps().into_iter().filter(|(_, map)| map.laws().order_preserving) {
        for n in [1usize, 2, 7, 64] {
            for score in [-3.0, 0.0, 0.5, 40.0] {
                let y = weights(&map, &vec![score; n]);
                assert!(y.iter().all(|&other| other == y[0]) || map.laws().can_be_zero, "{name}: {y:?}");
                assert!(y.iter().all(|y| y.is_finite()), "{name}: {y:?}");
            }
        }
    }
}

#[test]
fn an_empty_row_is_zeros_without_gradient() {
    for (name, map) in maps().into_iter().filter(|(_, map)| map.laws().removes_masked) {
        let x = tensor(&[1.0, 2.0, f64::NAN, f64::NEG_INFINITY], 2, DType::F64);
        let keep = Some(mask(&[false, false, false, true], 2));
        assert_eq!(values(map.weights(x.clone(), 1, keep.clone(), &ctx())), [0.0; 4], "{name}");
        // What arrives at a removed entry is dropped, also if it is not a number.
        let g = tensor(&[f64::NAN, 1.0, f64::INFINITY, 1.0], 2, DType::F64);
        let x_tracked = x.clone().require_grad();
        let y = map.weights(x_tracked.clone(), 1, keep.clone(), &ctx());
        let grads = (y * g).sum().backward();
        assert_eq!(values(x_tracked.grad(&grads).expect("x takes part")), [0.0; 4], "{name}");
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
fn an_infinite_score_takes_everything_or_nothing_is_known() {
    for (name, map) in fixed_maps() {
        let x = tensor(&[1.0, f64::INFINITY, 0.0], 3, DType::F64);
        let y = values(map.weights(x.clone(), 1, None, &ctx()));
        let one_hot = y == [0.0, 1.0, 0.0];
        assert!(one_hot || y.iter().all(|y| y.is_nan()), "{name}: {y:?}");
        let dx = gradient(x, tensor(&[1.0, 2.0, 3.0], 3, DType::F64), |x| map.weights(x, 1, None, &ctx()));
        assert!(dx.iter().all(|dx| if one_hot { *dx == 0.0 } else { dx.is_nan() }), "{name}: {dx:?}");
    }
}

/// A score of −∞ is a removed entry, a large negative number is not: maps that are not built on exp would let it count.
#[test]
fn minus_infinity_is_removed() {
    for (name, map) in fixed_maps() {
        let y = weights(&map, &[0.5, f64::NEG_INFINITY, -1.0, 2.0]);
        let want = weights(&map, &[0.5, -1.0, 2.0]);
        assert_bits(&name, &[y[0], y[2], y[3]], &want);
        assert_eq!(y[1], 0.0, "{name}");
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
    for (name, map) in fixed_maps() {
        for dim in -4..4isize {
            let axis = dim.rem_euclid(4) as usize;
            let y = map.weights(x.clone(), dim, Some(keep.clone()), &ctx());
            assert_eq!(y.dims(), [2, 3, 5, 4]);
            let (x_last, keep_last) =
                (x.clone().swap_dims(axis, 3), keep.clone().expand([2, 3, 5, 4]).swap_dims(axis, 3));
            let want = map.weights(x_last, -1, Some(keep_last), &ctx()).swap_dims(axis, 3);
            assert_bits(&format!("{name} over {dim}"), &values(y.clone()), &values(want));
            if map.laws().sums_to_one && map.laws().removes_masked {
                let sums = values(y.sum_dim(axis));
                assert!(sums.iter().all(|sum| (sum - 1.0).abs() < 1e-12 || *sum == 0.0), "{name} over {dim}: {sums:?}");
            }
        }
    }
}

#[test]
fn storage_types_keep_their_type() {
    for (name, map) in fixed_maps() {
        // Scores that every type holds exactly, so that only the arithmetic and the storing differ.
        let x: Vec<f64> = normal(2, 5 * 63, 1.0).iter().map(|x| (x * 32.0).round() / 32.0).collect();
        let want = values(map.weights(tensor(&x, 63, DType::F64), 1, None, &ctx()));
        let largest = want.iter().fold(0.0f64, |max, y| max.max(y.abs()));
        for (dtype, tolerance) in [(DType::F32, 1e-5), (DType::F16, 3e-3), (DType::BF16, 2e-2)] {
            let y = map.weights(tensor(&x, 63, dtype), 1, None, &ctx());
            assert_eq!(y.dtype(), dtype, "{name}");
            assert_close(&format!("{name} {dtype:?}"), &values(y), &want, tolerance, tolerance * 0.1 * largest);
        }
    }
}

/// Prefixes are masks.
#[test]
fn a_prefix_is_a_mask() {
    use burn::tensor::Int;

    use crate::{Keep, normalizer::Heads};
    let (rows, n) = (4, 37);
    let count = [37i32, 5, 0, 16];
    let bits: Vec<bool> = (0..rows * n).map(|i| ((i % n) as i32) < count[i / n]).collect();
    let prefix = Keep::Prefix(Tensor::<1, Int>::from_data(TensorData::new(count.to_vec(), [rows]), &device()));
    let x = tensor(&normal(3, rows * n, 2.0), n, DType::F32);
    for (name, map) in fixed_maps() {
        let by = |keep: &Keep| values(map.rows(x.clone(), keep, Heads::ONE, &ctx()));
        assert_bits(&name, &by(&prefix), &by(&Keep::Mask(mask(&bits, n))));
    }
}
