//! The convolution of images: one operation for filters and bias.
use burn::{
    backend::{
        Autodiff, Backend, Dispatch,
        autodiff::{
            checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
            grads::Gradients,
            ops::{Backward, NodeGuard, Ops, OpsKind},
        },
        backend_extension,
        ops::ConvOptions,
        tensor::FloatTensor,
    },
    tensor::Tensor,
};

use super::Bias;

#[cfg(feature = "flex")]
mod columns;
#[cfg(all(feature = "flex", target_arch = "x86_64"))]
mod direct;
#[cfg(feature = "flex")]
mod flex;
#[cfg(feature = "flex")]
mod geometry;
#[cfg(all(feature = "flex", target_arch = "x86_64"))]
mod vectors;

#[cfg(test)]
mod tests;

/// The convolution of images with square filters.
/// ```text
/// y(o, i, j) = b(o) + Σ_{c, a, e} x(c, s i + a − p, s j + e − p) W(o, c, a, e)
/// ```
/// with stride s and padding p, and x = 0 outside of the image.
///
/// # Shapes
/// - x: `[rows, inputs, height, width]`; weight: `[outputs, inputs, kernel, kernel]`; bias: `[outputs]`
/// - output: `[rows, outputs, (height + 2p − kernel)/s + 1, (width + 2p − kernel)/s + 1]`, rounded down
/// # Panics
/// If the shapes do not fit, the stride is 0, or not one filter fits into the padded image.
pub fn conv2d(x: Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>, stride: usize, padding: usize) -> Tensor<4> {
    let ([_, inputs, height, width], [outputs, channels, kernel, columns]) = (x.dims(), weight.dims());
    assert!(
        channels == inputs && columns == kernel && stride > 0,
        "conv2d: x is {:?}, but the weight is {:?}, stride {stride}",
        x.dims(),
        weight.dims()
    );
    assert!(
        kernel > 0 && kernel <= height + 2 * padding && kernel <= width + 2 * padding,
        "conv2d: no filter of {kernel} pixels fits into {height} x {width} pixels with padding {padding}"
    );
    if let Some(bias) = &bias {
        assert_eq!(bias.dims(), [outputs], "conv2d: the bias does not fit the weight {:?}", weight.dims());
    }
    let bias = Bias::from_tensor(bias);
    Tensor::from_dispatch(Dispatch::conv(x.into_dispatch(), weight.into_dispatch(), bias, stride, padding))
}

/// The operation as every backend offers it; see [`conv2d`].
#[backend_extension(
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(any(feature = "wgpu", feature = "vulkan", feature = "cuda")),
    Autodiff
)]
pub trait ConvOps: Backend {
    /// The filtered images.
    fn conv(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        #[extension_type] bias: Bias<Self>,
        stride: usize,
        padding: usize,
    ) -> FloatTensor<Self>;
}

/// What the backward pass needs.
#[derive(Clone, Debug)]
pub struct ConvSaved<B: Backend> {
    /// `[rows, inputs, height, width]`
    pub x: FloatTensor<B>,
    /// `[outputs, inputs, kernel, kernel]`
    pub weight: FloatTensor<B>,
    /// Pixels from one place of the filter to the next.
    pub stride: usize,
    /// Rows and columns of zeros around the image.
    pub padding: usize,
}

/// Forward and backward pass on a backend's own tensors; the default bodies are Burn's.
pub trait ConvKernel: Backend {
    /// The filtered images, `[rows, outputs, …]`.
    fn conv_forward(saved: ConvSaved<Self>, bias: Option<FloatTensor<Self>>) -> FloatTensor<Self> {
        forward::<Self>(saved, bias)
    }

    /// Gradients of `[x, weight, bias]`, each where it is `wanted`.
    fn conv_backward(
        saved: ConvSaved<Self>,
        grad: FloatTensor<Self>,
        wanted: [bool; 3],
    ) -> [Option<FloatTensor<Self>>; 3] {
        backward::<Self>(saved, grad, wanted)
    }
}

fn options(stride: usize, padding: usize) -> ConvOptions<2> {
    ConvOptions::new([stride; 2], [padding; 2], [1, 1], 1)
}

fn forward<B: Backend>(saved: ConvSaved<B>, bias: Option<FloatTensor<B>>) -> FloatTensor<B> {
    let ConvSaved { x, weight, stride, padding } = saved;
    B::conv2d(x, weight, bias, options(stride, padding))
}

fn backward<B: Backend>(saved: ConvSaved<B>, grad: FloatTensor<B>, wanted: [bool; 3]) -> [Option<FloatTensor<B>>; 3] {
    let ConvSaved { x, weight, stride, padding } = saved;
    let options = || options(stride, padding);
    [
        wanted[0].then(|| B::conv2d_x_backward(x.clone(), weight.clone(), grad.clone(), options())),
        wanted[1].then(|| B::conv2d_weight_backward(x.clone(), weight, grad.clone(), options())),
        wanted[2].then(|| bias_gradient::<B>(grad)),
    ]
}

/// The sum over rows and pixels.
fn bias_gradient<B: Backend>(grad: FloatTensor<B>) -> FloatTensor<B> {
    use burn::backend::TensorMetadata;
    let outputs = grad.shape()[1];
    let sum = [0, 2, 3].into_iter().fold(grad, B::float_sum_dim);
    B::float_reshape(sum, [outputs].into())
}

macro_rules! offer {
    ($backend:ty) => {
        impl ConvOps for $backend {
            fn conv(
                x: FloatTensor<Self>,
                weight: FloatTensor<Self>,
                bias: Bias<Self>,
                stride: usize,
                padding: usize,
            ) -> FloatTensor<Self> {
                Self::conv_forward(ConvSaved { x, weight, stride, padding }, bias.into_option())
            }
        }
    };
}

#[cfg(feature = "flex")]
offer!(burn::backend::Flex);

#[cfg(feature = "ndarray")]
offer!(burn::backend::NdArray);
#[cfg(feature = "ndarray")]
impl ConvKernel for burn::backend::NdArray {}

#[cfg(any(feature = "wgpu", feature = "vulkan", feature = "cuda"))]
offer!(burn::backend::Cube);
#[cfg(any(feature = "wgpu", feature = "vulkan", feature = "cuda"))]
impl ConvKernel for burn::backend::Cube {}

impl<B: ConvKernel, C: CheckpointStrategy> ConvOps for Autodiff<B, C> {
    fn conv(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Bias<Self>,
        stride: usize,
        padding: usize,
    ) -> FloatTensor<Self> {
        let (x, x_node) = x.into_parts();
        let (weight, weight_node) = weight.into_parts();
        let saved = ConvSaved { x, weight, stride, padding };
        match bias {
            Bias::None => {
                let y = B::conv_forward(saved.clone(), None);
                record::<B, C, 2>([x_node, weight_node], saved, y)
            }
            Bias::PerOutput(bias) => {
                let (bias, bias_node) = bias.into_parts();
                let y = B::conv_forward(saved.clone(), Some(bias));
                record::<B, C, 3>([x_node, weight_node, bias_node], saved, y)
            }
        }
    }
}

fn record<B: ConvKernel, C: CheckpointStrategy, const N: usize>(
    nodes: [NodeGuard; N],
    saved: ConvSaved<B>,
    y: FloatTensor<B>,
) -> FloatTensor<Autodiff<B, C>> {
    match Backward::<B, N>::prepare::<C>(ConvBackward, nodes).compute_bound().stateful() {
        OpsKind::Tracked(prep) => prep.finish(saved, y),
        OpsKind::UnTracked(prep) => prep.finish(y),
    }
}

#[derive(Debug)]
struct ConvBackward;

impl<B: ConvKernel, const N: usize> Backward<B, N> for ConvBackward {
    type State = ConvSaved<B>;

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let wanted = std::array::from_fn(|i| ops.parents.get(i).is_some_and(Option::is_some));
        let gradients = B::conv_backward(ops.state, grad, wanted);
        for (parent, gradient) in ops.parents.into_iter().zip(gradients) {
            if let (Some(parent), Some(gradient)) = (parent, gradient) {
                grads.register::<B>(parent.id, gradient);
            }
        }
    }
}
