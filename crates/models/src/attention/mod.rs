//! Mixing of positions.
mod multi_head;

pub use multi_head::{Attention, AttentionConfig};
