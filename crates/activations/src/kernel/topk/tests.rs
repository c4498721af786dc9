use burn::tensor::{DType, Int, Tensor, TensorData};

use super::row_topk;
use crate::{
    Ctx, Init, Keep,
    normalizer::NormalizerConfig,
    testing::{assert_close, assert_gradient, device, normal, tensor, values},
};

fn indices(x: Tensor<2, Int>) -> Vec<i64> {
    x.into_data().iter::<i64>().collect()
}

fn softmax(x: Tensor<2>) -> Vec<f64> {
    let map = NormalizerConfig::default().init(&Init::new(0, &device(), DType::F64));
    values(map.weights(x, 1, None, &Ctx::eval(0, 0)))
}

#[test]
fn they_are_the_largest_weights_of_softmax_in_order() {
    for (rows, n, k) in [(1, 1, 1), (3, 5, 5), (7, 63, 5), (2, 257, 30), (3, 4097, 10)] {
        for (dtype, tolerance) in [(DType::F64, 1e-13), (DType::F32, 1e-5)] {
            let x = tensor(&normal(n as u64, rows * n, 3.0), n, dtype);
            let (weights, places) = row_topk(x.clone(), k, &Keep::All);
            let (weights, places, all) = (values(weights), indices(places), softmax(x));
            for row in 0..rows {
                let mut sorted: Vec<(f64, usize)> = all[row * n..][..n].iter().copied().zip(0..).collect();
                sorted.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
                let want: Vec<f64> = sorted[..k].iter().map(|(weight, _)| *weight).collect();
                assert_close("weights", &weights[row * k..][..k], &want, tolerance, 0.0);
                let want: Vec<i64> = sorted[..k].iter().map(|(_, place)| *place as i64).collect();
                assert_eq!(&places[row * k..][..k], want, "row {row} of [{rows}, {n}] {dtype:?}");
            }
        }
    }
}

#[test]
fn special_rows() {
    let (nan, inf) = (f64::NAN, f64::INFINITY);
    let x = tensor(&[1.0, 1.0, 1.0, nan, 0.0, 1.0, inf, 0.0, inf, 5.0, 1.0, -inf], 3, DType::F64);
    let count = Tensor::<1, Int>::from_data(TensorData::new(vec![3i32, 3, 3, 1], [4]), &device());
    let (weights, places) = row_topk(x, 2, &Keep::Prefix(count));
    let (weights, places) = (values(weights), indices(places));
    assert_close("ties", &weights[..2], &[1.0 / 3.0; 2], 1e-15, 0.0);
    assert_eq!(places[..2], [0, 1], "the first of equals comes first");
    assert!(weights[2..4].iter().all(|weight| weight.is_nan()));
    assert_eq!((&weights[4..6], &places[4..6]), (&[0.5, 0.5][..], &[0, 2][..]));
    assert_eq!((&weights[6..], &places[6..]), (&[1.0, 0.0][..], &[0, 0][..]), "fewer kept than asked for");
}

#[test]
fn gradients_agree_with_differences() {
    let (rows, n, k) = (3, 17, 4);
    let (x, g) = (normal(1, rows * n, 2.0), normal(2, rows * n, 1.0));
    let bits: Vec<bool> = (0..rows * n).map(|i| i % 5 != 1).collect();
    let mask = Keep::Mask(Tensor::from_data(TensorData::new(bits, [rows, n]), &device()));
    for keep in [Keep::All, mask] {
        // The gradient of Σ g y over the k places, spread over a row's width.
        let f = |x: Tensor<2>| {
            let (weights, _) = row_topk(x, k, &keep);
            (weights * tensor(&g[..rows * k], k, DType::F64)).sum_dim(1).expand([rows, n]) / n as f64
        };
        assert_gradient("topk", &x, &vec![1.0; rows * n], n, f);
    }
}

#[test]
#[should_panic(expected = "k = 4 is not between 1 and the 3 scores of a row")]
fn too_many_are_refused() {
    let _ = row_topk(tensor(&[0.0; 3], 3, DType::F64), 4, &Keep::All);
}
