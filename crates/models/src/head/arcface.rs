//! ArcFace.
use burn::{
    module::Module,
    tensor::{Int, Tensor},
};
use kiln_activations::{Ctx, Init};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Angular, HeadParams, Laws, Scorer, Site,
    angular::{added_angle, at_class, below_pi, said, with_own},
};
use crate::{Ask, Invalid};

/// Parameters of [`ArcFace`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ArcFaceConfig {
    /// Factor on the cosines.
    #[serde(deserialize_with = "range::positive")]
    #[schemars(range(min = 0.0))]
    pub s: f64,
    /// What is added to the angle of the right class while training, in radians.
    #[serde(deserialize_with = "range::non_negative")]
    #[schemars(range(min = 0.0))]
    pub m: f64,
}

impl Default for ArcFaceConfig {
    /// The paper's, for thousands of faces; ten classes want s of 8 to 30 and m of 0.2 to 0.4.
    fn default() -> Self {
        Self { s: 64.0, m: 0.5 }
    }
}

impl Entry for ArcFaceConfig {
    const SUMMARY: &'static str = "scaled cosines, with a margin added to the right class's angle while training";
    const PAPER: &'static str =
        "Deng et al. 2019, ArcFace: Additive Angular Margin Loss for Deep Face Recognition, arXiv:1801.07698";
}

impl HeadParams for ArcFaceConfig {
    fn laws(&self) -> Laws {
        Laws { needs_classes: true, ..Laws::cosines(self.s * (1.0 + self.m)) }
    }

    fn check(&self, _: &Site) -> Result<(), Invalid> {
        below_pi("m", self.m)
    }
}

impl ArcFaceConfig {
    /// The head.
    pub fn init(&self, (site, init): (&Site, &Init)) -> ArcFace {
        ArcFace { classes: Angular::new(&init.child("classes"), site), s: self.s, m: self.m }
    }
}

/// Normalised softmax with an additive margin on the angle of the right class.
/// ```text
/// z_y = s φ(c_y) while training,   z_j = s c_j
/// φ(u) = cos(arccos u + m) = u cos m − √(1 − u²) sin m,   u − m sin m where the angle would pass π
/// ```
/// u stays 1e-6 away from −1 and 1 below the root.
///
/// # Shapes
/// - features: `[answers, features]`; logits: `[answers, outputs]`
/// # References
/// Deng et al. 2019, arXiv:1801.07698.
#[derive(Module, Debug)]
pub struct ArcFace {
    /// The class vectors.
    pub classes: Angular,
    s: f64,
    m: f64,
}

impl ArcFace {
    /// The logits of cosines, with the margin of these classes if they are told.
    pub(super) fn of_cosines(&self, c: Tensor<2>, classes: Option<&Tensor<1, Int>>) -> Tensor<2> {
        let c = match classes {
            None => c,
            Some(classes) => with_own(c.clone(), classes, added_angle(at_class(c, classes), self.m)),
        };
        c.mul_scalar(self.s)
    }
}

impl Scorer for ArcFace {
    fn forward(&self, features: Tensor<2>, ask: &Ask, _: &Ctx) -> Tensor<2> {
        let dtype = features.dtype();
        self.of_cosines(self.classes.cosines(features), said(ask)).cast(dtype)
    }

    fn unembedding(&self) -> Option<Tensor<2>> {
        Some(self.classes.vectors())
    }
}
