//! The multi-layer perceptron.
use burn::{
    module::Module,
    tensor::{DType, Tensor},
};
use kiln_activations::{Ctx, Init};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Network, NetworkConfig};
use crate::{
    Ask, Input, InputSpec, Invalid, Io, Precision,
    block::{Draw, Linear},
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
    /// Factor on the logits.
    #[serde(deserialize_with = "range::positive")]
    #[schemars(range(min = 0.0))]
    pub logit_scale: f64,
    /// Number format of parameters and hidden states.
    pub dtype: Precision,
}

impl Default for MlpConfig {
    /// The network of Prieto et al. 2025 for modular arithmetic: two hidden layers of 200 without biases (its
    /// sparse parity network has biases).
    fn default() -> Self {
        Self { widths: vec![200, 200], bias: false, logit_scale: 1.0, dtype: Precision::F32 }
    }
}

impl Entry for MlpConfig {
    const SUMMARY: &'static str = "multi-layer perceptron with ReLU, on one-hot or feature vectors";
    const PAPER: &'static str = "Prieto et al. 2025, arXiv:2501.04697";
}

impl NetworkConfig for MlpConfig {
    fn check(&self, io: &Io) -> Result<(), Invalid> {
        if let Some(layer) = self.widths.iter().position(|width| *width == 0) {
            let message = format!("hidden layer {layer} has width 0; expected whole numbers of at least 1");
            return Err(Invalid::new("widths", message));
        }
        match io.input {
            InputSpec::OneHot { .. } | InputSpec::Floats { .. } => Ok(()),
            other @ (InputSpec::Tokens { .. } | InputSpec::Items { .. }) => Err(Invalid::new(
                "name",
                format!(
                    "\"mlp\" takes one-hot rows or feature vectors, but the data gives {other}; \
                     choose another encoding in [data], or name = \"transformer\""
                ),
            )),
        }
    }

    fn dtype(&self) -> DType {
        self.dtype.dtype()
    }
}

impl MlpConfig {
    /// The network. Weights and biases of each layer are drawn from `U(−1/√fan_in, 1/√fan_in)`, where the
    /// fan-in of a one-hot layer is the length of the one-hot vector.
    ///
    /// # Panics
    /// If [`NetworkConfig::check`] refuses.
    pub fn init(&self, (io, init): (&Io, &Init)) -> Mlp {
        let inputs = match io.input {
            InputSpec::OneHot { width, .. } | InputSpec::Floats { width } => width,
            other => panic!("the MLP takes no {other}"),
        };
        let sizes: Vec<usize> = [inputs].into_iter().chain(self.widths.iter().copied()).chain([io.outputs]).collect();
        let init = init.child("layers");
        let layer = |(i, pair): (usize, &[usize])| {
            Linear::new(&init.child(&i.to_string()), [pair[0], pair[1]], self.bias, Draw::Uniform)
        };
        Mlp {
            layers: sizes.windows(2).enumerate().map(layer).collect(),
            logit_scale: self.logit_scale,
            one_hot: matches!(io.input, InputSpec::OneHot { .. }),
        }
    }
}

/// A multi-layer perceptron.
/// ```text
/// h_0 = x,   h_l = relu(h_{l−1} W_l + b_l),   z = s · (h_{L−1} W_L + b_L)
/// ```
/// with the logit scale `s`. On one-hot input the first layer sums rows of its weight.
///
/// # Shapes
/// - input: `OneHot [rows, hot]` or `Floats [rows, width]`; logits: `[rows, outputs]`
#[derive(Module, Debug)]
pub struct Mlp {
    /// Hidden layers and the output layer, `[inputs, outputs]` each.
    pub layers: Vec<Linear>,
    logit_scale: f64,
    one_hot: bool,
}

impl Network for Mlp {
    fn forward(&self, input: &Input, _: &Ask, _: &Ctx) -> Tensor<2> {
        let epilogue = |i: usize| if i + 1 < self.layers.len() { Epilogue::Relu } else { Epilogue::None };
        let first = &self.layers[0];
        let first = match input {
            Input::OneHot(indices) => first.forward_one_hot(indices.clone(), epilogue(0)),
            Input::Floats(x) => first.forward(x.clone(), epilogue(0)),
            Input::Tokens(_) | Input::Items(_) => panic!("the MLP takes no {}", input.kind()),
        };
        let logits = self.layers.iter().enumerate().skip(1).fold(first, |x, (i, layer)| layer.forward(x, epilogue(i)));
        if self.logit_scale == 1.0 { logits } else { logits.mul_scalar(self.logit_scale) }
    }

    fn embedding(&self) -> Option<Tensor<2>> {
        self.one_hot.then(|| self.layers[0].weight.val())
    }

    fn unembedding(&self) -> Option<Tensor<2>> {
        self.layers.last().map(|layer| layer.weight.val().transpose())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Model, ModelConfig,
        testing::{
            assert_close, check_gradients, device, indices, named_gradients, named_values, normal, randomised, values,
        },
    };

    const ROWS: usize = 23;

    fn build(config: MlpConfig, io: &Io) -> Model {
        let config = ModelConfig::Mlp(config);
        config.check(io).unwrap();
        config.init((io, &Init::new(5, &device(), config.dtype())))
    }

    fn config(bias: bool) -> MlpConfig {
        MlpConfig { widths: vec![7, 11], bias, logit_scale: 0.5, dtype: Precision::F64 }
    }

    /// The formula in plain loops.
    fn reference(model: &Model, x: &[f64], sizes: &[usize], bias: bool, scale: f64) -> Vec<f64> {
        let parameters = named_values(model);
        let mut h = x.to_vec();
        for (l, pair) in sizes.windows(2).enumerate() {
            let weight = &parameters[&format!("layers.{l}.weight")];
            let mut next = Vec::new();
            for row in h.chunks(pair[0]) {
                for j in 0..pair[1] {
                    let mut sum: f64 = (0..pair[0]).map(|i| row[i] * weight[i * pair[1] + j]).sum();
                    if bias {
                        sum += parameters[&format!("layers.{l}.bias")][j];
                    }
                    next.push(if l + 2 < sizes.len() { sum.max(0.0) } else { sum * scale });
                }
            }
            h = next;
        }
        h
    }

    #[test]
    fn logits_follow_the_formula() {
        for bias in [false, true] {
            let io = Io { input: InputSpec::Floats { width: 5 }, outputs: 13 };
            let model = randomised(build(config(bias), &io));
            let x = normal([ROWS, 5], DType::F64, "x").detach();
            let expected = reference(&model, &values(&x), &[5, 7, 11, 13], bias, 0.5);
            let logits = model.forward(&Input::Floats(x), &Ask::row(), &Ctx::eval(0, 0));
            assert_eq!(logits.dims(), [ROWS, 13]);
            assert_close("logits", &values(&logits), &expected, 1e-13);
            assert!(model.embedding().is_none());

            let io = Io { input: InputSpec::OneHot { width: 17, hot: 3 }, outputs: 13 };
            let model = randomised(build(config(bias), &io));
            let (host, picked) = indices([ROWS, 3], 17);
            let mut x = vec![0.0; ROWS * 17];
            host.iter().enumerate().for_each(|(i, index)| x[i / 3 * 17 + index] += 1.0);
            let logits = model.forward(&Input::OneHot(picked), &Ask::row(), &Ctx::eval(0, 0));
            assert_close("logits", &values(&logits), &reference(&model, &x, &[17, 7, 11, 13], bias, 0.5), 1e-13);
            let parameters = named_values(&model);
            assert_eq!(values(&model.embedding().unwrap()), parameters["layers.0.weight"]);
            let unembedding = model.unembedding().unwrap();
            assert_eq!(unembedding.dims(), [13, 11]);
            assert_eq!(values(&unembedding.transpose()), parameters["layers.2.weight"]);
        }
    }

    #[test]
    fn gradients_agree_with_central_differences() {
        let io = Io { input: InputSpec::OneHot { width: 5, hot: 2 }, outputs: 3 };
        let tiny = MlpConfig { widths: vec![7, 2], ..config(true) };
        let model = randomised(build(tiny, &io));
        let (_, picked) = indices([11, 2], 5);
        let c = normal([11, 3], DType::F64, "c").detach();
        check_gradients(&model, |model| {
            (model.forward(&Input::OneHot(picked.clone()), &Ask::row(), &Ctx::eval(0, 0)) * c.clone()).sum()
        });
    }

    #[test]
    fn without_biases_each_layer_carries_the_same_euler_product() {
        // The logits are homogeneous of degree 1 in each weight: ⟨∂L/∂W_l, W_l⟩ = Σ_ij G_ij z_ij for every l.
        let io = Io { input: InputSpec::OneHot { width: 17, hot: 2 }, outputs: 13 };
        let model = build(config(false), &io);
        let (_, picked) = indices([ROWS, 2], 17);
        let g = normal([ROWS, 13], DType::F64, "g").detach();
        let logits = model.forward(&Input::OneHot(picked), &Ask::row(), &Ctx::eval(0, 0));
        let product = values(&(logits.clone() * g.clone()).sum())[0];
        let gradients = named_gradients(&model, &(logits * g).sum().backward());
        let parameters = named_values(&model);
        for (name, gradient) in &gradients {
            let along: f64 = gradient.iter().zip(&parameters[name]).map(|(g, w)| g * w).sum();
            assert_close(name, &[along], &[product], 1e-12);
        }
        assert_eq!(gradients.len(), 3);
    }

    #[test]
    fn first_values_stay_in_their_bounds() {
        let io = Io { input: InputSpec::OneHot { width: 118, hot: 2 }, outputs: 59 };
        let model = build(MlpConfig { widths: vec![128], bias: true, ..MlpConfig::default() }, &io);
        for (name, found) in named_values(&model) {
            let fan_in: f64 = if name.starts_with("layers.0") { 118.0 } else { 128.0 };
            let bound = 1.0 / fan_in.sqrt();
            let largest = found.iter().fold(0.0f64, |a, b| a.max(b.abs()));
            assert!(largest <= bound && largest > 0.9 * bound, "{name}: {largest} of {bound}");
            let mean = found.iter().sum::<f64>() / found.len() as f64;
            // Five standard errors of a uniform mean.
            assert!(mean.abs() < 5.0 * bound / (3.0 * found.len() as f64).sqrt(), "{name}: mean {mean}");
        }
    }

    #[test]
    fn a_linear_model_has_no_hidden_layer() {
        let io = Io { input: InputSpec::Floats { width: 3 }, outputs: 2 };
        let model = build(MlpConfig { widths: vec![], dtype: Precision::F64, ..MlpConfig::default() }, &io);
        let x = normal([5, 3], DType::F64, "x").detach();
        let logits = model.forward(&Input::Floats(x.clone()), &Ask::row(), &Ctx::eval(0, 0));
        assert_close("logits", &values(&logits), &reference(&model, &values(&x), &[3, 2], false, 1.0), 1e-14);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let floats = Io { input: InputSpec::Floats { width: 3 }, outputs: 2 };
        let error = MlpConfig { widths: vec![4, 0], ..MlpConfig::default() }.check(&floats).unwrap_err();
        assert_eq!(error.key, "widths");
        assert_eq!(error.message, "hidden layer 1 has width 0; expected whole numbers of at least 1");
        let tokens = Io { input: InputSpec::Tokens { vocabulary: 60, length: 3 }, outputs: 59 };
        let error = MlpConfig::default().check(&tokens).unwrap_err();
        assert_eq!(
            error.to_string(),
            "model.name: \"mlp\" takes one-hot rows or feature vectors, but the data gives tokens (3 of a vocabulary \
             of 60); choose another encoding in [data], or name = \"transformer\""
        );
    }
}
