//! A dense layer.
use burn::{
    module::{Module, Param},
    tensor::{Int, Tensor},
};
use kiln_activations::Init;

use crate::kernel::{self, Epilogue};

/// How the first values of a layer are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Draw {
    /// Weights and bias from `U(−1/√inputs, 1/√inputs)`.
    Uniform,
    /// As [`Draw::Uniform`], but bias 0.
    UniformZeroBias,
    /// Weights from `N(0, 1/inputs)`, bias 0.
    Normal,
    /// Weights from `N(0, std²)`, bias 0.
    Std(f64),
    /// Weights from `U(−a, a)`, `a = √(6 / (inputs + outputs))` with the given outputs: those of the packed
    /// matrix that the layer is a slice of. Bias 0. Glorot and Bengio 2010.
    Xavier {
        /// Outputs of the packed matrix.
        packed_outputs: usize,
    },
    /// Weights from `N(0, 2/inputs)`, which keeps the variance through ReLUs; bias 0. He et al. 2015, arXiv:1502.01852.
    He,
    /// Weights from `N(0, 0.1²)` cut off at two standard deviations, bias 0.1: the classic TensorFlow example network.
    Truncated,
}

impl Draw {
    /// The parameter `weight` of a layer each of whose outputs sees `fan_in` inputs.
    pub fn weight<const D: usize>(self, init: &Init, shape: [usize; D], fan_in: usize) -> Param<Tensor<D>> {
        let fan_in = fan_in as f64;
        match self {
            Self::Uniform | Self::UniformZeroBias => init.uniform("weight", shape, 1.0 / fan_in.sqrt()),
            Self::Normal => init.normal("weight", shape, 1.0 / fan_in.sqrt()),
            Self::Std(std) => init.normal("weight", shape, std),
            Self::Xavier { packed_outputs } => {
                init.uniform("weight", shape, (6.0 / (fan_in + packed_outputs as f64)).sqrt())
            }
            Self::He => init.normal("weight", shape, (2.0 / fan_in).sqrt()),
            Self::Truncated => init.param("weight", shape, |draws| {
                let mut draw = draws.normal();
                while draw.abs() >= 2.0 {
                    draw = draws.normal();
                }
                0.1 * draw
            }),
        }
    }

    /// The parameter `bias` of such a layer.
    pub fn bias(self, init: &Init, outputs: usize, fan_in: usize) -> Param<Tensor<1>> {
        match self {
            Self::Uniform => init.uniform("bias", [outputs], 1.0 / (fan_in as f64).sqrt()),
            Self::UniformZeroBias | Self::Normal | Self::Std(_) | Self::Xavier { .. } | Self::He => {
                init.constant([outputs], 0.0)
            }
            Self::Truncated => init.constant([outputs], 0.1),
        }
    }
}

/// `y = x W + b`.
#[derive(Module, Debug)]
pub struct Linear {
    /// `[inputs, outputs]`
    pub weight: Param<Tensor<2>>,
    /// `[outputs]`
    pub bias: Option<Param<Tensor<1>>>,
}

impl Linear {
    /// A layer of `[inputs, outputs]`; its parameters are drawn under the names `weight` and `bias` of `init`.
    pub fn new(init: &Init, [inputs, outputs]: [usize; 2], bias: bool, draw: Draw) -> Self {
        let bias = bias.then(|| draw.bias(init, outputs, inputs));
        Self { weight: draw.weight(init, [inputs, outputs], inputs), bias }
    }

    /// The layer on rows.
    ///
    /// # Shapes
    /// - x: `[..., inputs]`; output: `[..., outputs]`
    /// # Panics
    /// If the last axis of `x` is not `inputs`.
    pub fn forward<const D: usize>(&self, x: Tensor<D>, epilogue: Epilogue) -> Tensor<D> {
        kernel::linear(x, self.weight.val(), self.bias(), epilogue)
    }

    /// The layer on sums of one-hot vectors, given by their hot indices.
    ///
    /// # Shapes
    /// - indices: `[rows, hot]`; output: `[rows, outputs]`
    /// # Panics
    /// If an index is not below `inputs` (on the CPU backends).
    pub fn forward_one_hot(&self, indices: Tensor<2, Int>, epilogue: Epilogue) -> Tensor<2> {
        kernel::gather_sum(self.weight.val(), indices, self.bias(), epilogue)
    }

    fn bias(&self) -> Option<Tensor<1>> {
        self.bias.as_ref().map(Param::val)
    }
}
