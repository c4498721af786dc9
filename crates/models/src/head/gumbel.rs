//! The head of the Gumbel loss.
use burn::{module::Module, tensor::Tensor};
use kiln_activations::{Ctx, Init, loss::Scores};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{HeadParams, Laws, Scorer, Site};
use crate::{Ask, block::Linear, kernel::Epilogue};

/// Parameters of [`Gumbel`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GumbelConfig {
    /// First value of every bias.
    #[serde(deserialize_with = "range::finite")]
    pub bias: f64,
    /// Standard deviation of the first weights.
    #[serde(deserialize_with = "range::non_negative")]
    #[schemars(range(min = 0.0))]
    pub std: f64,
}

impl Default for GumbelConfig {
    /// At a bias of −2 every class begins at a probability of 6e-4, where a logistic one would begin at 0.12. The authors set
    /// all weights to 0.001, which makes the classes' first gradients equal; here they are drawn at that size.
    fn default() -> Self {
        Self { bias: -2.0, std: 1e-3 }
    }
}

impl Entry for GumbelConfig {
    const SUMMARY: &'static str = "a dense layer of Gumbel deviates that begin rare, for the loss gumbel_ce";
    const PAPER: &'static str =
        "Alexandridis et al. 2022, Long-tailed Instance Segmentation using Gumbel Optimized Loss, arXiv:2207.10936";
}

impl HeadParams for GumbelConfig {
    fn laws(&self) -> Laws {
        Laws { scores: Scores::Gumbel, ..Laws::LINEAR }
    }
}

impl GumbelConfig {
    /// The head.
    pub fn init(&self, (site, init): (&Site, &Init)) -> Gumbel {
        let init = init.child("output");
        let weight = init.normal("weight", [site.features, site.outputs], self.std);
        Gumbel { output: Linear { weight, bias: Some(init.constant([site.outputs], self.bias)) } }
    }
}

/// A dense layer whose numbers are Gumbel deviates: class k has the probability `exp(−exp(−q_k))`, apart from the others.
/// ```text
/// q = h W + b,   first b = −2
/// ```
///
/// # Shapes
/// - features: `[answers, features]`; deviates: `[answers, outputs]`, whose largest is the answer
/// # References
/// Alexandridis et al. 2022, arXiv:2207.10936.
#[derive(Module, Debug)]
pub struct Gumbel {
    /// `[features, outputs]`
    pub output: Linear,
}

impl Scorer for Gumbel {
    fn forward(&self, features: Tensor<2>, _: &Ask, _: &Ctx) -> Tensor<2> {
        self.output.forward(features, Epilogue::None)
    }

    fn unembedding(&self) -> Option<Tensor<2>> {
        Some(self.output.weight.val().transpose())
    }
}
