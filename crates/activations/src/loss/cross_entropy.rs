//! Cross entropy.
use burn::{module::Module, tensor::Tensor};
use kiln_registry::Entry;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{LossDtype, LossOutput, Objective, SumOrder, Target, TargetKind, by_rows, composed as parts, of_labelled};
use crate::{
    Ctx, Init, Keep,
    normalizer::{Heads, Normalizer, NormalizerConfig, Rows},
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
/// L_i = −Σ_j t_ij ln w_ij   of a distribution t,   −(1/|P|) Σ_{j∈P} ln w_ij   of labels P
/// ```
/// With labels through [`soft_topk`](crate::normalizer::SoftTopk) it is the soft top-k loss of Gupta et al. 2024,
/// arXiv:2310.10636 (theirs has α = 2); through softmax the positives of a row compete with each other, which
/// [`decoupled_softmax`](super::DecoupledSoftmax) avoids. The mean leaves out rows without labels.
///
/// # Shapes
/// - logits: `[rows, classes]`; target: [`Target::Classes`], and of a map whose log weights have a kernel also
///   [`Target::Soft`] and [`Target::Labels`]
/// # Numerics
/// Computed by the normalizer's own loss kernel, with its rounding: through softmax the loss and the target's gradient
/// become exactly 0 once the sum absorbs the rivals (softmax collapse), at a margin set by the precision and the order
/// of the sum. Targets that are not classes take the map's log weights in the dtype of the loss.
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
        if target.kind() != TargetKind::Classes {
            let logits = logits.cast(self.dtype.dtype());
            let log = self.normalizer.log_weights(logits.clone(), -1, None, &Ctx::eval(0, 0));
            let log = log.expect("`check` lets only maps with a log form pass");
            return of_labelled(parts::cross(target.shares(&logits), log), target);
        }
        let kernel = self.normalizer.nll(self.sum).expect("`check` lets only maps with a log form pass");
        let row_params = self.normalizer.row_params(&logits, Heads::ONE);
        by_rows(self, logits, row_params, target, kernel)
    }

    fn dtype(&self) -> LossDtype {
        self.dtype
    }

    fn sum(&self) -> SumOrder {
        self.sum
    }

    fn targets(&self) -> &'static [TargetKind] {
        let all = &[TargetKind::Classes, TargetKind::Soft, TargetKind::Labels];
        // The log weights have one order of their sums.
        let every = self.sum == SumOrder::default() && self.normalizer.log_kernel(&Ctx::eval(0, 0)).is_some();
        if every { all } else { &all[..1] }
    }

    fn probabilities(&self, logits: Tensor<2>) -> Option<Tensor<2>> {
        Some(self.normalizer.rows(logits.detach(), &Keep::All, Heads::ONE, &Ctx::eval(0, 0)))
    }

    fn keeps_order(&self) -> bool {
        self.normalizer.laws().order_preserving
    }

    fn composed(&self, logits: Tensor<2>, target: &Target) -> Tensor<1> {
        let params = self.normalizer.row_params(&logits, Heads::ONE);
        let rows = Rows { scores: logits, params, keep: &Keep::All };
        let ctx = Ctx::eval(0, 0);
        let loss = match target {
            Target::Classes(classes) => self.normalizer.composed_nll(&rows, classes, &ctx),
            _ => self.normalizer.composed_log(&rows, &ctx).map(|log| parts::cross(target.shares(&rows.scores), log)),
        };
        loss.expect("`check` lets only maps with a log form pass")
    }

    fn check(&self) -> Result<(), String> {
        log_form(self.normalizer_name, self.normalizer.nll(self.sum).is_some())
    }
}

/// Refuses a normalizer without a log form and names those that have one.
fn log_form(name: &str, has: bool) -> Result<(), String> {
    if has {
        return Ok(());
    }
    let others = NormalizerConfig::names_with_log_form().join(", ");
    Err(format!(
        "cross_entropy needs the logarithm of a weight, and the normalizer \"{name}\" has no log form; choose one of: {others}"
    ))
}

#[cfg(test)]
mod tests {
    use super::log_form;

    #[test]
    fn a_normalizer_without_a_log_form_is_refused() {
        assert_eq!(log_form("softmax", true), Ok(()));
        let message = log_form("sparsemax", false).expect_err("refused");
        assert!(message.contains("\"sparsemax\" has no log form"), "{message}");
        assert!(message.contains("choose one of: softmax, "), "{message}");
    }
}
