//! Operations with a hand-written backward pass.
//!
//! Each is a function on tensors that works on every backend and dtype: where there is no kernel, it is
//! composed from Burn's own operations. The CPU kernels (backend `flex`, `f32` and `f64`) split their rows
//! into parts that depend on the shape alone and add partial sums in order, so their results are the same
//! bits on any number of threads.
mod attend;
mod batch_norm;
mod causal_sum;
mod conv;
mod gather_sum;
#[cfg(feature = "flex")]
mod host;
mod layer_norm;
mod linear;
#[cfg(feature = "flex")]
mod product;
mod scan;

pub use attend::{AttendInput, AttendKernel, AttendOps, Seen, attend, attends};
pub use batch_norm::{BatchNormKernel, BatchNormOps, BatchNormSaved, BatchNormed, Residual, batch_norm_train};
pub use causal_sum::{CausalSumInput, CausalSumKernel, CausalSumOps, CausalSumSaved, causal_sum};
pub use conv::{ConvKernel, ConvOps, ConvSaved, conv2d};
pub use gather_sum::{GatherSumKernel, GatherSumOps, gather_sum};
pub use layer_norm::{LayerNormKernel, LayerNormOps, layer_norm};
pub use linear::{LinearKernel, LinearOps, linear};
pub use scan::{ScanKernel, ScanOps, scan};

use burn::{
    backend::{Backend, ExtensionType, tensor::FloatTensor},
    tensor::Tensor,
};

/// What happens to a sum before it is stored, in the same pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Epilogue {
    /// Nothing.
    #[default]
    None,
    /// `max(x, 0)`, with derivative 0 at 0; NaN stays NaN.
    Relu,
}

/// A bias, if there is one.
#[derive(ExtensionType, Clone, Debug)]
pub enum Bias<B: Backend> {
    /// No bias.
    None,
    /// One value per output: `[outputs]`.
    PerOutput(FloatTensor<B>),
}

impl<B: Backend> Bias<B> {
    fn into_option(self) -> Option<FloatTensor<B>> {
        match self {
            Self::None => None,
            Self::PerOutput(bias) => Some(bias),
        }
    }
}

impl Bias<burn::backend::Dispatch> {
    fn from_tensor(bias: Option<Tensor<1>>) -> Self {
        bias.map_or(Self::None, |bias| Self::PerOutput(bias.into_dispatch()))
    }
}

/// The composed form of what the kernels share.
mod composed {
    use burn::backend::{Backend, TensorMetadata, tensor::FloatTensor};

    use super::Epilogue;

    /// `epilogue(sum + bias)` with `sum` of shape `[rows, outputs]`.
    pub(super) fn finish<B: Backend>(
        sum: FloatTensor<B>,
        bias: Option<FloatTensor<B>>,
        epilogue: Epilogue,
    ) -> FloatTensor<B> {
        let sum = match bias {
            None => sum,
            Some(bias) => {
                let outputs = bias.shape()[0];
                B::float_add(sum, B::float_reshape(bias, [1, outputs].into()))
            }
        };
        match epilogue {
            Epilogue::None => sum,
            Epilogue::Relu => B::relu(sum),
        }
    }

    /// Gradient at the sum from the gradient at the output `y`, which is kept for ReLU only.
    pub(super) fn unfinish<B: Backend>(y: Option<FloatTensor<B>>, grad: FloatTensor<B>) -> FloatTensor<B> {
        match y {
            None => grad,
            Some(y) => B::relu_backward(y, grad),
        }
    }

    /// Gradient of the bias from the gradient at the sum.
    pub(super) fn bias_gradient<B: Backend>(grad: FloatTensor<B>) -> FloatTensor<B> {
        let outputs = grad.shape()[1];
        B::float_reshape(B::float_sum_dim(grad, 0), [outputs].into())
    }
}
