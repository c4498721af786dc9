//! The layers that networks are made of.
pub mod dropout;
mod embedding;
mod feed_forward;
mod layer_norm;
mod linear;
mod transformer_block;

pub use dropout::dropout;
pub use embedding::Embedding;
pub use feed_forward::FeedForward;
pub use layer_norm::LayerNorm;
pub use linear::{Draw, Linear};
pub use transformer_block::{Norm, Read, TransformerBlock};
