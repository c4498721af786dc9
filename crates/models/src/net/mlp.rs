//! The multi-layer perceptron.
use burn::{
    module::{Module, ModuleMapper, Param},
    tensor::{DType, Tensor},
};
use kiln_activations::{
    Ctx, Init, Keep,
    pointwise::{Pointwise, PointwiseConfig},
};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Network, NetworkConfig};
use crate::{
    Ask, Head, HeadConfig, Input, InputSpec, Invalid, Io, Precision,
    block::{Draw, Linear, Maxout, MaxoutConfig, dropout},
    head::{self, Site},
    kernel::Epilogue,
};

/// Parameters of [`Mlp`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MlpConfig {
    /// Widths of the hidden layers, first to last.
    pub widths: Vec<usize>,
    /// Whether the layers have biases.
    pub bias: bool,
    /// The function after each hidden layer.
    #[serde(skip_serializing_if = "is_relu")]
    pub activation: PointwiseConfig,
    /// Maxout units instead of a function: each hidden layer then has `pieces` times as many outputs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maxout: Option<MaxoutConfig>,
    /// Share of hidden values set to 0 while training.
    #[serde(deserialize_with = "range::below_one", skip_serializing_if = "is_zero")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub dropout: f64,
    /// Share of input values set to 0 while training; one-hot rows have none.
    #[serde(deserialize_with = "range::below_one", skip_serializing_if = "is_zero")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub input_dropout: f64,
    /// Factor on the logits of the linear head.
    #[serde(deserialize_with = "range::positive")]
    #[schemars(range(min = 0.0))]
    pub logit_scale: f64,
    /// Factor on the first value of every weight and bias; far above 1 the network starts in the lazy regime (Liu et al.
    /// 2022, arXiv:2210.01117).
    #[serde(deserialize_with = "range::positive", skip_serializing_if = "is_one")]
    #[schemars(range(min = 0.0))]
    pub init_scale: f64,
    /// What turns the last hidden layer into logits; a linear head is the last of `layers`.
    #[serde(skip_serializing_if = "HeadConfig::is_linear")]
    pub head: HeadConfig,
    /// Number format of parameters and hidden states.
    pub dtype: Precision,
}

// Keys that later versions added stay unwritten at their defaults: a run's identity is the hash of its config.
fn is_relu(activation: &PointwiseConfig) -> bool {
    *activation == PointwiseConfig::default()
}

fn is_zero(rate: &f64) -> bool {
    *rate == 0.0
}

fn is_one(factor: &f64) -> bool {
    *factor == 1.0
}

impl Default for MlpConfig {
    /// The network of Prieto et al. 2025 for modular arithmetic: two hidden layers of 200 without biases (its
    /// sparse parity network has biases).
    fn default() -> Self {
        Self {
            widths: vec![200, 200],
            bias: false,
            activation: PointwiseConfig::default(),
            maxout: None,
            dropout: 0.0,
            input_dropout: 0.0,
            logit_scale: 1.0,
            init_scale: 1.0,
            head: HeadConfig::default(),
            dtype: Precision::F32,
        }
    }
}

impl Entry for MlpConfig {
    const SUMMARY: &'static str =
        "multi-layer perceptron with any pointwise function or maxout, on one-hot or feature vectors or images";
    const PAPER: &'static str = "Prieto et al. 2025, arXiv:2501.04697";
}

impl NetworkConfig for MlpConfig {
    fn check(&self, io: &Io) -> Result<(), Invalid> {
        if let Some(layer) = self.widths.iter().position(|width| *width == 0) {
            let message = format!("hidden layer {layer} has width 0; expected whole numbers of at least 1");
            return Err(Invalid::new("widths", message));
        }
        if let Some(maxout) = &self.maxout {
            if !is_relu(&self.activation) {
                let message = "maxout units stand in the function's place; leave `activation` out";
                return Err(Invalid::new("maxout", message.into()));
            }
            maxout.check().map_err(|invalid| Invalid::new(&format!("maxout.{}", invalid.key), invalid.message))?;
        }
        if !self.head.is_linear() {
            if self.logit_scale != 1.0 {
                let message = format!("the head \"{}\" has a scale of its own; leave this out", self.head.name());
                return Err(Invalid::new("logit_scale", message));
            }
            if self.widths.is_empty() && matches!(io.input, InputSpec::OneHot { .. }) {
                let message = format!(
                    "without a hidden layer one-hot rows have no features for the head \"{}\"; give at least one width",
                    self.head.name()
                );
                return Err(Invalid::new("widths", message));
            }
        }
        match io.input {
            InputSpec::OneHot { .. } if self.input_dropout > 0.0 => Err(Invalid::new(
                "input_dropout",
                format!("{} of one-hot rows, which have no values to drop; leave it out", self.input_dropout),
            )),
            InputSpec::OneHot { .. } | InputSpec::Floats { .. } | InputSpec::Image { .. } => {
                self.head.fits(&self.site(inputs(io), io))
            }
            other @ (InputSpec::Tokens { .. } | InputSpec::TokenSums { .. } | InputSpec::Items { .. }) => {
                Err(Invalid::new(
                    "name",
                    format!(
                        "\"mlp\" takes one-hot rows, feature vectors or images, but the data gives {other}; \
                     choose another encoding in [data], or name = \"transformer\""
                    ),
                ))
            }
        }
    }

    fn dtype(&self) -> DType {
        self.dtype.dtype()
    }

    fn head(&self) -> Option<&HeadConfig> {
        Some(&self.head)
    }
}

/// Length of the input vector.
fn inputs(io: &Io) -> usize {
    match io.input {
        InputSpec::OneHot { width, .. } => width,
        other => other.flat().unwrap_or_else(|| panic!("the MLP takes no {other}")),
    }
}

impl MlpConfig {
    /// Where the head stands, for rows of this many inputs.
    fn site(&self, inputs: usize, io: &Io) -> Site {
        let features = self.widths.last().copied().unwrap_or(inputs);
        Site { features, outputs: io.outputs, bias: self.bias, draw: Draw::Uniform }
    }

    /// The network. Weights and biases of each layer are drawn from `U(−1/√fan_in, 1/√fan_in)` times `init_scale`, where the
    /// fan-in of a one-hot layer is the length of the one-hot vector.
    ///
    /// # Panics
    /// If [`NetworkConfig::check`] refuses.
    pub fn init(&self, (io, init): (&Io, &Init)) -> Mlp {
        let inputs = inputs(io);
        let head = self.head.beside_plain(&self.site(inputs, io), init);
        let plain = head.is_none().then_some(io.outputs);
        let sizes: Vec<usize> = [inputs].into_iter().chain(self.widths.iter().copied()).chain(plain).collect();
        let init = init.child("layers");
        let pieces = self.maxout.as_ref().map_or(1, |maxout| maxout.pieces);
        let layer = |(i, pair): (usize, &[usize])| {
            let outputs = if i < self.widths.len() { pair[1] * pieces } else { pair[1] };
            Linear::new(&init.child(&i.to_string()), [pair[0], outputs], self.bias, Draw::Uniform)
        };
        let network = Mlp {
            layers: sizes.windows(2).enumerate().map(layer).collect(),
            head,
            activation: self.activation.init(&init.child("activation")),
            maxout: self.maxout.as_ref().map(MaxoutConfig::init),
            dropout: self.dropout,
            input_dropout: self.input_dropout,
            logit_scale: self.logit_scale,
            one_hot: matches!(io.input, InputSpec::OneHot { .. }),
        };
        if self.init_scale == 1.0 { network } else { network.map(&mut Scale(self.init_scale)) }
    }
}

/// Multiplies every parameter.
struct Scale(f64);

impl ModuleMapper for Scale {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let trained = param.is_require_grad();
        param.map(|tensor| {
            // Only a detached tensor is a leaf, which a parameter has to be.
            let scaled = tensor.mul_scalar(self.0).detach();
            if trained { scaled.require_grad() } else { scaled }
        })
    }
}

/// A multi-layer perceptron.
/// ```text
/// h_0 = x,   h_l = φ(drop(h_{l−1}) W_l + b_l),   z = s · (drop(h_{L−1}) W_L + b_L)
/// ```
/// with the logit scale `s` (or another head in place of the last layer), and for φ the pointwise function or the maximum over each unit's pieces ([`Maxout`]). On
/// one-hot input the first layer sums rows of its weight; images are vectors of their values.
///
/// # Shapes
/// - input: `OneHot [rows, hot]`, `Floats [rows, width]` or `Image`; logits: `[rows, outputs]`
/// - recorded for a probe: `block`, what each hidden layer gives, `[rows, width]`
#[derive(Module, Debug)]
pub struct Mlp {
    /// Hidden layers and, with the linear head, the output layer: `[inputs, outputs]` each, `[inputs, width · pieces]` with
    /// maxout.
    pub layers: Vec<Linear>,
    /// The head, if it is not linear.
    pub head: Option<Head>,
    /// φ, unless it is maxout.
    pub activation: Pointwise,
    /// φ, if it is maxout.
    pub maxout: Option<Maxout>,
    dropout: f64,
    input_dropout: f64,
    logit_scale: f64,
    one_hot: bool,
}

impl Mlp {
    /// What a hidden layer's function takes from the layer itself, and the function.
    fn finish(&self, i: usize, layer: impl FnOnce(Epilogue) -> Tensor<2>, ctx: &Ctx) -> Tensor<2> {
        let h = match (&self.maxout, &self.activation) {
            (Some(maxout), _) => maxout.forward(layer(Epilogue::None)),
            (None, Pointwise::Relu(_)) => layer(Epilogue::Relu),
            (None, activation) => activation.forward(layer(Epilogue::None)),
        };
        let ctx = ctx.child(&i.to_string());
        ctx.record("block", &Keep::All, || h.clone());
        dropout(h, self.dropout, &ctx.child("dropout"))
    }
}

impl Mlp {
    fn scaled(&self, logits: Tensor<2>) -> Tensor<2> {
        if self.logit_scale == 1.0 { logits } else { logits.mul_scalar(self.logit_scale) }
    }
}

impl Network for Mlp {
    fn forward(&self, input: &Input, ask: &Ask, ctx: &Ctx) -> Tensor<2> {
        ask.expect_rows("mlp");
        let (hidden, output) = match (&self.head, self.layers.split_last()) {
            (None, Some((output, hidden))) => (hidden, Some(output)),
            _ => (&self.layers[..], None),
        };
        let output = || output.expect("a network without another head has an output layer");
        let inside = ctx.child("layers");
        let features = match (input, hidden.first()) {
            (Input::OneHot(indices), Some(first)) => {
                self.finish(0, |epilogue| first.forward_one_hot(indices.clone(), epilogue), &inside)
            }
            (Input::OneHot(indices), None) => {
                // The one-hot rows are never built, so a linear model of them has no features to record.
                let logits = self.scaled(output().forward_one_hot(indices.clone(), Epilogue::None));
                ctx.record("logits", &Keep::All, || logits.clone());
                return logits;
            }
            (other, first) => {
                let x = other.flat().unwrap_or_else(|| panic!("the MLP takes no {}", other.kind()));
                let x = dropout(x, self.input_dropout, &inside.child("input_dropout"));
                match first {
                    Some(first) => self.finish(0, |epilogue| first.forward(x, epilogue), &inside),
                    None => x,
                }
            }
        };
        let rest = hidden.iter().enumerate().skip(1);
        let features =
            rest.fold(features, |x, (i, layer)| self.finish(i, |epilogue| layer.forward(x, epilogue), &inside));
        head::answer(self.head.as_ref(), features, ask, ctx, |features| {
            self.scaled(output().forward(features, Epilogue::None))
        })
    }

    fn embedding(&self) -> Option<Tensor<2>> {
        self.one_hot.then(|| self.layers[0].weight.val())
    }

    fn unembedding(&self) -> Option<Tensor<2>> {
        match &self.head {
            Some(head) => head.unembedding(),
            None => self.layers.last().map(|layer| layer.weight.val().transpose()),
        }
    }
}

#[cfg(test)]
mod tests;
