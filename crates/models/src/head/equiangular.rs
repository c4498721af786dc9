//! Equiangular basis vectors: class vectors that are not learned.
use burn::{
    module::{Module, Param},
    tensor::Tensor,
};
use kiln_activations::{Ctx, Init};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    HeadParams, Laws, Scorer, Site,
    angular::{single, unit},
    basis,
};
use crate::{
    Ask, Invalid,
    kernel::{self, Epilogue},
};

/// Parameters of [`Equiangular`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EquiangularConfig {
    /// What the cosines are divided by.
    #[serde(deserialize_with = "range::positive")]
    #[schemars(range(min = 0.0))]
    pub temperature: f64,
    /// The largest size of a cosine between two class vectors. Left out: 0 for up to as many classes as features, for more
    /// a tenth above what geometry allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub alpha: Option<f64>,
    /// The most steps that the search for the vectors makes, where there are more classes than features.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub search_steps: usize,
    /// The corners of a regular simplex instead, all at the cosine −1/(C − 1): for at most one class more than features.
    pub simplex: bool,
}

impl Default for EquiangularConfig {
    /// The authors' temperature.
    fn default() -> Self {
        Self { temperature: 0.07, alpha: None, search_steps: 1000, simplex: false }
    }
}

impl Entry for EquiangularConfig {
    const SUMMARY: &'static str =
        "cosines with fixed class vectors, as far from each other as can be: nothing to learn";
    const PAPER: &'static str = "Shen et al. 2023, Equiangular Basis Vectors, arXiv:2303.11637";
}

impl HeadParams for EquiangularConfig {
    fn laws(&self) -> Laws {
        Laws::cosines(1.0 / self.temperature)
    }

    fn check(&self, site: &Site) -> Result<(), Invalid> {
        if self.simplex && !(2..=site.features + 1).contains(&site.outputs) {
            let message = format!(
                "a simplex in {} dimensions has 2 to {} corners, and there are {} classes; leave it out",
                site.features,
                site.features + 1,
                site.outputs
            );
            return Err(Invalid::new("simplex", message));
        }
        let least = basis::least_cosine(site.outputs, site.features);
        match self.alpha {
            Some(_) if self.simplex => {
                Err(Invalid::new("alpha", "a simplex has an angle of its own; leave one of the two out".into()))
            }
            Some(alpha) if !(least..1.0).contains(&alpha) => {
                let message = format!(
                    "{alpha} is out of range; expected a cosine below 1 and at least {least:.4}, since {} vectors in {} \
                     dimensions cannot all be farther apart",
                    site.outputs, site.features
                );
                Err(Invalid::new("alpha", message))
            }
            _ => Ok(()),
        }
    }
}

impl EquiangularConfig {
    /// The head. Its vectors are drawn under the name `vectors` of `init`.
    pub fn init(&self, (site, init): (&Site, &Init)) -> Equiangular {
        let [classes, width] = [site.outputs, site.features];
        let alpha = self.alpha.unwrap_or(1.1 * basis::least_cosine(classes, width));
        let draws = &mut init.draws("vectors");
        let rows = if self.simplex {
            basis::simplex(classes, width, draws)
        } else {
            basis::vectors(classes, width, alpha, self.search_steps, draws)
        };
        let columns = (0..width).flat_map(|i| (0..classes).map(move |class| (class, i)));
        let values = columns.map(|(class, i)| rows[class * width + i]).collect();
        Equiangular { vectors: init.frozen(values, [width, classes]), temperature: self.temperature }
    }
}

/// Cosines of the features with fixed unit vectors, over a temperature. Nothing is learned here, and the vectors stand in the
/// record.
/// ```text
/// z_j = ⟨h/|h|, e_j⟩ / τ,   |e_i·e_j| ≤ α for i ≠ j
/// ```
/// Up to as many classes as features the vectors are orthonormal rows of a random rotation (α = 0). Beyond, they come from the
/// authors' search, which lowers Σ max(0, |e_i·e_j| − α) step by step from random vectors, here at a rate that falls to 0, since
/// a constant one ends in oscillation; where the search does not reach α it ends as near as its steps bring it. A simplex, an
/// addition to the paper, has the least cosine that all pairs can have at once.
///
/// # Shapes
/// - features: `[answers, features]`; logits: `[answers, outputs]`, between −1/τ and 1/τ
/// # References
/// Shen et al. 2023, arXiv:2303.11637.
#[derive(Module, Debug)]
pub struct Equiangular {
    /// E: `[features, outputs]`, a column per class; frozen.
    pub vectors: Param<Tensor<2>>,
    temperature: f64,
}

impl Scorer for Equiangular {
    fn forward(&self, features: Tensor<2>, _: &Ask, _: &Ctx) -> Tensor<2> {
        let dtype = features.dtype();
        let c = kernel::linear(unit(single(features), 1), single(self.vectors.val()), None, Epilogue::None);
        c.mul_scalar(1.0 / self.temperature).cast(dtype)
    }

    fn unembedding(&self) -> Option<Tensor<2>> {
        Some(self.vectors.val().transpose())
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, Int, TensorData};
    use kiln_activations::loss::{LossConfig, Target};

    use super::*;
    use crate::{
        block::Draw,
        parameters,
        testing::{assert_close, device, normal, values},
    };

    fn site(features: usize, outputs: usize) -> Site {
        Site { features, outputs, bias: true, draw: Draw::Uniform }
    }

    #[test]
    fn golden_values() {
        let site = site(3, 3);
        let mut head = EquiangularConfig::default().init((&site, &Init::new(0, &device(), DType::F64)));
        // Unit vectors at 0°, 120° and 240° in the first two coordinates, a column each.
        let root = 0.75f64.sqrt();
        let e = vec![1.0, -0.5, -0.5, 0.0, root, -root, 0.0, 0.0, 0.0];
        head.vectors = head.vectors.map(|_| Tensor::from_data(TensorData::new(e, [3, 3]), (&device(), DType::F64)));
        let h = Tensor::<2>::from_data(TensorData::new(vec![0.6, 0.4, 0.2], [1, 3]), (&device(), DType::F64))
            .require_grad();
        let z = head.forward(h.clone(), &Ask::row(), &Ctx::eval(0, 0));
        let cosines: Vec<f64> = values(&z).iter().map(|z| z * 0.07).collect();
        assert_close("cosines", &cosines, &[0.8017837257, 0.06201818702, -0.8638019128], 1e-9);
        let loss = serde_json::from_str::<LossConfig>(r#"{ "name": "cross_entropy", "dtype": "f64" }"#).unwrap();
        let target = Target::Classes(Tensor::<1, Int>::from_data([1], &device()));
        let loss = loss.init(&Init::new(0, &device(), DType::F64)).forward(z, &target).mean;
        assert_close("loss", &values(&loss), &[10.56810485], 1e-9);
        let dh = values(&h.grad(&loss.backward()).unwrap());
        assert_close("dh", &dh, &[17.31174581, -24.08051028, -3.774216884], 1e-8);
    }

    #[test]
    fn nothing_is_learned() {
        let site = site(5, 3);
        let head = EquiangularConfig::default().init((&site, &Init::new(0, &device(), DType::F64)));
        assert_eq!(parameters(&head).len(), 1);
        let h = normal([2, 5], DType::F64, "h");
        let z = head.forward(h.clone(), &Ask::row(), &Ctx::eval(0, 0));
        let gradients = z.sum().backward();
        assert!(h.grad(&gradients).is_some() && head.vectors.val().grad(&gradients).is_none());
    }

    #[test]
    fn an_angle_that_geometry_does_not_allow_is_refused() {
        let config = EquiangularConfig { alpha: Some(0.1), ..Default::default() };
        assert_eq!(config.check(&site(8, 8)), Ok(()));
        let message = config.check(&site(8, 10)).unwrap_err().message;
        assert!(message.contains("at least 0.1667, since 10 vectors in 8 dimensions"), "{message}");
        let simplex = EquiangularConfig { simplex: true, ..Default::default() };
        assert_eq!(simplex.check(&site(8, 9)), Ok(()));
        let message = simplex.check(&site(8, 10)).unwrap_err().message;
        assert!(message.contains("2 to 9 corners, and there are 10 classes"), "{message}");
        let both = EquiangularConfig { alpha: Some(0.2), ..simplex };
        assert!(both.check(&site(8, 9)).unwrap_err().message.contains("an angle of its own"));
    }
}
