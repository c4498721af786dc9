//! Batch normalisation.
use burn::{
    module::{Module, Param},
    tensor::{Tensor, activation::relu, module},
};
use kiln_activations::{Ctx, Init};

use super::Running;
use crate::kernel::{Epilogue, batch_norm_train};

/// The usual constant under the root.
const EPS: f64 = 1e-5;
/// How much of a batch's statistics enters the running ones, as in PyTorch.
const RATE: f64 = 0.1;

/// Batch normalisation of the channels of feature maps.
/// ```text
/// training:    y = (x − mean x) / √(var x + 1e-5) · weight + bias      over rows and pixels, biased variance
/// evaluating:  y = (x − m) / √(v + 1e-5) · weight + bias
/// m ← 0.9 m + 0.1 mean x,   v ← 0.9 v + 0.1 var x · n/(n − 1)          n = rows · height · width
/// ```
/// A training pass proposes the new m and v, and the optimizer's step makes them real ([`Running`]).
///
/// # References
/// Ioffe and Szegedy 2015, arXiv:1502.03167.
#[derive(Module, Debug)]
pub struct BatchNorm {
    /// `[channels]`, first 1.
    pub weight: Param<Tensor<1>>,
    /// `[channels]`, first 0.
    pub bias: Param<Tensor<1>>,
    /// m: `[channels]`, first 0.
    pub running_mean: Running<1>,
    /// v: `[channels]`, first 1.
    pub running_variance: Running<1>,
}

impl BatchNorm {
    /// A layer for maps of so many channels.
    pub fn new(init: &Init, channels: usize) -> Self {
        Self {
            weight: init.constant([channels], 1.0),
            bias: init.constant([channels], 0.0),
            running_mean: Running::new(init, [channels], 0.0),
            running_variance: Running::new(init, [channels], 1.0),
        }
    }

    /// The normalised maps, `[rows, channels, height, width]` like `x`, after the epilogue.
    pub fn forward(&self, x: Tensor<4>, epilogue: Epilogue, ctx: &Ctx) -> Tensor<4> {
        self.onto(None, x, epilogue, ctx)
    }

    /// The normalised maps of `x` added to `residual`, a map of the same shape, after the epilogue.
    pub fn onto(&self, residual: Option<Tensor<4>>, x: Tensor<4>, epilogue: Epilogue, ctx: &Ctx) -> Tensor<4> {
        let (weight, bias) = (self.weight.val(), self.bias.val());
        if !ctx.training {
            let (mean, variance) = (self.running_mean.value(), self.running_variance.value());
            let y = module::batch_norm(x, weight, bias, mean, variance, EPS);
            let y = residual.map_or(y.clone(), |residual| y + residual);
            return match epilogue {
                Epilogue::None => y,
                Epilogue::Relu => relu(y),
            };
        }
        let [rows, _, height, width] = x.dims();
        let n = (rows * height * width) as f64;
        let batch = batch_norm_train(x, weight, bias, residual, EPS, epilogue);
        self.running_mean.observe(batch.mean, RATE);
        // A single value has no variance to correct.
        self.running_variance.observe(batch.variance.mul_scalar(n / (n - 1.0).max(1.0)), RATE);
        batch.output
    }
}

#[cfg(test)]
mod tests {
    use burn::{module::ModuleMapper, tensor::DType};

    use super::*;
    use crate::testing::{assert_close, check_gradients, device, normal, randomised, values};

    const SHAPE: [usize; 4] = [3, 2, 5, 7];

    struct Step;
    impl ModuleMapper for Step {}

    fn layer() -> BatchNorm {
        randomised(BatchNorm::new(&Init::new(0, &device(), DType::F64), SHAPE[1]))
    }

    /// The values of a channel.
    fn channel(x: &[f64], c: usize) -> Vec<f64> {
        let plane = SHAPE[2] * SHAPE[3];
        x.chunks(plane).enumerate().filter(|(i, _)| i % SHAPE[1] == c).flat_map(|(_, x)| x.to_vec()).collect()
    }

    #[test]
    fn training_and_evaluating_follow_the_formula() {
        let before = layer();
        let x = normal(SHAPE, DType::F64, "x").detach();
        let trained = values(&before.forward(x.clone(), Epilogue::None, &Ctx::train(0, 0)));
        let after = before.clone().map(&mut Step);
        let evaluated = values(&after.forward(x.clone(), Epilogue::None, &Ctx::eval(0, 0)));
        let x = values(&x);
        for c in 0..SHAPE[1] {
            let (w, b) = (values(&before.weight.val())[c], values(&before.bias.val())[c]);
            let x = channel(&x, c);
            let n = x.len() as f64;
            let mean = x.iter().sum::<f64>() / n;
            let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
            let scaled = |mean: f64, variance: f64| -> Vec<f64> {
                x.iter().map(|x| (x - mean) / (variance + 1e-5).sqrt() * w + b).collect()
            };
            assert_close("training", &channel(&trained, c), &scaled(mean, variance), 1e-12);
            let running =
                |of: &BatchNorm| (values(&of.running_mean.value())[c], values(&of.running_variance.value())[c]);
            let (old, new) = (running(&before), running(&after));
            assert_close("mean", &[new.0], &[0.9 * old.0 + 0.1 * mean], 1e-12);
            assert_close("variance", &[new.1], &[0.9 * old.1 + 0.1 * variance * n / (n - 1.0)], 1e-12);
            assert_close("evaluating", &channel(&evaluated, c), &scaled(new.0, new.1), 1e-12);
        }
    }

    #[test]
    fn gradients_agree_with_central_differences() {
        let layer = layer();
        let x = normal(SHAPE, DType::F64, "x");
        let c = normal(SHAPE, DType::F64, "c").detach();
        for ctx in [Ctx::train(0, 0), Ctx::eval(0, 0)] {
            check_gradients(&layer, |layer| {
                (layer.forward(x.clone().detach(), Epilogue::None, &ctx) * c.clone()).sum()
            });
        }
        // And of the input, through the batch's statistics: shifting or scaling a channel changes nothing.
        let gradients = (layer.forward(x.clone(), Epilogue::None, &Ctx::train(0, 0)) * c).sum().backward();
        let dx = values(&x.grad(&gradients).unwrap());
        for channel in 0..SHAPE[1] {
            assert_close("sum of gradients", &[self::channel(&dx, channel).iter().sum()], &[0.0], 1e-12);
        }
    }
}
