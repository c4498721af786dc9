//! Noisy softmax: cross entropy that keeps the target's logit down while training.
use burn::tensor::{Int, Tensor, TensorData};
use kiln_stream::Draws;

use super::{CrossEntropy, CrossEntropyConfig, LossDtype, LossOutput, Objective as _, Target};
use crate::{
    Init,
    normalizer::{composed, root},
};

/// How far noise lowers the target's logit, given one draw ξ ~ N(0, 1) per row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NoiseSize {
    /// `alpha |ξ| (|w_y| |x| − w_y·x)`, the paper's choice: it fades as the features align with their class.
    #[default]
    Annealed,
    /// `alpha |ξ| |w_y| |x|`, for comparison.
    Amplitude,
    /// `alpha |ξ|`, for comparison.
    Free,
}

/// Noisy softmax: softmax cross entropy whose target logit is lowered by noise while training, which postpones the
/// saturation of softmax.
/// ```text
/// z_y ← z_y − alpha |ξ| |w_y| |x| (1 − cos θ),   θ the angle between w_y and x,   ξ ~ N(0, 1) for each row
/// ```
/// The noise is part of the graph: its gradient reaches the features x and the target's weights w_y. Features or weights of
/// length 0 have no direction, and there the length's gradient counts as 0. An evaluation takes the clean logits.
///
/// It needs the features and weights that the logits come from, so it is called by what owns them.
///
/// # References
/// Chen et al. 2017, Noisy Softmax: Improving the Generalization Ability of DCNN via Postponing the Early Softmax
/// Saturation, arXiv:1708.03769.
///
/// # Example
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use kiln_activations::{Ctx, loss::{LossDtype, NoisySoftmax, Target}};
///
/// let device = Device::flex();
/// let weight = Tensor::<2>::from_floats([[0.5, -1.0], [1.0, 0.5]], &device);
/// let features = Tensor::<2>::from_floats([[1.0, 2.0]], &device);
/// let logits = features.clone().matmul(weight.clone().transpose());
/// let target = Target::Classes(Tensor::<1, Int>::from_ints([0], &device));
/// let mut draws = Ctx::train(0, 0).child("noise").draws();
/// let loss = NoisySoftmax::default().loss(features, weight, logits, &target, &mut draws, LossDtype::F32);
/// assert!(loss.mean.into_scalar::<f32>() > 0.0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NoisySoftmax {
    /// Strength of the noise, at least 0; about 0.1 to 0.3 helps, 1 is too much.
    pub alpha: f64,
    /// What it scales with.
    pub size: NoiseSize,
}

impl Default for NoisySoftmax {
    /// Annealed noise with alpha = √0.1.
    fn default() -> Self {
        Self { alpha: 0.1f64.sqrt(), size: NoiseSize::Annealed }
    }
}

impl NoisySoftmax {
    /// The loss of each row, with fresh noise.
    ///
    /// # Shapes
    /// - `features`: `[rows, d]`; `weight`: `[classes, d]`; `logits`: `[rows, classes]`, all of one dtype; target:
    ///   [`Target::Classes`]
    ///
    /// # Panics
    /// If the shapes do not fit each other, the target is no class per row or one of them is not a class.
    pub fn loss(
        &self,
        features: Tensor<2>,
        weight: Tensor<2>,
        logits: Tensor<2>,
        target: &Target,
        draws: &mut Draws,
        dtype: LossDtype,
    ) -> LossOutput {
        let xi: Vec<f64> = (0..logits.dims()[0]).map(|_| draws.normal().abs()).collect();
        let shape = [xi.len()];
        let xi = Tensor::from_data(TensorData::new(xi, shape), (&logits.device(), logits.dtype()));
        let lowered = self.lowered(features, weight, logits, target.classes().clone(), xi);
        softmax_cross_entropy(dtype).forward(lowered, target)
    }

    /// The logits with each row's target lowered, for given `|ξ|` (`xi`, `[rows]`); shapes as in [`NoisySoftmax::loss`].
    ///
    /// # Panics
    /// If the shapes do not fit each other.
    pub fn lowered(
        &self,
        features: Tensor<2>,
        weight: Tensor<2>,
        logits: Tensor<2>,
        target: Tensor<1, Int>,
        xi: Tensor<1>,
    ) -> Tensor<2> {
        let ([rows, d], [classes, d_weight]) = (features.dims(), weight.dims());
        assert!(
            d == d_weight && logits.dims() == [rows, classes] && target.dims() == [rows] && xi.dims() == [rows],
            "noisy softmax: expected features [rows, d], weight [classes, d], logits [rows, classes], target [rows] and \
             xi [rows]; got {:?}, {:?}, {:?}, {:?} and {:?}",
            features.dims(),
            weight.dims(),
            logits.dims(),
            target.dims(),
            xi.dims()
        );
        let noise = xi.unsqueeze_dim::<2>(1) * self.alpha * self.reach(features, weight, target.clone());
        let other = composed::is_class(&target, &logits).bool_not();
        let noise = noise.expand([rows, classes]).mask_fill(other, 0.0);
        logits - noise
    }

    /// What `alpha |ξ|` is multiplied by (`[rows, 1]`).
    fn reach(&self, features: Tensor<2>, weight: Tensor<2>, target: Tensor<1, Int>) -> Tensor<2> {
        let rows = features.dims()[0];
        if self.size == NoiseSize::Free {
            return Tensor::ones([rows, 1], (&features.device(), features.dtype()));
        }
        let own = weight.select(0, target);
        let length = |x: &Tensor<2>| root((x.clone() * x.clone()).sum_dim(1));
        let lengths = length(&features) * length(&own);
        match self.size {
            NoiseSize::Annealed => lengths - (features * own).sum_dim(1),
            _ => lengths,
        }
    }
}

/// The loss of the noisy logits.
fn softmax_cross_entropy(dtype: LossDtype) -> CrossEntropy {
    CrossEntropyConfig { dtype, ..Default::default() }.init(&Init::sample())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Ctx,
        testing::{assert_bits, assert_close, classes, device, normal, tensor, values},
    };
    use burn::tensor::DType;

    const WEIGHT: [f64; 9] = [0.5, -1.0, 0.25, 1.0, 0.5, -0.5, -0.3, 0.8, 0.6];

    /// Noise, loss, and the gradients at the features and at the target's weights, for |ξ| = 0.8.
    fn evaluate(noisy: NoisySoftmax, x: [f64; 3], target: usize) -> (f64, f64, Vec<f64>, Vec<f64>) {
        let weight = tensor(&WEIGHT, 3, DType::F64).require_grad();
        let x = tensor(&x, 3, DType::F64).require_grad();
        let logits = x.clone().matmul(weight.clone().transpose());
        let xi = Tensor::from_data(TensorData::new(vec![0.8], [1]), (&device(), DType::F64));
        let lowered = noisy.lowered(x.clone(), weight.clone(), logits.clone(), classes(&[target]), xi);
        let noise = values(logits - lowered.clone())[target];
        let loss = softmax_cross_entropy(LossDtype::F64).forward(lowered, &Target::Classes(classes(&[target]))).mean;
        let grads = loss.clone().backward();
        let of = |leaf: &Tensor<2>| values(leaf.grad(&grads).expect("takes part"));
        (noise, values(loss)[0], of(&x), of(&weight)[3 * target..][..3].to_vec())
    }

    #[test]
    fn golden_values() {
        let x = [1.0, 2.0, -1.0];
        for (target, noise, loss, dx, dw) in [
            (
                1,
                0.1264911064,
                0.1854627001,
                [-0.2307187727, 0.04799122163, 0.1815016171],
                [-0.1264553049, -0.3813852329, 0.1692801793],
            ),
            (
                0,
                1.152648446,
                5.559484252,
                [0.3062402879, 2.024355279, -0.7725445923],
                [-0.9787493512, -3.035130404, 1.382861239],
            ),
        ] {
            let got = evaluate(NoisySoftmax::default(), x, target);
            assert_close("noise and loss", &[got.0, got.1], &[noise, loss], 1e-9, 0.0);
            assert_close("dx", &got.2, &dx, 1e-9, 0.0);
            assert_close("dw", &got.3, &dw, 1e-9, 0.0);
        }
    }

    #[test]
    fn each_size_of_noise() {
        let x = [1.0, 2.0, -1.0];
        let noise = |size| evaluate(NoisySoftmax { alpha: 0.5, size }, x, 1).0;
        // |w_y| = 1.5^½, |x| = 6^½, w_y·x = 2.5.
        assert_close("free", &[noise(NoiseSize::Free)], &[0.4], 1e-12, 0.0);
        assert_close("amplitude", &[noise(NoiseSize::Amplitude)], &[0.4 * 3.0], 1e-12, 0.0);
        assert_close("annealed", &[noise(NoiseSize::Annealed)], &[0.4 * 0.5], 1e-12, 0.0);
    }

    #[test]
    fn features_of_length_0_have_a_finite_gradient() {
        let (noise, _, dx, dw) = evaluate(NoisySoftmax::default(), [0.0; 3], 1);
        assert_eq!(noise, 0.0);
        assert!(dx.iter().chain(&dw).all(|d| d.is_finite()), "{dx:?} {dw:?}");
    }

    #[test]
    fn noise_comes_from_the_draws_and_only_raises_the_loss() {
        let (rows, d, n) = (20, 5, 3);
        let (x, w) = (tensor(&normal(1, rows * d, 1.0), d, DType::F32), tensor(&normal(2, n * d, 1.0), d, DType::F32));
        let logits = x.clone().matmul(w.clone().transpose());
        let target = Target::Classes(classes(&(0..rows).map(|row| row % n).collect::<Vec<_>>()));
        let loss = |alpha, ctx: Ctx| {
            let noisy = NoisySoftmax { alpha, size: NoiseSize::Annealed };
            values(noisy.loss(x.clone(), w.clone(), logits.clone(), &target, &mut ctx.draws(), LossDtype::F64).rows)
        };
        let (clean, noisy) = (loss(0.0, Ctx::train(0, 1)), loss(0.3, Ctx::train(0, 1)));
        assert!(clean.iter().zip(&noisy).all(|(clean, noisy)| noisy >= &(clean - 1e-6)));
        assert!(clean.iter().zip(&noisy).any(|(clean, noisy)| noisy > &(clean + 0.01)));
        assert_bits("again", &loss(0.3, Ctx::train(0, 1)), &noisy);
        assert_ne!(loss(0.3, Ctx::train(0, 2)), noisy);
    }

    #[test]
    #[should_panic(expected = "expected features [rows, d], weight [classes, d]")]
    fn shapes_that_do_not_fit_are_named() {
        let zeros = |rows, n| tensor(&vec![0.0; rows * n], n, DType::F32);
        let draws = &mut Ctx::train(0, 0).draws();
        let target = Target::Classes(classes(&[0]));
        let _ = NoisySoftmax::default().loss(zeros(1, 3), zeros(2, 4), zeros(1, 2), &target, draws, LossDtype::F32);
    }
}
