//! Partial FC: some of the classes at a time.
use burn::{
    module::Module,
    tensor::{Int, Tensor, TensorData},
};
use kiln_activations::{Ctx, Init};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Angular, HeadParams, Laws, Scorer, Site,
    angular::{at_class, cosines, said, with_own},
};
use crate::{Ask, Invalid};

/// Parameters of [`PartialFc`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PartialFcConfig {
    /// The share of the classes that take part in a training step, those of the batch among them.
    #[serde(deserialize_with = "range::positive")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub rate: f64,
    /// Factor on the cosines.
    #[serde(deserialize_with = "range::positive")]
    #[schemars(range(min = 0.0))]
    pub s: f64,
    /// What is taken off the cosine of the right class while training.
    #[serde(deserialize_with = "range::non_negative")]
    #[schemars(range(min = 0.0))]
    pub m: f64,
}

impl Default for PartialFcConfig {
    /// The authors' code.
    fn default() -> Self {
        Self { rate: 0.1, s: 64.0, m: 0.4 }
    }
}

impl Entry for PartialFcConfig {
    const SUMMARY: &'static str = "CosFace among the classes of the batch and a random share of the others";
    const PAPER: &'static str =
        "An et al. 2020, Partial FC: Training 10 Million Identities on a Single Machine, arXiv:2010.05222";
}

impl HeadParams for PartialFcConfig {
    fn laws(&self) -> Laws {
        Laws { needs_classes: true, batch_coupled: true, ..Laws::cosines(self.s * (1.0 + self.m)) }
    }

    fn check(&self, _: &Site) -> Result<(), Invalid> {
        if self.rate <= 1.0 {
            return Ok(());
        }
        Err(Invalid::new("rate", format!("{} is out of range; expected a share above 0 and at most 1", self.rate)))
    }
}

impl PartialFcConfig {
    /// The head.
    pub fn init(&self, (site, init): (&Site, &Init)) -> PartialFc {
        let Self { rate, s, m } = *self;
        PartialFc { classes: Angular::new(&init.child("classes"), site), rate, s, m }
    }
}

/// CosFace among some of the classes: in a training step the classes of the batch and, drawn without replacement, so many
/// others that `⌊rate · outputs⌋` take part, or all of the batch's if they are more.
/// ```text
/// z_y = s (c_y − m),   z_j = s c_j   of the classes that take part;   z_j = −∞ of the others
/// ```
/// A class at −∞ leaves every sum of a loss and gets the gradient 0; the vectors that take part are gathered before the product,
/// so that the others cost nothing. An optimizer with momentum or decay moves those vectors all the same, unlike the authors'
/// sparse one. An evaluation takes all classes.
///
/// # Shapes
/// - features: `[answers, features]`; logits: `[answers, outputs]`
/// # References
/// An et al. 2020, arXiv:2010.05222. One published version may drop a class of the batch when it cuts the list; this one does not.
#[derive(Module, Debug)]
pub struct PartialFc {
    /// The class vectors.
    pub classes: Angular,
    rate: f64,
    s: f64,
    m: f64,
}

/// The classes that take part, in order: those of the batch, then the first others in the order that `shuffled` gives to a list
/// of their number.
fn partake(targets: &[usize], outputs: usize, rate: f64, shuffled: impl FnOnce(usize) -> Vec<usize>) -> Vec<usize> {
    let mut taken = vec![false; outputs];
    targets.iter().for_each(|&class| taken[class] = true);
    let others: Vec<usize> = (0..outputs).filter(|class| !taken[*class]).collect();
    let wanted = (rate * outputs as f64) as usize;
    let more = wanted.saturating_sub(outputs - others.len());
    shuffled(others.len()).into_iter().take(more).for_each(|place| taken[others[place]] = true);
    (0..outputs).filter(|class| taken[*class]).collect()
}

impl PartialFc {
    /// The logits with a margin, among classes whose vectors are the columns of `weight`.
    fn scored(&self, features: Tensor<2>, weight: Tensor<2>, classes: &Tensor<1, Int>) -> Tensor<2> {
        let c = cosines(features, weight);
        let own = at_class(c.clone(), classes).sub_scalar(self.m);
        with_own(c, classes, own).mul_scalar(self.s)
    }
}

impl Scorer for PartialFc {
    fn forward(&self, features: Tensor<2>, ask: &Ask, ctx: &Ctx) -> Tensor<2> {
        let (dtype, weight) = (features.dtype(), self.classes.weight.val());
        let Some(classes) = said(ask) else {
            return self.classes.cosines(features).mul_scalar(self.s).cast(dtype);
        };
        if self.rate >= 1.0 {
            return self.scored(features, weight, classes).cast(dtype);
        }
        let ([rows, _], [_, outputs], device) = (features.dims(), weight.dims(), features.device());
        let targets: Vec<usize> = classes.to_data().iter::<i64>().map(|class| class as usize).collect();
        let partake = partake(&targets, outputs, self.rate, |n| ctx.draws().permutation(n));
        let ints = |values: Vec<usize>| {
            let count = values.len();
            let values: Vec<i64> = values.into_iter().map(|value| value as i64).collect();
            Tensor::<1, Int>::from_data(TensorData::new(values, [count]), &device)
        };
        // Where each class stands among those that take part; the others share a last column of −∞.
        let mut place = vec![partake.len(); outputs];
        partake.iter().enumerate().for_each(|(at, class)| place[*class] = at);
        let remapped = ints(targets.iter().map(|class| place[*class]).collect());
        let scored = self.scored(features, weight.select(1, ints(partake)), &remapped);
        let nothing = Tensor::full([rows, 1], f64::NEG_INFINITY, (&device, scored.dtype()));
        Tensor::cat(vec![scored, nothing], 1).select(1, ints(place)).cast(dtype)
    }

    fn unembedding(&self) -> Option<Tensor<2>> {
        Some(self.classes.vectors())
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::DType;
    use kiln_activations::loss::{LossConfig, Target};

    use super::*;
    use crate::{
        block::Draw,
        head::{CosFaceConfig, HeadConfig},
        testing::{assert_close, device, named_values, normal, values},
    };

    const SITE: Site = Site { features: 5, outputs: 31, bias: true, draw: Draw::Uniform };

    fn head(rate: f64) -> PartialFc {
        let config = PartialFcConfig { rate, s: 8.0, m: 0.35 };
        config.init((&SITE, &Init::new(3, &device(), DType::F64)))
    }

    fn knowing(classes: &[i64]) -> (Ask, Target) {
        let target = Target::Classes(Tensor::from_data(TensorData::new(classes.to_vec(), [classes.len()]), &device()));
        (Ask::row().knowing(target.clone()), target)
    }

    #[test]
    fn those_of_the_batch_and_some_others_take_part() {
        // The others are 0, 2, 3, 5, in the order 5, 0, 2, 3.
        let order = |n| {
            assert_eq!(n, 4);
            vec![3, 0, 1, 2]
        };
        assert_eq!(partake(&[4, 1, 4], 6, 0.5, order), [1, 4, 5]);
        // More in the batch than the rate allows.
        assert_eq!(partake(&[4, 1, 4], 6, 0.1, order), [1, 4]);
        assert_eq!(partake(&[4, 1, 4], 6, 0.99, order), [0, 1, 2, 4, 5]);
    }

    #[test]
    fn the_loss_is_that_of_the_classes_that_take_part() {
        let head = head(0.2);
        let features = normal([3, 5], DType::F64, "features");
        let (ask, target) = knowing(&[4, 30, 4]);
        let loss = serde_json::from_str::<LossConfig>(r#"{ "name": "cross_entropy", "dtype": "f64" }"#).unwrap();
        let loss = loss.init(&Init::new(0, &device(), DType::F64));
        let logits = head.forward(features.clone(), &ask, &Ctx::train(0, 5));
        let host = values(&logits);
        let kept = |row: usize| (0..31).filter(|class| host[row * 31 + class].is_finite()).collect::<Vec<_>>();
        assert_eq!(kept(0).len(), 6);
        assert!(kept(0).contains(&4) && kept(0).contains(&30) && kept(0) == kept(1));

        let full = values(&head.forward(features.clone(), &Ask::row(), &Ctx::eval(0, 5)));
        let mut want = Vec::new();
        for (row, y) in [4, 30, 4].into_iter().enumerate() {
            let z = |class: usize| full[row * 31 + class] - if class == y { 8.0 * 0.35 } else { 0.0 };
            want.push(kept(row).iter().map(|class| z(*class).exp()).sum::<f64>().ln() - z(y));
        }
        let output = loss.forward(logits, &target);
        assert_close("rows", &values(&output.rows), &want, 1e-13);

        let gradients = output.mean.backward();
        let weight = values(&head.classes.weight.val().grad(&gradients).expect("it takes part"));
        for class in 0..31 {
            let moved = (0..5).any(|i| weight[i * 31 + class] != 0.0);
            assert_eq!(moved, kept(0).contains(&class), "class {class}");
        }
        assert!(values(&features.grad(&gradients).expect("it takes part")).iter().all(|g| g.is_finite()));
    }

    #[test]
    fn golden_loss_among_three_classes() {
        // Features along the first axis; classes at the cosines 0.5, 0.7 and 0.1.
        let cosines = [0.5, 0.7, 0.1f64];
        let weight: Vec<f64> = cosines.into_iter().chain(cosines.map(|c| (1.0 - c * c).sqrt())).collect();
        let tensor = |values: Vec<f64>, shape: [usize; 2]| {
            Tensor::<2>::from_data(TensorData::new(values, shape), (&device(), DType::F64))
        };
        let classes = Tensor::<1, Int>::from_data([1], &device());
        let z = head(0.5).scored(tensor(vec![1.0, 0.0], [1, 2]), tensor(weight, [2, 3]), &classes);
        assert_close("logits", &values(&z), &[4.0, 2.8, 0.8], 1e-12);
        let loss = serde_json::from_str::<LossConfig>(r#"{ "name": "cross_entropy", "dtype": "f64" }"#).unwrap();
        let loss = loss.init(&Init::new(0, &device(), DType::F64)).forward(z, &Target::Classes(classes));
        assert_close("loss", &values(&loss.mean), &[1.494128561], 1e-9);
    }

    #[test]
    fn each_step_draws_anew_and_the_same_step_alike() {
        let (ask, _) = knowing(&[4]);
        let features = normal([1, 5], DType::F64, "features").detach();
        let at = |step| values(&head(0.2).forward(features.clone(), &ask, &Ctx::train(0, step)));
        assert_eq!(at(1), at(1));
        assert_ne!(at(1), at(2));
    }

    #[test]
    fn at_rate_1_it_is_cosface_bit_for_bit() {
        let cosface: HeadConfig = HeadConfig::CosFace(CosFaceConfig { s: 8.0, m: 0.35 });
        let cosface = cosface.init((&SITE, &Init::new(3, &device(), DType::F64)));
        assert_eq!(named_values(&cosface), named_values(&head(1.0)));
        let features = normal([3, 5], DType::F64, "features").detach();
        for ask in [knowing(&[4, 30, 0]).0, Ask::row()] {
            let (a, b) = (cosface.forward(features.clone(), &ask, &Ctx::train(0, 5)), head(1.0));
            assert_eq!(values(&a), values(&b.forward(features.clone(), &ask, &Ctx::train(0, 5))));
        }
    }
}
