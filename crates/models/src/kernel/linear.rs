//! The dense layer: one operation for product, bias and ReLU.
use burn::{
    backend::{
        Autodiff, Backend, Dispatch,
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

use super::{Bias, Epilogue, composed};

/// A dense layer.
/// ```text
/// y = epilogue(x W + b)
/// ```
/// # Shapes
/// - x: `[..., inputs]`; weight: `[inputs, outputs]`; bias: `[outputs]`; output: `[..., outputs]`
/// # Panics
/// If the last axis of `x` is not `inputs`, or the bias is not `[outputs]`.
pub fn linear<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
    epilogue: Epilogue,
) -> Tensor<D> {
    let mut shape = x.dims();
    let [inputs, outputs] = weight.dims();
    assert_eq!(shape[D - 1], inputs, "linear: x is {shape:?}, but the weight is [{inputs}, {outputs}]");
    if let Some(bias) = &bias {
        assert_eq!(bias.dims(), [outputs], "linear: the bias does not fit the weight [{inputs}, {outputs}]");
    }
    let rows = shape[..D - 1].iter().product::<usize>();
    let x: Tensor<2> = x.reshape([rows, inputs]);
    let bias = Bias::from_tensor(bias);
    let y = Tensor::<2>::from_dispatch(Dispatch::linear(x.into_dispatch(), weight.into_dispatch(), bias, epilogue));
    shape[D - 1] = outputs;
    y.reshape(shape)
}

/// The operation as every backend offers it; see [`linear`].
#[backend_extension(
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(any(feature = "wgpu", feature = "vulkan", feature = "cuda")),
    Autodiff
)]
pub trait LinearOps: Backend {
    /// `epilogue(x W + b)` with `x: [rows, inputs]`.
    fn linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        #[extension_type] bias: Bias<Self>,
        epilogue: Epilogue,
    ) -> FloatTensor<Self>;
}

/// What the backward pass needs: the factors, and the output if ReLU has to be undone.
#[derive(Clone, Debug)]
pub struct LinearSaved<B: Backend> {
    /// `[rows, inputs]`
    pub x: FloatTensor<B>,
    /// `[inputs, outputs]`
    pub weight: FloatTensor<B>,
    /// `[rows, outputs]`, with [`Epilogue::Relu`] only.
    pub y: Option<FloatTensor<B>>,
}

/// Forward and backward pass on a backend's own tensors; the default bodies are composed.
pub trait LinearKernel: Backend {
    /// `epilogue(x W + b)`.
    fn linear_forward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Option<FloatTensor<Self>>,
        epilogue: Epilogue,
    ) -> FloatTensor<Self> {
        forward::<Self>(x, weight, bias, epilogue)
    }

    /// Gradients of `[x, weight, bias]`, each where it is `wanted`.
    fn linear_backward(
        saved: LinearSaved<Self>,
        grad: FloatTensor<Self>,
        wanted: [bool; 3],
    ) -> [Option<FloatTensor<Self>>; 3] {
        backward::<Self>(saved, grad, wanted)
    }
}

fn forward<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    bias: Option<FloatTensor<B>>,
    epilogue: Epilogue,
) -> FloatTensor<B> {
    composed::finish::<B>(B::float_matmul(x, weight), bias, epilogue)
}

fn backward<B: Backend>(saved: LinearSaved<B>, grad: FloatTensor<B>, wanted: [bool; 3]) -> [Option<FloatTensor<B>>; 3] {
    let LinearSaved { x, weight, y } = saved;
    let grad = composed::unfinish::<B>(y, grad);
    [
        wanted[0].then(|| B::float_matmul(grad.clone(), B::float_transpose(weight))),
        wanted[1].then(|| B::float_matmul(B::float_transpose(x), grad.clone())),
        wanted[2].then(|| composed::bias_gradient::<B>(grad)),
    ]
}

macro_rules! offer {
    ($backend:ty) => {
        impl LinearOps for $backend {
            fn linear(
                x: FloatTensor<Self>,
                weight: FloatTensor<Self>,
                bias: Bias<Self>,
                epilogue: Epilogue,
            ) -> FloatTensor<Self> {
                Self::linear_forward(x, weight, bias.into_option(), epilogue)
            }
        }
    };
}

#[cfg(feature = "flex")]
offer!(burn::backend::Flex);

#[cfg(feature = "ndarray")]
offer!(burn::backend::NdArray);
#[cfg(feature = "ndarray")]
impl LinearKernel for burn::backend::NdArray {}

#[cfg(any(feature = "wgpu", feature = "vulkan", feature = "cuda"))]
offer!(burn::backend::Cube);
#[cfg(any(feature = "wgpu", feature = "vulkan", feature = "cuda"))]
impl LinearKernel for burn::backend::Cube {}

impl<B: LinearKernel, C: CheckpointStrategy> LinearOps for Autodiff<B, C> {
    fn linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Bias<Self>,
        epilogue: Epilogue,
    ) -> FloatTensor<Self> {
        let (x, x_node) = x.into_parts();
        let (weight, weight_node) = weight.into_parts();
        let saved = LinearSaved { x: x.clone(), weight: weight.clone(), y: None };
        match bias {
            Bias::None => {
                let y = B::linear_forward(x, weight, None, epilogue);
                record::<B, C, 2>([x_node, weight_node], saved, y, epilogue)
            }
            Bias::PerOutput(bias) => {
                let (bias, bias_node) = bias.into_parts();
                let y = B::linear_forward(x, weight, Some(bias), epilogue);
                record::<B, C, 3>([x_node, weight_node, bias_node], saved, y, epilogue)
            }
        }
    }
}

fn record<B: LinearKernel, C: CheckpointStrategy, const N: usize>(
    nodes: [NodeGuard; N],
    mut saved: LinearSaved<B>,
    y: FloatTensor<B>,
    epilogue: Epilogue,
) -> FloatTensor<Autodiff<B, C>> {
    match Backward::<B, N>::prepare::<C>(LinearBackward, nodes).compute_bound().stateful() {
        OpsKind::Tracked(prep) => {
            saved.y = (epilogue == Epilogue::Relu).then(|| y.clone());
            prep.finish(saved, y)
        }
        OpsKind::UnTracked(prep) => prep.finish(y),
    }
}

#[derive(Debug)]
struct LinearBackward;

impl<B: LinearKernel, const N: usize> Backward<B, N> for LinearBackward {
    type State = LinearSaved<B>;

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let wanted = std::array::from_fn(|i| ops.parents.get(i).is_some_and(Option::is_some));
        let gradients = B::linear_backward(ops.state, grad, wanted);
        for (parent, gradient) in ops.parents.into_iter().zip(gradients) {
            if let (Some(parent), Some(gradient)) = (parent, gradient) {
                grads.register::<B>(parent.id, gradient);
            }
        }
    }
}

#[cfg(feature = "flex")]
mod flex {
    use burn::{
        backend::{Flex, TensorMetadata, flex::FlexTensor},
        tensor::DType,
    };

    use super::{Epilogue, LinearKernel, LinearSaved};
    use crate::kernel::host::{self, Real};

    impl LinearKernel for Flex {
        fn linear_forward(
            x: FlexTensor,
            weight: FlexTensor,
            bias: Option<FlexTensor>,
            epilogue: Epilogue,
        ) -> FlexTensor {
            match x.dtype() {
                DType::F32 => forward::<f32>(&x, &weight, bias.as_ref(), epilogue),
                DType::F64 => forward::<f64>(&x, &weight, bias.as_ref(), epilogue),
                _ => super::forward::<Self>(x, weight, bias, epilogue),
            }
        }

        fn linear_backward(saved: LinearSaved<Self>, grad: FlexTensor, wanted: [bool; 3]) -> [Option<FlexTensor>; 3] {
            match grad.dtype() {
                DType::F32 => backward::<f32>(&saved, grad, wanted),
                DType::F64 => backward::<f64>(&saved, grad, wanted),
                _ => super::backward::<Self>(saved, grad, wanted),
            }
        }
    }

    fn forward<R: Real>(
        x: &FlexTensor,
        weight: &FlexTensor,
        bias: Option<&FlexTensor>,
        epilogue: Epilogue,
    ) -> FlexTensor {
        let (rows, inputs, outputs) = (x.shape()[0], weight.shape()[0], weight.shape()[1]);
        let (x, weight) = (x.to_contiguous(), weight.to_contiguous());
        let bias = bias.map(FlexTensor::to_contiguous);
        let y =
            host::linear(R::view(&x), R::view(&weight), bias.as_ref().map(R::view), epilogue, [rows, inputs, outputs]);
        R::tensor(y, [rows, outputs])
    }

    fn backward<R: Real>(saved: &LinearSaved<Flex>, grad: FlexTensor, wanted: [bool; 3]) -> [Option<FlexTensor>; 3] {
        let (rows, inputs, outputs) = (saved.x.shape()[0], saved.weight.shape()[0], saved.weight.shape()[1]);
        let mut grad = host::owned(grad);
        let y = saved.y.as_ref().map(FlexTensor::to_contiguous);
        let bias = host::undo_epilogue(&mut grad, y.as_ref().map(R::view), outputs, wanted[2]);
        let grad = R::view(&grad);
        let x = wanted[0].then(|| {
            let weight = saved.weight.to_contiguous();
            R::tensor(host::input_gradient(grad, R::view(&weight), [rows, inputs, outputs]), [rows, inputs])
        });
        let weight = wanted[1].then(|| {
            let x = saved.x.to_contiguous();
            R::tensor(host::weight_gradient(R::view(&x), grad, [rows, inputs, outputs]), [inputs, outputs])
        });
        [x, weight, bias.map(|bias| R::tensor(bias, [outputs]))]
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, activation::relu};

    use super::*;
    use crate::testing::{assert_close, normal, on_threads, values};

    /// Output and gradients of `Σ c y` for the layer as a function of its leaves.
    fn run(
        layer: impl Fn(Tensor<2>, Tensor<2>, Option<Tensor<1>>) -> Tensor<2>,
        [rows, inputs, outputs]: [usize; 3],
        bias: bool,
        dtype: DType,
    ) -> Vec<Vec<f64>> {
        let x = normal([rows, inputs], dtype, "x");
        let w = normal([inputs, outputs], dtype, "w");
        let b = bias.then(|| normal([outputs], dtype, "b"));
        let c = normal([rows, outputs], dtype, "c").detach();
        let y = layer(x.clone(), w.clone(), b.clone());
        let gradients = (y.clone() * c).sum().backward();
        let mut found = vec![values(&y), values(&x.grad(&gradients).unwrap()), values(&w.grad(&gradients).unwrap())];
        found.extend(b.map(|b| values(&b.grad(&gradients).unwrap())));
        found
    }

    fn composed(x: Tensor<2>, w: Tensor<2>, b: Option<Tensor<1>>, epilogue: Epilogue) -> Tensor<2> {
        let sum = x.matmul(w);
        let sum = b.map_or(sum.clone(), |b| sum + b.unsqueeze());
        if epilogue == Epilogue::Relu { relu(sum) } else { sum }
    }

    #[test]
    fn kernel_agrees_with_autodiff_of_the_composed_form() {
        // Long and short in each axis; the last ones are wide enough to be cut into columns.
        let small = [[1, 1, 1], [1, 7, 3], [2, 1, 5], [63, 17, 1], [100, 13, 31], [257, 33, 17], [3, 0, 2], [0, 3, 20]];
        for sizes in small.into_iter().chain([[13, 70, 150], [40, 5, 301], [30, 290, 11], [37, 167, 173]]) {
            for (dtype, tolerance) in [(DType::F64, 1e-13), (DType::F32, 1e-4), (DType::F16, 5e-2)] {
                for epilogue in [Epilogue::None, Epilogue::Relu] {
                    for bias in [false, true] {
                        let kernel = run(|x, w, b| linear(x, w, b, epilogue), sizes, bias, dtype);
                        let plain = run(|x, w, b| composed(x, w, b, epilogue), sizes, bias, dtype);
                        for ((kernel, plain), name) in kernel.iter().zip(&plain).zip(["y", "dx", "dw", "db"]) {
                            assert_close(&format!("{name} {sizes:?} {dtype:?} {epilogue:?}"), kernel, plain, tolerance);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn thread_count_moves_no_bit() {
        for sizes in [[301, 43, 37], [61, 307, 203], [61, 203, 307]] {
            let work = || run(|x, w, b| linear(x, w, b, Epilogue::Relu), sizes, true, DType::F32);
            let one = on_threads(1, work);
            assert_eq!(one, on_threads(2, work));
            assert_eq!(one, on_threads(3, work));
        }
    }

    #[test]
    fn leading_axes_are_rows() {
        let (x, w) = (normal([2, 3, 5], DType::F64, "x"), normal([5, 7], DType::F64, "w"));
        let y = linear(x.clone(), w.clone(), None, Epilogue::None);
        assert_eq!(y.dims(), [2, 3, 7]);
        assert_close("y", &values(&y), &values(&x.reshape([6, 5]).matmul(w)), 1e-14);
    }

    #[test]
    fn transposed_views_are_read_in_their_own_order() {
        let (x, w) = (normal([5, 11], DType::F64, "x"), normal([3, 5], DType::F64, "w"));
        let y = linear(x.clone().transpose(), w.clone().transpose(), None, Epilogue::None);
        let expected = x.transpose().matmul(w.transpose());
        assert_close("y", &values(&y), &values(&expected), 1e-14);
    }

    #[test]
    fn relu_keeps_nan_and_has_slope_0_at_0() {
        let device = crate::testing::device();
        let x = Tensor::<2>::from_data([[f32::NAN], [0.0], [-1.0], [2.0]], &device).require_grad();
        let y = linear(x.clone(), Tensor::from_data([[1.0f32]], &device), None, Epilogue::Relu);
        let found = values(&y);
        assert!(found[0].is_nan());
        assert_eq!(found[1..], [0.0, 0.0, 2.0]);
        assert_eq!(values(&x.grad(&y.sum().backward()).unwrap())[1..], [0.0, 0.0, 1.0]);
    }

    #[test]
    fn frozen_leaves_get_no_gradient() {
        let x = normal([3, 2], DType::F32, "x").set_require_grad(false);
        let (w, b) = (normal([2, 5], DType::F32, "w"), normal([5], DType::F32, "b").set_require_grad(false));
        let gradients = linear(x.clone(), w.clone(), Some(b.clone()), Epilogue::Relu).sum().backward();
        assert!(x.grad(&gradients).is_none() && b.grad(&gradients).is_none() && w.grad(&gradients).is_some());
    }

    #[test]
    #[should_panic(expected = "linear: x is [2, 3], but the weight is [5, 7]")]
    fn sizes_must_meet() {
        linear(normal([2, 3], DType::F32, "x"), normal([5, 7], DType::F32, "w"), None, Epilogue::None);
    }
}
