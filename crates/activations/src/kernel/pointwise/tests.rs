use std::sync::Arc;

use burn::tensor::{DType, Tensor};
use kiln_registry::Tagged;
use rayon::ThreadPoolBuilder;

use super::{
    PointwiseKernel, PointwiseMap, Saves,
    map::{Forward, Vjp},
    pointwise,
};
use crate::{
    Init,
    kernel::{
        Elementary,
        isa::{self, Isa},
    },
    pointwise::{self as functions, PointwiseConfig},
    testing::{assert_bits, assert_close, device, gradient, normal, tensor, values},
};

/// y = x³ + a x, with the backward pass from x.
#[derive(Clone, Copy, Debug)]
struct Cubic {
    a: f64,
}

impl PointwiseMap for Cubic {
    #[inline(always)]
    fn forward<T: Elementary>(&self, x: T) -> T {
        x * x.mul_add(x, T::of(self.a))
    }
    #[inline(always)]
    fn vjp<T: Elementary>(&self, x: T, g: T) -> T {
        g * (T::of(3.0) * x).mul_add(x, T::of(self.a))
    }
}

/// y = 1/x, with the backward pass from y.
#[derive(Clone, Copy, Debug)]
struct Reciprocal;

impl PointwiseMap for Reciprocal {
    const SAVES: Saves = Saves::Output;
    #[inline(always)]
    fn forward<T: Elementary>(&self, x: T) -> T {
        T::one() / x
    }
    #[inline(always)]
    fn vjp<T: Elementary>(&self, y: T, g: T) -> T {
        -(g * y * y)
    }
}

fn every_kernel() -> Vec<Arc<dyn PointwiseKernel>> {
    let init = Init::new(0, &device(), DType::F32);
    PointwiseConfig::NAMES
        .iter()
        .filter_map(|name| Some(PointwiseConfig::by_name(name)?.init(&init).kernel()))
        .chain([Arc::new(functions::GeluTanhMap) as Arc<dyn PointwiseKernel>])
        .collect()
}

#[test]
fn the_backward_pass_starts_from_what_is_saved() {
    let (x, g) = ([0.5, -2.0, 4.0, 1.0], [1.0, -1.0, 0.5, 3.0]);
    for dtype in [DType::F64, DType::F32, DType::F16, DType::BF16] {
        let run = |kernel: Arc<dyn PointwiseKernel>| {
            let map = |x| pointwise(x, kernel.clone());
            let (x, g) = (tensor(&x, 2, dtype), tensor(&g, 2, dtype));
            (values(map(x.clone())), gradient(x, g, map))
        };
        let (y, dx) = run(Arc::new(Cubic { a: 2.0 }));
        assert_eq!((y.as_slice(), dx.as_slice()), (&[1.125, -12.0, 72.0, 3.0][..], &[2.75, -14.0, 25.0, 15.0][..]));
        let (y, dx) = run(Arc::new(Reciprocal));
        assert_eq!((y.as_slice(), dx.as_slice()), (&[2.0, -0.5, 0.25, 1.0][..], &[-4.0, 0.25, -0.03125, -3.0][..]));
    }
}

#[test]
fn every_cut_gives_what_single_elements_give() {
    for kernel in every_kernel() {
        for n in [1, 2, 3, 63, 257, 4095, 4097, 20_011] {
            let (x, g) = (normal(n as u64, n, 3.0), normal(7, n, 1.0));
            let map = |x| pointwise(x, kernel.clone());
            for dtype in [DType::F32, DType::F64, DType::F16, DType::BF16] {
                let (y, dx) =
                    (values(map(tensor(&x, n, dtype))), gradient(tensor(&x, n, dtype), tensor(&g, n, dtype), map));
                for i in [0, n / 2, n - 1] {
                    let (x, g) = (tensor(&x[i..=i], 1, dtype), tensor(&g[i..=i], 1, dtype));
                    let what = format!("{kernel:?} {dtype:?} of {n}");
                    assert_bits(&what, &y[i..=i], &values(map(x.clone())));
                    assert_bits(&format!("gradient of {what}"), &dx[i..=i], &gradient(x, g, map));
                }
            }
        }
    }
}

#[test]
fn half_types_are_computed_in_single_and_rounded_once() {
    let x = normal(3, 5 * 63, 2.0);
    for kernel in every_kernel() {
        for dtype in [DType::F16, DType::BF16] {
            let half = tensor(&x, 63, dtype);
            let single = pointwise(half.clone().cast(DType::F32), kernel.clone());
            let half = pointwise(half, kernel.clone());
            assert_eq!(half.dtype(), dtype);
            assert_bits(&format!("{kernel:?}"), &values(half), &values(single.cast(dtype)));
        }
    }
}

/// Memory that nothing else holds is used again; memory that something holds stays as it is.
#[test]
fn a_tensor_that_is_still_held_does_not_change() {
    let n = 5000;
    let x = normal(1, n, 2.0);
    let kernel: Arc<dyn PointwiseKernel> = Arc::new(Cubic { a: -1.0 });
    for dtype in [DType::F32, DType::BF16] {
        let fresh = || tensor(&x, n, dtype);
        let held = fresh();
        let y = values(pointwise(held.clone(), kernel.clone()));
        assert_bits("the held tensor", &values(held), &values(fresh()));
        assert_bits("in place", &values(pointwise(fresh(), kernel.clone())), &y);
        // The same gradient reaches two functions of x.
        let leaf = fresh().require_grad();
        let both = pointwise(leaf.clone(), kernel.clone()) + pointwise(leaf.clone(), kernel.clone());
        let dx = values(leaf.grad(&both.sum().backward()).expect("x takes part"));
        let one = gradient(fresh(), tensor(&vec![1.0; n], n, dtype), |x| pointwise(x, kernel.clone()));
        let twice = tensor(&one, n, dtype) * 2.0;
        assert_bits("twice the gradient", &dx, &values(twice));
    }
}

#[test]
fn any_shape_and_layout() {
    let x = tensor(&normal(2, 2 * 3 * 5, 1.0), 5, DType::F32);
    let kernel: Arc<dyn PointwiseKernel> = Arc::new(Reciprocal);
    let map = |x| pointwise(x, kernel.clone());
    let y = map(x.clone());
    assert_bits("transposed", &values(map(x.clone().transpose())), &values(y.clone().transpose()));
    assert_bits("a slice", &values(map(x.clone().slice([1..4, 2..5]))), &values(y.clone().slice([1..4, 2..5])));
    let cube = pointwise(x.clone().reshape([2, 3, 5, 1]), kernel.clone());
    assert_eq!(cube.dims(), [2, 3, 5, 1]);
    assert_bits("rank 4", &values(cube), &values(y));
    let none = pointwise(Tensor::<2>::zeros([0, 3], &device()), kernel.clone());
    assert_eq!(none.dims(), [0, 3]);
}

fn same_on_every_isa<K: PointwiseMap, T: Elementary>(map: K) {
    for n in [1, 2, 3, 16, 63, 257] {
        let real = |x: Vec<f64>| x.into_iter().map(T::of).collect::<Vec<T>>();
        let edges = [f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, 1e-40, 1e30, -95.0];
        let x = real(normal(n as u64, n, 4.0).into_iter().chain(edges).collect());
        let g = real(normal(5, x.len(), 1.0));
        let run = |isa: Isa| {
            let (mut y, mut dx) = (x.clone(), g.clone());
            isa::run_on(isa, Forward { map, x: &mut y });
            let saved = if K::SAVES == Saves::Output { y.clone() } else { x.clone() };
            isa::run_on(isa, Vjp { map, saved: &saved, g: &mut dx });
            [y, dx].concat().into_iter().map(|x| x.wide().to_bits()).collect::<Vec<_>>()
        };
        let mut all = Isa::available().map(|isa| (isa, run(isa)));
        let (best, want) = all.next().expect("the baseline is always there");
        for (isa, got) in all {
            assert!(got == want, "{map:?}, n = {n}: {isa:?} and {best:?} differ");
        }
    }
}

#[test]
fn every_instruction_set_gives_the_same_bits() {
    fn all<K: PointwiseMap>(map: K) {
        same_on_every_isa::<K, f32>(map);
        same_on_every_isa::<K, f64>(map);
    }
    all(functions::GeluMap);
    all(functions::GeluTanhMap);
    all(functions::SiluMap);
    all(functions::MishMap);
    all(functions::SoftplusMap { beta: 1.5 });
    all(functions::TanhMap);
    all(functions::SigmoidMap);
    all(functions::SymlogMap);
    all(functions::ExpMap);
}

#[test]
fn one_thread_and_two_give_the_same_bits() {
    let n = 100_003;
    let (x, g) = (normal(6, n, 5.0), normal(8, n, 1.0));
    for kernel in every_kernel() {
        let run = |threads: usize| {
            ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| {
                let map = |x| pointwise(x, kernel.clone());
                let x = tensor(&x, n, DType::F32);
                [values(map(x.clone())), gradient(x, tensor(&g, n, DType::F32), map)].concat()
            })
        };
        assert_bits(&format!("{kernel:?}"), &run(1), &run(2));
    }
}

#[cfg(feature = "ndarray")]
#[allow(deprecated, reason = "ndarray stays selectable as long as Burn has it")]
#[test]
fn ndarray_gives_the_bits_of_flex() {
    use burn::tensor::{Device, TensorData};
    let data = TensorData::new(normal(8, 7 * 113, 5.0), [7, 113]);
    for kernel in every_kernel() {
        let run = |device: Device, dtype: DType| {
            let x = Tensor::<2>::from_data(data.clone(), (&device, dtype)).require_grad();
            let y = pointwise(x.clone(), kernel.clone());
            let grads = y.clone().sum().backward();
            [values(y), values(x.grad(&grads).expect("x takes part"))].concat()
        };
        for dtype in [DType::F32, DType::F64] {
            let (ndarray, flex) = (run(Device::ndarray().autodiff(), dtype), run(Device::flex().autodiff(), dtype));
            assert_bits(&format!("{kernel:?}"), &ndarray, &flex);
        }
    }
}

#[test]
fn gradients_pass_a_cast() {
    let x = tensor(&normal(3, 15, 1.0), 5, DType::F32).require_grad();
    let y = pointwise(x.clone().cast(DType::F64), Arc::new(Cubic { a: 0.5 }));
    let grad = x.grad(&y.sum().backward()).expect("x takes part");
    assert_eq!(grad.dtype(), DType::F32);
    let want: Vec<f64> = values(x).into_iter().map(|x| 3.0 * x * x + 0.5).collect();
    assert_close("dx", &values(grad), &want, 1e-6, 0.0);
}
