//! Softmax with masked scores filled instead of removed.
use std::sync::Arc;

use burn::{module::Module, tensor::Tensor};
use kiln_registry::Entry;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de::Error};

use super::{Heads, Keep, Laws, LogSoftmaxRow, Normalize, Rows, Softmax, SoftmaxNll, SoftmaxRow, composed};
use crate::{
    Ctx, Init,
    kernel::{LossKernel, RowKernel},
    loss::SumOrder,
};

/// Parameters of [`MaskedSoftmax`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MaskedSoftmaxConfig {
    /// The score of an entry that is masked. Without one it is −∞: the entry is removed, the most stable choice in the
    /// paper. The larger it is, the more weight the masked entries keep and the less the others' gradients are.
    #[serde(deserialize_with = "fill")]
    pub fill: Option<f64>,
}

impl Entry for MaskedSoftmaxConfig {
    const SUMMARY: &'static str = "softmax that gives masked entries a fixed score instead of removing them";
    const PAPER: &'static str =
        "Kim et al. 2023, Revisiting Softmax Masking for Stability in Continual Learning, arXiv:2309.14808";
}

/// Below +∞; −∞ is no fill.
fn fill<'de, D: Deserializer<'de>>(d: D) -> Result<Option<f64>, D::Error> {
    match Option::<f64>::deserialize(d)? {
        Some(fill) if fill.is_nan() || fill == f64::INFINITY => {
            Err(D::Error::custom(format!("{fill} is out of range; expected a finite number, or -inf to remove")))
        }
        fill => Ok(fill.filter(|fill| fill.is_finite())),
    }
}

impl MaskedSoftmaxConfig {
    /// The map.
    pub fn init(&self, _: &Init) -> MaskedSoftmax {
        MaskedSoftmax { fill: self.fill }
    }
}

/// Masked softmax: softmax with the score of a masked entry replaced by a constant m.
/// ```text
/// y = softmax(x′),   x′_i = x_i where kept, m where masked
/// ```
/// Here the mask is one of classes, as in continual learning, and with a finite m a masked class keeps some weight: that
/// preserves what the model knows of it and scales the gradient of the others. Masked scores get no gradient.
///
/// A kept score of −∞ has weight 0 as ever; a row with nothing kept and a finite m is uniform. The loss kernel is that
/// of softmax, for rows without a mask.
///
/// # Numerics
/// A kept score of +∞ takes all the weight; several share it evenly.
/// # References
/// Kim et al. 2023, arXiv:2309.14808.
#[derive(Module, Debug)]
pub struct MaskedSoftmax {
    #[module(skip)]
    fill: Option<f64>,
}

impl MaskedSoftmax {
    /// The scores with the masked ones filled, and what is still to be removed.
    fn filled(&self, scores: Tensor<2>, keep: &Keep) -> (Tensor<2>, Keep) {
        match (self.fill, keep.mask(scores.dims(), &scores.device())) {
            (Some(fill), Some(kept)) => (composed::fill(scores, kept.bool_not(), fill), Keep::All),
            _ => (scores, keep.clone()),
        }
    }
}

impl Normalize for MaskedSoftmax {
    fn laws(&self) -> Laws {
        Laws { removes_masked: self.fill.is_none(), ..Laws::SOFTMAX }
    }

    fn kernel(&self, _: &Ctx) -> Arc<dyn RowKernel> {
        Arc::new(SoftmaxRow)
    }

    fn log_kernel(&self, _: &Ctx) -> Option<Arc<dyn RowKernel>> {
        Some(Arc::new(LogSoftmaxRow))
    }

    fn nll(&self, sum: SumOrder) -> Option<Arc<dyn LossKernel>> {
        Some(Arc::new(SoftmaxNll { sum }))
    }

    fn composed(&self, rows: &Rows<'_>, ctx: &Ctx) -> Tensor<2> {
        let (scores, keep) = self.filled(rows.scores.clone(), rows.keep);
        Softmax::default().composed(&Rows { scores, params: None, keep: &keep }, ctx)
    }

    fn composed_log(&self, rows: &Rows<'_>, ctx: &Ctx) -> Option<Tensor<2>> {
        let (scores, keep) = self.filled(rows.scores.clone(), rows.keep);
        Softmax::default().composed_log(&Rows { scores, params: None, keep: &keep }, ctx)
    }

    // Filled before the kernel runs, which would remove.
    fn rows(&self, scores: Tensor<2>, keep: &Keep, heads: Heads, ctx: &Ctx) -> Tensor<2> {
        let (scores, keep) = self.filled(scores, keep);
        Softmax::default().rows(scores, &keep, heads, ctx)
    }

    fn log_rows(&self, scores: Tensor<2>, keep: &Keep, heads: Heads, ctx: &Ctx) -> Option<Tensor<2>> {
        let (scores, keep) = self.filled(scores, keep);
        Softmax::default().log_rows(scores, &keep, heads, ctx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fill_is_below_infinity() {
        let config = |text: &str| toml::from_str::<MaskedSoftmaxConfig>(text);
        assert_eq!(config("fill = -5").unwrap().fill, Some(-5.0));
        assert_eq!(config("fill = -inf").unwrap(), MaskedSoftmaxConfig::default());
        for value in ["inf", "nan"] {
            let refused = config(&format!("fill = {value}")).unwrap_err().to_string();
            assert!(refused.contains("expected a finite number, or -inf to remove"), "{refused}");
        }
    }
}
