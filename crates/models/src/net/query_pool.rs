//! A network that pools a set with one attention head and one learned query.
use burn::{
    module::{Module, Param},
    tensor::{DType, Tensor},
};
use kiln_activations::{
    Ctx, Init, Keep,
    normalizer::{Normalizer, NormalizerConfig},
    pointwise::{Pointwise, PointwiseConfig},
};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Network, NetworkConfig};
use crate::{
    Ask, Head, HeadConfig, Input, InputSpec, Invalid, Io, Precision,
    block::{Draw, Linear},
    head::{Ends, Site},
    kernel::{self, Epilogue},
};

/// Parameters of [`QueryPool`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct QueryPoolConfig {
    /// Width of every hidden vector: of the items, the head, and the output network.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub width: usize,
    /// The map from the scores of the items to their weights.
    pub normalizer: NormalizerConfig,
    /// The function between the layers of the item and output networks.
    pub activation: PointwiseConfig,
    /// What turns the hidden vector of the output network into logits; a linear head is the layer `output_down`.
    #[serde(skip_serializing_if = "HeadConfig::is_linear")]
    pub head: HeadConfig,
    /// Number format of parameters and hidden states.
    pub dtype: Precision,
}

impl Default for QueryPoolConfig {
    /// Large enough to solve max retrieval at the lengths it is trained on, small enough to train in seconds.
    fn default() -> Self {
        Self {
            width: 64,
            normalizer: NormalizerConfig::default(),
            activation: PointwiseConfig::Gelu(Default::default()),
            head: HeadConfig::default(),
            dtype: Precision::F32,
        }
    }
}

impl Entry for QueryPoolConfig {
    const SUMMARY: &'static str = "one attention head with one learned query over a set of items";
    const PAPER: &'static str =
        "Veličković et al. 2024, softmax is not enough (for sharp out-of-distribution), arXiv:2410.01104";
}

impl NetworkConfig for QueryPoolConfig {
    fn check(&self, io: &Io) -> Result<(), Invalid> {
        match io.input {
            InputSpec::Items { .. } => self.head.fits(&self.site(io)),
            other => Err(Invalid::new(
                "name",
                format!(
                    "\"query_pool\" takes sets of items, but the data gives {other}; choose other data, such as \
                     \"max_retrieval\", or another network"
                ),
            )),
        }
    }

    fn dtype(&self) -> DType {
        self.dtype.dtype()
    }

    fn head(&self) -> Option<&HeadConfig> {
        Some(&self.head)
    }

    fn attends(&self) -> bool {
        true
    }
}

impl QueryPoolConfig {
    /// Where the head stands.
    fn site(&self, io: &Io) -> Site {
        Site { features: self.width, outputs: io.outputs, bias: true, draw: Draw::Uniform }
    }

    /// The network. Weights and biases of each layer are drawn from `U(−1/√fan_in, 1/√fan_in)`, the query from
    /// `N(0, 1)`.
    ///
    /// # Panics
    /// If [`NetworkConfig::check`] refuses.
    pub fn init(&self, (io, init): (&Io, &Init)) -> QueryPool {
        let InputSpec::Items { features } = io.input else { panic!("query_pool takes no {}", io.input) };
        let width = self.width;
        let linear =
            |name: &str, shape: [usize; 2], bias: bool| Linear::new(&init.child(name), shape, bias, Draw::Uniform);
        let (output_down, head) = self.head.ends(&self.site(io), init, "output_down");
        QueryPool {
            item_up: linear("item_up", [features, width], true),
            item_down: linear("item_down", [width, width], true),
            query: init.normal("query", [width, 1], 1.0),
            key: linear("key", [width, width], false),
            value: linear("value", [width, width], false),
            normalizer: self.normalizer.init(&init.child("normalizer")),
            activation: self.activation.init(&init.child("activation")),
            output_up: linear("output_up", [width, width], true),
            output_down,
            head,
        }
    }
}

/// Attention over a set with one learned query: what a map of scores to weights does to a look-up, and nothing else.
/// ```text
/// h_i = W₂ φ(W₁ x_i + b₁) + b₂
/// s_i = ⟨q, W_k h_i⟩ / √d,   w = normalizer(s),   v = Σ_i w_i W_v h_i
/// z = W₄ φ(W₃ v + b₃) + b₄,   or another head of φ(W₃ v + b₃)
/// ```
/// Keys and values are linear in the items, so neither is built for each of them: `⟨q, W_k h_i⟩ = ⟨W_kᵀ q, h_i⟩`, and the
/// values are projected after the sum. That is the same function for any weights, whatever they sum to. The sum is
/// all that reaches the output: a row whose weights are all 0 says nothing about its items.
///
/// # Shapes
/// - input: `Items [rows, items, features]`, any number of items; logits: `[rows, outputs]`
/// - recorded for a probe: `attention`, `[rows, 1, 1, items]`
/// # References
/// Veličković et al. 2024, arXiv:2410.01104, where the query comes from an input of its own.
#[derive(Module, Debug)]
pub struct QueryPool {
    /// W₁: `[features, width]`
    pub item_up: Linear,
    /// W₂: `[width, width]`
    pub item_down: Linear,
    /// q: `[width, 1]`
    pub query: Param<Tensor<2>>,
    /// W_k: `[width, width]`, without bias
    pub key: Linear,
    /// W_v: `[width, width]`, without bias
    pub value: Linear,
    /// The map from scores to weights.
    pub normalizer: Normalizer,
    /// φ
    pub activation: Pointwise,
    /// W₃: `[width, width]`
    pub output_up: Linear,
    /// W₄: `[width, outputs]`, with the linear head.
    pub output_down: Option<Linear>,
    /// The head, if it is not linear.
    pub head: Option<Head>,
}

impl Network for QueryPool {
    fn forward(&self, input: &Input, ask: &Ask, ctx: &Ctx) -> Tensor<2> {
        let Input::Items(x) = input else { panic!("query_pool takes sets of items, not {}", input.kind()) };
        let [rows, items, _] = x.dims();
        let h = self.activation.forward(self.item_up.forward(x.clone(), Epilogue::None));
        let h = self.item_down.forward(h, Epilogue::None); // [rows, items, width]
        let [_, _, width] = h.dims();

        let query = self.key.weight.val().matmul(self.query.val()).div_scalar((width as f64).sqrt());
        let scores = kernel::linear(h.clone(), query, None, Epilogue::None).reshape([rows, 1, 1, items]);
        let weights = self.normalizer.weights(scores, -1, None, &ctx.child("normalizer"));
        ctx.record("attention", &Keep::All, || weights.clone());
        let pooled = weights.reshape([rows, 1, items]).matmul(h).reshape([rows, width]);

        let pooled = self.value.forward(pooled, Epilogue::None);
        let hidden = self.activation.forward(self.output_up.forward(pooled, Epilogue::None));
        self.ends().answer(hidden, ask, ctx)
    }

    fn embedding(&self) -> Option<Tensor<2>> {
        None
    }

    fn unembedding(&self) -> Option<Tensor<2>> {
        self.ends().unembedding()
    }
}

impl QueryPool {
    fn ends(&self) -> Ends<'_> {
        Ends { output: self.output_down.as_ref(), head: self.head.as_ref() }
    }
}

#[cfg(test)]
mod tests {
    use kiln_activations::Probe;

    use super::*;
    use crate::{
        Model, ModelConfig,
        testing::{assert_close, check_gradients, device, named_values, normal, randomised, values},
    };

    const IO: Io = Io { input: InputSpec::Items { features: 3 }, outputs: 5 };

    /// A network of width 4 with no zero bias, in f64.
    fn build(normalizer: &str) -> Model {
        let normalizer = NormalizerConfig::by_name(normalizer).unwrap();
        let config = ModelConfig::QueryPool(QueryPoolConfig {
            width: 4,
            normalizer,
            dtype: Precision::F64,
            ..Default::default()
        });
        config.check(&IO).unwrap();
        randomised(config.init((&IO, &Init::new(5, &device(), config.dtype()))))
    }

    fn matrix(x: &[f64], weight: &[f64], bias: Option<&Vec<f64>>) -> Vec<f64> {
        let outputs = weight.len() / x.len();
        let sum = |j: usize| x.iter().enumerate().map(|(i, x)| x * weight[i * outputs + j]).sum::<f64>();
        (0..outputs).map(|j| sum(j) + bias.map_or(0.0, |bias| bias[j])).collect()
    }

    /// `x Φ(x)` by the series of the error function, which converges everywhere.
    fn gelu_reference(x: f64) -> f64 {
        let z = x / std::f64::consts::SQRT_2;
        let (mut term, mut sum) = (z, z);
        for n in 1..200 {
            term *= -z * z / n as f64;
            sum += term / (2 * n + 1) as f64;
        }
        x * (0.5 + sum / std::f64::consts::PI.sqrt())
    }

    /// The definition with a key and a value for every item, in plain loops, with softmax.
    fn reference(model: &Model, x: &[f64], items: usize) -> (Vec<f64>, Vec<f64>) {
        let p = named_values(model);
        let layer = |x: &[f64], name: &str| matrix(x, &p[&format!("{name}.weight")], p.get(&format!("{name}.bias")));
        let gelu = |x: Vec<f64>| x.into_iter().map(gelu_reference).collect::<Vec<_>>();
        let (mut logits, mut all_weights) = (Vec::new(), Vec::new());
        for row in x.chunks(items * 3) {
            let h: Vec<Vec<f64>> = row.chunks(3).map(|x| layer(&gelu(layer(x, "item_up")), "item_down")).collect();
            let score = |h: &Vec<f64>| matrix(&layer(h, "key"), &p["query"], None)[0] / 2.0;
            let exp: Vec<f64> = h.iter().map(|h| score(h).exp()).collect();
            let weights: Vec<f64> = exp.iter().map(|e| e / exp.iter().sum::<f64>()).collect();
            let mut v = vec![0.0; 4];
            for (h, w) in h.iter().zip(&weights) {
                v.iter_mut().zip(layer(h, "value")).for_each(|(v, x)| *v += w * x);
            }
            logits.extend(layer(&gelu(layer(&v, "output_up")), "output_down"));
            all_weights.extend(weights);
        }
        (logits, all_weights)
    }

    #[test]
    fn logits_and_weights_follow_the_definition_at_any_number_of_items() {
        let model = build("softmax");
        for items in [1, 2, 7, 101] {
            let x = normal([11, items, 3], DType::F64, "x").detach();
            let (logits, weights) = reference(&model, &values(&x), items);
            let probe = Probe::of(["attention"]);
            let found = model.forward(&Input::Items(x), &Ask::row(), &Ctx::eval(0, 0).with_probe(&probe));
            assert_close("logits", &values(&found), &logits, 1e-11);
            let records = probe.take();
            assert_eq!((records.len(), records[0].name.as_str()), (1, "attention"));
            assert_eq!(records[0].shape, [11, 1, 1, items]);
            assert_close("weights", &values(&records[0].rows), &weights, 1e-12);
        }
    }

    #[test]
    fn a_probe_changes_no_bit_and_the_order_of_the_items_means_nothing() {
        let model = build("softmax");
        let x = normal([5, 13, 3], DType::F64, "x").detach();
        let forward = |x: &Tensor<3>, ctx: Ctx| values(&model.forward(&Input::Items(x.clone()), &Ask::row(), &ctx));
        let plain = forward(&x, Ctx::eval(0, 0));
        assert_eq!(plain, forward(&x, Ctx::eval(0, 0).with_probe(&Probe::default())));
        assert_close("flipped", &forward(&x.clone().flip([1]), Ctx::eval(0, 0)), &plain, 1e-12);
        let part = model.forward(&Input::Items(x).rows_in(2..4), &Ask::row(), &Ctx::eval(0, 0));
        assert_close("rows 2 and 3", &values(&part), &plain[10..20], 1e-12);
    }

    #[test]
    fn gradients_agree_with_central_differences() {
        for normalizer in ["softmax", "stablemax"] {
            let model = build(normalizer);
            let x = normal([3, 6, 3], DType::F64, "x").detach();
            let c = normal([3, 5], DType::F64, "c").detach();
            check_gradients(&model, |model| {
                (model.forward(&Input::Items(x.clone()), &Ask::row(), &Ctx::eval(0, 0)) * c.clone()).sum()
            });
        }
    }

    #[test]
    fn other_inputs_are_refused() {
        let tokens = Io { input: InputSpec::Tokens { vocabulary: 60, length: 3 }, outputs: 59 };
        assert_eq!(
            QueryPoolConfig::default().check(&tokens).unwrap_err().to_string(),
            "model.name: \"query_pool\" takes sets of items, but the data gives tokens (3 of a vocabulary of 60); \
             choose other data, such as \"max_retrieval\", or another network"
        );
        let error = crate::net::MlpConfig::default().check(&IO).unwrap_err();
        assert!(error.message.contains("sets of items (of 3 features)"), "{error}");
    }
}
