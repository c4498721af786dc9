//! Batch normalisation in training: the statistics of a batch, and one operation for normalising, gain, bias, a sum with other
//! maps and ReLU.
use burn::{
    backend::{
        Autodiff, AutodiffBackend, Backend, Dispatch, ExtensionType, TensorMetadata,
        autodiff::{
            checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
            grads::Gradients,
            ops::{Backward, NodeGuard, Ops, OpsKind},
        },
        backend_extension,
        tensor::FloatTensor,
    },
    tensor::Tensor,
};

use super::Epilogue;

#[cfg(feature = "flex")]
mod flex;
#[cfg(test)]
mod tests;

/// What [`batch_norm_train`] gives.
#[derive(Clone, Debug)]
pub struct BatchNormed {
    /// The normalised maps, `[rows, channels, height, width]`.
    pub output: Tensor<4>,
    /// `[channels]`; no gradient passes it.
    pub mean: Tensor<1>,
    /// The biased variance, `[channels]`; no gradient passes it.
    pub variance: Tensor<1>,
}

/// Batch normalisation of the channels of feature maps, by the statistics of the batch itself.
/// ```text
/// y = epilogue(x̂ · weight + bias + residual),   x̂ = (x − mean x) / √(var x + eps)
/// ```
/// over rows and pixels, with the biased variance; without a residual it is 0.
/// # Shapes
/// - x, residual: `[rows, channels, height, width]`; weight, bias: `[channels]`; output: as x
/// # Panics
/// If weight or bias does not have a value per channel, or the residual does not have the shape of x.
///
/// With n values per channel, G the gradient that passes the epilogue, and sums over rows and pixels,
/// ```text
/// dx = weight / √(var x + eps) · (G − ΣG / n − x̂ Σ(G x̂) / n)     dweight = Σ G x̂     dbias = ΣG     dresidual = G
/// ```
///
/// # References
/// Ioffe and Szegedy 2015, arXiv:1502.03167.
pub fn batch_norm_train(
    x: Tensor<4>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    residual: Option<Tensor<4>>,
    eps: f64,
    epilogue: Epilogue,
) -> BatchNormed {
    let [_, channels, ..] = x.dims();
    let fits = weight.dims() == [channels] && bias.dims() == [channels];
    let (w, b) = (weight.dims(), bias.dims());
    assert!(fits, "batch_norm_train: x is {:?}, but weight is {w:?} and bias {b:?}", x.dims());
    if let Some(residual) = &residual {
        let (x, residual) = (x.dims(), residual.dims());
        assert!(x == residual, "batch_norm_train: x is {x:?}, but the residual is {residual:?}");
    }
    let moments = Dispatch::channel_moments(x.clone().into_dispatch());
    let y = Dispatch::normalise_channels(
        x.into_dispatch(),
        moments.clone(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        residual.map_or(Residual::None, |residual| Residual::Maps(residual.into_dispatch())),
        eps,
        epilogue,
    );
    let moments = Tensor::<2>::from_dispatch(moments);
    let of = |row: usize| moments.clone().narrow(0, row, 1).reshape([channels]);
    BatchNormed { output: Tensor::from_dispatch(y), mean: of(0), variance: of(1) }
}

/// Maps that are added to the normalised ones, if there are any.
#[derive(ExtensionType, Clone, Debug)]
pub enum Residual<B: Backend> {
    /// None.
    None,
    /// `[rows, channels, height, width]`
    Maps(FloatTensor<B>),
}

/// The operations as every backend offers them; see [`batch_norm_train`].
#[backend_extension(
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(any(feature = "wgpu", feature = "vulkan", feature = "cuda")),
    Autodiff
)]
pub trait BatchNormOps: Backend {
    /// Mean and biased variance of each channel, `[2, channels]`; without a gradient.
    fn channel_moments(x: FloatTensor<Self>) -> FloatTensor<Self>;

    /// The normalised maps. `moments` are those of x, and the gradient at x takes that into account.
    fn normalise_channels(
        x: FloatTensor<Self>,
        moments: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        #[extension_type] residual: Residual<Self>,
        eps: f64,
        epilogue: Epilogue,
    ) -> FloatTensor<Self>;
}

/// What the backward pass needs.
#[derive(Clone, Debug)]
pub struct BatchNormSaved<B: Backend> {
    /// `[rows, channels, height, width]`
    pub x: FloatTensor<B>,
    /// `[2, channels]`
    pub moments: FloatTensor<B>,
    /// `[channels]`
    pub weight: FloatTensor<B>,
    /// `[channels]`
    pub bias: FloatTensor<B>,
    /// What is added to the variance.
    pub eps: f64,
    /// What happens to the sum.
    pub epilogue: Epilogue,
    /// The output, where ReLU was applied to a sum with a residual; otherwise what ReLU passed is found anew from x.
    pub output: Option<FloatTensor<B>>,
}

/// Forward and backward pass on a backend's own tensors; the default bodies are composed.
pub trait BatchNormKernel: Backend {
    /// Mean and biased variance of each channel, `[2, channels]`.
    fn batch_norm_moments(x: FloatTensor<Self>) -> FloatTensor<Self> {
        moments::<Self>(x)
    }

    /// The normalised maps, their sum with the residual, the epilogue.
    fn batch_norm_forward(saved: &BatchNormSaved<Self>, residual: Option<FloatTensor<Self>>) -> FloatTensor<Self> {
        forward::<Self>(saved, residual)
    }

    /// Gradients of x, weight, bias and, if there was one, the residual; without one the last means nothing.
    fn batch_norm_backward(saved: BatchNormSaved<Self>, grad: FloatTensor<Self>) -> [FloatTensor<Self>; 4] {
        backward::<Self>(saved, grad)
    }
}

/// The sum over rows and pixels, `[1, channels, 1, 1]`.
fn sum<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    [0, 2, 3].into_iter().fold(x, B::float_sum_dim)
}

fn moments<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let shape = x.shape();
    let (channels, n) = (shape[1], (shape[0] * shape[2] * shape[3]) as f64);
    let mean = |x| B::float_div_scalar(sum::<B>(x), n.into());
    let first = mean(x.clone());
    let centred = B::float_sub(x, first.clone());
    let second = mean(B::float_mul(centred.clone(), centred));
    let row = |x| B::float_reshape(x, [1, channels].into());
    B::float_cat(vec![row(first), row(second)], 0)
}

/// x̂, and `1 / √(var x + eps)` as `[1, channels, 1, 1]`.
fn standard<B: Backend>(saved: &BatchNormSaved<B>) -> [FloatTensor<B>; 2] {
    let channels = saved.weight.shape()[0];
    let columns = B::float_reshape(saved.moments.clone(), [2, channels, 1, 1].into());
    let of = |row: usize| B::float_slice(columns.clone(), &[(row..row + 1).into()]);
    let factor = B::float_recip(B::float_sqrt(B::float_add_scalar(of(1), saved.eps.into())));
    [B::float_mul(B::float_sub(saved.x.clone(), of(0)), factor.clone()), factor]
}

/// `[channels]` as `[1, channels, 1, 1]`.
fn column<B: Backend>(x: &FloatTensor<B>) -> FloatTensor<B> {
    let channels = x.shape()[0];
    B::float_reshape(x.clone(), [1, channels, 1, 1].into())
}

fn forward<B: Backend>(saved: &BatchNormSaved<B>, residual: Option<FloatTensor<B>>) -> FloatTensor<B> {
    let [x, _] = standard::<B>(saved);
    let y = B::float_add(B::float_mul(x, column::<B>(&saved.weight)), column::<B>(&saved.bias));
    let y = match residual {
        Some(residual) => B::float_add(y, residual),
        None => y,
    };
    match saved.epilogue {
        Epilogue::None => y,
        Epilogue::Relu => B::relu(y),
    }
}

fn backward<B: Backend>(saved: BatchNormSaved<B>, mut grad: FloatTensor<B>) -> [FloatTensor<B>; 4] {
    if saved.epilogue == Epilogue::Relu {
        grad = B::relu_backward(saved.output.clone().unwrap_or_else(|| forward::<B>(&saved, None)), grad);
    }
    let shape = saved.x.shape();
    let (channels, n) = (shape[1], (shape[0] * shape[2] * shape[3]) as f64);
    let [x, factor] = standard::<B>(&saved);
    let of_bias = sum::<B>(grad.clone());
    let of_weight = sum::<B>(B::float_mul(grad.clone(), x.clone()));
    let mean = |x: &FloatTensor<B>| B::float_div_scalar(x.clone(), n.into());
    let of_x = B::float_sub(B::float_sub(grad.clone(), mean(&of_bias)), B::float_mul(x, mean(&of_weight)));
    let of_x = B::float_mul(of_x, B::float_mul(factor, column::<B>(&saved.weight)));
    let flat = |x| B::float_reshape(x, [channels].into());
    [of_x, flat(of_weight), flat(of_bias), grad]
}

macro_rules! offer {
    ($backend:ty) => {
        impl BatchNormOps for $backend {
            fn channel_moments(x: FloatTensor<Self>) -> FloatTensor<Self> {
                Self::batch_norm_moments(x)
            }

            fn normalise_channels(
                x: FloatTensor<Self>,
                moments: FloatTensor<Self>,
                weight: FloatTensor<Self>,
                bias: FloatTensor<Self>,
                residual: Residual<Self>,
                eps: f64,
                epilogue: Epilogue,
            ) -> FloatTensor<Self> {
                let saved = BatchNormSaved { x, moments, weight, bias, eps, epilogue, output: None };
                match residual {
                    Residual::None => Self::batch_norm_forward(&saved, None),
                    Residual::Maps(residual) => Self::batch_norm_forward(&saved, Some(residual)),
                }
            }
        }
    };
}

#[cfg(feature = "flex")]
offer!(burn::backend::Flex);

#[cfg(feature = "ndarray")]
offer!(burn::backend::NdArray);
#[cfg(feature = "ndarray")]
impl BatchNormKernel for burn::backend::NdArray {}

#[cfg(any(feature = "wgpu", feature = "vulkan", feature = "cuda"))]
offer!(burn::backend::Cube);
#[cfg(any(feature = "wgpu", feature = "vulkan", feature = "cuda"))]
impl BatchNormKernel for burn::backend::Cube {}

impl<B: BatchNormKernel, C: CheckpointStrategy> BatchNormOps for Autodiff<B, C> {
    fn channel_moments(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let (x, _) = x.into_parts();
        <Self as AutodiffBackend>::from_inner(B::batch_norm_moments(x))
    }

    fn normalise_channels(
        x: FloatTensor<Self>,
        moments: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        residual: Residual<Self>,
        eps: f64,
        epilogue: Epilogue,
    ) -> FloatTensor<Self> {
        let (x, x_node) = x.into_parts();
        let (moments, _) = moments.into_parts();
        let (weight, weight_node) = weight.into_parts();
        let (bias, bias_node) = bias.into_parts();
        let mut saved = BatchNormSaved { x, moments, weight, bias, eps, epilogue, output: None };
        match residual {
            Residual::None => {
                let y = B::batch_norm_forward(&saved, None);
                record::<B, C, 3>([x_node, weight_node, bias_node], saved, y)
            }
            Residual::Maps(residual) => {
                let (residual, residual_node) = residual.into_parts();
                let y = B::batch_norm_forward(&saved, Some(residual));
                saved.output = (epilogue == Epilogue::Relu).then(|| y.clone());
                record::<B, C, 4>([x_node, weight_node, bias_node, residual_node], saved, y)
            }
        }
    }
}

fn record<B: BatchNormKernel, C: CheckpointStrategy, const N: usize>(
    nodes: [NodeGuard; N],
    saved: BatchNormSaved<B>,
    y: FloatTensor<B>,
) -> FloatTensor<Autodiff<B, C>> {
    match Backward::<B, N>::prepare::<C>(BatchNormBackward, nodes).compute_bound().stateful() {
        OpsKind::Tracked(prep) => prep.finish(saved, y),
        OpsKind::UnTracked(prep) => prep.finish(y),
    }
}

#[derive(Debug)]
struct BatchNormBackward;

impl<B: BatchNormKernel, const N: usize> Backward<B, N> for BatchNormBackward {
    type State = BatchNormSaved<B>;

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let gradients = B::batch_norm_backward(ops.state, grad);
        for (parent, gradient) in ops.parents.into_iter().zip(gradients) {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, gradient);
            }
        }
    }
}
