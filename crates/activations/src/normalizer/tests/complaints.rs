//! What users of other libraries have complained about, as tests.
use burn::tensor::{DType, Tensor, TensorData};

use super::{Normalizer, NormalizerConfig, ctx, mask};
use crate::{
    Init,
    normalizer::EntmaxConfig,
    testing::{assert_bits, assert_close, device, gradient, normal, tensor, values},
};

fn entmax(alpha: f64, dtype: DType) -> Normalizer {
    NormalizerConfig::Entmax(EntmaxConfig { alpha, learn: false }).init(&Init::new(0, &device(), dtype))
}

fn by_name(name: &str) -> Normalizer {
    NormalizerConfig::by_name(name).expect("a known name").init(&Init::new(0, &device(), DType::F64))
}

fn weights(map: &Normalizer, x: Tensor<2>) -> Vec<f64> {
    values(map.weights(x, -1, None, &ctx()))
}

/// "NaN in training with extreme inputs."
#[test]
fn entmax_trains_on_extreme_scores() {
    let rows: [[f64; 4]; 5] = [
        [1e30, -1e30, 0.0, 1.0],
        [3e38, -3e38, 3e38, 0.0],
        [-1e30, -1e30, -1e30, -1e30],
        [1e-38, -1e-38, 0.0, 1e-45],
        [88.0, 89.0, -104.0, 1e4],
    ];
    for alpha in [1.0, 1.01, 1.25, 1.5, 1.75, 2.0, 3.0, 8.0] {
        let map = entmax(alpha, DType::F32);
        for row in rows {
            let x = tensor(&row, 4, DType::F32);
            let y = weights(&map, x.clone());
            assert_close(&format!("alpha {alpha} of {row:?}"), &[y.iter().sum()], &[1.0], 1e-6, 0.0);
            let dx = gradient(x, tensor(&[1.0, -2.0, 0.5, 3.0], 4, DType::F32), |x| map.weights(x, -1, None, &ctx()));
            assert!(dx.iter().all(|dx| dx.is_finite()), "alpha {alpha} of {row:?}: {dx:?}");
        }
    }
}

/// "Alpha = 1 is silently wrong": it is softmax, and near 1 the map goes over into it.
#[test]
fn entmax_at_and_near_alpha_one_is_softmax() {
    let x = tensor(&normal(1, 3 * 63, 2.0), 63, DType::F64);
    let want = weights(&by_name("softmax"), x.clone());
    assert_close("alpha 1", &weights(&entmax(1.0, DType::F64), x.clone()), &want, 1e-14, 0.0);
    // dp/dα is bounded by a few times p ln²p, so the distance shrinks with α − 1.
    for order in [1e-2, 1e-3, 1e-4, 1e-5, 1e-6] {
        let got = weights(&entmax(1.0 + order, DType::F64), x.clone());
        assert_close(&format!("alpha 1 + {order:e}"), &got, &want, 100.0 * order, order);
        let single = weights(&entmax(1.0 + order, DType::F32), x.clone().cast(DType::F32));
        assert_close(&format!("alpha 1 + {order:e} in f32"), &single, &got, 2e-5, 1e-7);
    }
}

/// "Visible error for large alpha in f32": the weights still sum to 1, and a row agrees with f64 unless one of its weights has
/// only just begun. Such a weight rises with the slope p^(2 − α) in its score, which f32 itself does not resolve.
#[test]
fn entmax_of_large_alpha_is_accurate_in_single_precision() {
    for alpha in [2.5, 3.0, 4.0, 8.0, 16.0] {
        let (rows, n, mut compared) = (60, 5, 0);
        let x = tensor(&normal(3, rows * n, 0.5), n, DType::F32);
        let got = weights(&entmax(alpha, DType::F32), x.clone());
        let want = weights(&entmax(alpha, DType::F64), x.cast(DType::F64));
        for (row, (got, want)) in got.chunks(n).zip(want.chunks(n)).enumerate() {
            assert_close(&format!("sum of row {row} at alpha {alpha}"), &[got.iter().sum()], &[1.0], 1e-6, 0.0);
            let steepest =
                got.iter().chain(want).filter(|&&p| p > 0.0).fold(1.0f64, |min, p| min.min(*p)).powf(2.0 - alpha);
            if steepest < 1e3 {
                compared += 1;
                assert_close(&format!("row {row} at alpha {alpha}"), got, want, 0.0, 1e-6 * (2.0 + steepest));
            }
        }
        assert!(compared > rows / 4, "only {compared} rows at alpha {alpha}");
    }
}

/// "The wrong axis for negative axes other than the last."
#[test]
fn entmax_takes_negative_axes_from_the_end() {
    let x = Tensor::<3>::from_data(TensorData::new(normal(2, 2 * 3 * 5, 1.0), [2, 3, 5]), (&device(), DType::F64));
    for alpha in [1.3, 1.5, 2.0] {
        let map = entmax(alpha, DType::F64);
        for (negative, positive) in [(-1, 2), (-2, 1), (-3, 0)] {
            let (a, b) =
                (map.weights(x.clone(), negative, None, &ctx()), map.weights(x.clone(), positive, None, &ctx()));
            assert_bits(&format!("axis {negative}"), &values(a.clone()), &values(b));
            let sums = values(a.sum_dim(positive as usize));
            assert!(sums.iter().all(|sum| (sum - 1.0).abs() < 1e-12), "axis {negative}: {sums:?}");
        }
    }
}

/// "A finite mask fill breaks maps that are not built on exp": removal does not, and the fill is shown to.
#[test]
fn a_finite_fill_is_no_mask() {
    let (scores, kept) = ([0.5, -1.0, 2.0, 0.25], [true, false, true, true]);
    for name in ["taylor_softmax", "spherical_softmax", "nap", "dynamic_conv_norm", "sa_softmax", "soft_topk"] {
        let map = match name {
            "soft_topk" => NormalizerConfig::SoftTopk(crate::normalizer::SoftTopkConfig { k: 2.0, alpha: 1.0 })
                .init(&Init::new(0, &device(), DType::F64)),
            name => by_name(name),
        };
        let masked = values(map.weights(tensor(&scores, 4, DType::F64), -1, Some(mask(&kept, 4)), &ctx()));
        let shorter = weights(&map, tensor(&[0.5, 2.0, 0.25], 3, DType::F64));
        assert_bits(name, &[masked[0], masked[2], masked[3]], &shorter);
        let filled = weights(&map, tensor(&[0.5, -1e9, 2.0, 0.25], 4, DType::F64));
        let off = masked.iter().zip(&filled).fold(0.0f64, |max, (a, b)| max.max((a - b).abs()));
        assert!(off > 1e-3 || name == "soft_topk", "{name}: {masked:?} and {filled:?}");
    }
}
