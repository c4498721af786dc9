//! Does the network know how often it is right?
use burn::tensor::{DType, Tensor, TensorData};
use kiln_activations::kernel;
use kiln_analyses::{
    Matrix,
    calibration::{brier, calibration_errors, confidences, excluded_targets, negative_log_likelihood},
    statistics::mean,
};

use super::*;
use crate::train::{engine::host, snapshot::Scored};

/// Parameters of the measure: none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Calibration {}

impl Entry for Calibration {
    const SUMMARY: &'static str =
        "confidence, calibration errors and scores of the probabilities on each evaluation set";
    const PAPER: &'static str = "Guo et al. 2017, arXiv:1706.04599";
}

impl Measure for Calibration {
    fn check(&self, context: &Context) -> Result<(), String> {
        context.classes()?;
        if context.loss.has_probabilities() {
            return Ok(());
        }
        let others = LossConfig::names_with_probabilities();
        Err(format!(
            "the loss \"{}\" reads scores that are no probabilities; leave the measure out, or choose one of: {others}",
            context.loss.name()
        ))
    }

    /// For every evaluation set, of the probabilities as the loss reads them: `<set>_confidence` (mean of the largest),
    /// `_confidence_wrong` (the same over the wrong answers; NaN without any), `_ece` and `_mce` (15 bins), `_brier`,
    /// `_nll` (in nats; infinite if a target is excluded) and `_excluded` (share of such targets).
    fn measure(&self, snapshot: &Snapshot, row: &mut Row) -> anyhow::Result<()> {
        for (set, scored) in &snapshot.sets {
            let (p, targets) = (Matrix::new(probabilities(snapshot, scored), scored.classes), scored.targets());
            let answers = confidences(&p, targets);
            let of = |wanted: fn(bool) -> bool| -> Vec<f64> {
                answers.iter().filter(|(_, right)| wanted(*right)).map(|(confidence, _)| *confidence).collect()
            };
            let [expected, maximal] = calibration_errors(&answers);
            row.push(format!("{set}_confidence"), mean(&of(|_| true)));
            row.push(format!("{set}_confidence_wrong"), mean(&of(|right| !right)));
            row.push(format!("{set}_ece"), expected);
            row.push(format!("{set}_mce"), maximal);
            row.push(format!("{set}_brier"), brier(&p, targets));
            row.push(format!("{set}_nll"), negative_log_likelihood(&p, targets));
            row.push(format!("{set}_excluded"), excluded_targets(&p, targets));
        }
        Ok(())
    }
}

/// The probabilities, in f64 where the device has it, so that what is 0 is the map's doing and not a rounding of the storage.
fn probabilities(snapshot: &Snapshot, scored: &Scored) -> Vec<f64> {
    let device = snapshot.logits.device();
    let dtype = if kernel::supports(&device) { DType::F64 } else { snapshot.logits.dtype() };
    let rows = scored.logits.len() / scored.classes;
    let data = TensorData::new(scored.logits.clone(), [rows, scored.classes]);
    let probabilities = snapshot.loss.probabilities(Tensor::from_data(data, (&device, dtype)));
    host(&probabilities.expect("`check` lets only losses with probabilities pass"))
}
