use burn::tensor::{DType, module, ops::ConvOptions};

use super::*;
use crate::testing::{assert_close, normal, on_threads, values};

/// Rows, inputs, outputs, height, width, kernel, stride, padding.
type Sizes = [usize; 8];

/// Odd sizes: one channel, channels around 16 and 32, rows shorter than a tile, filters as large as the image, strides that
/// leave pixels out.
const SIZES: [Sizes; 18] = [
    [3, 2, 5, 7, 9, 3, 1, 1],
    [2, 3, 17, 11, 13, 3, 2, 1],
    [2, 4, 33, 8, 8, 1, 2, 0],
    [2, 1, 32, 28, 28, 5, 1, 2],
    [1, 5, 20, 12, 10, 5, 2, 2],
    [2, 3, 16, 5, 5, 3, 1, 0],
    [1, 2, 3, 3, 3, 3, 1, 1],
    [9, 16, 16, 20, 37, 3, 1, 1],
    [1, 7, 40, 6, 17, 1, 1, 0],
    [2, 3, 4, 9, 9, 3, 2, 0],
    [1, 2, 2, 1, 1, 1, 1, 0],
    [1, 2, 3, 4, 4, 5, 1, 2],
    [5, 65, 31, 4, 3, 3, 1, 1],
    [2, 3, 5, 6, 7, 1, 1, 2],
    [3, 2, 3, 8, 5, 2, 1, 0],
    [2, 3, 5, 9, 11, 4, 3, 1],
    [1, 2, 4, 10, 10, 7, 2, 3],
    [2, 2, 3, 3, 7, 3, 2, 3],
];

/// Output and gradients of `Σ c y` for the operation as a function of its leaves.
fn run(
    op: impl Fn(Tensor<4>, Tensor<4>, Option<Tensor<1>>) -> Tensor<4>,
    [rows, inputs, outputs, height, width, kernel, ..]: Sizes,
    bias: bool,
    dtype: DType,
) -> Vec<Vec<f64>> {
    let x = normal([rows, inputs, height, width], dtype, "x");
    let w = normal([outputs, inputs, kernel, kernel], dtype, "w");
    let b = bias.then(|| normal([outputs], dtype, "b"));
    let y = op(x.clone(), w.clone(), b.clone());
    let c = normal(y.dims(), dtype, "c").detach();
    let gradients = (y.clone() * c).sum().backward();
    let mut found = vec![values(&y), values(&x.grad(&gradients).unwrap()), values(&w.grad(&gradients).unwrap())];
    found.extend(b.map(|b| values(&b.grad(&gradients).unwrap())));
    found
}

fn of_burn(x: Tensor<4>, w: Tensor<4>, b: Option<Tensor<1>>, sizes: Sizes) -> Tensor<4> {
    module::conv2d(x, w, b, ConvOptions::new([sizes[6]; 2], [sizes[7]; 2], [1, 1], 1))
}

/// Asserts that no value is off by more than `tolerance` times the largest: sums of thousands of terms may be near 0.
fn assert_close_to_scale(what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    let scale = expected.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
    let scaled = |values: &[f64]| values.iter().map(|value| value / scale).collect::<Vec<_>>();
    assert_close(what, &scaled(found), &scaled(expected), tolerance);
}

#[test]
fn kernel_agrees_with_burn() {
    for sizes in SIZES {
        for bias in [false, true] {
            // Burn in f64 is the reference for every dtype.
            let plain = run(|x, w, b| of_burn(x, w, b, sizes), sizes, bias, DType::F64);
            for (dtype, tolerance) in [(DType::F64, 1e-13), (DType::F32, 3e-6)] {
                let kernel = run(|x, w, b| conv2d(x, w, b, sizes[6], sizes[7]), sizes, bias, dtype);
                assert_eq!(kernel.len(), plain.len());
                for ((kernel, plain), name) in kernel.iter().zip(&plain).zip(["y", "dx", "dw", "db"]) {
                    assert_close_to_scale(&format!("{name} {sizes:?} {dtype:?}"), kernel, plain, tolerance);
                }
            }
        }
    }
}

#[test]
fn thread_count_moves_no_bit() {
    for sizes in [SIZES[7], SIZES[12], SIZES[15]] {
        let work = || run(|x, w, b| conv2d(x, w, b, sizes[6], sizes[7]), sizes, true, DType::F32);
        let one = on_threads(1, work);
        assert_eq!(one, on_threads(2, work), "{sizes:?}");
        assert_eq!(one, on_threads(3, work), "{sizes:?}");
    }
}

#[test]
fn views_are_read_in_their_own_order() {
    let (x, w) = (normal([2, 6, 5, 3], DType::F32, "x"), normal([4, 3, 3, 3], DType::F32, "w"));
    let (x, w) = (x.permute([0, 3, 2, 1]), w.permute([0, 1, 3, 2]));
    let found = conv2d(x.clone(), w.clone(), None, 1, 1);
    let expected = module::conv2d(x, w, None, ConvOptions::new([1, 1], [1, 1], [1, 1], 1));
    assert_close("y", &values(&found), &values(&expected), 1e-5);
}

#[cfg(all(feature = "flex", target_arch = "x86_64"))]
mod kernels {
    use super::{
        super::{
            columns,
            direct::{self, Isa},
            geometry::Geometry,
        },
        *,
    };

    fn geometry([_, inputs, outputs, height, width, kernel, stride, padding]: Sizes) -> Geometry {
        Geometry::new([1, inputs, height, width], [outputs, inputs, kernel, kernel], stride, padding)
    }

    /// Values that lie on no round address: everything is one float further than its allocation.
    fn unaligned(len: usize, name: &str) -> Vec<f32> {
        values(&normal([len + 1], DType::F32, name)).into_iter().map(|value| value as f32).collect()
    }

    fn wide(values: &[f32]) -> Vec<f64> {
        values.iter().map(|value| f64::from(*value)).collect()
    }

    #[test]
    fn every_instruction_set_gives_the_same_bits_and_the_columns_the_same_values() {
        for sizes in SIZES {
            let (g, rows) = (geometry(sizes), sizes[0]);
            if !direct::covers(&g) {
                continue;
            }
            let x = unaligned(rows * g.image_len(), "x");
            let w = unaligned(g.outputs * g.taps(), "w");
            let b = unaligned(g.outputs, "b");
            let d = unaligned(rows * g.map_len(), "d");
            let (x, w, b, d) = (&x[1..], &w[1..], &b[1..], &d[1..]);
            let all = |isa| {
                [
                    direct::forward(x, w, Some(b), &g, rows, isa),
                    direct::input_gradient(d, w, &g, rows, isa),
                    direct::weight_gradient(x, d, &g, rows, isa),
                ]
            };
            let reference = [
                columns::forward(x, w, Some(b), &g, rows),
                columns::input_gradient(d, w, &g, rows),
                columns::weight_gradient(x, d, &g, rows),
            ];
            let found: Vec<_> = Isa::available().map(all).collect();
            for kernels in &found {
                assert!(kernels == &found[0], "{sizes:?}: instruction sets differ");
                for (kernel, reference) in kernels.iter().zip(&reference) {
                    assert_close_to_scale(&format!("{sizes:?}"), &wide(kernel), &wide(reference), 3e-6);
                }
            }
        }
    }

    #[test]
    fn what_is_not_a_number_stays_where_the_filter_reaches() {
        // One NaN pixel: 3 x 3 places see it, the 16 others do not.
        let sizes = [1, 1, 1, 5, 5, 3, 1, 1];
        let g = geometry(sizes);
        let mut x = vec![1.0; 25];
        x[12] = f32::NAN;
        for isa in Isa::available() {
            let y = direct::forward(&x, &[1.0; 9], None, &g, 1, isa);
            assert_eq!(y.iter().filter(|value| value.is_nan()).count(), 9);
        }
    }
}
