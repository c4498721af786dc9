//! What holds for every pooling, and SoftPool's own numbers.
use burn::tensor::{Bool, DType, Tensor, TensorData};
use kiln_registry::Tagged;
use serde_json::json;

use super::{Pooling, PoolingConfig};
use crate::{
    Init,
    testing::{assert_bits, assert_close, device, gradient, normal, tensor, values},
};

fn build(name: &str, kernel: usize, stride: usize, padding: usize) -> Pooling {
    let json = json!({ "name": name, "kernel": kernel, "stride": stride, "padding": padding });
    let config: PoolingConfig = serde_json::from_value(json).expect("a config");
    config.check().expect("a legal window");
    config.init(&Init::new(0, &device(), DType::F64))
}

fn soft(beta: f64, detach_weights: bool) -> Pooling {
    let config = json!({ "name": "soft", "beta": beta, "detach_weights": detach_weights });
    serde_json::from_value::<PoolingConfig>(config).expect("a config").init(&Init::new(0, &device(), DType::F64))
}

/// `x` as an image of this shape, and the pooled image as `[1, outputs]`.
fn pooled(pooling: &Pooling, x: Tensor<2>, shape: [usize; 4], valid: Option<&Tensor<4, Bool>>) -> Tensor<2> {
    let y = pooling.forward(x.reshape(shape), valid.cloned());
    let n = y.dims().iter().product();
    y.reshape([1, n])
}

fn mask(shape: [usize; 4], valid: impl Fn(usize) -> bool) -> Tensor<4, Bool> {
    let bits: Vec<bool> = (0..shape.iter().product()).map(valid).collect();
    Tensor::from_data(TensorData::new(bits, shape), &device())
}

/// Shape, kernel, stride, padding.
const CASES: [([usize; 4], usize, usize, usize); 6] = [
    ([1, 1, 2, 2], 2, 2, 0),
    ([2, 3, 5, 7], 2, 2, 0),
    ([2, 1, 5, 6], 3, 2, 1),
    ([1, 2, 4, 3], 3, 1, 2),
    ([1, 1, 1, 1], 3, 1, 1),
    ([3, 2, 9, 8], 2, 3, 1),
];

#[test]
fn soft_pool_by_hand() {
    let shape = [1, 1, 2, 2];
    let w = [0.2368828181, 0.6439142599, 0.08714431874, 0.03205860328];
    for (detach, want) in [(false, [0.12018185, 0.9706023988, -0.04293188693, -0.04785236185]), (true, w)] {
        let pooling = soft(1.0, detach);
        let x = tensor(&[1.0, 2.0, 0.0, -1.0], 4, DType::F64);
        let pool = |x| pooled(&pooling, x, shape, None);
        assert_close("y", &values(pool(x.clone())), &[1.492652735], 1e-9, 0.0);
        let dx = gradient(x, tensor(&[1.0], 1, DType::F64), pool);
        assert_close("dx", &dx, &want, 1e-8, 0.0);
        // Equal cells: their mean to the last bit, whatever β.
        let pooling = soft(3.0, detach);
        let pool = |x| pooled(&pooling, x, shape, None);
        let x = tensor(&[0.3; 4], 4, DType::F64);
        assert_eq!(values(pool(x.clone())), [0.3]);
        assert_eq!(gradient(x, tensor(&[1.0], 1, DType::F64), pool), [0.25; 4]);
    }
}

#[test]
fn beta_leads_from_the_mean_to_the_maximum() {
    let shape = [2, 3, 5, 7];
    let x = tensor(&normal(1, 2 * 3 * 5 * 7, 1.0), 7, DType::F64);
    let run = |pooling: &Pooling| values(pooled(pooling, x.clone(), shape, None));
    assert_close("β = 0", &run(&soft(0.0, false)), &run(&build("avg", 2, 2, 0)), 1e-14, 1e-15);
    assert_close("β = 1e6", &run(&soft(1e6, false)), &run(&build("max", 2, 2, 0)), 1e-12, 0.0);
}

#[test]
fn gradients_agree_with_differences() {
    for name in PoolingConfig::NAMES {
        for (shape, kernel, stride, padding) in CASES {
            let n = shape.iter().product();
            for valid in [None, Some(mask(shape, |i| i % 4 != 1))] {
                let pooling = build(name, kernel, stride, padding);
                let pool = |x| pooled(&pooling, x, shape, valid.as_ref());
                let x = normal(n as u64, n, 1.0);
                let outputs = pool(tensor(&x, n, DType::F64)).dims()[1];
                let g = normal(9, outputs, 1.0);
                let upstream = || tensor(&g, outputs, DType::F64);
                let dx = gradient(tensor(&x, n, DType::F64), upstream(), pool);
                let value = |x: &[f64]| values((pool(tensor(x, n, DType::F64)) * upstream()).sum())[0];
                let want: Vec<f64> = (0..n)
                    .map(|i| {
                        let moved = |by: f64| {
                            let mut x = x.clone();
                            x[i] += by;
                            value(&x)
                        };
                        (moved(1e-5) - moved(-1e-5)) / 2e-5
                    })
                    .collect();
                let what = format!("{name} {shape:?}, {kernel}/{stride}/{padding}, masked {}", valid.is_some());
                assert_close(&what, &dx, &want, 1e-6, 1e-9);
            }
        }
    }
}

#[test]
fn kernels_agree_with_the_composed_form() {
    for detach in [false, true] {
        for (shape, kernel, stride, padding) in CASES {
            for beta in [0.0, 1.0, 2.5] {
                let config = json!({
                    "name": "soft", "kernel": kernel, "stride": stride, "padding": padding,
                    "beta": beta, "detach_weights": detach,
                });
                let config: PoolingConfig = serde_json::from_value(config).expect("a config");
                let n = shape.iter().product();
                for valid in [None, Some(mask(shape, |i| i % 3 != 1))] {
                    for (dtype, tolerance) in [(DType::F64, 1e-12), (DType::F32, 1e-5)] {
                        let pooling = config.init(&Init::new(0, &device(), dtype));
                        let x = tensor(&normal(n as u64, n, 2.0), n, dtype);
                        let kernel = |x| pooled(&pooling, x, shape, valid.as_ref());
                        let composed = |x: Tensor<2>| {
                            let y = pooling.composed(x.reshape(shape), valid.clone());
                            let outputs = y.dims().iter().product();
                            y.reshape([1, outputs])
                        };
                        let what = format!("{config:?} {shape:?} {dtype:?}");
                        let y = values(kernel(x.clone()));
                        assert_close(&what, &y, &values(composed(x.clone())), tolerance, tolerance * 0.1);
                        let g = tensor(&normal(4, y.len(), 1.0), y.len(), dtype);
                        let (dx, want) = (gradient(x.clone(), g.clone(), kernel), gradient(x, g, composed));
                        assert_close(&format!("gradient of {what}"), &dx, &want, tolerance, tolerance * 0.1);
                    }
                }
            }
        }
    }
}

/// Whole numbers, so that most windows have several largest cells.
#[test]
fn the_kernel_of_max_takes_the_cells_that_the_composed_form_takes() {
    for (shape, kernel, stride, padding) in CASES {
        for dtype in [DType::F64, DType::F32, DType::F16] {
            let n = shape.iter().product();
            let pooling = build("max", kernel, stride, padding);
            let x = tensor(&normal(n as u64, n, 1.5).iter().map(|x| x.round()).collect::<Vec<_>>(), n, dtype);
            let kernel = |x| pooled(&pooling, x, shape, None);
            let composed = |x: Tensor<2>| {
                let y = pooling.composed(x.reshape(shape), None);
                let outputs = y.dims().iter().product();
                y.reshape([1, outputs])
            };
            let y = values(kernel(x.clone()));
            let what = format!("{shape:?} {dtype:?}, {stride}/{padding}");
            assert_bits(&what, &y, &values(composed(x.clone())));
            let g = tensor(&normal(4, y.len(), 1.0), y.len(), dtype);
            let (dx, want) = (gradient(x.clone(), g.clone(), kernel), gradient(x, g, composed));
            let tolerance = if dtype == DType::F16 { 2e-3 } else { 1e-6 };
            assert_close(&format!("gradient of {what}"), &dx, &want, tolerance, tolerance);
        }
    }
}

#[test]
fn the_largest_of_a_nan_is_nan() {
    for (kernel, stride) in [(2, 2), (2, 1)] {
        let pooling = build("max", kernel, stride, 0);
        let x = tensor(&[1.0, 4.0, f64::NAN, 3.0, 0.0, 1.0, 9.0, f64::INFINITY], 8, DType::F64);
        let pool = |x| pooled(&pooling, x, [1, 1, 2, 4], None);
        let y = values(pool(x.clone()));
        assert!(y[0] == 4.0 && y[y.len() - 1].is_nan(), "{y:?}");
        let dx = gradient(x, tensor(&vec![1.0; y.len()], y.len(), DType::F64), pool);
        assert_eq!(dx[2], (y.len() - 1) as f64, "{dx:?}");
    }
}

/// A cell that is not valid is as if it were padding: what it holds means nothing.
#[test]
fn removed_cells_mean_nothing_and_empty_windows_are_zero() {
    let shape = [1, 1, 2, 4];
    let valid = mask(shape, |i| [true, true, false, false, true, false, false, false][i]);
    for name in PoolingConfig::NAMES {
        let pooling = build(name, 2, 2, 0);
        let pool = |x| pooled(&pooling, x, shape, Some(&valid));
        let run = |junk: f64| {
            let x = [1.0, 3.0, junk, -junk, 2.0, junk, 7.0, junk];
            let g = tensor(&[1.0, 5.0], 2, DType::F64);
            (values(pool(tensor(&x, 8, DType::F64))), gradient(tensor(&x, 8, DType::F64), g, pool))
        };
        let (y, dx) = run(0.0);
        assert!(y[0] >= 2.0 && y[1] == 0.0, "{name}: {y:?}");
        for i in [2, 3, 5, 6, 7] {
            assert_eq!(dx[i], 0.0, "{name}: {dx:?}");
        }
        for junk in [1e4, f64::INFINITY] {
            let (other, other_dx) = run(junk);
            assert_bits(name, &y, &other);
            assert_bits(name, &dx, &other_dx);
        }
    }
}

#[test]
fn a_mask_of_one_channel_serves_all() {
    let shape = [2, 3, 4, 4];
    let x = tensor(&normal(5, 96, 1.0), 96, DType::F64);
    let one = mask([1, 1, 4, 4], |i| i % 3 != 0);
    for name in PoolingConfig::NAMES {
        let pooling = build(name, 2, 2, 0);
        let all = pooled(&pooling, x.clone(), shape, Some(&one.clone().expand(shape)));
        assert_bits(name, &values(pooled(&pooling, x.clone(), shape, Some(&one))), &values(all));
    }
}

#[test]
fn storage_types_keep_their_type() {
    let shape = [2, 3, 7, 9];
    let x = normal(6, 378, 1.0);
    for name in PoolingConfig::NAMES {
        let pooling = build(name, 3, 2, 1);
        let want = values(pooled(&pooling, tensor(&x, 378, DType::F64), shape, None));
        for (dtype, tolerance) in [(DType::F32, 1e-5), (DType::F16, 3e-3), (DType::BF16, 2e-2)] {
            let y = pooled(&pooling, tensor(&x, 378, dtype), shape, None);
            assert_eq!(y.dtype(), dtype, "{name}");
            assert_close(&format!("{name} {dtype:?}"), &values(y), &want, tolerance, tolerance);
        }
    }
}

#[test]
fn soft_pool_is_finite_at_all_scales() {
    let shape = [1, 3, 6, 6];
    for scale in [1e-5, 1.0, 1e4] {
        let (x, pooling) = (tensor(&normal(7, 108, scale), 108, DType::F32), soft(1.0, false));
        let y = values(pooled(&pooling, x.clone(), shape, None));
        let g = tensor(&[1.0; 27], 27, DType::F32);
        let dx = gradient(x, g, |x| pooled(&pooling, x, shape, None));
        assert!(y.iter().chain(&dx).all(|x| x.is_finite()), "{scale}: {y:?} {dx:?}");
    }
}

#[test]
fn nan_stays_in_its_windows() {
    let pooling = soft(1.0, false);
    let x = tensor(&[1.0, f64::NAN, 2.0, 3.0, 0.0, 1.0, f64::NEG_INFINITY, 3.0], 8, DType::F64);
    let y = values(pooled(&pooling, x, [1, 1, 2, 4], None));
    assert!(y[0].is_nan(), "{y:?}");
    // e³ twice and e² once.
    let weight = (-1f64).exp();
    assert_close("−∞ takes no part", &y[1..], &[(6.0 + 2.0 * weight) / (2.0 + weight)], 1e-14, 0.0);
}

#[test]
fn the_forms_of_a_config() {
    for name in PoolingConfig::NAMES {
        let config = PoolingConfig::by_name(name).expect("a known name");
        let written = serde_json::to_value(&config).expect("a config is written");
        assert_eq!(serde_json::from_value::<PoolingConfig>(written).expect("and read"), config);
        let window = config.window();
        assert_eq!((window.kernel, window.stride, window.padding), (2, 2, 0), "{name}");
    }
    let read = |json| serde_json::from_value::<PoolingConfig>(json).map_err(|error| error.to_string());
    assert!(read(json!({ "name": "max", "kernel": 0 })).unwrap_err().contains("expected a whole number of at least 1"));
    assert!(read(json!({ "name": "avg", "beta": 1.0 })).unwrap_err().contains("unknown field `beta`"));
    assert!(read(json!({ "name": "soft", "beta": -1.0 })).unwrap_err().contains("expected a number of at least 0"));
    let check = |json| read(json).expect("readable").check().unwrap_err();
    let message = check(json!({ "name": "max", "kernel": 2, "padding": 2 }));
    assert!(message.contains("padding is 2 with a kernel of 2") && message.contains("at most 1"), "{message}");
    let message = check(json!({ "name": "soft", "stride": 0 }));
    assert!(message.contains("stride is 0; expected a whole number of at least 1"), "{message}");
}

#[test]
#[should_panic(expected = "a mask of shape [1, 2, 4, 4] does not fit an image of shape [1, 1, 4, 4]")]
fn a_mask_that_does_not_fit_is_named() {
    let x = Tensor::<4>::zeros([1, 1, 4, 4], &device());
    let _ = build("max", 2, 2, 0).forward(x, Some(mask([1, 2, 4, 4], |_| true)));
}
