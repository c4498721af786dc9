#![allow(missing_docs)]
use burn::tensor::{DType, Device, Tensor, TensorData};
use std::time::Instant;
fn t(name: &str, mut f: impl FnMut() -> f64) {
    let mut best = f64::MAX; let mut r = 0.0;
    for _ in 0..60 { let s = Instant::now(); r = f(); best = best.min(s.elapsed().as_secs_f64()); }
    println!("{name:34} {:9.1} us  {r:e}", best * 1e6);
}
fn main() {
    let dev = Device::flex();
    for (a, b) in [(226usize, 200usize), (200, 113)] {
        let n = a * b;
        let v: Vec<f32> = (0..n).map(|i| ((i * 7919 % 1009) as f32 - 504.0) / 1e3).collect();
        let x = Tensor::<2>::from_data(TensorData::new(v.clone(), [a, b]), &dev);
        let f: Tensor<1> = x.clone().reshape([n]);
        let exact: f64 = v.iter().map(|&x| (x as f64).powi(2)).sum();
        println!("{a}x{b} exact {exact:e}");
        t("f32 mul sum", || (f.clone() * f.clone()).sum().into_scalar::<f32>() as f64);
        t("f32 mul sum_dim flat", || (f.clone() * f.clone()).sum_dim(0).into_scalar::<f32>() as f64);
        t("f32 rows then f64", || (x.clone() * x.clone()).sum_dim(1).cast(DType::F64).sum().into_scalar::<f64>());
        t("cast", || { let y = f.clone().cast(DType::F64); drop(y); 0.0 });
        t("cast f64 mul sum", || { let y = f.clone().cast(DType::F64); (y.clone() * y).sum().into_scalar::<f64>() });
        t("cast f64 mul sum_dim", || { let y = f.clone().cast(DType::F64); (y.clone() * y).sum_dim(0).into_scalar::<f64>() });
        t("cast f64 matmul 1xn nx1", || { let y = f.clone().cast(DType::F64); let r = y.clone().reshape([1, n]); r.matmul(y.reshape([n, 1])).into_scalar::<f64>() });
        t("f32 matmul 1xn nx1", || { f.clone().reshape([1, n]).matmul(f.clone().reshape([n, 1])).into_scalar::<f32>() as f64 });
        t("f64 gram 2xn", || { let y = f.clone().cast(DType::F64); let s: Tensor<2> = Tensor::stack(vec![y.clone(), y], 0); s.clone().matmul(s.transpose()).sum().into_scalar::<f64>() });
    }
}
