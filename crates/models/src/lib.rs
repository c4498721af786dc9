//! Networks of Kiln: what turns a batch of inputs into logits.
//!
//! | room | holds |
//! |---|---|
//! | [`net`] | whole networks, chosen by `[model] name` |
//! | [`head`] | from their last hidden vectors to logits, chosen by `head` in `[model]` |
//! | [`block`] | the layers that networks are made of |
//! | [`attention`] | mixing of positions, around any normalizer of `kiln-activations` |
//! | [`position`] | how a network knows where a token stands |
//! | [`kernel`] | operations with a hand-written backward pass |
//!
//! A network is built in three moves: the config is read (`ModelConfig`), checked against the data
//! ([`NetworkConfig::check`]) and built ([`ModelConfig::init`]); the result is a Burn module that
//! dereferences to [`Network`].
//!
//! Layouts: logits are `[rows, outputs]`, hidden states `[rows, length, d_model]`, weights
//! `[inputs, outputs]` (`y = x W + b`), attention `[rows, n_heads, queries, keys]`.
#![warn(missing_docs)]

mod ask;
pub mod attention;
pub mod block;
pub mod head;
mod input;
mod invalid;
pub mod kernel;
pub mod net;
mod parameter;
pub mod position;
mod precision;
#[cfg(test)]
mod testing;

pub use ask::{Ask, At};
pub use head::{Head, HeadConfig};
pub use input::{Input, InputSpec, Io};
pub use invalid::Invalid;
pub use net::{Answers, Model, ModelConfig, Network, NetworkConfig};
pub use parameter::{NamedParameter, parameters, visit_trained};
pub use precision::Precision;
