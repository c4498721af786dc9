//! Normalised softmax.
use burn::{
    module::{Module, Param},
    tensor::{Tensor, module::layer_norm},
};
use kiln_activations::{Ctx, Init};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Angular, HeadParams, Laws, Scorer, Site,
    angular::{above_one, first_scale, learned_scale},
};
use crate::{Ask, Invalid};

/// Parameters of [`Normalised`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NormalisedConfig {
    /// Factor on the cosines, one over the temperature; or its first value.
    #[serde(deserialize_with = "range::positive")]
    #[schemars(range(min = 0.0))]
    pub s: f64,
    /// Whether the features pass a layer norm without parameters first.
    pub layer_norm: bool,
    /// Whether the factor is learned, as softplus + 1: then it begins above 1.
    pub learn_scale: bool,
}

impl Default for NormalisedConfig {
    /// Temperature 0.05. For a target probability P among C classes s must be at least (1 − 1/C) ln((C − 1) P/(1 − P)).
    fn default() -> Self {
        Self { s: 20.0, layer_norm: false, learn_scale: false }
    }
}

impl Entry for NormalisedConfig {
    const SUMMARY: &'static str = "cosines of features and class vectors, times a scale";
    const PAPER: &'static str = "Zhai and Wu 2019, Classification is a Strong Baseline for Deep Metric Learning, \
                                 arXiv:1811.12649; Wang et al. 2017, NormFace, arXiv:1704.06369";
}

impl HeadParams for NormalisedConfig {
    fn laws(&self) -> Laws {
        if self.learn_scale { Laws::LINEAR } else { Laws::cosines(self.s) }
    }

    fn check(&self, _: &Site) -> Result<(), Invalid> {
        if self.learn_scale { above_one(self.s) } else { Ok(()) }
    }
}

impl NormalisedConfig {
    /// The head.
    pub fn init(&self, (site, init): (&Site, &Init)) -> Normalised {
        Normalised {
            classes: Angular::new(&init.child("classes"), site),
            scale: self.learn_scale.then(|| first_scale(init, self.s)),
            s: self.s,
            layer_norm: self.layer_norm,
        }
    }
}

/// Normalised softmax: unit features, unit class vectors, no bias.
/// ```text
/// z_j = s c_j,   c_j = ⟨h, w_j⟩ / (|h| |w_j|);   s fixed, or softplus(ŝ) + 1
/// ```
/// With ŝ learned it is the cosine head that WCDAS ([`WrappedCauchy`](super::WrappedCauchy)) is compared with; keep weight decay
/// off ŝ by a group of the optimizer (`groups = [{ match = "scale$", weight_decay = 0.0 }]`).
///
/// # Shapes
/// - features: `[answers, features]`; logits: `[answers, outputs]`, between −s and s
/// # References
/// Zhai and Wu 2019, arXiv:1811.12649 (with the layer norm); Wang et al. 2017, arXiv:1704.06369.
#[derive(Module, Debug)]
pub struct Normalised {
    /// The class vectors.
    pub classes: Angular,
    /// ŝ: `[1]`, if the scale is learned.
    pub scale: Option<Param<Tensor<1>>>,
    s: f64,
    layer_norm: bool,
}

impl Scorer for Normalised {
    fn forward(&self, features: Tensor<2>, _: &Ask, _: &Ctx) -> Tensor<2> {
        let (dtype, [_, width]) = (features.dtype(), features.dims());
        let features = if self.layer_norm {
            let one = Tensor::<1>::ones([width], (&features.device(), dtype));
            layer_norm(features, one, None, 1e-5)
        } else {
            features
        };
        let c = self.classes.cosines(features);
        let z = match &self.scale {
            Some(scale) => c * learned_scale(scale),
            None => c.mul_scalar(self.s),
        };
        z.cast(dtype)
    }

    fn unembedding(&self) -> Option<Tensor<2>> {
        Some(self.classes.vectors())
    }
}
