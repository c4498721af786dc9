//! Whole networks.
use std::fmt::Debug;

use burn::tensor::{DType, Tensor};
use kiln_activations::{Ctx, Init};
use kiln_registry::registry;

use crate::{Input, Invalid, Io};

mod mlp;
mod transformer;

pub use mlp::{Mlp, MlpConfig};
pub use transformer::{InitScheme, ReadAt, Transformer, TransformerConfig};

registry! {
    /// A network, by name.
    ///
    /// `init((io, init))` builds it; call [`NetworkConfig::check`] first. Parameters are stored in
    /// `init.dtype`, which should be [`NetworkConfig::dtype`]. In Burn's records the parameters stand under
    /// the variant's name (`Mlp.layers.0.weight`), so a record of another network is refused; [`crate::parameters`]
    /// gives the names without it.
    config ModelConfig("model"): dyn NetworkConfig;
    module Model: dyn Network, init((&Io, &Init));
    "mlp" => Mlp(MlpConfig),
    "transformer" => Transformer(TransformerConfig),
}

/// What a network's parameters must answer before it is built.
pub trait NetworkConfig {
    /// Whether the settings fit each other and the data.
    ///
    /// # Errors
    /// The first setting that does not fit.
    fn check(&self, io: &Io) -> Result<(), Invalid>;

    /// The type of parameters and hidden states.
    fn dtype(&self) -> DType;
}

/// The contract of a network.
pub trait Network: Debug {
    /// Logits: `[rows, outputs]`.
    ///
    /// # Panics
    /// If the input is not of the kind the network was built for.
    fn forward(&self, input: &Input, ctx: &Ctx) -> Tensor<2>;

    /// The vectors that stand for the inputs: a row per token or one-hot index. `None` where the input is
    /// not discrete.
    fn embedding(&self) -> Option<Tensor<2>>;

    /// The vectors that stand for the outputs: a row per class, as wide as the last hidden state.
    fn unembedding(&self) -> Option<Tensor<2>>;
}
