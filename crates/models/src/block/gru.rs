//! The gated recurrent unit.
use burn::{
    module::{Module, Param},
    tensor::{Int, Tensor},
};
use kiln_activations::{
    Init,
    pointwise::{Pointwise, PointwiseConfig},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kernel::{self, Epilogue};

/// Where the reset gate acts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reset {
    /// On the state, before the product with the weights: TensorFlow's classic cell and the published paper.
    #[default]
    Before,
    /// On the product of state and weights, which has a bias of its own: PyTorch, and the paper's first version.
    After,
}

/// What a [`Gru`] is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GruSpec {
    /// Values per step.
    pub inputs: usize,
    /// Values of the state.
    pub width: usize,
    /// Where the reset gate acts.
    pub reset: Reset,
    /// First value of the gates' biases; with 1 the state is mostly kept at first.
    pub gate_bias: f64,
}

/// A gated recurrent unit.
/// ```text
/// r = σ(x W_r + b_r + h U_r),   u = σ(x W_u + b_u + h U_u)
/// c = tanh(x W_c + b_c + (r ∘ h) U_c)             reset before the product
/// c = tanh(x W_c + b_c + r ∘ (h U_c + b_h))       reset after it
/// h ← u ∘ h + (1 − u) ∘ c
/// ```
/// Burn has this layer too; here the three gates of a step are one product, one-hot steps are rows of the weight, and a
/// step does not copy the states of all others.
///
/// # References
/// Cho et al. 2014, arXiv:1406.1078.
#[derive(Module, Debug)]
pub struct Gru {
    /// `[W_r W_u W_c]`: `[inputs, 3 · width]`
    pub input_weight: Param<Tensor<2>>,
    /// `[b_r b_u b_c]`: `[3 · width]`
    pub input_bias: Param<Tensor<1>>,
    /// `[U_r U_u]`: `[width, 2 · width]`
    pub gate_weight: Param<Tensor<2>>,
    /// U_c: `[width, width]`
    pub state_weight: Param<Tensor<2>>,
    /// b_h: `[width]`, with [`Reset::After`] only.
    pub state_bias: Option<Param<Tensor<1>>>,
    sigmoid: Pointwise,
    tanh: Pointwise,
    width: usize,
}

impl Gru {
    /// A unit. All weights are drawn from `U(−1/√width, 1/√width)`; the biases that are not the gates' start at 0.
    pub fn new(init: &Init, spec: GruSpec) -> Self {
        let GruSpec { inputs, width, reset, gate_bias } = spec;
        let bound = 1.0 / (width as f64).sqrt();
        let mut next = 0;
        let input_bias = init.param("input_bias", [3 * width], |_| {
            next += 1;
            if next <= 2 * width { gate_bias } else { 0.0 }
        });
        Self {
            input_weight: init.uniform("input_weight", [inputs, 3 * width], bound),
            input_bias,
            gate_weight: init.uniform("gate_weight", [width, 2 * width], bound),
            state_weight: init.uniform("state_weight", [width, width], bound),
            state_bias: (reset == Reset::After).then(|| init.constant([width], 0.0)),
            sigmoid: PointwiseConfig::Sigmoid(Default::default()).init(init),
            tanh: PointwiseConfig::Tanh(Default::default()).init(init),
            width,
        }
    }

    /// The state before the first step, 0: `[rows, width]`.
    pub fn start(&self, rows: usize) -> Tensor<2> {
        let weight = self.state_weight.val();
        Tensor::zeros([rows, self.width], (&weight.device(), weight.dtype()))
    }

    /// What a step takes of its input, `x [W_r W_u W_c]`: `[rows, inputs]` to `[rows, 3 · width]`.
    pub fn project(&self, x: Tensor<2>) -> Tensor<2> {
        kernel::linear(x, self.input_weight.val(), None, Epilogue::None)
    }

    /// The same of one-hot vectors given by their places, `[rows, 1]`.
    pub fn project_one_hot(&self, indices: Tensor<2, Int>) -> Tensor<2> {
        kernel::gather_sum(self.input_weight.val(), indices, None, Epilogue::None)
    }

    /// The state after a step.
    ///
    /// # Shapes
    /// - projected: `[rows, 3 · width]` of [`Gru::project`]; state, result: `[rows, width]`
    pub fn step(&self, projected: Tensor<2>, state: Tensor<2>) -> Tensor<2> {
        let width = self.width;
        let x = projected + self.input_bias.val().unsqueeze();
        let product = |x: Tensor<2>, weight: &Param<Tensor<2>>, bias: &Option<Param<Tensor<1>>>| {
            kernel::linear(x, weight.val(), bias.as_ref().map(Param::val), Epilogue::None)
        };
        let gates = x.clone().narrow(1, 0, 2 * width) + product(state.clone(), &self.gate_weight, &None);
        let gates = self.sigmoid.forward(gates);
        let (reset, update) = (gates.clone().narrow(1, 0, width), gates.narrow(1, width, width));
        let remembered = match &self.state_bias {
            None => product(reset * state.clone(), &self.state_weight, &None),
            bias => reset * product(state.clone(), &self.state_weight, bias),
        };
        let candidate = self.tanh.forward(x.narrow(1, 2 * width, width) + remembered);
        update.clone() * state + update.neg().add_scalar(1.0) * candidate
    }
}
