//! The recurrent classifier.
use burn::{
    module::Module,
    tensor::{DType, Int, Tensor},
};
use kiln_activations::{Ctx, Init, Keep};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Answers, Network, NetworkConfig};
use crate::{
    Ask, At, Head, HeadConfig, Input, InputSpec, Invalid, Io, Precision,
    block::{Draw, Embedding, Gru, GruSpec, Linear, Reset, dropout},
    head::{Ends, Site},
};

/// Parameters of [`GruClassifier`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GruConfig {
    /// Values of the state.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub width: usize,
    /// Width of learned token vectors; tokens are one-hot vectors if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub embedding: Option<usize>,
    /// Where the reset gate acts.
    pub reset: Reset,
    /// First value of the gates' biases; with 1 the state is mostly kept at first.
    #[serde(deserialize_with = "range::finite")]
    pub gate_bias: f64,
    /// Share of input values set to 0 while training; a one-hot vector is dropped whole.
    #[serde(deserialize_with = "range::below_one")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub input_dropout: f64,
    /// What turns the state into logits; a linear head is the layer `output`.
    #[serde(skip_serializing_if = "HeadConfig::is_linear")]
    pub head: HeadConfig,
    /// Number format of parameters and hidden states.
    pub dtype: Precision,
}

impl GruConfig {
    /// The network that Agarap 2018 (arXiv:1709.03082) puts a softmax and a support vector machine on, after the author's
    /// code, github.com/AFAgarap/gru-svm: a state of 256, categories as one-hot vectors, gate biases of 1, inputs
    /// kept with probability 0.85. The code hands the last state of a training batch to the next one, which holds
    /// other rows; here each row begins at 0.
    pub fn gru_svm() -> Self {
        Self {
            width: 256,
            embedding: None,
            reset: Reset::Before,
            gate_bias: 1.0,
            input_dropout: 0.15,
            head: HeadConfig::default(),
            dtype: Precision::F32,
        }
    }

    /// What a step is given of that input: values per step, and whether they are tokens.
    fn steps(&self, input: InputSpec) -> Option<(usize, bool)> {
        match input {
            InputSpec::Tokens { vocabulary, .. } | InputSpec::TokenSums { vocabulary, .. } => Some((vocabulary, true)),
            InputSpec::Items { features } => Some((features, false)),
            InputSpec::Image { channels, width, .. } => Some((channels * width, false)),
            InputSpec::Floats { .. } => Some((1, false)),
            InputSpec::OneHot { .. } => None,
        }
    }
}

impl Default for GruConfig {
    /// [`GruConfig::gru_svm`].
    fn default() -> Self {
        Self::gru_svm()
    }
}

impl Entry for GruConfig {
    const SUMMARY: &'static str = "gated recurrent unit over tokens, items, rows of pixels or single values";
    const PAPER: &'static str = "Agarap 2018, arXiv:1709.03082";
}

impl NetworkConfig for GruConfig {
    fn check(&self, io: &Io) -> Result<(), Invalid> {
        let Some((_, tokens)) = self.steps(io.input) else {
            let message = format!(
                "\"gru\" takes sequences, but the data gives {}; choose another encoding in [data], or name = \"mlp\"",
                io.input
            );
            return Err(Invalid::new("name", message));
        };
        match self.embedding {
            Some(0) => Err(Invalid::new("embedding", "0 is no width; expected a whole number of at least 1".into())),
            Some(_) if !tokens => {
                let message =
                    format!("only tokens have vectors of their own, and the data gives {}; leave it out", io.input);
                Err(Invalid::new("embedding", message))
            }
            _ => self.head.fits(&self.site(io)),
        }
    }

    fn dtype(&self) -> DType {
        self.dtype.dtype()
    }

    fn head(&self) -> Option<&HeadConfig> {
        Some(&self.head)
    }

    fn answers(&self) -> Answers {
        Answers::Places
    }
}

impl GruConfig {
    /// Where the head stands.
    fn site(&self, io: &Io) -> Site {
        Site { features: self.width, outputs: io.outputs, bias: true, draw: Draw::Uniform }
    }

    /// The network; token vectors are drawn from `N(0, 1)`.
    ///
    /// # Panics
    /// If [`NetworkConfig::check`] refuses.
    pub fn init(&self, (io, init): (&Io, &Init)) -> GruClassifier {
        let (values, _) = self.steps(io.input).unwrap_or_else(|| panic!("gru takes no {}", io.input));
        let table = |width| Embedding::new(&init.child("embedding"), [values, width], 1.0);
        let spec = GruSpec {
            inputs: self.embedding.unwrap_or(values),
            width: self.width,
            reset: self.reset,
            gate_bias: self.gate_bias,
        };
        let (output, head) = self.head.ends(&self.site(io), init, "output");
        GruClassifier {
            embedding: self.embedding.map(table),
            gru: Gru::new(&init.child("gru"), spec),
            output,
            head,
            input_dropout: self.input_dropout,
            tokens: matches!(io.input, InputSpec::Tokens { .. } | InputSpec::TokenSums { .. }),
        }
    }
}

/// A gated recurrent unit that reads a sequence and answers from its state: after the last step, or at the places that
/// are asked for.
///
/// Tokens are read one by one, as one-hot vectors (sums of them, where a token has several ids) or learned ones; items in
/// their order; images row of pixels by row of pixels from the top; feature vectors value by value.
///
/// # Shapes
/// - input: `Tokens [rows, length]`, `TokenSums`, `Items [rows, length, features]`, `Image` or `Floats [rows, length]`;
///   logits: `[answers, outputs]`
/// - recorded for a probe: `block`, the state after each step, `[rows, length, width]`
#[derive(Module, Debug)]
pub struct GruClassifier {
    /// `[vocabulary, width]`, if tokens have vectors.
    pub embedding: Option<Embedding>,
    /// The unit.
    pub gru: Gru,
    /// `[width, outputs]`, with the linear head.
    pub output: Option<Linear>,
    /// The head, if it is not linear.
    pub head: Option<Head>,
    input_dropout: f64,
    tokens: bool,
}

impl GruClassifier {
    fn ends(&self) -> Ends<'_> {
        Ends { output: self.output.as_ref(), head: self.head.as_ref() }
    }

    /// Every step's projected token, `[rows, 3 · width]`; `drop` drops values of a step.
    fn projected_tokens(
        &self,
        ids: &Tensor<2, Int>,
        parts: usize,
        drop: impl Fn(Tensor<2>, usize) -> Tensor<2>,
    ) -> Vec<Tensor<2>> {
        let [rows, columns] = ids.dims();
        let step = |t: usize| {
            let token = ids.clone().narrow(1, t * parts, parts);
            match &self.embedding {
                Some(table) => {
                    let x = table.forward_sums(token, parts);
                    let [_, _, width] = x.dims();
                    self.gru.project(drop(x.reshape([rows, width]), t))
                }
                None => {
                    let x = self.gru.project_one_hot(token);
                    let ones = Tensor::ones([rows, 1], (&x.device(), x.dtype()));
                    x * drop(ones, t)
                }
            }
        };
        (0..columns / parts).map(step).collect()
    }

    /// Every step's projected input, `[rows, 3 · width]`.
    fn projected(&self, input: &Input, ctx: &Ctx) -> Vec<Tensor<2>> {
        let ctx = ctx.child("input_dropout");
        let drop = |x: Tensor<2>, t: usize| dropout(x, self.input_dropout, &ctx.child(&t.to_string()));
        let sequence = match input {
            Input::Tokens(ids) => return self.projected_tokens(ids, 1, drop),
            Input::TokenSums { ids, parts } => return self.projected_tokens(ids, *parts, drop),
            Input::Items(items) => items.clone(),
            Input::Image(image) => {
                let [rows, channels, height, width] = image.dims();
                image.clone().swap_dims(1, 2).reshape([rows, height, channels * width])
            }
            Input::Floats(values) => values.clone().unsqueeze_dim(2),
            Input::OneHot(_) => panic!("gru takes no {}", input.kind()),
        };
        let [rows, length, values] = sequence.dims();
        let step = |t: usize| self.gru.project(drop(sequence.clone().narrow(1, t, 1).reshape([rows, values]), t));
        (0..length).map(step).collect()
    }
}

impl Network for GruClassifier {
    fn forward(&self, input: &Input, ask: &Ask, ctx: &Ctx) -> Tensor<2> {
        let mut states = vec![self.gru.start(input.rows())];
        for projected in self.projected(input, ctx) {
            states.push(self.gru.step(projected, states[states.len() - 1].clone()));
        }
        let all = || Tensor::stack::<3>(states[1..].to_vec(), 1); // [rows, length, width]
        ctx.child("gru").record("block", &Keep::All, all);
        let state = match &ask.at {
            At::Row => states[states.len() - 1].clone(),
            At::Places(places) => {
                let all = all();
                let [rows, length, width] = all.dims();
                all.reshape([rows * length, width]).select(0, places.clone())
            }
        };
        self.ends().answer(state, ask, ctx)
    }

    fn embedding(&self) -> Option<Tensor<2>> {
        let one_hot = || self.tokens.then(|| self.gru.input_weight.val());
        self.embedding.as_ref().map(|table| table.weight.val()).or_else(one_hot)
    }

    fn unembedding(&self) -> Option<Tensor<2>> {
        self.ends().unembedding()
    }
}

#[cfg(test)]
mod tests;
