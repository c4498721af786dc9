//! The combined margin.
use std::f64::consts::PI;

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
    angular::{at_class, inside, said, with_own},
};
use crate::{Ask, Invalid};

/// Parameters of [`CombinedMargin`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CombinedMarginConfig {
    /// Factor on the cosines.
    #[serde(deserialize_with = "range::positive")]
    #[schemars(range(min = 0.0))]
    pub s: f64,
    /// Factor on the angle of the right class while training, at least 1; SphereFace's margin.
    #[serde(deserialize_with = "range::positive")]
    #[schemars(range(min = 1.0))]
    pub m1: f64,
    /// Added to that angle, in radians; ArcFace's margin.
    #[serde(deserialize_with = "range::non_negative")]
    #[schemars(range(min = 0.0))]
    pub m2: f64,
    /// Taken off the cosine; CosFace's margin.
    #[serde(deserialize_with = "range::non_negative")]
    #[schemars(range(min = 0.0))]
    pub m3: f64,
}

impl Default for CombinedMarginConfig {
    /// The combination that the ArcFace paper found best.
    fn default() -> Self {
        Self { s: 64.0, m1: 1.0, m2: 0.3, m3: 0.2 }
    }
}

impl Entry for CombinedMarginConfig {
    const SUMMARY: &'static str = "scaled cosines, with the margins of SphereFace, ArcFace and CosFace together";
    const PAPER: &'static str =
        "Deng et al. 2019, ArcFace: Additive Angular Margin Loss for Deep Face Recognition, arXiv:1801.07698";
}

impl HeadParams for CombinedMarginConfig {
    fn laws(&self) -> Laws {
        let least = (self.m1 * PI + self.m2) / PI * 2.0 + 1.0 + self.m3;
        Laws { needs_classes: true, ..Laws::cosines(self.s * least) }
    }

    fn check(&self, _: &Site) -> Result<(), Invalid> {
        if self.m1 >= 1.0 {
            return Ok(());
        }
        Err(Invalid::new("m1", format!("{} is out of range; expected a factor of at least 1", self.m1)))
    }
}

impl CombinedMarginConfig {
    /// The head.
    pub fn init(&self, (site, init): (&Site, &Init)) -> CombinedMargin {
        let Self { s, m1, m2, m3 } = *self;
        CombinedMargin { classes: Angular::new(&init.child("classes"), site), s, m1, m2, m3 }
    }
}

/// Normalised softmax with three margins on the right class.
/// ```text
/// z_y = s (ψ(m1 θ_y + m2) − m3) while training,   z_j = s cos θ_j
/// ψ(a) = (−1)^k cos a − 2k,   k = ⌊a/π⌋
/// ```
/// ψ is the cosine up to π and goes on falling beyond it. (1, m, 0) is [`ArcFace`](super::ArcFace) but for the angles that would
/// pass π, (1, 0, m) is [`CosFace`](super::CosFace), (m, 0, 0) SphereFace with unit features.
///
/// # Shapes
/// - features: `[answers, features]`; logits: `[answers, outputs]`
/// # References
/// Deng et al. 2019, arXiv:1801.07698, equation 4; ψ from Liu et al. 2017, SphereFace, arXiv:1704.08063.
#[derive(Module, Debug)]
pub struct CombinedMargin {
    /// The class vectors.
    pub classes: Angular,
    s: f64,
    m1: f64,
    m2: f64,
    m3: f64,
}

impl CombinedMargin {
    /// The logits of cosines, with the margin of these classes if they are told.
    pub(super) fn of_cosines(&self, c: Tensor<2>, classes: Option<&Tensor<1, Int>>) -> Tensor<2> {
        let c = match classes {
            None => c,
            Some(classes) => with_own(c.clone(), classes, self.margin(at_class(c, classes))),
        };
        c.mul_scalar(self.s)
    }

    fn margin(&self, own: Tensor<2>) -> Tensor<2> {
        let angle = inside(own).acos().mul_scalar(self.m1).add_scalar(self.m2);
        let turns = angle.clone().detach().mul_scalar(1.0 / PI).floor();
        // (−1)^k = 1 − 2 (k mod 2)
        let sign = turns.clone().remainder_scalar(2.0).mul_scalar(-2.0).add_scalar(1.0);
        sign * angle.cos() - turns.mul_scalar(2.0).add_scalar(self.m3)
    }
}

impl Scorer for CombinedMargin {
    fn forward(&self, features: Tensor<2>, ask: &Ask, _: &Ctx) -> Tensor<2> {
        let dtype = features.dtype();
        self.of_cosines(self.classes.cosines(features), said(ask)).cast(dtype)
    }

    fn unembedding(&self) -> Option<Tensor<2>> {
        Some(self.classes.vectors())
    }
}
