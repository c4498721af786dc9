//! The position-wise network of a transformer block.
use burn::{module::Module, tensor::Tensor};
use kiln_activations::{
    Ctx, Init,
    pointwise::{Pointwise, PointwiseConfig},
};

use super::{Draw, Linear, dropout};
use crate::kernel::Epilogue;

/// `W₂ dropout(φ(W₁ x + b₁)) + b₂`.
#[derive(Module, Debug)]
pub struct FeedForward {
    /// `[d_model, d_ff]`
    pub up: Linear,
    /// `[d_ff, d_model]`
    pub down: Linear,
    /// φ; `None` for ReLU, which the first layer applies itself.
    pub activation: Option<Pointwise>,
    dropout: f64,
}

impl FeedForward {
    /// A network of `[d_model, d_ff]`.
    pub fn new(
        init: &Init,
        [d_model, d_ff]: [usize; 2],
        bias: bool,
        draw: Draw,
        activation: &PointwiseConfig,
        dropout: f64,
    ) -> Self {
        let relu = matches!(activation, PointwiseConfig::Relu(_));
        Self {
            activation: (!relu).then(|| activation.init(&init.child("activation"))),
            up: Linear::new(&init.child("up"), [d_model, d_ff], bias, draw),
            down: Linear::new(&init.child("down"), [d_ff, d_model], bias, draw),
            dropout,
        }
    }

    /// The network at each position: `[rows, length, d_model]` to the same shape.
    pub fn forward(&self, x: Tensor<3>, ctx: &Ctx) -> Tensor<3> {
        let hidden = match &self.activation {
            None => self.up.forward(x, Epilogue::Relu),
            Some(activation) => activation.forward(self.up.forward(x, Epilogue::None)),
        };
        self.down.forward(dropout(hidden, self.dropout, &ctx.child("dropout")), Epilogue::None)
    }
}
