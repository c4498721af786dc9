//! Attention by the name of its paper: each preset is a filling of the slots.
use kiln_registry::registry;

use super::AttentionConfig;

mod attn;

pub use attn::AttnConfig;

registry! {
    /// An attention, by name.
    config PresetConfig("attention"): dyn Preset;
    "attn" => Attn(AttnConfig),
}

/// A named filling of the slots.
pub trait Preset {
    /// The slots it stands for.
    fn slots(&self) -> AttentionConfig;
}
