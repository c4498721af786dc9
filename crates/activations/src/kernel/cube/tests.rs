//! The kernels of a CubeCL device beside the drivers of the CPU.
use std::sync::{Arc, OnceLock};

use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use super::{
    CubeMap, CubeRatio, CubeRow, Entry, Fold, Plan, RowFacts,
    cubecl::{self, prelude::*},
};
use crate::{
    kernel::{Keep, Real, RowKernel, RowMap, VjpRow, lanes, row_map, runs, supports},
    loss::{CeExactConfig, CrossEntropyConfig, LossConfig, LossDtype, SumOrder, Target, softmax_row_sum},
    normalizer::{
        LogSoftmaxRow, LogStableMaxRow, NormalizerConfig, SoftmaxRow, StableMaxConfig, StableMaxForm, StableMaxRow,
    },
    testing::{assert_close, device, normal, values},
};

/// The training device of the GPU features, or `None`, said aloud, where there is no adapter.
fn gpu() -> Option<Device> {
    static GPU: OnceLock<Option<Device>> = OnceLock::new();
    let found = GPU.get_or_init(|| std::panic::catch_unwind(open).ok());
    if found.is_none() {
        eprintln!("skipped: no adapter for the device of this build; on Linux, Mesa's lavapipe is one");
    }
    found.clone()
}

fn open() -> Device {
    #[cfg(feature = "cuda")]
    let device = Device::cuda(0);
    #[cfg(all(feature = "vulkan", not(feature = "cuda")))]
    let device = Device::vulkan(burn::tensor::DeviceKind::DefaultDevice);
    #[cfg(all(feature = "wgpu", not(any(feature = "vulkan", feature = "cuda"))))]
    let device = Device::wgpu(burn::tensor::DeviceKind::DefaultDevice);
    #[cfg(not(any(feature = "wgpu", feature = "vulkan", feature = "cuda")))]
    let device: Device = panic!("no device feature is on");
    let _ = Tensor::<1>::zeros([1], &device).into_data();
    device.autodiff()
}

/// softmax(p x), with one parameter per row.
#[derive(Clone, Copy, Debug)]
struct Tempered;

impl RowMap for Tempered {
    const N_PARAMS: usize = 1;

    #[inline(always)]
    fn forward<T: Real>(&self, x: &[T], params: &[T], y: &mut [T]) {
        let max = lanes::max(x);
        for (y, &x) in y.iter_mut().zip(x) {
            *y = ((x - max) * params[0]).exp_exact();
        }
        let sum = lanes::lane_sum(y);
        y.iter_mut().for_each(|y| *y = *y / sum);
    }

    #[inline(always)]
    fn vjp<T: Real>(&self, row: VjpRow<'_, T>, dx: &mut [T], dparams: &mut [T]) {
        let mean = lanes::lane_dot(row.y, row.g);
        for ((dx, &y), &g) in dx.iter_mut().zip(row.y).zip(row.g) {
            *dx = y * (g - mean);
        }
        dparams[0] = lanes::lane_dot(dx, row.x);
        dx.iter_mut().for_each(|dx| *dx = *dx * row.params[0]);
    }

    fn cube(&self) -> Option<CubeMap> {
        Some(CubeMap::ratio::<Self>())
    }
}

#[cube]
impl CubeRatio for Tempered {
    const SHIFTED: bool = true;

    fn numerator<C: Float>(x: C, shift: C, params: &Sequence<C>) -> C {
        ((x - shift) * params[0]).exp()
    }

    fn log_numerator<C: Float>(x: C, shift: C, params: &Sequence<C>) -> C {
        (x - shift) * params[0]
    }

    fn slope<C: Float>(_x: C, params: &Sequence<C>) -> C {
        params[0]
    }

    fn param_slope<C: Float>(x: C, _params: &Sequence<C>, #[comptime] _which: u32) -> C {
        x
    }
}

/// y = p₀ h + p₁, h = (x − μ)/σ, σ² = mean (x − μ)² + ε: needs the number of entries, two sums forward, two backward,
/// and the forward sums again.
#[derive(Clone, Copy, Debug)]
struct Standard {
    eps: f64,
}

impl Standard {
    #[inline(always)]
    fn moments<T: Real>(&self, x: &[T], h: &mut [T]) -> (T, T) {
        let n = T::of(x.len() as f64);
        let mean = lanes::lane_sum(x) / n;
        for (h, &x) in h.iter_mut().zip(x) {
            *h = x - mean;
        }
        let sigma = (lanes::lane_dot(h, h) / n + T::of(self.eps)).sqrt();
        h.iter_mut().for_each(|h| *h = *h / sigma);
        (sigma, n)
    }
}

impl RowMap for Standard {
    const N_PARAMS: usize = 2;

    #[inline(always)]
    fn forward<T: Real>(&self, x: &[T], params: &[T], y: &mut [T]) {
        self.moments(x, y);
        y.iter_mut().for_each(|y| *y = *y * params[0] + params[1]);
    }

    #[inline(always)]
    fn vjp<T: Real>(&self, row: VjpRow<'_, T>, dx: &mut [T], dparams: &mut [T]) {
        let (sigma, n) = self.moments(row.x, dx);
        let (along, sum) = (lanes::lane_dot(dx, row.g), lanes::lane_sum(row.g));
        for (dx, &g) in dx.iter_mut().zip(row.g) {
            *dx = row.params[0] / sigma * (g - sum / n - *dx * along / n);
        }
        (dparams[0], dparams[1]) = (along, sum);
    }

    fn cube(&self) -> Option<CubeMap> {
        Some(CubeMap::of::<Self>().with([self.eps]))
    }
}

#[cube]
fn sigma<C: Float>(row: &RowFacts<C>) -> C {
    (row.second / row.kept + row.params[2]).sqrt()
}

#[cube]
impl CubeRow for Standard {
    const PLAN: Plan = Plan { first: Some(Fold::Sum), second: true, back: 2, replay: true };

    fn first<C: Float>(x: C, _row: &RowFacts<C>) -> C {
        x
    }

    fn second<C: Float>(x: C, row: &RowFacts<C>) -> C {
        let off = x - row.first / row.kept;
        off * off
    }

    fn weight<C: Float>(x: C, row: &RowFacts<C>) -> C {
        (x - row.first / row.kept) / sigma::<C>(row) * row.params[0] + row.params[1]
    }

    fn back<C: Float>(entry: Entry<C>, row: &RowFacts<C>, #[comptime] which: u32) -> C {
        if comptime!(which == 0) { entry.g } else { entry.g * (entry.x - row.first / row.kept) / sigma::<C>(row) }
    }

    fn gradient<C: Float>(entry: Entry<C>, row: &RowFacts<C>) -> C {
        let h = (entry.x - row.first / row.kept) / sigma::<C>(row);
        row.params[0] / sigma::<C>(row) * (entry.g - row.back[0] / row.kept - h * row.back[1] / row.kept)
    }

    fn param_gradient<C: Float>(entry: Entry<C>, row: &RowFacts<C>, #[comptime] which: u32) -> C {
        if comptime!(which == 0) { entry.g * (entry.x - row.first / row.kept) / sigma::<C>(row) } else { entry.g }
    }
}

/// No cube code.
#[derive(Clone, Copy, Debug)]
struct HostOnly;

impl RowMap for HostOnly {
    fn forward<T: Real>(&self, x: &[T], _: &[T], y: &mut [T]) {
        y.copy_from_slice(x);
    }
    fn vjp<T: Real>(&self, row: VjpRow<'_, T>, dx: &mut [T], _: &mut [T]) {
        dx.copy_from_slice(row.g);
    }
}

/// Numbers that can be put on any device.
#[derive(Clone)]
enum Choice {
    All,
    Prefix(Vec<i32>),
    Mask(Vec<bool>),
}

impl Choice {
    fn on(&self, device: &Device, n: usize) -> Keep {
        match self {
            Self::All => Keep::All,
            Self::Prefix(count) => {
                Keep::Prefix(Tensor::<1, Int>::from_data(TensorData::new(count.clone(), [count.len()]), device))
            }
            Self::Mask(bits) => {
                Keep::Mask(Tensor::from_data(TensorData::new(bits.clone(), [bits.len() / n, n]), device))
            }
        }
    }
}

fn on(device: &Device, values: &[f64], n: usize) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len() / n, n]), (device, DType::F32))
}

/// Results, gradients at the scores and gradients at the parameters.
fn evaluate(device: &Device, kernel: &Arc<dyn RowKernel>, x: &[f64], n: usize, keep: &Choice) -> [Vec<f64>; 3] {
    let rows = x.len() / n;
    let p = kernel.n_params();
    let x = on(device, x, n).require_grad();
    let params: Vec<f64> = (0..rows * p).map(|i| 0.5 + 0.25 * (i % 5) as f64).collect();
    let params = (p > 0).then(|| on(device, &params, p).require_grad());
    let y = row_map(x.clone(), params.clone(), &keep.on(device, n), kernel.clone());
    let grads = (y.clone() * on(device, &normal(7, rows * n, 1.0), n)).sum().backward();
    let grad = |x: Tensor<2>| values(x.grad(&grads).expect("it takes part"));
    [values(y), grad(x), params.map_or(vec![], grad)]
}

fn maps() -> [Arc<dyn RowKernel>; 6] {
    [
        Arc::new(SoftmaxRow),
        Arc::new(LogSoftmaxRow),
        Arc::new(StableMaxRow),
        Arc::new(LogStableMaxRow),
        Arc::new(Tempered),
        Arc::new(Standard { eps: 0.0625 }),
    ]
}

fn agree(gpu: &Device, x: &[f64], n: usize, keep: &Choice, relative: f64) {
    for map in maps() {
        let [got, want] = [gpu, &device()].map(|device| evaluate(device, &map, x, n, keep));
        for (part, (got, want)) in ["y", "dx", "dparams"].iter().zip(got.iter().zip(&want)) {
            let largest = want.iter().filter(|x| x.is_finite()).fold(0.0, |a: f64, x| a.max(x.abs()));
            assert_close(&format!("{part} of {map:?} at n = {n}"), got, want, relative, relative * largest);
        }
    }
}

#[test]
fn kernels_agree_with_the_host() {
    let Some(gpu) = gpu() else { return };
    for (rows, n) in [(1, 1), (3, 2), (5, 3), (7, 63), (3, 100), (2, 257), (300, 5)] {
        let x = normal(rows as u64, rows * n, 2.0);
        let prefix = (0..rows).map(|row| (row * 7 % (n + 3)) as i32 - 1).collect();
        let mask = (0..rows * n).map(|i| (i * i + i / 3) % 3 != 0).collect();
        for keep in [Choice::All, Choice::Prefix(prefix), Choice::Mask(mask)] {
            agree(&gpu, &x, n, &keep, 4e-6);
        }
    }
}

#[test]
fn special_rows_are_settled_as_on_the_host() {
    let Some(gpu) = gpu() else { return };
    let (inf, nan) = (f64::INFINITY, f64::NAN);
    #[rustfmt::skip]
    let x = [
        1.0, -inf, 2.0,
        -inf, -inf, -inf,
        inf, 1.0, 0.0,
        inf, -inf, inf,
        nan, 1.0, 2.0,
        inf, nan, -inf,
        80.0, -80.0, 0.0,
        1e30, -1e30, 1e30,
    ];
    agree(&gpu, &x, 3, &Choice::All, 4e-6);
    // The special scores are removed, row 0 loses all its entries.
    let mask = (0..x.len()).map(|i| i > 2 && x[i].is_finite()).collect();
    agree(&gpu, &x, 3, &Choice::Mask(mask), 4e-6);
    agree(&gpu, &x, 3, &Choice::Prefix(vec![0, 1, 2, 3, 4, 1, -5, 2]), 4e-6);
}

#[test]
fn rows_that_are_not_next_to_each_other() {
    let Some(gpu) = gpu() else { return };
    let (x, keep) = (normal(3, 35, 1.0), Choice::Mask((0..35).map(|i| i % 4 != 1).collect()));
    let run = |device: &Device| {
        let Keep::Mask(mask) = keep.on(device, 5) else { unreachable!() };
        let keep = Keep::Mask(mask.swap_dims(0, 1));
        values(row_map(on(device, &x, 5).swap_dims(0, 1), None, &keep, Arc::new(SoftmaxRow)))
    };
    assert_close("transposed", &run(&gpu), &run(&device()), 4e-6, 1e-7);
}

#[test]
fn nothing_to_do() {
    let Some(gpu) = gpu() else { return };
    for shape in [[0, 3], [3, 0]] {
        let y = row_map(Tensor::zeros(shape, &gpu), None, &Keep::All, Arc::new(SoftmaxRow));
        assert_eq!(y.dims(), shape);
    }
}

#[test]
fn a_map_without_cube_code_is_composed() {
    let Some(gpu) = gpu() else { return };
    assert!(!supports(&gpu));
    assert!(runs(&SoftmaxRow, &gpu) && !runs(&HostOnly, &gpu));
    assert!(runs(&HostOnly, &device()) && supports(&device()));
    let refused =
        std::panic::catch_unwind(|| row_map(Tensor::zeros([1, 1], &gpu), None, &Keep::All, Arc::new(HostOnly)));
    let message = *refused.expect_err("refused").downcast::<String>().expect("a message");
    assert!(message.contains("HostOnly has no cube code"), "{message}");
}

#[test]
fn row_parameters_are_checked() {
    let Some(gpu) = gpu() else { return };
    let refused = std::panic::catch_unwind(|| {
        row_map(Tensor::zeros([2, 3], &gpu), None, &Keep::All, Arc::new(Standard { eps: 0.0625 }))
    });
    let message = *refused.expect_err("refused").downcast::<String>().expect("a message");
    assert!(message.contains("this kernel takes 2 parameters per row"), "{message}");
}

/// Losses that run composed on the device.
fn losses() -> Vec<LossConfig> {
    let stablemax = |form| CrossEntropyConfig {
        normalizer: NormalizerConfig::StableMax(StableMaxConfig { form }),
        ..Default::default()
    };
    vec![
        LossConfig::default(),
        LossConfig::CrossEntropy(stablemax(StableMaxForm::Log1p)),
        LossConfig::CrossEntropy(stablemax(StableMaxForm::Ratio)),
        LossConfig::CeExact(CeExactConfig::default()),
    ]
}

/// Loss and gradient.
fn loss_of(config: &LossConfig, device: &Device, x: &[f64], n: usize, target: &[i32]) -> [Vec<f64>; 2] {
    config.check_device(device).expect("a loss for this device");
    let logits = on(device, x, n).require_grad();
    let target = Tensor::<1, Int>::from_data(TensorData::new(target.to_vec(), [target.len()]), device);
    let loss = config.init(&crate::Init::new(0, device, DType::F32));
    let output = loss.forward(logits.clone(), &Target::Classes(target));
    let grads = output.mean.backward();
    assert_eq!(output.row_sum.is_some(), supports(device));
    [values(output.rows), values(logits.grad(&grads).expect("it takes part"))]
}

#[test]
fn losses_are_composed() {
    let Some(gpu) = gpu() else { return };
    for (rows, n) in [(1, 1), (5, 3), (7, 63)] {
        let x = normal(4, rows * n, 3.0);
        let target: Vec<i32> = (0..rows).map(|row| (row * 5 % n) as i32).collect();
        for loss in losses() {
            let [got, want] = [&gpu, &device()].map(|device| loss_of(&loss, device, &x, n, &target));
            for (part, (got, want)) in ["loss", "gradient"].iter().zip(got.iter().zip(&want)) {
                assert_close(&format!("{part} of {loss:?} [{rows}, {n}]"), got, want, 1e-5, 1e-6);
            }
        }
        let [got, want] =
            [&gpu, &device()].map(|device| values(softmax_row_sum(on(device, &x, n), LossDtype::F32, SumOrder::Lanes)));
        assert_close("softmax row sum", &got, &want, 1e-5, 0.0);
    }
}

#[test]
fn composed_losses_at_the_edge_of_precision() {
    let Some(gpu) = gpu() else { return };
    let (inf, nan) = (f64::INFINITY, f64::NAN);
    // A margin of 1e6 and one of 19, a removed target, a row that is spoiled.
    let x = [1e6, -1e6, -1e6, 19.0, 0.0, 0.0, -inf, 1.0, 2.0, inf, 1.0, nan];
    for loss in losses() {
        let [got, want] = [&gpu, &device()].map(|device| loss_of(&loss, device, &x, 3, &[0, 0, 0, 1]));
        assert_close(&format!("{loss:?}"), &got[0], &want[0], 1e-5, 0.0);
    }
    let log1p = &loss_of(&losses()[1], &gpu, &x, 3, &[0, 0, 0, 1])[0];
    assert!(log1p[0] > 0.0, "the collapse-free form does not collapse: {log1p:?}");
}

#[test]
fn what_a_loss_needs_is_said() {
    let Some(gpu) = gpu() else { return };
    let refused =
        |config: CrossEntropyConfig| LossConfig::CrossEntropy(config).check_device(&gpu).expect_err("refused");
    let wide = refused(CrossEntropyConfig { dtype: LossDtype::F64, ..Default::default() });
    assert!(wide.contains("a loss in F64 needs") && wide.contains("set `loss.dtype = \"f32\"`"), "{wide}");
    let sequential = refused(CrossEntropyConfig { sum: SumOrder::Sequential, ..Default::default() });
    assert!(sequential.contains("sequential sums") && sequential.contains("leave out `loss.sum`"), "{sequential}");
    assert!(LossConfig::default().check_device(&device()).is_ok());
}
