//! Attention by the name of its paper: each preset is a filling of the slots.
use kiln_registry::{Tagged, registry};
use serde::de::value::{Error, MapDeserializer};

use super::AttentionConfig;

mod attn;
mod cosformer;
mod gated_attn;
mod gaussian_attn;
mod gla;
mod gqa;
mod inline;
mod linear_attn;
mod logn_scale;
mod mala;
mod performer;
mod qk_norm;
mod recurrent_softmax;
mod retention;
mod sliding_window;
mod soft;
mod swat;

pub use attn::AttnConfig;
pub use cosformer::CosformerConfig;
pub use gated_attn::GatedAttnConfig;
pub use gaussian_attn::GaussianAttnConfig;
pub use gla::GlaConfig;
pub use gqa::GqaConfig;
pub use inline::InlineConfig;
pub use linear_attn::LinearAttnConfig;
pub use logn_scale::LognScaleAttentionConfig;
pub use mala::MalaConfig;
pub use performer::PerformerConfig;
pub use qk_norm::QkNormConfig;
pub use recurrent_softmax::RecurrentSoftmaxConfig;
pub use retention::RetentionAttnConfig;
pub use sliding_window::SlidingWindowConfig;
pub use soft::SoftConfig;
pub use swat::SwatConfig;

registry! {
    /// An attention, by name.
    config PresetConfig("attention"): dyn Preset;
    "attn" => Attn(AttnConfig),
    "qk_norm" => QkNorm(QkNormConfig),
    "logn_scale" => LognScale(LognScaleAttentionConfig),
    "gqa" => Gqa(GqaConfig),
    "sliding_window" => SlidingWindow(SlidingWindowConfig),
    "gated_attn" => GatedAttn(GatedAttnConfig),
    "swat" => Swat(SwatConfig),
    "linear_attn" => LinearAttn(LinearAttnConfig),
    "performer" => Performer(PerformerConfig),
    "cosformer" => Cosformer(CosformerConfig),
    "gla" => Gla(GlaConfig),
    "retention" => Retention(RetentionAttnConfig),
    "inline" => Inline(InlineConfig),
    "mala" => Mala(MalaConfig),
    "soft" => Soft(SoftConfig),
    "gaussian_attn" => GaussianAttn(GaussianAttnConfig),
    "recurrent_softmax" => RecurrentSoftmax(RecurrentSoftmaxConfig),
}

impl PresetConfig {
    /// The preset `name` at its default parameters; `None` if it is unknown.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::load(name, MapDeserializer::<_, Error>::new(std::iter::empty::<(String, String)>())).ok()
    }
}

/// A named filling of the slots.
pub trait Preset {
    /// The slots it stands for.
    fn slots(&self) -> AttentionConfig;
}
