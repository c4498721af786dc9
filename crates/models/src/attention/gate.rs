//! A gate on what the heads give.
use burn::{
    module::Module,
    tensor::{Tensor, activation},
};
use kiln_activations::Init;
use kiln_registry::range;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    block::{Draw, Linear},
    kernel::Epilogue,
};

/// `gate` of an attention.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GateConfig {
    /// The function between the gate's projection and the product.
    pub activation: GateActivation,
    /// Whether each head has one gate instead of one per channel.
    pub per_head: bool,
    /// Whether the projection has a bias.
    pub bias: bool,
    /// Where the bias starts: 0 opens the sigmoid half, 2 almost whole.
    #[serde(deserialize_with = "range::finite")]
    pub open: f64,
}

impl Default for GateConfig {
    /// A sigmoid for each channel, half open.
    fn default() -> Self {
        Self { activation: GateActivation::Sigmoid, per_head: false, bias: true, open: 0.0 }
    }
}

/// The function between a gate's projection and the product.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GateActivation {
    /// `1 / (1 + e^−x)`
    #[default]
    Sigmoid,
    /// `x / (1 + e^−x)`
    Silu,
    /// `x`
    Identity,
}

/// `o ← a(x W + b) ⊙ o`, with the layer's input x: a head can fall silent without a key to rest on.
///
/// # References
/// Qiu et al. 2025, "Gated attention for large language models", arXiv:2505.06708; with silu: Yang et al. 2023,
/// arXiv:2312.06635.
#[derive(Module, Debug)]
pub struct Gate {
    /// `[d_model, n_heads · d_value]`, or `[d_model, n_heads]`.
    pub projection: Linear,
    #[module(skip)]
    activation: GateActivation,
}

impl Gate {
    /// A gate for `n_heads` heads of `d_value` channels each.
    pub fn new(init: &Init, config: GateConfig, d_model: usize, n_heads: usize, d_value: usize) -> Self {
        let outputs = if config.per_head { n_heads } else { n_heads * d_value };
        let mut projection = Linear::new(init, [d_model, outputs], config.bias, Draw::Normal);
        projection.bias = projection.bias.map(|_| init.constant([outputs], config.open));
        Self { projection, activation: config.activation }
    }

    /// What the heads give, gated.
    ///
    /// # Shapes
    /// - mixed: `[rows, n_heads, queries, d_value]`, x: `[rows, queries, d_model]`; output: as mixed
    pub fn forward(&self, mixed: Tensor<4>, x: &Tensor<3>) -> Tensor<4> {
        let [rows, n_heads, queries, _] = mixed.dims();
        let gate = self.projection.forward(x.clone(), Epilogue::None);
        let gate = match self.activation {
            GateActivation::Sigmoid => activation::sigmoid(gate),
            GateActivation::Silu => activation::silu(gate),
            GateActivation::Identity => gate,
        };
        let [_, _, outputs] = gate.dims();
        mixed * gate.reshape([rows, queries, n_heads, outputs / n_heads]).swap_dims(1, 2)
    }
}
