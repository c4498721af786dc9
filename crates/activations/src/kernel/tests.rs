use std::sync::Arc;

use burn::tensor::{DType, Int, Tensor, TensorData};
use rayon::ThreadPoolBuilder;

use super::{Keep, LossKernel, MapBlocks, Real, RowKernel, RowMap, VjpRow, lanes, row_loss, row_map, row_mean};
use crate::{
    loss::{ExactNll, LossDtype, SumOrder},
    normalizer::{SoftmaxNll, SoftmaxRow, StableMaxForm, StableMaxNll, StableMaxRow},
    testing::{assert_bits, assert_close, assert_gradient, classes, device, gradient, normal, tensor, values},
};

/// y_i = a x_i + b x_i² n: parameters a and b per row, and a result that knows how many entries are left.
#[derive(Debug)]
struct Parabola;

impl RowMap for Parabola {
    const N_PARAMS: usize = 2;

    #[inline(always)]
    fn forward<T: Real>(&self, x: &[T], params: &[T], y: &mut [T]) {
        let n = T::of(x.len() as f64);
        for (y, &x) in y.iter_mut().zip(x) {
            *y = params[0] * x + params[1] * x * x * n;
        }
    }

    #[inline(always)]
    fn vjp<T: Real>(&self, row: VjpRow<'_, T>, dx: &mut [T], dparams: &mut [T]) {
        let n = T::of(row.x.len() as f64);
        for ((dx, &x), &g) in dx.iter_mut().zip(row.x).zip(row.g) {
            *dx = g * (row.params[0] + T::of(2.0) * row.params[1] * x * n);
        }
        dparams[0] = lanes::lane_dot(row.g, row.x);
        dparams[1] = row.x.iter().zip(row.g).fold(T::of(0.0), |sum, (&x, &g)| sum + g * x * x) * n;
    }
}

fn mask(bits: &[bool], n: usize) -> Keep {
    let data = TensorData::new(bits.to_vec(), [bits.len() / n, n]);
    Keep::Mask(Tensor::from_data(data, &device()))
}

fn prefix(count: &[i32]) -> Keep {
    Keep::Prefix(Tensor::<1, Int>::from_data(TensorData::new(count.to_vec(), [count.len()]), &device()))
}

#[test]
fn row_parameters_take_part_and_carry_gradients() {
    let (rows, n) = (5, 7);
    let x = tensor(&normal(1, rows * n, 1.0), n, DType::F64);
    // One learned pair for all rows: autodiff sums what the rows send back.
    let learned = tensor(&[0.7, -0.2], 2, DType::F64).require_grad();
    let keep = prefix(&[7, 3, 0, 1, 9]);
    let broadcast = learned.clone().expand([rows, 2]);
    let y = row_map(x.clone(), Some(broadcast), &keep, Arc::new(Parabola));
    let g = tensor(&normal(2, rows * n, 1.0), n, DType::F64);
    let grads = (y.clone() * g.clone()).sum().backward();
    let (a, b) = (learned.clone().slice([0..1, 0..1]), learned.clone().slice([0..1, 1..2]));
    let count = tensor(&[7.0, 3.0, 0.0, 1.0, 7.0], 1, DType::F64);
    let kept = keep.mask([rows, n], &device()).expect("a prefix").float().cast(DType::F64);
    let composed = (x.clone() * a + x.clone() * x * b * count) * kept;
    assert_close("y", &values(y), &values(composed.clone()), 1e-14, 1e-14);
    let composed_grads = (composed * g).sum().backward();
    let (got, want) = (learned.grad(&grads), learned.grad(&composed_grads));
    assert_close("dparams", &values(got.unwrap()), &values(want.unwrap()), 1e-13, 1e-13);
}

#[test]
fn row_parameters_are_checked() {
    let x = tensor(&[0.0; 6], 3, DType::F64);
    let missing = std::panic::catch_unwind(|| row_map(x.clone(), None, &Keep::All, Arc::new(Parabola)));
    let message = *missing.expect_err("refused").downcast::<String>().expect("a message");
    assert!(message.contains("this kernel takes 2 parameters per row"), "{message}");
}

#[test]
fn every_cut_of_rows_gives_what_single_rows_give() {
    // Sizes around the lane count and beyond a block, with numbers of rows that fill no block evenly.
    for (rows, n) in [(1, 1), (7, 1), (5, 2), (3, 3), (211, 63), (31, 100), (67, 257), (2, 5000), (4999, 5)] {
        let x = normal(n as u64, rows * n, 3.0);
        let kernel: Arc<dyn RowKernel> = Arc::new(SoftmaxRow);
        let g = normal(7, rows * n, 1.0);
        let map = |x| row_map(x, None, &Keep::All, kernel.clone());
        for dtype in [DType::F32, DType::F64, DType::F16, DType::BF16] {
            let (y, dx) =
                (values(map(tensor(&x, n, dtype))), gradient(tensor(&x, n, dtype), tensor(&g, n, dtype), map));
            for row in [0, rows / 2, rows - 1] {
                let at = row * n..(row + 1) * n;
                let (x, g) = (tensor(&x[at.clone()], n, dtype), tensor(&g[at.clone()], n, dtype));
                assert_bits("y", &y[at.clone()], &values(map(x.clone())));
                assert_bits("dx", &dx[at], &gradient(x, g, map));
            }
        }
    }
}

#[test]
fn half_types_are_computed_in_single_and_rounded_once() {
    let (rows, n) = (5, 63);
    let x = normal(3, rows * n, 2.0);
    for dtype in [DType::F16, DType::BF16] {
        let half = tensor(&x, n, dtype);
        let single = row_map(half.clone().cast(DType::F32), None, &Keep::All, Arc::new(SoftmaxRow));
        let half = row_map(half, None, &Keep::All, Arc::new(SoftmaxRow));
        assert_eq!(half.dtype(), dtype);
        assert_bits("y", &values(half), &values(single.cast(dtype)));
    }
}

#[test]
fn removed_entries_are_as_if_they_were_not_there() {
    let n = 7;
    let kept = [true, false, true, true, false, false, true];
    let x = [0.3, f64::NAN, -1.0, 2.0, f64::INFINITY, 4.0, 0.5];
    let g = [1.0, f64::NAN, 0.5, -1.0, f64::INFINITY, 3.0, 0.25];
    let compact = |v: &[f64]| v.iter().zip(kept).filter(|(_, kept)| *kept).map(|(v, _)| *v).collect::<Vec<_>>();
    let kernels: [Arc<dyn RowKernel>; 2] = [Arc::new(SoftmaxRow), Arc::new(StableMaxRow)];
    for kernel in kernels {
        let masked = |x| row_map(x, None, &mask(&kept, n), kernel.clone());
        let plain = |x| row_map(x, None, &Keep::All, kernel.clone());
        let (x4, g4) = (compact(&x), compact(&g));
        let y = values(masked(tensor(&x, n, DType::F64)));
        let dx = gradient_at(&x, &g, n, masked);
        assert_bits("y", &compact(&y), &values(plain(tensor(&x4, 4, DType::F64))));
        assert_bits("dx", &compact(&dx), &gradient_at(&x4, &g4, 4, plain));
        for i in (0..n).filter(|&i| !kept[i]) {
            assert_eq!((y[i], dx[i]), (0.0, 0.0));
        }
    }
}

/// The gradient for an upstream g that may hold NaN and ∞, which a product with 0 would spread.
fn gradient_at(x: &[f64], g: &[f64], n: usize, f: impl Fn(Tensor<2>) -> Tensor<2>) -> Vec<f64> {
    gradient(tensor(x, n, DType::F64), tensor(g, n, DType::F64), f)
}

#[test]
fn a_score_of_minus_infinity_is_removed() {
    let x = [1.0, f64::NEG_INFINITY, 0.0];
    let g = [0.5, 9.0, -1.0];
    let map = |x| row_map(x, None, &Keep::All, Arc::new(StableMaxRow));
    let y = values(map(tensor(&x, 3, DType::F64)));
    let short = values(map(tensor(&[1.0, 0.0], 2, DType::F64)));
    assert_eq!(y, [short[0], 0.0, short[1]]);
    let dx = gradient_at(&x, &g, 3, map);
    let short = gradient_at(&[1.0, 0.0], &[0.5, -1.0], 2, map);
    assert_eq!(dx, [short[0], 0.0, short[1]]);
}

#[test]
fn prefix_is_the_mask_of_the_same_entries() {
    let (rows, n) = (5, 4);
    let x = normal(4, rows * n, 2.0);
    let count = [4, 2, 0, 1, -3];
    let bits: Vec<bool> = count.iter().flat_map(|&c| (0..n as i32).map(move |i| i < c)).collect();
    let g = normal(5, rows * n, 1.0);
    let by = |keep: Keep| {
        let map = move |x| row_map(x, None, &keep, Arc::new(SoftmaxRow));
        (values(map(tensor(&x, n, DType::F64))), gradient_at(&x, &g, n, map))
    };
    let (prefix, mask) = (by(prefix(&count)), by(mask(&bits, n)));
    assert_bits("y", &prefix.0, &mask.0);
    assert_bits("dx", &prefix.1, &mask.1);
    assert_eq!(prefix.0[8..12], [0.0; 4], "an empty row");
    assert_eq!(prefix.1[8..12], [0.0; 4], "an empty row");
}

#[test]
fn blocks_of_the_callers_own_have_the_bits_of_the_operation() {
    let (inf, nan, n) = (f64::INFINITY, f64::NAN, 5);
    let mut x = normal(8, 6 * n, 2.0);
    (x[6], x[11], x[12], x[16], x[20]) = (-inf, inf, inf, nan, nan);
    let g = normal(9, 6 * n, 1.0);
    for live in [None, Some([5, 3, 4, 0, 1, 2].map(|count| count as usize))] {
        let keep = live.map_or(Keep::All, |live| prefix(&live.map(|count| count as i32)));
        for kernel in [Arc::new(SoftmaxRow) as Arc<dyn RowKernel>, Arc::new(StableMaxRow)] {
            let whole = row_map(tensor(&x, n, DType::F64), None, &keep, kernel.clone());
            let at = gradient_at(&x, &g, n, |x| row_map(x, None, &keep, kernel.clone()));
            let (mut y, mut dx) = (vec![f64::NAN; x.len()], vec![f64::NAN; x.len()]);
            // More room than the rows take, and rows of another length before.
            let mut blocks = MapBlocks::<f64>::new(&*kernel, n + 3);
            blocks.forward(n + 3, None, &[0.5; 8], &mut [0.0; 8]);
            blocks.forward(n, live.as_ref().map(|live| &live[..]), &x, &mut y);
            blocks.vjp(n, live.as_ref().map(|live| &live[..]), [&x, &y, &g], &mut dx);
            assert_bits("y", &values(whole), &y);
            assert_bits("dx", &at, &dx);
        }
    }
}

#[test]
#[should_panic(expected = "blocks of rows come without parameters")]
fn blocks_take_no_row_parameters() {
    MapBlocks::<f32>::new(&Parabola, 4);
}

#[test]
fn nan_and_infinity_stay_in_their_row() {
    let inf = f64::INFINITY;
    let x = [1.0, f64::NAN, 0.0, inf, 2.0, 1.0, inf, 0.0, inf, 0.5, 0.0, -1.0];
    let map = |x| row_map(x, None, &Keep::All, Arc::new(SoftmaxRow));
    let y = values(map(tensor(&x, 3, DType::F32)));
    assert!(y[..3].iter().all(|y| y.is_nan()));
    assert_eq!(y[3..9], [1.0, 0.0, 0.0, 0.5, 0.0, 0.5], "infinite scores share the weight");
    assert_close("the last row", &[y[9..].iter().sum()], &[1.0], 1e-6, 0.0);
    let dx = gradient_at(&x, &[1.0, 2.0, 3.0].repeat(4), 3, map);
    assert!(dx[..3].iter().all(|dx| dx.is_nan()));
    assert_eq!(dx[3..9], [0.0; 6]);
    let y = values(row_map(
        tensor(&[1.0, inf, 1.0], 3, DType::F64),
        Some(tensor(&[1.0, 1.0], 2, DType::F64)),
        &Keep::All,
        Arc::new(Parabola),
    ));
    assert!(y.iter().all(|y| y.is_nan()), "a map without a one-hot limit: {y:?}");
}

#[test]
fn a_loss_shows_nan_and_infinity() {
    let inf = f64::INFINITY;
    let x = [1.0, f64::NAN, 0.0, 1.0, inf, 0.0, 1.0, -inf, 0.0, 1.0, -inf, 0.0, -inf, -inf, -inf];
    let logits = tensor(&x, 3, DType::F32).require_grad();
    let target = classes(&[0, 1, 0, 1, 2]);
    let kernels: [Arc<dyn LossKernel>; 3] = [
        Arc::new(SoftmaxNll { sum: SumOrder::Lanes }),
        Arc::new(StableMaxNll { sum: SumOrder::Lanes, form: StableMaxForm::Log1p }),
        Arc::new(ExactNll),
    ];
    for kernel in kernels {
        let (loss, sum) = row_loss(logits.clone(), None, target.clone(), &Keep::All, kernel.clone(), LossDtype::F32);
        let dx = values(logits.grad(&loss.clone().sum().backward()).unwrap());
        let (loss, sum) = (values(loss), values(sum));
        assert!(loss[0].is_nan() && loss[1].is_nan() && sum[0].is_nan(), "{kernel:?} {loss:?}");
        assert!(loss[2].is_finite() && loss[3] == inf && loss[4] == inf, "{kernel:?} {loss:?}");
        assert!(sum[3].is_finite() && sum[4] == 0.0, "{kernel:?} {sum:?}");
        assert!(dx[..6].iter().all(|dx| dx.is_nan()), "{kernel:?} {dx:?}");
        assert!(dx[6] != 0.0 && dx[7] == 0.0 && dx[8] != 0.0, "{kernel:?} {dx:?}");
        assert!(dx[9].is_nan() && dx[10] == 0.0, "a removed target has no gradient: {kernel:?} {dx:?}");
        assert_eq!(dx[12..], [0.0; 3]);
    }
}

#[test]
fn a_masked_loss_is_the_loss_of_what_is_left() {
    let x = [0.5, 9.0, -1.0, 2.0];
    let keep = mask(&[true, false, true, true], 4);
    let kernel = || Arc::new(SoftmaxNll { sum: SumOrder::Lanes });
    let by = |x: &[f64], class: usize, keep: &Keep| {
        let x = tensor(x, x.len(), DType::F64).require_grad();
        let (loss, sum) = row_loss(x.clone(), None, classes(&[class]), keep, kernel(), LossDtype::F64);
        let dx = x.grad(&loss.clone().backward()).unwrap();
        (values(loss)[0], values(sum)[0], values(dx))
    };
    let (loss, sum, dx) = by(&x, 2, &keep);
    let (short_loss, short_sum, short_dx) = by(&[0.5, -1.0, 2.0], 1, &Keep::All);
    assert_eq!((loss, sum), (short_loss, short_sum));
    assert_eq!(dx, [short_dx[0], 0.0, short_dx[1], short_dx[2]]);
    assert_eq!(by(&x, 1, &keep).0, f64::INFINITY, "a removed target");
}

#[test]
fn a_target_that_is_no_class_is_named() {
    for (class, rows) in [(3, [0, 3]), (-1, [1, -1])] {
        let target = Tensor::<1, Int>::from_data(TensorData::from(rows), &device());
        let logits = tensor(&[0.0; 6], 3, DType::F32);
        let kernel = Arc::new(SoftmaxNll { sum: SumOrder::Lanes });
        let result = std::panic::catch_unwind(|| row_loss(logits, None, target, &Keep::All, kernel, LossDtype::F32));
        let message = *result.expect_err("refused").downcast::<String>().expect("a message");
        assert!(message.contains("target of row 1") && message.contains("expected 0 to 2"), "{class}: {message}");
    }
}

#[test]
fn loss_gradients_agree_with_differences() {
    for (rows, n) in [(3, 1), (5, 2), (3, 17), (2, 63)] {
        let x = normal(n as u64, rows * n, 2.0);
        let target = classes(&(0..rows).map(|row| (7 * row) % n).collect::<Vec<_>>());
        let kernels: [Arc<dyn LossKernel>; 4] = [
            Arc::new(SoftmaxNll { sum: SumOrder::Lanes }),
            Arc::new(StableMaxNll { sum: SumOrder::Lanes, form: StableMaxForm::Log1p }),
            Arc::new(StableMaxNll { sum: SumOrder::Sequential, form: StableMaxForm::Ratio }),
            Arc::new(ExactNll),
        ];
        for kernel in kernels {
            let loss = |x| {
                row_loss(x, None, target.clone(), &Keep::All, kernel.clone(), LossDtype::F64)
                    .0
                    .unsqueeze_dim::<2>(1)
                    .expand([rows, n])
            };
            assert_gradient(&format!("{kernel:?}, [{rows}, {n}]"), &x, &normal(9, rows * n, 1.0), n, loss);
        }
    }
}

#[test]
fn one_thread_and_two_give_the_same_bits() {
    let (rows, n) = (1009, 113);
    let x = normal(6, rows * n, 5.0);
    let target: Vec<usize> = (0..rows).map(|row| row % n).collect();
    let run = |threads: usize| {
        ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| {
            let mut all = Vec::new();
            for (storage, dtype) in
                [(DType::F32, LossDtype::F32), (DType::F32, LossDtype::F64), (DType::BF16, LossDtype::F16)]
            {
                let logits = tensor(&x, n, storage).require_grad();
                let kernel = Arc::new(StableMaxNll { sum: SumOrder::Lanes, form: StableMaxForm::Log1p });
                let (loss, _) = row_loss(logits.clone(), None, classes(&target), &Keep::All, kernel, dtype);
                let mean = row_mean(loss.clone());
                let grads = mean.clone().backward();
                all.extend([values(loss), values(mean), values(logits.grad(&grads).unwrap())].concat());
            }
            all
        })
    };
    assert_bits("loss, mean and gradient", &run(1), &run(2));
}

#[test]
fn the_mean_is_rounded_once_and_shares_its_gradient() {
    // 2^24 + 1 is not an f32: a sum in f32 would lose the ones.
    let x = Tensor::<1>::from_floats([16_777_216.0, 1.0, 1.0, 2.0], &device()).require_grad();
    let mean = row_mean(x.clone());
    assert_eq!(values(mean.clone()), [4_194_305.0]);
    let grads = mean.mul_scalar(3.0).backward();
    assert_eq!(values(x.grad(&grads).unwrap()), [0.75; 4]);
    let half = x.detach().clamp_max(3.0).cast(DType::F16);
    assert_eq!(row_mean(half.clone()).dtype(), DType::F16);
    assert_eq!(values(row_mean(half)), [1.75]);
}

#[test]
fn devices_with_row_operations_are_known() {
    assert!(super::supports(&device()));
    assert!(super::supports(&device().inner()));
}

#[test]
fn a_transposed_tensor_is_read_in_its_logical_order() {
    let x = tensor(&normal(8, 35, 2.0), 7, DType::F64);
    let map = |x| values(row_map(x, None, &Keep::All, Arc::new(SoftmaxRow)));
    let copy = tensor(&values(x.clone().transpose()), 5, DType::F64);
    assert_bits("y", &map(x.transpose()), &map(copy));
}

#[cfg(feature = "ndarray")]
#[allow(deprecated, reason = "ndarray stays selectable as long as Burn has it")]
#[test]
fn ndarray_gives_the_bits_of_flex() {
    use burn::tensor::Device;
    let (rows, n) = (13, 113);
    let x = TensorData::new(normal(8, rows * n, 5.0), [rows, n]);
    let target: Vec<i32> = (0..rows as i32).collect();
    let keep: Vec<bool> = (0..rows * n).map(|i| i % 5 != 0 || i % n == i / n).collect();
    let run = |device: Device, dtype: DType| {
        let logits = Tensor::<2>::from_data(x.clone(), (&device, dtype)).require_grad();
        let target = Tensor::<1, Int>::from_data(TensorData::new(target.clone(), [rows]), &device);
        let keep = Keep::Mask(Tensor::from_data(TensorData::new(keep.clone(), [rows, n]), &device));
        let kernel = Arc::new(SoftmaxNll { sum: SumOrder::Lanes });
        let (loss, sum) = row_loss(logits.clone(), None, target, &keep, kernel, LossDtype::F64);
        let weights = row_map(logits.clone(), None, &keep, Arc::new(StableMaxRow));
        let total = row_mean(loss.clone()).cast(DType::F32) + weights.clone().powi_scalar(2).sum().cast(DType::F32);
        let grads = total.backward();
        [values(loss), values(sum), values(weights), values(logits.grad(&grads).unwrap())].concat()
    };
    for dtype in [DType::F32, DType::F64] {
        assert_bits("all", &run(Device::flex().autodiff(), dtype), &run(Device::ndarray().autodiff(), dtype));
    }
}
