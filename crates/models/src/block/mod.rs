//! The layers that networks are made of.
mod batch_norm;
pub(crate) mod conv;
pub mod dropout;
mod embedding;
mod feed_forward;
mod gru;
mod layer_norm;
mod linear;
mod lstm;
mod maxout;
mod running;
mod transformer_block;

pub use batch_norm::BatchNorm;
pub use conv::{Conv, Filters};
pub use dropout::dropout;
pub use embedding::Embedding;
pub use feed_forward::FeedForward;
pub use gru::{Gru, GruSpec, Reset};
pub use layer_norm::LayerNorm;
pub use linear::{Draw, Linear};
pub use lstm::Lstm;
pub use maxout::{Maxout, MaxoutConfig};
pub(crate) use running::RUNNING;
pub use running::Running;
pub use transformer_block::{Norm, Read, TransformerBlock};
