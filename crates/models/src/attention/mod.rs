//! Mixing of positions, assembled from slots: core, normalizer, position, pattern, and what stands around them.
mod config;
pub mod core;
pub mod denominator;
pub mod features;
mod fit;
mod gate;
mod key_value;
mod local_conv;
mod multi_head;
mod pattern;
pub mod presets;
mod qk_norm;
mod reading;
mod scale;
mod scope;
mod state;
#[cfg(test)]
mod tests;

pub use self::core::{Around, Attend, Core, CoreConfig, CoreInit, CoreSetting, Heads, Properties};
pub use config::AttentionConfig;
pub use fit::Fit;
pub(crate) use fit::inside;
pub use gate::{Gate, GateActivation, GateConfig};
pub use key_value::KeyValue;
pub use local_conv::{LocalConv, LocalConvConfig, TapsFromMean};
pub use multi_head::{Attention, LayerState};
pub use pattern::{
    CausalConfig, DocumentConfig, FullConfig, LocalConfig, Pattern, PatternConfig, PrefixConfig, WindowConfig,
};
pub use presets::{Preset, PresetConfig};
pub use qk_norm::{HeadNorm, QkNorm};
pub use reading::schema;
pub use scale::{LognConfig, Scale};
pub use scope::{Scope, Side};
pub use state::{Remember, State};
