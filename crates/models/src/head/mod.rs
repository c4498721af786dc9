//! Output heads: from a network's last hidden vectors, the features, to logits.
//!
//! A network names its head by the key `head`: `"linear"` (the default) or `{ name = "cosface", s = 16, m = 0.35 }`. Networks
//! hand their features to [`Head::answer`], or to [`answer`] where they keep a plain output layer of their own; both record
//! what a probe may ask for, `features` and `logits`.
use std::fmt::Debug;

use burn::tensor::Tensor;
use kiln_activations::{
    Ctx, Init, Keep,
    loss::{LossConfig, TargetKind},
};
use kiln_registry::{Tagged as _, registry};
use serde::de::value::{Error, MapDeserializer};

use crate::{Ask, Invalid};

mod adaptive_margin;
mod angular;
mod arcface;
mod basis;
mod combined_margin;
mod cosface;
mod curricular_face;
mod ends;
mod equiangular;
mod factored_z;
mod fourier;
mod gumbel;
mod laws;
mod linear;
mod nbc;
mod normalised;
mod partial_fc;
mod prototypes;
mod site;
mod svm;
#[cfg(test)]
mod tests;
mod vq_logits;
mod wrapped_cauchy;

pub use adaptive_margin::{AdaptiveMargin, AdaptiveMarginConfig, Rivals};
pub use angular::Angular;
pub use arcface::{ArcFace, ArcFaceConfig};
pub use combined_margin::{CombinedMargin, CombinedMarginConfig};
pub use cosface::{CosFace, CosFaceConfig};
pub use curricular_face::{CurricularFace, CurricularFaceConfig};
pub(crate) use ends::Ends;
pub use equiangular::{Equiangular, EquiangularConfig};
pub use factored_z::{FactoredZ, ZStep};
pub use fourier::{Fourier, FourierConfig};
pub use gumbel::{Gumbel, GumbelConfig};
pub use laws::Laws;
pub use linear::{LinearHead, LinearHeadConfig};
pub use nbc::{Nbc, NbcConfig};
pub use normalised::{Normalised, NormalisedConfig};
pub use partial_fc::{PartialFc, PartialFcConfig};
pub use prototypes::{Prototypes, nearest_examples};
pub use site::Site;
pub use svm::{Svm, SvmConfig, SvmPenalty};
pub use vq_logits::{CodeMap, VqLogits, VqLogitsConfig};
pub use wrapped_cauchy::{WrappedCauchy, WrappedCauchyConfig};

registry! {
    /// An output head, by name.
    ///
    /// `init((site, init))` builds it; call [`HeadParams::check`] first.
    config HeadConfig("head"): dyn HeadParams;
    module Head: dyn Scorer, init((&Site, &Init));
    "linear" => LinearHead(LinearHeadConfig),
    "normalised" => Normalised(NormalisedConfig),
    "cosface" => CosFace(CosFaceConfig),
    "arcface" => ArcFace(ArcFaceConfig),
    "curricular_face" => CurricularFace(CurricularFaceConfig),
    "combined_margin" => CombinedMargin(CombinedMarginConfig),
    "adaptive_margin" => AdaptiveMargin(AdaptiveMarginConfig),
    "partial_fc" => PartialFc(PartialFcConfig),
    "wrapped_cauchy" => WrappedCauchy(WrappedCauchyConfig),
    "equiangular" => Equiangular(EquiangularConfig),
    "fourier" => Fourier(FourierConfig),
    "vq_logits" => VqLogits(VqLogitsConfig),
    "svm" => Svm(SvmConfig),
    "gumbel" => Gumbel(GumbelConfig),
    "nbc" => Nbc(NbcConfig),
}

/// What a head's parameters must answer before it is built.
pub trait HeadParams {
    /// What the head promises at these parameters.
    fn laws(&self) -> Laws;

    /// Whether the head fits its place.
    ///
    /// # Errors
    /// The first setting that does not fit; its key is relative to the head's table.
    fn check(&self, site: &Site) -> Result<(), Invalid> {
        let _ = site;
        Ok(())
    }
}

/// The contract of a head.
pub trait Scorer: Debug {
    /// Logits (`[answers, outputs]`) of features (`[answers, features]`), in the dtype of the features. What depends on the
    /// right answers (a margin, a choice of classes) happens if `ask` says classes; a class that is left out has the logit −∞.
    fn forward(&self, features: Tensor<2>, ask: &Ask, ctx: &Ctx) -> Tensor<2>;

    /// The vectors that stand for the outputs: a row per class, as wide as the features. `None` where there is no such vector.
    fn unembedding(&self) -> Option<Tensor<2>>;
}

impl Default for HeadConfig {
    /// A dense layer.
    fn default() -> Self {
        Self::LinearHead(LinearHeadConfig {})
    }
}

impl HeadConfig {
    /// Whether it is the plain dense layer.
    pub fn is_linear(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the head fits its place in a network.
    ///
    /// # Errors
    /// The first setting that does not fit, with its key relative to `[model]`.
    pub fn fits(&self, site: &Site) -> Result<(), Invalid> {
        self.check(site).map_err(|invalid| Invalid::new(&format!("head.{}", invalid.key), invalid.message))
    }

    /// Whether the head can be trained by a loss, towards targets of a kind.
    ///
    /// # Errors
    /// If it cannot; the message says why and what to choose instead.
    pub fn trains(&self, loss: &LossConfig, kind: TargetKind) -> Result<(), String> {
        let laws = self.laws();
        if laws.needs_classes && kind != TargetKind::Classes {
            let others = Self::names_where(|laws| !laws.needs_classes);
            return Err(format!(
                "the head \"{}\" moves or leaves out logits by the class of a row, and the data gives {kind}; heads that fit: \
                 {others}",
                self.name()
            ));
        }
        loss.check_scores(laws.scores).map_err(|message| format!("with the head \"{}\", {message}", self.name()))
    }

    /// The head of a network that has a plain output layer of its own; `None` is that layer.
    pub(crate) fn beside_plain(&self, site: &Site, init: &Init) -> Option<Head> {
        (!self.is_linear()).then(|| self.init((site, &init.child("head"))))
    }

    /// Every entry that, at its default parameters, keeps some law.
    fn names_where(keeps: impl Fn(Laws) -> bool) -> String {
        let entries = Self::NAMES.iter().filter(|name| Self::by_name(name).is_some_and(|head| keeps(head.laws())));
        entries.copied().collect::<Vec<_>>().join(", ")
    }

    /// The entry `name` at its default parameters; `None` if it is unknown or needs some.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::load(name, MapDeserializer::<_, Error>::new(std::iter::empty::<(String, String)>())).ok()
    }
}

impl Head {
    /// The end of a network: logits (`[answers, outputs]`) of features (`[answers, features]`). A probe may ask for both.
    pub fn answer(&self, features: Tensor<2>, ask: &Ask, ctx: &Ctx) -> Tensor<2> {
        answer(Some(self), features, ask, ctx, |features| features)
    }
}

/// As [`Head::answer`], for a network whose own output layer `plain` is its linear head.
pub fn answer(
    head: Option<&Head>,
    features: Tensor<2>,
    ask: &Ask,
    ctx: &Ctx,
    plain: impl FnOnce(Tensor<2>) -> Tensor<2>,
) -> Tensor<2> {
    ctx.record("features", &Keep::All, || features.clone());
    let logits = match head {
        Some(head) => head.forward(features, ask, &ctx.child("head")),
        None => plain(features),
    };
    ctx.record("logits", &Keep::All, || logits.clone());
    logits
}
