//! Layer normalisation: one operation for mean, variance, gain and bias.
use burn::{
    backend::{
        Autodiff, Backend, Dispatch, TensorMetadata,
        autodiff::{
            checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
            grads::Gradients,
            ops::{Backward, Ops, OpsKind},
        },
        backend_extension,
        tensor::FloatTensor,
    },
    tensor::Tensor,
};

/// Layer normalisation over the last axis.
/// ```text
/// y = x̂ ⊙ weight + bias,   x̂ = (x − mean x) / √(var x + eps)        (biased variance)
/// ```
/// # Shapes
/// - x: `[..., width]`; weight, bias: `[width]`; output: as x
/// # Panics
/// If weight or bias is not as wide as x.
///
/// With G at the output, `h = G ⊙ weight` and means over the last axis,
/// ```text
/// dx = (h − mean h − x̂ mean(h ⊙ x̂)) / √(var x + eps)     dweight = Σ G ⊙ x̂     dbias = Σ G
/// ```
///
/// # References
/// Ba et al. 2016, arXiv:1607.06450.
pub fn layer_norm<const D: usize>(x: Tensor<D>, weight: Tensor<1>, bias: Tensor<1>, eps: f64) -> Tensor<D> {
    let shape = x.dims();
    let width = shape[D - 1];
    let fits = weight.dims() == [width] && bias.dims() == [width];
    assert!(fits, "layer_norm: x is {shape:?}, but weight is {:?} and bias {:?}", weight.dims(), bias.dims());
    let rows = shape[..D - 1].iter().product::<usize>();
    let x = x.reshape([rows, width]).into_dispatch();
    let y = Dispatch::layer_norm_rows(x, weight.into_dispatch(), bias.into_dispatch(), eps);
    Tensor::<2>::from_dispatch(y).reshape(shape)
}

/// The operation as every backend offers it; see [`layer_norm`].
#[backend_extension(
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(any(feature = "wgpu", feature = "vulkan", feature = "cuda")),
    Autodiff
)]
pub trait LayerNormOps: Backend {
    /// Rows of `x: [rows, width]`, normalised.
    fn layer_norm_rows(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        eps: f64,
    ) -> FloatTensor<Self>;
}

/// What the backward pass needs: mean and variance are cheaper found anew than stored.
#[derive(Clone, Debug)]
pub struct LayerNormSaved<B: Backend> {
    /// `[rows, width]`
    pub x: FloatTensor<B>,
    /// `[width]`
    pub weight: FloatTensor<B>,
    /// What is added to the variance.
    pub eps: f64,
}

/// Forward and backward pass on a backend's own tensors; the default bodies are composed.
pub trait LayerNormKernel: Backend {
    /// `x̂ ⊙ weight + bias`.
    fn layer_norm_forward(saved: &LayerNormSaved<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self> {
        forward::<Self>(saved, bias)
    }

    /// Gradients of x, weight and bias.
    fn layer_norm_backward(saved: LayerNormSaved<Self>, grad: FloatTensor<Self>) -> [FloatTensor<Self>; 3] {
        backward::<Self>(saved, grad)
    }
}

/// `[width]` as `[1, width]`.
fn line<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let width = x.shape()[0];
    B::float_reshape(x, [1, width].into())
}

/// x̂, and `1 / √(var x + eps)` of each row.
fn standard<B: Backend>(x: FloatTensor<B>, eps: f64) -> [FloatTensor<B>; 2] {
    let centred = B::float_sub(x.clone(), B::float_mean_dim(x, 1));
    let variance = B::float_mean_dim(B::float_mul(centred.clone(), centred.clone()), 1);
    let factor = B::float_recip(B::float_sqrt(B::float_add_scalar(variance, eps.into())));
    [B::float_mul(centred, factor.clone()), factor]
}

fn forward<B: Backend>(saved: &LayerNormSaved<B>, bias: FloatTensor<B>) -> FloatTensor<B> {
    let [x, _] = standard::<B>(saved.x.clone(), saved.eps);
    B::float_add(B::float_mul(x, line::<B>(saved.weight.clone())), line::<B>(bias))
}

fn backward<B: Backend>(saved: LayerNormSaved<B>, grad: FloatTensor<B>) -> [FloatTensor<B>; 3] {
    let LayerNormSaved { x, weight, eps } = saved;
    let width = weight.shape();
    let [x, factor] = standard::<B>(x, eps);
    let h = B::float_mul(grad.clone(), line::<B>(weight));
    let along = B::float_mul(x.clone(), B::float_mean_dim(B::float_mul(h.clone(), x.clone()), 1));
    let of_x = B::float_sub(B::float_sub(h.clone(), B::float_mean_dim(h, 1)), along);
    let sum = |x| B::float_reshape(B::float_sum_dim(x, 0), width.clone());
    [B::float_mul(of_x, factor), sum(B::float_mul(grad.clone(), x)), sum(grad)]
}

macro_rules! offer {
    ($backend:ty) => {
        impl LayerNormOps for $backend {
            fn layer_norm_rows(
                x: FloatTensor<Self>,
                weight: FloatTensor<Self>,
                bias: FloatTensor<Self>,
                eps: f64,
            ) -> FloatTensor<Self> {
                Self::layer_norm_forward(&LayerNormSaved { x, weight, eps }, bias)
            }
        }
    };
}

#[cfg(feature = "flex")]
offer!(burn::backend::Flex);

#[cfg(feature = "ndarray")]
offer!(burn::backend::NdArray);
#[cfg(feature = "ndarray")]
impl LayerNormKernel for burn::backend::NdArray {}

#[cfg(any(feature = "wgpu", feature = "vulkan", feature = "cuda"))]
offer!(burn::backend::Cube);
#[cfg(any(feature = "wgpu", feature = "vulkan", feature = "cuda"))]
impl LayerNormKernel for burn::backend::Cube {}

impl<B: LayerNormKernel, C: CheckpointStrategy> LayerNormOps for Autodiff<B, C> {
    fn layer_norm_rows(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        eps: f64,
    ) -> FloatTensor<Self> {
        let (x, x_node) = x.into_parts();
        let (weight, weight_node) = weight.into_parts();
        let (bias, bias_node) = bias.into_parts();
        let saved = LayerNormSaved { x, weight, eps };
        let y = B::layer_norm_forward(&saved, bias);
        match LayerNormBackward.prepare::<C>([x_node, weight_node, bias_node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(saved, y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }
}

#[derive(Debug)]
struct LayerNormBackward;

impl<B: LayerNormKernel> Backward<B, 3> for LayerNormBackward {
    type State = LayerNormSaved<B>;

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        for (parent, gradient) in ops.parents.into_iter().zip(B::layer_norm_backward(ops.state, grad)) {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, gradient);
            }
        }
    }
}

#[cfg(feature = "flex")]
mod flex {
    use std::mem::MaybeUninit;

    use burn::{
        backend::{Flex, TensorMetadata, flex::FlexTensor},
        tensor::DType,
    };
    use kiln_activations::kernel::{Job, Real as Scalar, in_vectors, lanes};

    use super::{LayerNormKernel, LayerNormSaved};
    use crate::kernel::host::{self, Real};

    impl LayerNormKernel for Flex {
        fn layer_norm_forward(saved: &LayerNormSaved<Self>, bias: FlexTensor) -> FlexTensor {
            match saved.x.dtype() {
                DType::F32 => forward::<f32>(saved, &bias),
                DType::F64 => forward::<f64>(saved, &bias),
                _ => super::forward::<Self>(saved, bias),
            }
        }

        fn layer_norm_backward(saved: LayerNormSaved<Self>, grad: FlexTensor) -> [FlexTensor; 3] {
            match grad.dtype() {
                DType::F32 => backward::<f32>(&saved, &grad),
                DType::F64 => backward::<f64>(&saved, &grad),
                _ => super::backward::<Self>(saved, grad),
            }
        }
    }

    /// Mean and `1 / √(var + eps)` of a row.
    #[inline(always)]
    fn moments<R: Scalar>(x: &[R], eps: R) -> [R; 2] {
        let n = R::of(x.len() as f64);
        let mean = lanes::lane_sum(x) / n;
        let [squares] = lanes::lane_sums(x, |x| [(x - mean) * (x - mean)]);
        [mean, R::one() / (squares / n + eps).sqrt()]
    }

    /// Rows of one part, forwards.
    struct Forward<'a, R> {
        x: &'a [R],
        weight: &'a [R],
        bias: &'a [R],
        eps: R,
        y: &'a mut [MaybeUninit<R>],
    }

    impl<R: Scalar> Job for Forward<'_, R> {
        type Out = ();
        #[inline(always)]
        fn run(self) {
            let width = self.weight.len();
            for (x, y) in self.x.chunks_exact(width).zip(self.y.chunks_exact_mut(width)) {
                let [mean, factor] = moments(x, self.eps);
                for (((y, x), weight), bias) in y.iter_mut().zip(x).zip(self.weight).zip(self.bias) {
                    y.write(((*x - mean) * factor).mul_add(*weight, *bias));
                }
            }
        }
    }

    fn forward<R: Real + Scalar>(saved: &LayerNormSaved<Flex>, bias: &FlexTensor) -> FlexTensor {
        let [rows, width] = saved.x.shape().dims();
        let (x, weight, bias) = (saved.x.to_contiguous(), saved.weight.to_contiguous(), bias.to_contiguous());
        let (x, weight, bias, eps) = (R::view(&x), R::view(&weight), R::view(&bias), R::of(saved.eps));
        // SAFETY: a part holds whole rows, and the job writes every value of a row.
        let y = unsafe {
            host::fresh(rows, width, host::part(rows, host::PARTS), rows * width, |first, y| {
                in_vectors(Forward { x: &x[first * width..][..y.len()], weight, bias, eps, y });
            })
        };
        R::tensor(y, [rows, width])
    }

    /// Rows of one part, backwards; the sums over them are added to `of_weight` and `of_bias`.
    struct Vjp<'a, R> {
        x: &'a [R],
        weight: &'a [R],
        eps: R,
        grad: &'a [R],
        of_x: &'a mut [MaybeUninit<R>],
        of_weight: &'a mut [R],
        of_bias: &'a mut [R],
    }

    impl<R: Scalar> Job for Vjp<'_, R> {
        type Out = ();
        #[inline(always)]
        fn run(self) {
            let Self { weight, of_weight, of_bias, .. } = self;
            let (width, n) = (weight.len(), R::of(weight.len() as f64));
            let rows = self.x.chunks_exact(width).zip(self.grad.chunks_exact(width));
            for ((x, grad), of_x) in rows.zip(self.of_x.chunks_exact_mut(width)) {
                let [mean, factor] = moments(x, self.eps);
                let level = lanes::lane_dot(grad, weight) / n;
                let along = lanes::lane_sum_of([grad, weight, x], |[grad, weight, x]| grad * weight * (x - mean));
                let along = along * factor / n;
                for (((of_x, x), grad), weight) in of_x.iter_mut().zip(x).zip(grad).zip(weight) {
                    let x = (*x - mean) * factor;
                    of_x.write((*grad * *weight - level - x * along) * factor);
                }
                for (((of_weight, of_bias), x), grad) in of_weight.iter_mut().zip(&mut *of_bias).zip(x).zip(grad) {
                    *of_weight = *of_weight + *grad * ((*x - mean) * factor);
                    *of_bias = *of_bias + *grad;
                }
            }
        }
    }

    fn backward<R: Real + Scalar>(saved: &LayerNormSaved<Flex>, grad: &FlexTensor) -> [FlexTensor; 3] {
        let [rows, width] = saved.x.shape().dims();
        let (x, weight, grad) = (saved.x.to_contiguous(), saved.weight.to_contiguous(), grad.to_contiguous());
        let (x, weight, grad, eps) = (R::view(&x), R::view(&weight), R::view(&grad), R::of(saved.eps));
        // SAFETY: a part holds whole rows, and the job writes every value of a row.
        let (of_x, sums) = unsafe {
            host::fresh_with(rows, width, host::part(rows, host::PARTS), rows * width, |first, of_x| {
                let mut sums = vec![R::ZERO; 2 * width];
                let (of_weight, of_bias) = sums.split_at_mut(width);
                let part = first * width..first * width + of_x.len();
                in_vectors(Vjp { x: &x[part.clone()], weight, eps, grad: &grad[part], of_x, of_weight, of_bias });
                sums
            })
        };
        let mut of_weight = host::add_in_order(sums);
        of_weight.resize(2 * width, R::ZERO);
        let of_bias = of_weight.split_off(width);
        [R::tensor(of_x, [rows, width]), R::tensor(of_weight, [width]), R::tensor(of_bias, [width])]
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::DType;

    use super::*;
    use crate::testing::{assert_close, normal, on_threads, values};

    /// Output and gradients of `Σ c y` for the norm as a function of its leaves.
    fn run(
        norm: impl Fn(Tensor<2>, Tensor<1>, Tensor<1>) -> Tensor<2>,
        [rows, width]: [usize; 2],
        dtype: DType,
    ) -> Vec<Vec<f64>> {
        // Away from 0, where a mean that is lost would not show.
        let x = (normal([rows, width], dtype, "x") + 3.0).detach().require_grad();
        let (w, b) = (normal([width], dtype, "w"), normal([width], dtype, "b"));
        let c = normal([rows, width], dtype, "c").detach();
        let y = norm(x.clone(), w.clone(), b.clone());
        let gradients = (y.clone() * c).sum().backward();
        let of = |leaf: Option<Tensor<1>>| values(&leaf.unwrap());
        vec![values(&y), values(&x.grad(&gradients).unwrap()), of(w.grad(&gradients)), of(b.grad(&gradients))]
    }

    fn composed(x: Tensor<2>, w: Tensor<1>, b: Tensor<1>) -> Tensor<2> {
        let centred = x.clone() - x.mean_dim(1);
        let variance = centred.clone().powi_scalar(2).mean_dim(1);
        centred / (variance + 1e-5).sqrt() * w.unsqueeze() + b.unsqueeze()
    }

    #[test]
    fn kernel_agrees_with_autodiff_of_the_composed_form() {
        for sizes in [[1, 1], [1, 7], [5, 16], [63, 17], [257, 33], [100, 130]] {
            for (dtype, tolerance) in [(DType::F64, 1e-12), (DType::F32, 1e-4), (DType::F16, 5e-2)] {
                let kernel = run(|x, w, b| layer_norm(x, w, b, 1e-5), sizes, dtype);
                let plain = run(composed, sizes, dtype);
                for ((kernel, plain), name) in kernel.iter().zip(&plain).zip(["y", "dx", "dw", "db"]) {
                    assert_close(&format!("{name} {sizes:?} {dtype:?}"), kernel, plain, tolerance);
                }
            }
        }
    }

    #[test]
    fn nothing_to_normalise_gives_nothing() {
        let found = run(|x, w, b| layer_norm(x, w, b, 1e-5), [0, 3], DType::F32);
        assert_eq!(found, [vec![], vec![], vec![0.0; 3], vec![0.0; 3]]);
    }

    #[test]
    fn thread_count_moves_no_bit() {
        let work = || run(|x, w, b| layer_norm(x, w, b, 1e-5), [701, 131], DType::F32);
        let one = on_threads(1, work);
        assert_eq!(one, on_threads(2, work));
        assert_eq!(one, on_threads(3, work));
    }

    #[test]
    fn a_constant_row_gives_the_bias_and_a_nan_stays_in_its_row() {
        let device = crate::testing::device();
        let x = Tensor::<2>::from_data([[4.0f32, 4.0, 4.0], [1.0, f32::NAN, 2.0], [1.0, 2.0, 3.0]], &device);
        let w = Tensor::<1>::ones([3], &device);
        let b = Tensor::<1>::from_data([1.0f32, 2.0, 3.0], &device);
        let y = values(&layer_norm(x, w, b, 1e-5));
        assert_eq!(y[..3], [1.0, 2.0, 3.0]);
        assert!(y[3..6].iter().all(|y| y.is_nan()) && y[6..].iter().all(|y| y.is_finite()), "{y:?}");
    }

    #[test]
    fn frozen_leaves_get_no_gradient() {
        let x = normal([3, 5], DType::F32, "x").set_require_grad(false);
        let (w, b) = (normal([5], DType::F32, "w"), normal([5], DType::F32, "b").set_require_grad(false));
        let gradients = layer_norm(x.clone(), w.clone(), b.clone(), 1e-5).sum().backward();
        assert!(x.grad(&gradients).is_none() && b.grad(&gradients).is_none() && w.grad(&gradients).is_some());
    }

    #[test]
    #[should_panic(expected = "layer_norm: x is [2, 3], but weight is [5] and bias [3]")]
    fn widths_must_meet() {
        layer_norm(normal([2, 3], DType::F32, "x"), normal([5], DType::F32, "w"), normal([3], DType::F32, "b"), 1e-5);
    }
}
