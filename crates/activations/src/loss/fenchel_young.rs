//! Fenchel-Young losses.
use burn::module::Module;
use burn::tensor::Tensor;
use kiln_registry::{Entry, Tagged};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{LossDtype, LossOutput, Objective, SumOrder, Target, TargetKind, by_rows};
use crate::{
    Ctx, Init, Keep,
    normalizer::{Heads, Normalizer, NormalizerConfig, Rows, composed::at_class},
};

/// Parameters of [`FenchelYoung`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FenchelYoungConfig {
    /// The map whose loss it is.
    pub normalizer: NormalizerConfig,
    /// The precision of the loss, chosen apart from the model's.
    pub dtype: LossDtype,
    /// The order of the row sums.
    pub sum: SumOrder,
}

impl Default for FenchelYoungConfig {
    /// The sparsemax loss, the first of its kind that is not cross entropy.
    fn default() -> Self {
        Self {
            normalizer: NormalizerConfig::Sparsemax(Default::default()),
            dtype: LossDtype::default(),
            sum: SumOrder::default(),
        }
    }
}

impl Entry for FenchelYoungConfig {
    const SUMMARY: &'static str = "the loss whose gradient is the map's weights minus the target: sparsemax, entmax";
    const PAPER: &'static str =
        "Blondel, Martins and Niculae 2020, Learning with Fenchel-Young Losses, arXiv:1901.02324";
}

impl FenchelYoungConfig {
    /// The loss.
    pub fn init(&self, init: &Init) -> FenchelYoung {
        FenchelYoung {
            normalizer: self.normalizer.init(&init.child("normalizer")),
            normalizer_name: self.normalizer.name(),
            dtype: self.dtype,
            sum: self.sum,
        }
    }
}

/// The Fenchel-Young loss of a map that maximises ⟨p, z⟩ + H(p) over the simplex.
/// ```text
/// L = max_p [⟨p, z⟩ + H(p)] − z_y,   ∂L/∂z = p − e_y
/// ```
/// It is convex, not negative, and 0 where the map gives the target all the weight: for a sparse map that happens at a
/// finite margin (1 for sparsemax, 1/(α − 1) for entmax), so that a solved sample stops pulling. Of softmax it is cross
/// entropy.
///
/// # Shapes
/// - logits: `[rows, classes]`; target: [`Target::Classes`]
/// # References
/// Blondel, Martins and Niculae 2020, arXiv:1901.02324.
#[derive(Module, Debug)]
pub struct FenchelYoung {
    /// The map.
    pub normalizer: Normalizer,
    #[module(skip)]
    normalizer_name: &'static str,
    /// The precision.
    #[module(skip)]
    pub dtype: LossDtype,
    /// The order of sums.
    #[module(skip)]
    pub sum: SumOrder,
}

impl Objective for FenchelYoung {
    fn forward(&self, logits: Tensor<2>, target: &Target) -> LossOutput {
        let kernel = self.normalizer.fenchel_young(self.sum).expect("`check` lets only maps with such a loss pass");
        let row_params = self.normalizer.row_params(&logits, Heads::ONE);
        by_rows(self, logits, row_params, target, kernel)
    }

    fn dtype(&self) -> LossDtype {
        self.dtype
    }

    fn sum(&self) -> SumOrder {
        self.sum
    }

    fn targets(&self) -> &'static [TargetKind] {
        &[TargetKind::Classes]
    }

    fn probabilities(&self, logits: Tensor<2>) -> Option<Tensor<2>> {
        Some(self.normalizer.rows(logits.detach(), &Keep::All, Heads::ONE, &Ctx::eval(0, 0)))
    }

    fn composed(&self, logits: Tensor<2>, target: &Target) -> Tensor<1> {
        let classes = target.classes();
        let params = self.normalizer.row_params(&logits, Heads::ONE);
        let rows = Rows { scores: logits.clone(), params, keep: &Keep::All };
        // At the maximum the weights' own gradient has no effect.
        let weights = self.normalizer.composed(&rows, &Ctx::eval(0, 0)).detach();
        let entropy = self.normalizer.entropy(weights.clone(), &rows);
        let entropy = entropy.expect("`check` lets only maps with such a loss pass").squeeze_dim::<1>(1);
        // ⟨p, z⟩ − z_y, as p sums to 1. A logit of −∞ has weight 0.
        let rivals = logits.clone().mask_fill(logits.clone().detach().equal_elem(f64::NEG_INFINITY), 0.0);
        let behind = rivals - at_class(logits, classes).unsqueeze_dim::<2>(1);
        (weights * behind).sum_dim(1).squeeze_dim::<1>(1) + entropy
    }

    fn check(&self) -> Result<(), String> {
        if self.normalizer.fenchel_young(self.sum).is_some() {
            return Ok(());
        }
        let has = |name: &&&str| {
            NormalizerConfig::by_name(name)
                .is_some_and(|config| config.init(&Init::sample()).fenchel_young(self.sum).is_some())
        };
        let others: Vec<&str> = NormalizerConfig::NAMES.iter().filter(has).copied().collect();
        Err(format!(
            "fenchel_young needs a map that maximises an entropy, and the normalizer \"{}\" is none; choose one of: {}",
            self.normalizer_name,
            others.join(", ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::DType;

    use super::*;
    use crate::testing::{assert_close, assert_gradient, classes, device, normal, tensor, values};

    fn loss(normalizer: &str) -> FenchelYoung {
        let json = format!(r#"{{ "normalizer": {normalizer}, "dtype": "f64" }}"#);
        let config: FenchelYoungConfig = serde_json::from_str(&json).expect("a good config");
        config.init(&Init::new(0, &device(), DType::F64))
    }

    /// Every map with a loss, at several parameters.
    const MAPS: [&str; 9] = [
        r#""softmax""#,
        r#""sparsemax""#,
        r#"{ "name": "entmax", "alpha": 1 }"#,
        r#"{ "name": "entmax", "alpha": 1.01 }"#,
        r#"{ "name": "entmax", "alpha": 1.25 }"#,
        r#"{ "name": "entmax", "alpha": 1.5 }"#,
        r#"{ "name": "entmax", "alpha": 2 }"#,
        r#"{ "name": "entmax", "alpha": 3 }"#,
        r#"{ "name": "sparse_softmax", "k": 3 }"#,
    ];

    fn rows(loss: &FenchelYoung, x: Tensor<2>, target: &[usize]) -> Tensor<1> {
        loss.forward(x, &Target::Classes(classes(target))).rows
    }

    #[test]
    fn golden_values() {
        let x = [1.0, 2.0, -1.0, 0.5];
        for (map, target, want) in [
            (r#"{ "name": "entmax", "alpha": 1.5 }"#, 0, 1.064230638),
            (r#"{ "name": "entmax", "alpha": 1.5 }"#, 1, 0.06423063791),
            (r#""sparsemax""#, 0, 1.0),
            (r#""sparsemax""#, 1, 0.0),
            (r#""sparsemax""#, 2, 3.0),
        ] {
            let got = values(rows(&loss(map), tensor(&x, 4, DType::F64), &[target]));
            assert_close(map, &got, &[want], 1e-9, 1e-15);
        }
        let x = [0.1, 1.7, 0.9, -0.3, 2.2, 0.4];
        for (target, want, gradient) in [
            (1, 1.130772957, [0.0, -0.677216338, 0.1450360485, 0.0, 0.5321802895, 0.0]),
            // Outside of the three largest.
            (3, 3.130772957, [0.0, 0.322783662, 0.1450360485, -1.0, 0.5321802895, 0.0]),
        ] {
            let x = tensor(&x, 6, DType::F64).require_grad();
            let row = rows(&loss(r#"{ "name": "sparse_softmax", "k": 3 }"#), x.clone(), &[target]);
            assert_close("sparse_softmax", &values(row.clone().detach()), &[want], 1e-9, 0.0);
            let grads = row.sum().backward();
            assert_close("gradient", &values(x.grad(&grads).expect("x takes part")), &gradient, 1e-9, 1e-11);
        }
    }

    #[test]
    fn the_gradient_is_the_weights_minus_the_target() {
        let (count, n) = (5, 17);
        let target: Vec<usize> = (0..count).map(|row| row * 3).collect();
        for map in MAPS {
            let loss = loss(map);
            for scale in [0.1, 1.0, 10.0] {
                let x = tensor(&normal(1, count * n, scale), n, DType::F64).require_grad();
                let row = rows(&loss, x.clone(), &target);
                assert!(values(row.clone().detach()).iter().all(|&l| l >= -1e-12), "{map}");
                let dx = values(x.grad(&row.sum().backward()).expect("x takes part"));
                let mut want = values(loss.normalizer.weights(x.detach(), 1, None, &Ctx::eval(0, 0)));
                target.iter().enumerate().for_each(|(row, class)| want[row * n + class] -= 1.0);
                assert_close(map, &dx, &want, 1e-12, 1e-14);
                assert_gradient(map, &normal(1, count * n, scale), &vec![1.0; count * n], n, |x| {
                    rows(&loss, x, &target).unsqueeze_dim::<2>(1).expand([count, n]) / n as f64
                });
            }
        }
    }

    #[test]
    fn a_sparse_loss_is_zero_from_its_margin_on() {
        for (map, margin) in [
            (r#""sparsemax""#, 1.0),
            (r#"{ "name": "entmax", "alpha": 1.5 }"#, 2.0),
            (r#"{ "name": "entmax", "alpha": 1.25 }"#, 4.0),
        ] {
            let at = |margin: f64| values(rows(&loss(map), tensor(&[margin, 0.0, -1.0], 3, DType::F64), &[0]))[0];
            assert!(at(margin * 0.99) > 0.0 && at(margin) == 0.0 && at(margin * 3.0) == 0.0, "{map}");
        }
    }

    /// For two classes sparsemax's loss is Huber's: (t − 1)²/4 between t = −1 and 1, −t below.
    #[test]
    fn two_classes_are_huber() {
        for (t, want) in [(1.5, 0.0), (0.5, 0.0625), (0.0, 0.25), (-0.5, 0.5625), (-1.0, 1.0), (-3.0, 3.0)] {
            let got = values(rows(&loss(r#""sparsemax""#), tensor(&[t, 0.0], 2, DType::F64), &[0]));
            assert_close("huber", &got, &[want], 1e-12, 1e-15);
        }
    }

    #[test]
    fn a_map_without_an_entropy_is_refused() {
        let message = loss(r#""stablemax""#).check().expect_err("refused");
        assert!(message.contains("\"stablemax\" is none; choose one of: softmax, sparsemax, entmax"), "{message}");
        assert!(MAPS.iter().all(|map| loss(map).check().is_ok()));
    }
}
