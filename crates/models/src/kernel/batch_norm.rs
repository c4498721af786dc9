//! Batch normalisation in training: the statistics of a batch, and one operation for normalising, gain, bias and ReLU.
use burn::{
    backend::{
        Autodiff, AutodiffBackend, Backend, Dispatch, TensorMetadata,
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

use super::Epilogue;

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
/// y = epilogue(x̂ · weight + bias),   x̂ = (x − mean x) / √(var x + eps)      over rows and pixels, biased variance
/// ```
/// # Shapes
/// - x: `[rows, channels, height, width]`; weight, bias: `[channels]`; output: as x
/// # Panics
/// If weight or bias does not have a value per channel.
///
/// With n values per channel, G the gradient that passes the epilogue, and sums over rows and pixels,
/// ```text
/// dx = weight / √(var x + eps) · (G − ΣG / n − x̂ Σ(G x̂) / n)     dweight = Σ G x̂     dbias = ΣG
/// ```
///
/// # References
/// Ioffe and Szegedy 2015, arXiv:1502.03167.
pub fn batch_norm_train(x: Tensor<4>, weight: Tensor<1>, bias: Tensor<1>, eps: f64, epilogue: Epilogue) -> BatchNormed {
    let [_, channels, ..] = x.dims();
    let fits = weight.dims() == [channels] && bias.dims() == [channels];
    let (w, b) = (weight.dims(), bias.dims());
    assert!(fits, "batch_norm_train: x is {:?}, but weight is {w:?} and bias {b:?}", x.dims());
    let moments = Dispatch::channel_moments(x.clone().into_dispatch());
    let y = Dispatch::normalise_channels(
        x.into_dispatch(),
        moments.clone(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        eps,
        epilogue,
    );
    let moments = Tensor::<2>::from_dispatch(moments);
    let of = |row: usize| moments.clone().narrow(0, row, 1).reshape([channels]);
    BatchNormed { output: Tensor::from_dispatch(y), mean: of(0), variance: of(1) }
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
    /// What happens to the normalised maps.
    pub epilogue: Epilogue,
}

/// Forward and backward pass on a backend's own tensors; the default bodies are composed.
pub trait BatchNormKernel: Backend {
    /// Mean and biased variance of each channel, `[2, channels]`.
    fn batch_norm_moments(x: FloatTensor<Self>) -> FloatTensor<Self> {
        moments::<Self>(x)
    }

    /// The normalised maps.
    fn batch_norm_forward(saved: &BatchNormSaved<Self>) -> FloatTensor<Self> {
        forward::<Self>(saved)
    }

    /// Gradients of x, weight and bias.
    fn batch_norm_backward(saved: BatchNormSaved<Self>, grad: FloatTensor<Self>) -> [FloatTensor<Self>; 3] {
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

fn forward<B: Backend>(saved: &BatchNormSaved<B>) -> FloatTensor<B> {
    let [x, _] = standard::<B>(saved);
    let y = B::float_add(B::float_mul(x, column::<B>(&saved.weight)), column::<B>(&saved.bias));
    match saved.epilogue {
        Epilogue::None => y,
        Epilogue::Relu => B::relu(y),
    }
}

fn backward<B: Backend>(saved: BatchNormSaved<B>, grad: FloatTensor<B>) -> [FloatTensor<B>; 3] {
    let grad = match saved.epilogue {
        Epilogue::None => grad,
        Epilogue::Relu => B::relu_backward(forward::<B>(&saved), grad),
    };
    let shape = saved.x.shape();
    let (channels, n) = (shape[1], (shape[0] * shape[2] * shape[3]) as f64);
    let [x, factor] = standard::<B>(&saved);
    let of_bias = sum::<B>(grad.clone());
    let of_weight = sum::<B>(B::float_mul(grad.clone(), x.clone()));
    let mean = |x: &FloatTensor<B>| B::float_div_scalar(x.clone(), n.into());
    let of_x = B::float_sub(B::float_sub(grad, mean(&of_bias)), B::float_mul(x, mean(&of_weight)));
    let of_x = B::float_mul(of_x, B::float_mul(factor, column::<B>(&saved.weight)));
    let flat = |x| B::float_reshape(x, [channels].into());
    [of_x, flat(of_weight), flat(of_bias)]
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
                eps: f64,
                epilogue: Epilogue,
            ) -> FloatTensor<Self> {
                Self::batch_norm_forward(&BatchNormSaved { x, moments, weight, bias, eps, epilogue })
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
        eps: f64,
        epilogue: Epilogue,
    ) -> FloatTensor<Self> {
        let (x, x_node) = x.into_parts();
        let (moments, _) = moments.into_parts();
        let (weight, weight_node) = weight.into_parts();
        let (bias, bias_node) = bias.into_parts();
        let saved = BatchNormSaved { x, moments, weight, bias, eps, epilogue };
        let y = B::batch_norm_forward(&saved);
        let nodes = [x_node, weight_node, bias_node];
        match Backward::<B, 3>::prepare::<C>(BatchNormBackward, nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(saved, y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }
}

#[derive(Debug)]
struct BatchNormBackward;

impl<B: BatchNormKernel> Backward<B, 3> for BatchNormBackward {
    type State = BatchNormSaved<B>;

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let gradients = B::batch_norm_backward(ops.state, grad);
        for (parent, gradient) in ops.parents.into_iter().zip(gradients) {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, gradient);
            }
        }
    }
}

#[cfg(feature = "flex")]
mod flex {
    use burn::{
        backend::{Flex, TensorMetadata, flex::FlexTensor},
        tensor::{DType, ElementConversion},
    };

    use super::{BatchNormKernel, BatchNormSaved, Epilogue};
    use crate::kernel::host::{Real, fresh_parts, lanes, owned, summed_parts};

    impl BatchNormKernel for Flex {
        fn batch_norm_moments(x: FlexTensor) -> FlexTensor {
            match x.dtype() {
                DType::F32 => moments::<f32>(&x),
                DType::F64 => moments::<f64>(&x),
                _ => super::moments::<Self>(x),
            }
        }

        fn batch_norm_forward(saved: &BatchNormSaved<Self>) -> FlexTensor {
            match saved.x.dtype() {
                DType::F32 => forward::<f32>(saved),
                DType::F64 => forward::<f64>(saved),
                _ => super::forward::<Self>(saved),
            }
        }

        fn batch_norm_backward(saved: BatchNormSaved<Self>, grad: FlexTensor) -> [FlexTensor; 3] {
            match grad.dtype() {
                DType::F32 => backward::<f32>(&saved, grad),
                DType::F64 => backward::<f64>(&saved, grad),
                _ => super::backward::<Self>(saved, grad),
            }
        }
    }

    /// Rows, channels and pixels of feature maps.
    #[derive(Clone, Copy)]
    struct Sizes {
        rows: usize,
        channels: usize,
        pixels: usize,
    }

    impl Sizes {
        fn of(x: &FlexTensor) -> Self {
            let [rows, channels, height, width] = x.shape().dims::<4>();
            Self { rows, channels, pixels: height * width }
        }

        /// Values of a row.
        fn row(&self) -> usize {
            self.channels * self.pixels
        }

        /// K sums over rows and pixels of each channel: `plane(channel, start)` gives those of the plane that starts there.
        fn sums<R: Real, const K: usize>(&self, plane: impl Fn(usize, usize) -> [R; K] + Sync) -> Vec<[f64; K]> {
            let flat = summed_parts::<f64>(self.rows, self.row(), |range| {
                let mut sums = vec![0.0; self.channels * K];
                for row in range {
                    for (c, sums) in sums.chunks_exact_mut(K).enumerate() {
                        let terms = plane(c, (row * self.channels + c) * self.pixels);
                        sums.iter_mut().zip(terms).for_each(|(sum, term)| *sum += term.elem::<f64>());
                    }
                }
                sums
            });
            flat.chunks_exact(K).map(|sums| std::array::from_fn(|k| sums[k])).collect()
        }

        /// `[rows, channels, pixels]`, plane by plane.
        fn planes<R: Real>(&self, plane: impl Fn(usize, usize, &mut [std::mem::MaybeUninit<R>]) + Sync) -> Vec<R> {
            // SAFETY: `plane` writes every value of its plane, and the planes cover a row.
            unsafe {
                fresh_parts(
                    self.rows,
                    self.row(),
                    self.row(),
                    || (),
                    |(), row, out| {
                        for (c, out) in out.chunks_exact_mut(self.pixels).enumerate() {
                            plane(c, (row * self.channels + c) * self.pixels, out);
                        }
                    },
                )
            }
        }
    }

    fn moments<R: Real>(x: &FlexTensor) -> FlexTensor {
        let sizes = Sizes::of(x);
        let x = x.to_contiguous();
        let x = R::view(&x);
        let n = (sizes.rows * sizes.pixels) as f64;
        let plane = |start: usize| &x[start..start + sizes.pixels];
        let mean: Vec<f64> =
            sizes.sums::<R, 1>(|_, start| lanes([plane(start)], |[x]| [x])).into_iter().map(|[sum]| sum / n).collect();
        let variance = sizes.sums::<R, 1>(|c, start| {
            let mean: R = mean[c].elem();
            lanes([plane(start)], |[x]| [(x - mean) * (x - mean)])
        });
        let values = mean.iter().copied().chain(variance.into_iter().map(|[sum]| sum / n));
        R::tensor(values.map(|value| value.elem()).collect(), [2, sizes.channels])
    }

    /// What a channel's values are multiplied with and moved by, beside its mean and `1 / √(var + eps)`.
    struct Channel<R> {
        scale: R,
        shift: R,
        mean: R,
        factor: R,
    }

    fn channels<R: Real>(saved: &BatchNormSaved<Flex>) -> Vec<Channel<R>> {
        let [moments, weight, bias] = [&saved.moments, &saved.weight, &saved.bias].map(FlexTensor::to_contiguous);
        let (mean, variance) = R::view(&moments).split_at(R::view(&weight).len());
        let of = |(c, (weight, bias)): (usize, (&R, &R))| {
            let factor = 1.0 / (variance[c].elem::<f64>() + saved.eps).sqrt();
            let scale = factor * weight.elem::<f64>();
            Channel {
                scale: scale.elem(),
                shift: (bias.elem::<f64>() - mean[c].elem::<f64>() * scale).elem(),
                mean: mean[c],
                factor: factor.elem(),
            }
        };
        R::view(&weight).iter().zip(R::view(&bias)).enumerate().map(of).collect()
    }

    fn forward<R: Real>(saved: &BatchNormSaved<Flex>) -> FlexTensor {
        let (sizes, channels) = (Sizes::of(&saved.x), channels::<R>(saved));
        let x = saved.x.to_contiguous();
        let x = R::view(&x);
        let relu = saved.epilogue == Epilogue::Relu;
        let y = sizes.planes(|c, start, out| {
            let Channel { scale, shift, .. } = channels[c];
            for (out, x) in out.iter_mut().zip(&x[start..]) {
                let mut y = *x * scale;
                y += shift;
                // Not `max`: a NaN fails the comparison and stays.
                out.write(if relu && y <= R::ZERO { R::ZERO } else { y });
            }
        });
        R::tensor(y, saved.x.shape().dims::<4>())
    }

    fn backward<R: Real>(saved: &BatchNormSaved<Flex>, grad: FlexTensor) -> [FlexTensor; 3] {
        let (sizes, channels) = (Sizes::of(&saved.x), channels::<R>(saved));
        let (x, grad) = (saved.x.to_contiguous(), owned(grad));
        let (x, grad) = (R::view(&x), R::view(&grad));
        let relu = saved.epilogue == Epilogue::Relu;
        // The gradient that passes the epilogue; its output is found anew, in the same way.
        let passed = move |channel: &Channel<R>, x: R, grad: R| {
            let mut y = x * channel.scale;
            y += channel.shift;
            if relu && y <= R::ZERO { R::ZERO } else { grad }
        };
        let sums = sizes.sums::<R, 2>(|c, start| {
            let channel = &channels[c];
            let planes = [&x[start..start + sizes.pixels], &grad[start..start + sizes.pixels]];
            lanes(planes, |[x, grad]| {
                let grad = passed(channel, x, grad);
                [grad, grad * (x - channel.mean)]
            })
        });
        // Σ (G x̂), with x̂ = (x − mean) · factor.
        let of_weight: Vec<f64> =
            sums.iter().zip(&channels).map(|([_, sum], channel)| sum * channel.factor.elem::<f64>()).collect();
        let n = (sizes.rows * sizes.pixels) as f64;
        let dx = sizes.planes(|c, start, out| {
            let channel = &channels[c];
            let mean: R = (sums[c][0] / n).elem();
            let along: R = (of_weight[c] / n * channel.factor.elem::<f64>()).elem();
            for ((out, x), grad) in out.iter_mut().zip(&x[start..]).zip(&grad[start..]) {
                let rest = passed(channel, *x, *grad) - mean - (*x - channel.mean) * along;
                out.write(rest * channel.scale);
            }
        });
        let vector = |values: &mut dyn Iterator<Item = f64>| {
            R::tensor(values.map(|value| value.elem()).collect(), [sizes.channels])
        };
        [
            R::tensor(dx, saved.x.shape().dims::<4>()),
            vector(&mut of_weight.iter().copied()),
            vector(&mut sums.iter().map(|[sum, _]| *sum)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, activation::relu, module};

    use super::*;
    use crate::testing::{assert_close, normal, on_threads, values};

    const EPS: f64 = 1e-3;

    /// Output, moments and gradients of `Σ c y`.
    fn run(
        shape: [usize; 4],
        dtype: DType,
        op: impl Fn(Tensor<4>, Tensor<1>, Tensor<1>) -> BatchNormed,
    ) -> Vec<Vec<f64>> {
        // Away from 0, so that a variance that loses digits shows.
        let x = normal(shape, dtype, "x");
        let (w, b) = (normal([shape[1]], dtype, "w"), normal([shape[1]], dtype, "b"));
        let c = normal(shape, dtype, "c").detach();
        let found = op(x.clone().add_scalar(3.0), w.clone(), b.clone());
        let gradients = (found.output.clone() * c).sum().backward();
        let of = |x: Option<Tensor<1>>| values(&x.unwrap());
        vec![
            values(&found.output),
            values(&found.mean),
            values(&found.variance),
            values(&x.grad(&gradients).unwrap()),
            of(w.grad(&gradients)),
            of(b.grad(&gradients)),
        ]
    }

    fn of_burn(x: Tensor<4>, w: Tensor<1>, b: Tensor<1>, epilogue: Epilogue) -> BatchNormed {
        let batch = module::batch_norm_train(x, w, b, EPS);
        let output = if epilogue == Epilogue::Relu { relu(batch.output) } else { batch.output };
        BatchNormed { output, mean: batch.mean, variance: batch.variance }
    }

    #[test]
    fn kernel_agrees_with_burn() {
        for shape in [[3, 2, 5, 7], [1, 3, 1, 2], [64, 5, 3, 3], [2, 17, 31, 33], [4, 1, 1, 1]] {
            for epilogue in [Epilogue::None, Epilogue::Relu] {
                let plain = run(shape, DType::F64, |x, w, b| of_burn(x, w, b, epilogue));
                for (dtype, tolerance) in [(DType::F64, 1e-10), (DType::F32, 2e-3)] {
                    if dtype == DType::F32 && epilogue == Epilogue::Relu {
                        // An output next to 0 may fall on either side in a narrower dtype.
                        continue;
                    }
                    let kernel = run(shape, dtype, |x, w, b| batch_norm_train(x, w, b, EPS, epilogue));
                    for ((kernel, plain), name) in kernel.iter().zip(&plain).zip(["y", "mean", "var", "dx", "dw", "db"])
                    {
                        assert_close(&format!("{name} {shape:?} {dtype:?} {epilogue:?}"), kernel, plain, tolerance);
                    }
                }
            }
        }
    }

    #[test]
    #[cfg(feature = "flex")]
    fn composed_form_agrees_with_the_kernel() {
        use burn::backend::Flex;

        use crate::kernel::host::Real;

        let shape = [3, 2, 5, 7];
        let draw = |len: usize, name: &str| values(&normal([len], DType::F64, name));
        let grad = f64::tensor(draw(210, "g"), shape);
        for epilogue in [Epilogue::None, Epilogue::Relu] {
            let x = f64::tensor(draw(210, "x"), shape);
            let [weight, bias] = ["w", "b"].map(|name| f64::tensor(draw(2, name), [2]));
            let moments = super::moments::<Flex>(x.clone());
            let of_kernel = Flex::batch_norm_moments(x.clone());
            assert_close("moments", f64::view(&of_kernel), f64::view(&moments), 1e-13);
            let saved = BatchNormSaved::<Flex> { x, moments, weight, bias, eps: EPS, epilogue };
            let [plain, kernel] = [super::forward::<Flex>(&saved), Flex::batch_norm_forward(&saved)];
            assert_close("y", f64::view(&kernel), f64::view(&plain), 1e-12);
            let plain = super::backward::<Flex>(saved.clone(), grad.clone());
            let kernel = Flex::batch_norm_backward(saved, grad.clone());
            for (kernel, plain) in kernel.iter().zip(&plain) {
                assert_close("gradients", f64::view(kernel), f64::view(&plain.to_contiguous()), 1e-12);
            }
        }
    }

    #[test]
    fn thread_count_moves_no_bit() {
        let work = || run([33, 5, 7, 9], DType::F32, |x, w, b| batch_norm_train(x, w, b, EPS, Epilogue::Relu));
        let one = on_threads(1, work);
        assert_eq!(one, on_threads(2, work));
        assert_eq!(one, on_threads(3, work));
    }
}
