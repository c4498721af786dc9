//! Tensors from numbers and back.
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use kiln_stream::Stream;

/// The device of the tests.
pub(crate) fn device() -> Device {
    Device::flex().autodiff()
}

/// `[rows, n]` of these values, rounded to `dtype`.
pub(crate) fn tensor(values: &[f64], n: usize, dtype: DType) -> Tensor<2> {
    let data = TensorData::new(values.to_vec(), [values.len() / n, n]);
    Tensor::from_data(data, (&device(), dtype))
}

/// The class of each row.
pub(crate) fn classes(classes: &[usize]) -> Tensor<1, Int> {
    let data: Vec<i32> = classes.iter().map(|&class| class as i32).collect();
    Tensor::from_data(TensorData::new(data, [classes.len()]), &device())
}

/// The values of a tensor in row-major order.
pub(crate) fn values<const D: usize>(x: Tensor<D>) -> Vec<f64> {
    x.into_data().iter::<f64>().collect()
}

/// Normal values with the given standard deviation.
pub(crate) fn normal(seed: u64, count: usize, scale: f64) -> Vec<f64> {
    let mut draws = Stream::new(seed, "test").at(0);
    (0..count).map(|_| draws.normal() * scale).collect()
}
