//! Sums of table rows: a dense layer on one-hot input, and an embedding.
use burn::{
    backend::{
        Autodiff, Backend, Dispatch, TensorMetadata,
        autodiff::{
            checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
            grads::Gradients,
            ops::{Backward, NodeGuard, Ops, OpsKind},
        },
        backend_extension,
        tensor::{FloatTensor, IndexingUpdateOp, IntTensor},
    },
    tensor::{Int, Tensor},
};

use super::{Bias, Epilogue, composed};

/// Sums of rows of a table, which equals a dense layer on the sum of the one-hot vectors of the indices.
/// ```text
/// y_r = epilogue(Σ_k W[indices[r, k]] + b)
/// ```
/// # Shapes
/// - weight: `[entries, outputs]`; indices: `[rows, hot]`; bias: `[outputs]`; output: `[rows, outputs]`
/// # Panics
/// If an index is negative or not below `entries` (on the CPU backends), or the bias is not `[outputs]`.
pub fn gather_sum(
    weight: Tensor<2>,
    indices: Tensor<2, Int>,
    bias: Option<Tensor<1>>,
    epilogue: Epilogue,
) -> Tensor<2> {
    let [entries, outputs] = weight.dims();
    if let Some(bias) = &bias {
        assert_eq!(bias.dims(), [outputs], "gather_sum: the bias does not fit the weight [{entries}, {outputs}]");
    }
    let bias = Bias::from_tensor(bias);
    Tensor::from_dispatch(Dispatch::gather_sum(weight.into_dispatch(), indices.into_dispatch(), bias, epilogue))
}

/// The operation as every backend offers it; see [`gather_sum`].
#[backend_extension(
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(any(feature = "wgpu", feature = "vulkan", feature = "cuda")),
    Autodiff
)]
pub trait GatherSumOps: Backend {
    /// `epilogue(Σ_k W[indices[row, k]] + b)`.
    fn gather_sum(
        weight: FloatTensor<Self>,
        indices: IntTensor<Self>,
        #[extension_type] bias: Bias<Self>,
        epilogue: Epilogue,
    ) -> FloatTensor<Self>;
}

/// What the backward pass needs.
#[derive(Clone, Debug)]
pub struct GatherSumSaved<B: Backend> {
    /// Rows of the table.
    pub entries: usize,
    /// `[rows, hot]`
    pub indices: IntTensor<B>,
    /// `[rows, outputs]`, with [`Epilogue::Relu`] only.
    pub y: Option<FloatTensor<B>>,
}

/// Forward and backward pass on a backend's own tensors; the default bodies are composed.
pub trait GatherSumKernel: Backend {
    /// `epilogue(Σ_k W[indices[row, k]] + b)`.
    fn gather_sum_forward(
        weight: FloatTensor<Self>,
        indices: IntTensor<Self>,
        bias: Option<FloatTensor<Self>>,
        epilogue: Epilogue,
    ) -> FloatTensor<Self> {
        forward::<Self>(weight, indices, bias, epilogue)
    }

    /// Gradients of `[weight, bias]`, each where it is `wanted`.
    fn gather_sum_backward(
        saved: GatherSumSaved<Self>,
        grad: FloatTensor<Self>,
        wanted: [bool; 2],
    ) -> [Option<FloatTensor<Self>>; 2] {
        backward::<Self>(saved, grad, wanted)
    }
}

fn forward<B: Backend>(
    weight: FloatTensor<B>,
    indices: IntTensor<B>,
    bias: Option<FloatTensor<B>>,
    epilogue: Epilogue,
) -> FloatTensor<B> {
    let (rows, hot, outputs) = (indices.shape()[0], indices.shape()[1], weight.shape()[1]);
    let picked = B::float_select(weight, 0, B::int_reshape(indices, [rows * hot].into()));
    let sum = B::float_sum_dim(B::float_reshape(picked, [rows, hot, outputs].into()), 1);
    composed::finish::<B>(B::float_reshape(sum, [rows, outputs].into()), bias, epilogue)
}

fn backward<B: Backend>(
    saved: GatherSumSaved<B>,
    grad: FloatTensor<B>,
    wanted: [bool; 2],
) -> [Option<FloatTensor<B>>; 2] {
    let GatherSumSaved { entries, indices, y } = saved;
    let grad = composed::unfinish::<B>(y, grad);
    let weight = wanted[0].then(|| {
        let (rows, hot, outputs) = (indices.shape()[0], indices.shape()[1], grad.shape()[1]);
        let zeros = B::float_zeros([entries, outputs].into(), &grad.device(), grad.dtype().into());
        let each =
            B::float_expand(B::float_reshape(grad.clone(), [rows, 1, outputs].into()), [rows, hot, outputs].into());
        let each = B::float_reshape(each, [rows * hot, outputs].into());
        let indices = B::int_reshape(indices, [rows * hot].into());
        B::float_select_assign(zeros, 0, indices, each, IndexingUpdateOp::Add)
    });
    [weight, wanted[1].then(|| composed::bias_gradient::<B>(grad))]
}

macro_rules! offer {
    ($backend:ty) => {
        impl GatherSumOps for $backend {
            fn gather_sum(
                weight: FloatTensor<Self>,
                indices: IntTensor<Self>,
                bias: Bias<Self>,
                epilogue: Epilogue,
            ) -> FloatTensor<Self> {
                Self::gather_sum_forward(weight, indices, bias.into_option(), epilogue)
            }
        }
    };
}

#[cfg(feature = "flex")]
offer!(burn::backend::Flex);

#[cfg(feature = "ndarray")]
offer!(burn::backend::NdArray);
#[cfg(feature = "ndarray")]
impl GatherSumKernel for burn::backend::NdArray {}

#[cfg(any(feature = "wgpu", feature = "vulkan", feature = "cuda"))]
offer!(burn::backend::Cube);
#[cfg(any(feature = "wgpu", feature = "vulkan", feature = "cuda"))]
impl GatherSumKernel for burn::backend::Cube {}

impl<B: GatherSumKernel, C: CheckpointStrategy> GatherSumOps for Autodiff<B, C> {
    fn gather_sum(
        weight: FloatTensor<Self>,
        indices: IntTensor<Self>,
        bias: Bias<Self>,
        epilogue: Epilogue,
    ) -> FloatTensor<Self> {
        let (weight, weight_node) = weight.into_parts();
        let saved = GatherSumSaved { entries: weight.shape()[0], indices: indices.clone(), y: None };
        match bias {
            Bias::None => {
                let y = B::gather_sum_forward(weight, indices, None, epilogue);
                record::<B, C, 1>([weight_node], saved, y, epilogue)
            }
            Bias::PerOutput(bias) => {
                let (bias, bias_node) = bias.into_parts();
                let y = B::gather_sum_forward(weight, indices, Some(bias), epilogue);
                record::<B, C, 2>([weight_node, bias_node], saved, y, epilogue)
            }
        }
    }
}

fn record<B: GatherSumKernel, C: CheckpointStrategy, const N: usize>(
    nodes: [NodeGuard; N],
    mut saved: GatherSumSaved<B>,
    y: FloatTensor<B>,
    epilogue: Epilogue,
) -> FloatTensor<Autodiff<B, C>> {
    match Backward::<B, N>::prepare::<C>(GatherSumBackward, nodes).compute_bound().stateful() {
        OpsKind::Tracked(prep) => {
            saved.y = (epilogue == Epilogue::Relu).then(|| y.clone());
            prep.finish(saved, y)
        }
        OpsKind::UnTracked(prep) => prep.finish(y),
    }
}

#[derive(Debug)]
struct GatherSumBackward;

impl<B: GatherSumKernel, const N: usize> Backward<B, N> for GatherSumBackward {
    type State = GatherSumSaved<B>;

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let wanted = std::array::from_fn(|i| ops.parents.get(i).is_some_and(Option::is_some));
        let gradients = B::gather_sum_backward(ops.state, grad, wanted);
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

    use super::{Epilogue, GatherSumKernel, GatherSumSaved};
    use crate::kernel::host::{self, Real};

    impl GatherSumKernel for Flex {
        fn gather_sum_forward(
            weight: FlexTensor,
            indices: FlexTensor,
            bias: Option<FlexTensor>,
            epilogue: Epilogue,
        ) -> FlexTensor {
            match weight.dtype() {
                DType::F32 => forward::<f32>(&weight, indices, bias.as_ref(), epilogue),
                DType::F64 => forward::<f64>(&weight, indices, bias.as_ref(), epilogue),
                _ => super::forward::<Self>(weight, indices, bias, epilogue),
            }
        }

        fn gather_sum_backward(
            saved: GatherSumSaved<Self>,
            grad: FlexTensor,
            wanted: [bool; 2],
        ) -> [Option<FlexTensor>; 2] {
            match grad.dtype() {
                DType::F32 => backward::<f32>(saved, &grad, wanted),
                DType::F64 => backward::<f64>(saved, &grad, wanted),
                _ => super::backward::<Self>(saved, grad, wanted),
            }
        }
    }

    /// The indices on the host, each checked to be below `entries`.
    fn checked(indices: FlexTensor, entries: usize) -> Vec<usize> {
        let check = |index: i64| match usize::try_from(index) {
            Ok(index) if index < entries => index,
            _ => panic!("gather_sum: index {index} does not fit a table of {entries} rows"),
        };
        indices.into_data().iter::<i64>().map(check).collect()
    }

    fn forward<R: Real>(
        weight: &FlexTensor,
        indices: FlexTensor,
        bias: Option<&FlexTensor>,
        epilogue: Epilogue,
    ) -> FlexTensor {
        let (entries, outputs) = (weight.shape()[0], weight.shape()[1]);
        let (rows, hot) = (indices.shape()[0], indices.shape()[1]);
        let weight = weight.to_contiguous();
        let bias = bias.map(FlexTensor::to_contiguous);
        let (bias, indices) = (bias.as_ref().map(R::view), checked(indices, entries));
        R::tensor(host::gather_sum(R::view(&weight), &indices, bias, epilogue, [rows, hot, outputs]), [rows, outputs])
    }

    fn backward<R: Real>(saved: GatherSumSaved<Flex>, grad: &FlexTensor, wanted: [bool; 2]) -> [Option<FlexTensor>; 2] {
        let GatherSumSaved { entries, indices, y } = saved;
        let (hot, outputs) = (indices.shape()[1], grad.shape()[1]);
        let grad = grad.to_contiguous();
        let y = y.map(|y| y.to_contiguous());
        let (grad, y) = (R::view(&grad), y.as_ref().map(R::view));
        let bias = wanted[1].then(|| R::tensor(host::bias_gradient(grad, y, outputs), [outputs]));
        let weight = wanted[0].then(|| {
            let indices = checked(indices, entries);
            R::tensor(host::table_gradient(&indices, grad, y, [entries, hot, outputs]), [entries, outputs])
        });
        [weight, bias]
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, TensorData, activation::relu};
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{assert_close, device, indices, normal, on_threads, values};

    /// The sums of one-hot vectors as a matrix.
    fn dense(indices: &[usize], [rows, hot]: [usize; 2], entries: usize, dtype: DType) -> Tensor<2> {
        let mut values = vec![0.0; rows * entries];
        for (i, index) in indices.iter().enumerate() {
            values[i / hot * entries + index] += 1.0;
        }
        Tensor::from_data(TensorData::new(values, [rows, entries]), (&device(), dtype))
    }

    fn run(
        layer: impl Fn(Tensor<2>, Option<Tensor<1>>) -> Tensor<2>,
        sizes: [usize; 3],
        bias: bool,
        dtype: DType,
    ) -> Vec<Vec<f64>> {
        let [rows, entries, outputs] = sizes;
        let w = normal([entries, outputs], dtype, "w");
        let b = bias.then(|| normal([outputs], dtype, "b"));
        let c = normal([rows, outputs], dtype, "c").detach();
        let y = layer(w.clone(), b.clone());
        let gradients = (y.clone() * c).sum().backward();
        let mut found = vec![values(&y), values(&w.grad(&gradients).unwrap())];
        found.extend(b.map(|b| values(&b.grad(&gradients).unwrap())));
        found
    }

    #[test]
    fn a_gather_is_a_dense_layer_on_one_hot_vectors() {
        for (rows, hot, entries, outputs) in [(1, 1, 1, 1), (5, 2, 3, 7), (101, 3, 17, 13), (67, 1, 97, 1)] {
            let (host, picked) = indices([rows, hot], entries);
            for (dtype, tolerance) in [(DType::F64, 1e-13), (DType::F32, 1e-4), (DType::F16, 5e-2)] {
                let x = dense(&host, [rows, hot], entries, dtype);
                for (epilogue, bias) in [(Epilogue::None, false), (Epilogue::Relu, false), (Epilogue::Relu, true)] {
                    let gather = |w, b| gather_sum(w, picked.clone(), b, epilogue);
                    let plain = |w: Tensor<2>, b: Option<Tensor<1>>| {
                        let sum = x.clone().matmul(w);
                        let sum = b.map_or(sum.clone(), |b| sum + b.unsqueeze());
                        if epilogue == Epilogue::Relu { relu(sum) } else { sum }
                    };
                    let sizes = [rows, entries, outputs];
                    let (gather, plain) = (run(gather, sizes, bias, dtype), run(plain, sizes, bias, dtype));
                    for ((gather, plain), name) in gather.iter().zip(&plain).zip(["y", "dw", "db"]) {
                        assert_close(&format!("{name} {sizes:?} {dtype:?} {epilogue:?}"), gather, plain, tolerance);
                    }
                }
            }
        }
    }

    #[test]
    fn thread_count_moves_no_bit() {
        let (_, picked) = indices([503, 2], 29);
        let work = || run(|w, b| gather_sum(w, picked.clone(), b, Epilogue::Relu), [503, 29, 131], true, DType::F32);
        let one = on_threads(1, work);
        assert_eq!(one, on_threads(2, work));
        assert_eq!(one, on_threads(3, work));
    }

    #[test]
    fn an_index_twice_counts_twice() {
        let w = Tensor::<2>::from_data([[1.0f32, 2.0], [3.0, 5.0]], &device()).require_grad();
        let picked = Tensor::<2, Int>::from_data([[1, 1]], &device());
        let y = gather_sum(w.clone(), picked, None, Epilogue::None);
        assert_eq!(values(&y), [6.0, 10.0]);
        assert_eq!(values(&w.grad(&y.sum().backward()).unwrap()), [0.0, 0.0, 2.0, 2.0]);
    }

    #[test]
    #[should_panic(expected = "gather_sum: index 3 does not fit a table of 3 rows")]
    fn indices_are_checked() {
        gather_sum(normal([3, 2], DType::F32, "w"), Tensor::from_data([[0, 3]], &device()), None, Epilogue::None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn the_table_gradient_loses_and_doubles_nothing(
            rows in 1usize..40, hot in 1usize..5, entries in 1usize..30, outputs in 1usize..20,
        ) {
            let (_, picked) = indices([rows, hot], entries);
            let w = normal([entries, outputs], DType::F64, "w");
            let c = normal([rows, outputs], DType::F64, "c").detach();
            let gradients = (gather_sum(w.clone(), picked, None, Epilogue::None) * c.clone()).sum().backward();
            let total = w.grad(&gradients).unwrap().sum_dim(0);
            assert_close("column sums", &values(&total), &values(&(c.sum_dim(0) * hot as f64)), 1e-12);
        }
    }
}
