//! Cross entropy.
use burn::{module::Module, tensor::Tensor};
use kiln_registry::Entry;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{LossDtype, LossOutput, Objective, SumOrder, Target, by_rows};
use crate::{
    Init,
    normalizer::{Normalizer, NormalizerConfig},
};

/// Parameters of [`CrossEntropy`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CrossEntropyConfig {
    /// The map whose weight of the target class is scored; softmax by default.
    pub normalizer: NormalizerConfig,
    /// The precision of the loss, chosen apart from the model's.
    pub dtype: LossDtype,
    /// The order of the row sums.
    pub sum: SumOrder,
}

impl Entry for CrossEntropyConfig {
    const SUMMARY: &'static str = "minus the log weight that a normalizer gives the target class";
}

impl CrossEntropyConfig {
    /// The loss.
    pub fn init(&self, init: &Init) -> CrossEntropy {
        CrossEntropy {
            normalizer: self.normalizer.init(&init.child("normalizer")),
            normalizer_name: self.normalizer.name(),
            dtype: self.dtype,
            sum: self.sum,
        }
    }
}

/// Cross entropy: minus the logarithm of the weight that a normalizer gives the target class.
/// ```text
/// L_i = −ln w_{i,y_i},   mean over the rows
/// ```
/// # Shapes
/// - logits: `[rows, classes]`; target: [`Target::Classes`]
/// # Numerics
/// Computed by the normalizer's own loss kernel, with its rounding: through softmax the loss and the target's gradient
/// become exactly 0 once the sum absorbs the rivals (softmax collapse), at a margin set by the precision and the order
/// of the sum.
#[derive(Module, Debug)]
pub struct CrossEntropy {
    /// The map.
    pub normalizer: Normalizer,
    #[module(skip)]
    normalizer_name: &'static str,
    /// The precision.
    #[module(skip)]
    pub dtype: LossDtype,
    /// The order of sums.
    #[module(skip)]
    pub sum: SumOrder,
}

impl Objective for CrossEntropy {
    fn forward(&self, logits: Tensor<2>, target: &Target) -> LossOutput {
        let kernel = self.normalizer.nll(self.sum).expect("`check` lets only maps with a log form pass");
        by_rows(logits, target, kernel, self.dtype)
    }

    fn dtype(&self) -> LossDtype {
        self.dtype
    }

    fn check(&self) -> Result<(), String> {
        if self.normalizer.nll(self.sum).is_some() {
            return Ok(());
        }
        Err(format!(
            "cross_entropy needs the logarithm of a weight, and the normalizer \"{}\" has no log form; choose one of: {}",
            self.normalizer_name,
            NormalizerConfig::names_with_log_form().join(", "),
        ))
    }
}
