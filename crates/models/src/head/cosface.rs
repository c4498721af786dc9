//! CosFace.
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
    angular::{at_class, said, with_own},
};
use crate::Ask;

/// Parameters of [`CosFace`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CosFaceConfig {
    /// Factor on the cosines.
    #[serde(deserialize_with = "range::positive")]
    #[schemars(range(min = 0.0))]
    pub s: f64,
    /// What is taken off the cosine of the right class while training.
    #[serde(deserialize_with = "range::non_negative")]
    #[schemars(range(min = 0.0))]
    pub m: f64,
}

impl Default for CosFaceConfig {
    /// The paper's, for thousands of faces; ten classes want s of 8 to 30 and m of 0.1 to 0.35.
    fn default() -> Self {
        Self { s: 64.0, m: 0.35 }
    }
}

impl Entry for CosFaceConfig {
    const SUMMARY: &'static str = "scaled cosines, with a margin taken off the right class's while training";
    const PAPER: &'static str =
        "Wang et al. 2018, CosFace: Large Margin Cosine Loss for Deep Face Recognition, arXiv:1801.09414";
}

impl HeadParams for CosFaceConfig {
    fn laws(&self) -> Laws {
        Laws { needs_classes: true, ..Laws::cosines(self.s * (1.0 + self.m)) }
    }
}

impl CosFaceConfig {
    /// The head.
    pub fn init(&self, (site, init): (&Site, &Init)) -> CosFace {
        CosFace { classes: Angular::new(&init.child("classes"), site), s: self.s, m: self.m }
    }
}

/// Normalised softmax with an additive margin on the cosine of the right class.
/// ```text
/// z_y = s (c_y − m) while training,   z_j = s c_j
/// ```
///
/// # Shapes
/// - features: `[answers, features]`; logits: `[answers, outputs]`
/// # References
/// Wang et al. 2018, arXiv:1801.09414.
#[derive(Module, Debug)]
pub struct CosFace {
    /// The class vectors.
    pub classes: Angular,
    s: f64,
    m: f64,
}

impl CosFace {
    /// The logits of cosines, with the margin of these classes if they are told.
    pub(super) fn of_cosines(&self, c: Tensor<2>, classes: Option<&Tensor<1, Int>>) -> Tensor<2> {
        let c = match classes {
            None => c,
            Some(classes) => with_own(c.clone(), classes, at_class(c, classes).sub_scalar(self.m)),
        };
        c.mul_scalar(self.s)
    }
}

impl Scorer for CosFace {
    fn forward(&self, features: Tensor<2>, ask: &Ask, _: &Ctx) -> Tensor<2> {
        let dtype = features.dtype();
        self.of_cosines(self.classes.cosines(features), said(ask)).cast(dtype)
    }

    fn unembedding(&self) -> Option<Tensor<2>> {
        Some(self.classes.vectors())
    }
}
