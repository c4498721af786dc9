//! One parameter as the transforms see it, and how they measure it.
use burn::{
    module::ParamId,
    tensor::{DType, Tensor},
};

/// A parameter and its gradient, both flattened and without autodiff.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// Which parameter.
    pub id: ParamId,
    /// Its path from the model's root, dots between names.
    pub path: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// The weights, `[n]`.
    pub weight: Tensor<1>,
    /// The gradient, `[n]`.
    pub grad: Tensor<1>,
}

/// The tensor in the widest float type of its device: squares of gradients near 1e-20 are 0 in `f32`.
pub(super) fn widen(x: Tensor<1>) -> Tensor<1> {
    let dtype = if x.device().supports_dtype(DType::F64) { DType::F64 } else { DType::F32 };
    x.cast(dtype)
}

/// The scalar product `[1]` of two tensors `[n]` of one dtype, without a host synchronisation.
///
/// As a matrix product of a row with a column, because that sums in one fixed order and is fast in `f64`,
/// where the general sum is not.
pub(super) fn dot(a: Tensor<1>, b: Tensor<1>) -> Tensor<1> {
    let n = a.dims()[0];
    a.reshape([1, n]).matmul(b.reshape([n, 1])).reshape([1])
}
