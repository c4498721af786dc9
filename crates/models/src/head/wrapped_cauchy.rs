//! WCDAS: the wrapped Cauchy density of the angle.
use std::f64::consts::TAU;

use burn::{
    module::{Module, Param},
    tensor::{Tensor, activation::sigmoid},
};
use kiln_activations::{Ctx, Init};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Angular, HeadParams, Laws, Scorer, Site,
    angular::{above_one, first_scale, learned_scale, single},
};
use crate::{Ask, Invalid};

/// No class is more concentrated than this.
const MOST: f64 = 0.9999;

/// Parameters of [`WrappedCauchy`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WrappedCauchyConfig {
    /// Factor on the density, or its first value.
    #[serde(deserialize_with = "range::positive")]
    #[schemars(range(min = 0.0))]
    pub s: f64,
    /// Whether the factor is learned, as softplus + 1: then it begins above 1.
    pub learn_scale: bool,
    /// First logit of every class's concentration: 0 for CIFAR-LT, −1 for ImageNet-LT, 1 for iNaturalist.
    #[serde(deserialize_with = "range::finite")]
    pub concentration: f64,
}

impl Default for WrappedCauchyConfig {
    /// A fixed scale for ten classes. The paper's learned one begins at 1.69, where the logits span 0.7 and learning is slow;
    /// its largest setting is fixed at 250.
    fn default() -> Self {
        Self { s: 50.0, learn_scale: false, concentration: 0.0 }
    }
}

impl Entry for WrappedCauchyConfig {
    const SUMMARY: &'static str =
        "the wrapped Cauchy density of each class's angle, with a learned concentration per class";
    const PAPER: &'static str = "Han 2023, Wrapped Cauchy Distributed Angular Softmax for Long-Tailed Visual Recognition, \
                                 arXiv:2305.18732";
}

impl HeadParams for WrappedCauchyConfig {
    fn laws(&self) -> Laws {
        Laws::LINEAR
    }

    fn check(&self, _: &Site) -> Result<(), Invalid> {
        if self.learn_scale { above_one(self.s) } else { Ok(()) }
    }
}

impl WrappedCauchyConfig {
    /// The head.
    pub fn init(&self, (site, init): (&Site, &Init)) -> WrappedCauchy {
        WrappedCauchy {
            classes: Angular::new(&init.child("classes"), site),
            concentration: init.constant([site.outputs], self.concentration),
            scale: self.learn_scale.then(|| first_scale(init, self.s)),
            s: self.s,
        }
    }
}

/// Softmax over wrapped Cauchy densities of the angles between features and class vectors.
/// ```text
/// z_j = s (1 − γ_j²) / (2π (1 + γ_j² − 2 γ_j c_j)),   γ_j = σ(g_j) at most 0.9999
/// s fixed, or softplus(ŝ) + 1
/// ```
/// g, one per class, and ŝ are learned; keep weight decay off them by a group of the optimizer
/// (`groups = [{ match = "concentration$", weight_decay = 0.0 }]`). The authors' code writes 3.14 for π.
///
/// # Shapes
/// - features: `[answers, features]`; logits: `[answers, outputs]`. The order of the classes is not that of their cosines, as γ
///   differs.
/// # References
/// Han 2023, arXiv:2305.18732.
#[derive(Module, Debug)]
pub struct WrappedCauchy {
    /// The class vectors.
    pub classes: Angular,
    /// g: `[outputs]`
    pub concentration: Param<Tensor<1>>,
    /// ŝ: `[1]`, if the scale is learned.
    pub scale: Option<Param<Tensor<1>>>,
    s: f64,
}

impl WrappedCauchy {
    /// The logits of cosines (`[answers, outputs]`).
    fn of_cosines(&self, c: Tensor<2>) -> Tensor<2> {
        let g = single(self.concentration.val().unsqueeze_dim::<2>(0));
        let gamma = sigmoid(g).clamp_max(MOST);
        let square = gamma.clone() * gamma.clone();
        let distance = square.clone().add_scalar(1.0) - gamma.mul_scalar(2.0) * c;
        let density = square.neg().add_scalar(1.0) / distance;
        match &self.scale {
            None => density.mul_scalar(self.s / TAU),
            Some(scale) => density * learned_scale(scale).mul_scalar(1.0 / TAU),
        }
    }
}

impl Scorer for WrappedCauchy {
    fn forward(&self, features: Tensor<2>, _: &Ask, _: &Ctx) -> Tensor<2> {
        let dtype = features.dtype();
        self.of_cosines(self.classes.cosines(features)).cast(dtype)
    }

    fn unembedding(&self) -> Option<Tensor<2>> {
        Some(self.classes.vectors())
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, Int, TensorData};
    use kiln_activations::loss::{LossConfig, Target};

    use super::*;
    use crate::{
        block::Draw,
        testing::{assert_close, device, values},
    };

    fn vector(values: &[f64]) -> Tensor<1> {
        Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), (&device(), DType::F64)).require_grad()
    }

    fn head(s: f64, learn_scale: bool, g: &[f64]) -> WrappedCauchy {
        let site = Site { features: 2, outputs: 3, bias: true, draw: Draw::Uniform };
        let config = WrappedCauchyConfig { s, learn_scale, concentration: 0.0 };
        config.check(&site).unwrap();
        let mut head = config.init((&site, &Init::new(0, &device(), DType::F64)));
        head.concentration = head.concentration.map(|_| vector(g));
        head
    }

    #[test]
    fn golden_values() {
        // softplus(0) + 1
        let head = head(1.0 + std::f64::consts::LN_2, true, &[0.0, -1.0, 1.0]);
        let c = vector(&[0.9, 0.2, -0.4]);
        let z = head.of_cosines(c.clone().unsqueeze_dim::<2>(0));
        let w: Vec<f64> = values(&z).iter().map(|z| z / (1.0 + std::f64::consts::LN_2)).collect();
        assert_close("w", &w, &[0.3410463066, 0.1530374716, 0.03496217837], 1e-9);
        let cross_entropy = |z: Tensor<2>, class: i32| {
            let loss = serde_json::from_str::<LossConfig>(r#"{ "name": "cross_entropy", "dtype": "f64" }"#).unwrap();
            let target = Target::Classes(Tensor::<1, Int>::from_data([class], &device()));
            loss.init(&Init::new(0, &device(), DType::F64)).forward(z, &target).mean
        };
        let loss = cross_entropy(z, 0);
        assert_close("loss", &values(&loss), &[0.8428292052], 1e-9);
        let gradients = loss.backward();
        let of = |leaf: Tensor<1>| values(&leaf.grad(&gradients).expect("it takes part"));
        assert_close("dc", &of(c.clone()), &[-0.9395950554, 0.04523561636, 0.01047073183], 1e-9);
        let want = [-0.07829958795, -0.01152926731, -0.01255656432];
        assert_close("dg", &of(head.concentration.val()), &want, 1e-9);
        assert_close("dŝ", &of(head.scale.unwrap().val()), &[-0.06867274842], 1e-9);
        let head = super::tests::head(250.0, false, &[0.0, -1.0, 1.0]);
        let loss = cross_entropy(head.of_cosines(c.unsqueeze_dim::<2>(0)), 1);
        assert_close("loss at 250", &values(&loss), &[47.00220876], 1e-9);
    }

    #[test]
    fn a_learned_scale_below_1_is_refused() {
        let site = Site { features: 2, outputs: 3, bias: true, draw: Draw::Uniform };
        let config = WrappedCauchyConfig { s: 0.5, learn_scale: true, concentration: 0.0 };
        assert!(config.check(&site).unwrap_err().message.contains("begins above 1, not at 0.5"));
    }
}
