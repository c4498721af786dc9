//! The support-vector head.
use burn::{module::Module, tensor::Tensor};
use kiln_activations::{Ctx, Init, loss::Scores};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{HeadParams, Laws, Scorer, Site, angular::single};
use crate::{Ask, block::Linear, kernel::Epilogue};

/// Parameters of [`Svm`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SvmConfig {
    /// What is added to the loss for the weights.
    pub penalty: SvmPenalty,
    /// Factor on it; the C of the machine is the loss's.
    #[serde(deserialize_with = "range::non_negative")]
    #[schemars(range(min = 0.0))]
    pub weight: f64,
}

impl Default for SvmConfig {
    /// The authors' code.
    fn default() -> Self {
        Self { penalty: SvmPenalty::default(), weight: 1.0 }
    }
}

/// What a support-vector head adds to the loss for its weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SvmPenalty {
    /// The mean of their squares.
    #[default]
    MeanSquare,
    /// Half the sum of their squares, the textbook's.
    HalfSumSquare,
}

impl Entry for SvmConfig {
    const SUMMARY: &'static str = "a dense layer of margins with a penalty on its weights, for the hinge loss";
    const PAPER: &'static str = "Agarap 2017, An Architecture Combining Convolutional Neural Network (CNN) and Support Vector \
                                 Machine (SVM) for Image Classification, arXiv:1712.03541";
}

impl HeadParams for SvmConfig {
    fn laws(&self) -> Laws {
        Laws { scores: Scores::Margins, ..Laws::LINEAR }
    }
}

impl SvmConfig {
    /// The head.
    pub fn init(&self, (site, init): (&Site, &Init)) -> Svm {
        Svm { output: site.linear(&init.child("output")), penalty: self.penalty, weight: self.weight }
    }
}

/// A dense layer whose numbers are signed distances to one boundary per class, with a penalty on its weights as a term of the
/// training loss, `svm_penalty`.
/// ```text
/// o = h W + b,   term: weight · mean(W²), or weight · ½ Σ W²
/// ```
///
/// # Shapes
/// - features: `[answers, features]`; margins: `[answers, outputs]`
/// # References
/// Agarap 2017, arXiv:1712.03541; with half the sum of squares and a sum of hinges, the machine behind the GRU of Agarap 2018,
/// arXiv:1709.03082.
#[derive(Module, Debug)]
pub struct Svm {
    /// `[features, outputs]`
    pub output: Linear,
    #[module(skip)]
    penalty: SvmPenalty,
    weight: f64,
}

impl Scorer for Svm {
    fn forward(&self, features: Tensor<2>, _: &Ask, ctx: &Ctx) -> Tensor<2> {
        ctx.add_loss("svm_penalty", || {
            let w = single(self.output.weight.val());
            let factor = match self.penalty {
                SvmPenalty::MeanSquare => 1.0 / w.dims().iter().product::<usize>() as f64,
                SvmPenalty::HalfSumSquare => 0.5,
            };
            (w.clone() * w).sum().mul_scalar(factor * self.weight)
        });
        self.output.forward(features, Epilogue::None)
    }

    fn unembedding(&self) -> Option<Tensor<2>> {
        Some(self.output.weight.val().transpose())
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::DType;
    use kiln_activations::LossTerms;

    use super::*;
    use crate::{
        block::Draw,
        testing::{assert_close, device, normal, values},
    };

    #[test]
    fn the_penalty_is_a_term_of_the_loss() {
        let site = Site { features: 5, outputs: 3, bias: true, draw: Draw::Uniform };
        for (penalty, factor) in [(SvmPenalty::MeanSquare, 1.0 / 15.0), (SvmPenalty::HalfSumSquare, 0.5)] {
            let head = SvmConfig { penalty, weight: 0.7 }.init((&site, &Init::new(0, &device(), DType::F64)));
            let terms = LossTerms::default();
            let features = normal([2, 5], DType::F64, "features").detach();
            head.forward(features, &Ask::row(), &Ctx::train(0, 0).with_loss_terms(&terms));
            let square: f64 = values(&head.output.weight.val()).iter().map(|w| w * w).sum();
            let found = terms.take();
            assert_eq!((found.len(), found[0].name.as_str()), (1, "svm_penalty"));
            assert_close("penalty", &values(&found[0].value), &[0.7 * factor * square], 1e-14);
        }
    }
}
