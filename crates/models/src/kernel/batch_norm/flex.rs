//! Batch normalisation on the CPU: planes of maps, spread over the threads.
use burn::{
    backend::{Flex, TensorMetadata, flex::FlexTensor},
    tensor::{DType, ElementConversion},
};

use super::{BatchNormKernel, BatchNormSaved, Epilogue};
use crate::kernel::host::{Real, fresh_parts, lanes, owned, summed_parts, undo_epilogue};

impl BatchNormKernel for Flex {
    fn batch_norm_moments(x: FlexTensor) -> FlexTensor {
        match x.dtype() {
            DType::F32 => moments::<f32>(&x),
            DType::F64 => moments::<f64>(&x),
            _ => super::moments::<Self>(x),
        }
    }

    fn batch_norm_forward(saved: &BatchNormSaved<Self>, residual: Option<FlexTensor>) -> FlexTensor {
        match saved.x.dtype() {
            DType::F32 => forward::<f32>(saved, residual),
            DType::F64 => forward::<f64>(saved, residual),
            _ => super::forward::<Self>(saved, residual),
        }
    }

    fn batch_norm_backward(saved: BatchNormSaved<Self>, grad: FlexTensor) -> [FlexTensor; 4] {
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

fn forward<R: Real>(saved: &BatchNormSaved<Flex>, residual: Option<FlexTensor>) -> FlexTensor {
    let (sizes, channels) = (Sizes::of(&saved.x), channels::<R>(saved));
    let x = saved.x.to_contiguous();
    let x = R::view(&x);
    let relu = saved.epilogue == Epilogue::Relu;
    // Not `max`: a NaN fails the comparison and stays.
    let finish = move |y: R| if relu && y <= R::ZERO { R::ZERO } else { y };
    let residual = residual.map(|residual| residual.to_contiguous());
    let y = sizes.planes(|c, start, out| {
        let Channel { scale, shift, .. } = channels[c];
        let affine = |x: R| {
            let mut y = x * scale;
            y += shift;
            y
        };
        match residual.as_ref().map(R::view) {
            None => out.iter_mut().zip(&x[start..]).for_each(|(out, x)| {
                out.write(finish(affine(*x)));
            }),
            Some(residual) => {
                out.iter_mut().zip(&x[start..]).zip(&residual[start..]).for_each(|((out, x), residual)| {
                    let mut y = affine(*x);
                    y += *residual;
                    out.write(finish(y));
                });
            }
        }
    });
    R::tensor(y, saved.x.shape().dims::<4>())
}

fn backward<R: Real>(saved: &BatchNormSaved<Flex>, grad: FlexTensor) -> [FlexTensor; 4] {
    let (sizes, channels) = (Sizes::of(&saved.x), channels::<R>(saved));
    let (x, mut masked) = (saved.x.to_contiguous(), owned(grad));
    if let Some(y) = &saved.output {
        // The residual's gradient is the masked one itself, so the mask is applied to its memory.
        let y = y.to_contiguous();
        undo_epilogue::<R>(&mut masked, Some(R::view(&y)), sizes.row(), false);
    }
    let (x, grad) = (R::view(&x), R::view(&masked));
    let relu = saved.epilogue == Epilogue::Relu && saved.output.is_none();
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
    let vector =
        |values: &mut dyn Iterator<Item = f64>| R::tensor(values.map(|value| value.elem()).collect(), [sizes.channels]);
    [
        R::tensor(dx, saved.x.shape().dims::<4>()),
        vector(&mut of_weight.iter().copied()),
        vector(&mut sums.iter().map(|[sum, _]| *sum)),
        masked,
    ]
}
