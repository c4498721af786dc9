//! Attention by the name of its paper: each preset is a filling of the slots.
use kiln_registry::registry;

use super::AttentionConfig;

mod attn;
mod gated_attn;
mod gqa;
mod logn_scale;
mod qk_norm;
mod sliding_window;
mod swat;

pub use attn::AttnConfig;
pub use gated_attn::GatedAttnConfig;
pub use gqa::GqaConfig;
pub use logn_scale::LognScaleAttentionConfig;
pub use qk_norm::QkNormConfig;
pub use sliding_window::SlidingWindowConfig;
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
}

/// A named filling of the slots.
pub trait Preset {
    /// The slots it stands for.
    fn slots(&self) -> AttentionConfig;
}
