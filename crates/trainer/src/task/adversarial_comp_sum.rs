//! Adversarial training by smooth comp-sum losses.
use burn::tensor::{Device, Int, Tensor, TensorData};
use kiln_activations::{
    Ctx,
    loss::{Loss, LossConfig, is_class},
};
use kiln_models::{Ask, Input, InputSpec, Io, Model};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Forward, Misfit, Pass, Task, TaskParams};
use crate::{config::schema::Experiment, train::feed::DeviceBatch};

/// Parameters of [`AdversarialCompSum`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdversarialCompSumConfig {
    /// Weight of the term; it must be tuned, small tasks want 0.05 to 0.3.
    #[serde(deserialize_with = "range::positive")]
    #[schemars(range(min = 0.0))]
    pub nu: f64,
    /// How far each input value may be moved.
    #[serde(deserialize_with = "range::positive")]
    #[schemars(range(min = 0.0))]
    pub gamma: f64,
    /// Steps of the search for the worst input.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub steps: usize,
    /// Length of such a step.
    #[serde(deserialize_with = "range::positive")]
    #[schemars(range(min = 0.0))]
    pub step_size: f64,
    /// The smallest and largest value an input may have; left out, any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<[f64; 2]>,
}

impl Default for AdversarialCompSumConfig {
    /// The paper's weight; ball and search of small images with values between 0 and 1.
    fn default() -> Self {
        Self { nu: 1.0, gamma: 0.1, steps: 5, step_size: 0.04, range: Some([0.0, 1.0]) }
    }
}

impl Entry for AdversarialCompSumConfig {
    const SUMMARY: &'static str = "a comp-sum loss and the most that a small change of the input does to the margins";
    const PAPER: &'static str = "Mao, Mohri and Zhong 2023, Cross-Entropy Loss Functions: Theoretical Analysis and Applications, arXiv:2304.07288";
}

impl TaskParams for AdversarialCompSumConfig {
    fn check(&self, experiment: &Experiment, io: &Io) -> Result<(), Misfit> {
        let refuse = |key, message| Err(Misfit { key, message });
        if !matches!(experiment.loss, LossConfig::CompSum(_)) {
            let message = format!("it is made for the loss \"comp_sum\", not for \"{}\"", experiment.loss.name());
            return refuse("name", message);
        }
        if !matches!(io.input, InputSpec::Floats { .. }) {
            let message = format!(
                "it moves input values a little, and the data gives {}; take data of feature vectors",
                io.input
            );
            return refuse("name", message);
        }
        match self.range {
            Some([low, high]) if low.is_nan() || high.is_nan() || low >= high => {
                refuse("range", format!("[{low}, {high}] is no range; expected the smaller number first"))
            }
            _ => Ok(()),
        }
    }

    fn init(&self, _: &Experiment, _: &Io, _: &Device) -> Result<Box<dyn Task>, Misfit> {
        Ok(Box::new(AdversarialCompSum { config: self.clone() }))
    }
}

/// A step towards answers that a small change of the input does not move.
/// ```text
/// loss(z(x), y) + ν mean_rows ‖Δ(x') − Δ(x)‖₂,   Δ_k = z_y − z_k
/// x' near the input that makes the norm largest within |x' − x|_∞ ≤ γ and the range of the data
/// ```
/// The search begins at x plus 0.001 times a normal draw and makes steps along the sign of the gradient, each projected back;
/// it counts as a constant, while the norm is differentiated through x and x' alike. The second summand is the term `adversarial`.
///
/// # References
/// Mao, Mohri and Zhong 2023, arXiv:2304.07288, section 5.
pub struct AdversarialCompSum {
    config: AdversarialCompSumConfig,
}

impl AdversarialCompSum {
    /// Projects moved inputs to the ball around `x` and to the range of the data.
    fn projected(&self, moved: Tensor<2>, x: &Tensor<2>) -> Tensor<2> {
        let gamma = self.config.gamma;
        let moved = moved.max_pair(x.clone().sub_scalar(gamma)).min_pair(x.clone().add_scalar(gamma));
        match self.config.range {
            Some([low, high]) => moved.clamp(low, high),
            None => moved,
        }
    }

    /// An input near `x` that moves the margins far, off the graph.
    fn worst(&self, x: &Tensor<2>, margins: impl Fn(Tensor<2>) -> Tensor<2>, ctx: &Ctx) -> Tensor<2> {
        let mut draws = ctx.child("adversary").draws();
        let shape = x.dims();
        let noise: Vec<f64> = (0..shape.iter().product()).map(|_| 1e-3 * draws.normal()).collect();
        let noise = Tensor::from_data(TensorData::new(noise, shape), (&x.device(), x.dtype()));
        let still = margins(x.clone()).detach();
        let mut moved = self.projected(x.clone() + noise, x);
        for _ in 0..self.config.steps {
            let leaf = moved.clone().detach().require_grad();
            let apart = norm(margins(leaf.clone()) - still.clone()).sum();
            let gradient = leaf.grad(&apart.backward());
            let Some(gradient) = gradient else { return moved };
            let gradient = Tensor::from_inner(gradient);
            moved = self.projected(moved + gradient.sign().mul_scalar(self.config.step_size), x).detach();
        }
        moved
    }
}

/// The length of each row (`[rows]`), with a finite slope at 0.
fn norm(x: Tensor<2>) -> Tensor<1> {
    (x.clone() * x).sum_dim(1).add_scalar(1e-12).sqrt().squeeze_dim(1)
}

/// The margins z_y − z_k of logits, 0 at the class itself.
fn margins(logits: Tensor<2>, classes: &Tensor<1, Int>) -> Tensor<2> {
    let own = logits.clone().gather(1, classes.clone().unsqueeze_dim::<2>(1));
    let mask = is_class(classes, &logits);
    (own - logits).mask_fill(mask, 0.0)
}

impl Task for AdversarialCompSum {
    fn pass(&self, model: &Model, loss: &Loss, batch: &DeviceBatch, ctx: &Ctx) -> Pass {
        let Input::Floats(x) = &batch.input else { panic!("`check` lets only feature vectors pass") };
        let x = x.clone().autodiff();
        let classes = batch.target.classes();
        // The answers are not told: a head's own margin would move with them.
        let ask: &Ask = &batch.ask;
        let margins = |x: Tensor<2>| margins(model.forward(&Input::Floats(x), ask, ctx), classes);
        let moved = self.worst(&x, margins, ctx);
        let mut forward = Forward::new(model, loss, batch, ctx);
        let apart = norm(margins(moved) - margins(x)).mean();
        forward.add("adversarial", apart.mul_scalar(self.config.nu));
        forward.backward(model, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::DType;

    use super::*;
    use crate::train::engine::host;

    fn tensor(values: &[f64], columns: usize) -> Tensor<2> {
        let data = TensorData::new(values.to_vec(), [values.len() / columns, columns]);
        Tensor::from_data(data, (&Device::flex().autodiff(), DType::F64))
    }

    fn task(range: Option<[f64; 2]>) -> AdversarialCompSum {
        AdversarialCompSum { config: AdversarialCompSumConfig { range, ..Default::default() } }
    }

    #[test]
    fn the_margins_move_by_their_golden_length() {
        let classes = Tensor::<1, Int>::from_data([0], &Device::flex());
        let still = margins(tensor(&[1.0, -0.5, 2.0], 3), &classes);
        assert_eq!(host(&still), [0.0, 1.5, -1.0]);
        let moved = margins(tensor(&[0.8, -0.1, 2.1], 3), &classes);
        let length = host(&norm(moved - still))[0];
        assert!((length - 0.6708203932).abs() < 1e-9, "{length}");
    }

    #[test]
    fn the_search_ends_at_the_corner_of_the_ball_and_in_the_range() {
        // The margin of class 0 is 2 x_0 − 3 x_1: the far corner moves x_0 and x_1 apart, in either direction.
        let weight = tensor(&[1.0, -1.0, -1.5, 1.5], 2);
        let classes = Tensor::<1, Int>::from_data([0, 0], &Device::flex());
        let x = tensor(&[0.5, 0.5, 0.03, 0.98], 2);
        let f = |x: Tensor<2>| margins(x.matmul(weight.clone()), &classes);
        let moved = host(&task(Some([0.0, 1.0])).worst(&x, f, &Ctx::train(0, 3)));
        let offset = [moved[0] - 0.5, moved[1] - 0.5];
        assert!((offset[0].abs() - 0.1).abs() < 1e-12 && (offset[0] + offset[1]).abs() < 1e-12, "{offset:?}");
        let allowed = |x: f64, least: f64, most: f64| (least - 1e-12..=most + 1e-12).contains(&x);
        assert!(allowed(moved[2], 0.0, 0.13) && allowed(moved[3], 0.88, 1.0), "{moved:?}");
    }
}
