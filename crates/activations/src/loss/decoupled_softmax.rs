//! Softmax whose positives do not compete.
use std::sync::Arc;

use burn::{module::Module, tensor::Tensor};
use kiln_registry::Entry;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ExactNll, LossDtype, LossOutput, Objective, Target, TargetKind, by_rows, composed as parts, of_labelled};
use crate::{Init, normalizer::composed};

/// Parameters of [`DecoupledSoftmax`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DecoupledSoftmaxConfig {
    /// Whether labels are relevances, any numbers from 0 up, and each label's term counts by its own.
    pub weighted: bool,
    /// The precision of the loss, chosen apart from the model's.
    pub dtype: LossDtype,
}

impl Entry for DecoupledSoftmaxConfig {
    const SUMMARY: &'static str =
        "softmax cross entropy of each label against the classes that are no labels of the row";
    const PAPER: &'static str =
        "Gupta et al. 2024, Dual-Encoders for Extreme Multi-Label Classification, arXiv:2310.10636";
}

impl DecoupledSoftmaxConfig {
    /// The loss.
    pub fn init(&self, _: &Init) -> DecoupledSoftmax {
        DecoupledSoftmax { dtype: self.dtype, weighted: self.weighted }
    }
}

/// Decoupled softmax: each label of a row P competes with the other classes N alone, never with the other labels.
/// ```text
/// L = −(1/|P|) Σ_{i∈P} r_i ln( e^{s_i} / (e^{s_i} + Σ_{j∈N} e^{s_j}) ),   r_i = 1, or the relevance of label i
/// ```
/// Through plain softmax the strongest label of a row is pushed down by the others. With one class per row this is cross
/// entropy, in the form that does not collapse. The paper's scores are cosines times 20: the head `normalised`. A row
/// without labels counts 0 and is left out of the mean; one whose classes are all labels counts 0.
///
/// # Shapes
/// - logits: `[rows, classes]`; target: [`Target::Labels`] or [`Target::Classes`]
/// # References
/// Gupta et al. 2024, arXiv:2310.10636. Their code can also draw one label per row and forget the others. Their soft top-k loss is [`CrossEntropy`](super::CrossEntropy) of labels through
/// `soft_topk`.
#[derive(Module, Debug)]
pub struct DecoupledSoftmax {
    #[module(skip)]
    dtype: LossDtype,
    weighted: bool,
}

impl Objective for DecoupledSoftmax {
    fn forward(&self, logits: Tensor<2>, target: &Target) -> LossOutput {
        match target {
            Target::Labels(_) => of_labelled(self.composed(logits.cast(self.dtype.dtype()), target), target),
            _ => by_rows(self, logits, None, target, Arc::new(ExactNll)),
        }
    }

    fn dtype(&self) -> LossDtype {
        self.dtype
    }

    fn targets(&self) -> &'static [TargetKind] {
        &[TargetKind::Labels, TargetKind::Classes]
    }

    fn composed(&self, logits: Tensor<2>, target: &Target) -> Tensor<1> {
        let positive = target.matrix(&logits).greater_elem(0.0);
        let shares = if self.weighted { target.relevances(&logits) } else { target.shares(&logits) };
        let (removed, shape) = (parts::removed(&logits), logits.dims());
        // ln Σ of the others; a row without others loses nothing.
        let (others, alone) = parts::log_sum(logits.clone(), removed.bool_or(positive.clone()));
        let x = logits.mask_fill(positive.bool_not(), 0.0);
        let terms = composed::softplus(others.expand(shape) - x).mask_fill(alone.expand(shape), 0.0);
        (shares * terms).sum_dim(1).squeeze_dim(1)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::DType;

    use super::*;
    use crate::{
        loss::law_tests::{assert_laws, loss, pass},
        testing::{assert_close, tensor, values},
    };

    #[test]
    fn golden_values() {
        let decoupled = loss(r#"{ "name": "decoupled_softmax", "dtype": "f64" }"#);
        let row = |values: &[f64]| tensor(values, 5, DType::F64);
        let labels = Target::Labels(row(&[1.0, 1.0, 0.0, 0.0, 0.0]));
        let (rows, gradient) = pass(row(&[2.0, 1.0, -0.5, 0.3, 0.0]), |x| decoupled.forward(x, &labels).rows);
        assert_close("loss", &rows, &[0.5362795106], 1e-9, 0.0);
        let want = [-0.142883622, -0.2604899309, 0.08275581748, 0.1841764589, 0.1364412765];
        assert_close("gradient", &gradient, &want, 1e-9, 1e-10);
        // A class that takes no part, a row without labels and one without others.
        let x = [2.0, 1.0, -0.5, 0.3, f64::NEG_INFINITY, 2.0, 1.0, -0.5, 0.3, 0.0, 2.0, 1.0, -0.5, 0.3, 0.0];
        let labels = [[1.0, 0.0, 0.0, 0.0, 0.0], [0.0; 5], [1.0; 5]].concat();
        let output = decoupled.forward(tensor(&x, 5, DType::F64), &Target::Labels(tensor(&labels, 5, DType::F64)));
        let sum: f64 = [1.0f64, -0.5, 0.3].iter().map(|x| (x - 2.0).exp()).sum();
        assert_close("rows", &values(output.rows), &[sum.ln_1p(), 0.0, 0.0], 1e-12, 0.0);
        assert_close("mean", &values(output.mean), &[sum.ln_1p() / 2.0], 1e-12, 0.0);
    }

    #[test]
    fn relevances_weigh_the_terms() {
        let weighted = loss(r#"{ "name": "decoupled_softmax", "dtype": "f64", "weighted": true }"#);
        let plain = loss(r#"{ "name": "decoupled_softmax", "dtype": "f64" }"#);
        let row = |values: &[f64]| tensor(values, 5, DType::F64);
        let x = || row(&[2.0, 1.0, -0.5, 0.3, 0.0]);
        let rows = |loss: &crate::loss::Loss, labels: &[f64]| {
            pass(x(), |x| loss.forward(x, &Target::Labels(row(labels))).rows)
        };
        // Of 1 each they change nothing.
        let both = [1.0, 1.0, 0.0, 0.0, 0.0];
        assert_eq!(rows(&weighted, &both), rows(&plain, &both));
        // ln(1 + Σ_N e^{s_j − s_i}) of each label, by their relevances, over their number.
        let others: f64 = [-0.5f64, 0.3, 0.0].iter().map(|s| s.exp()).sum();
        let term = |s: f64| (others / s.exp()).ln_1p();
        let (found, gradient) = rows(&weighted, &[2.5, 0.25, 0.0, 0.0, 0.0]);
        assert_close("loss", &found, &[(2.5 * term(2.0) + 0.25 * term(1.0)) / 2.0], 1e-13, 0.0);
        let pull = |s: f64, relevance: f64| -relevance / 2.0 * others / (others + s.exp());
        assert_close("gradient", &gradient[..2], &[pull(2.0, 2.5), pull(1.0, 0.25)], 1e-13, 0.0);
        assert!((gradient.iter().sum::<f64>()).abs() < 1e-15);
    }

    #[test]
    fn of_one_class_it_is_cross_entropy() {
        let decoupled = loss(r#"{ "name": "decoupled_softmax", "dtype": "f64" }"#);
        assert_laws(&decoupled);
        let x = || tensor(&[1.0, 0.5, -0.3, 0.0, 2.0], 5, DType::F64);
        let class = Target::Classes(crate::testing::classes(&[3]));
        let label = Target::Labels(tensor(&[0.0, 0.0, 0.0, 1.0, 0.0], 5, DType::F64));
        let ce = loss(r#"{ "name": "cross_entropy", "dtype": "f64" }"#);
        let want = values(ce.forward(x(), &class).rows);
        for target in [&class, &label] {
            assert_close("loss", &values(decoupled.forward(x(), target).rows), &want, 1e-13, 0.0);
        }
    }
}
