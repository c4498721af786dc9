//! Naive loss minimisation: do gradient and update point along the weights?
use kiln_analyses::alignment::{self, Alignment};

use super::*;

fn push(row: &mut Row, name: &str, alignment: Alignment) {
    row.push(name, alignment.whole);
    row.push(format!("{name}_mean"), alignment.matrices_mean);
    // A layer of one tensor would say the same twice.
    let several = |layer: &str| {
        let inside =
            |(tensor, _): &&(String, f64)| tensor.strip_prefix(layer).is_some_and(|rest| rest.starts_with('.'));
        alignment.tensors.iter().filter(inside).count() > 1
    };
    let layers = alignment.layers.iter().filter(|(layer, _)| several(layer));
    for (part, cosine) in alignment.tensors.iter().chain(layers) {
        row.push(format!("{name}[{part}]"), *cosine);
    }
}

measure!(
    /// `nlm_grad` = cos(−g, w): of the whole network, per tensor, per layer, and its mean over matrices.
    NlmGrad,
    "cosine of the negative raw gradient with the weights",
    |snapshot, row| {
        let weights = snapshot.before.weights.named();
        push(row, "nlm_grad", alignment::nlm_grad(&weights, &snapshot.before.gradients.named()));
    }
);

measure!(
    /// `nlm_update` = cos(u, w): as `nlm_grad`, of what really happened to the weights.
    NlmUpdate,
    "cosine of the applied update with the weights",
    |snapshot, row| {
        push(row, "nlm_update", alignment::nlm_update(&snapshot.before.weights.named(), &snapshot.updates.named()));
    }
);

measure!(
    /// `norm_growth` = ⟨u, w⟩ / ‖w‖, about the change of `w_norm` per step.
    NormGrowth,
    "change of the weight norm per step",
    |snapshot, row| {
        let growth = alignment::norm_growth(&snapshot.before.weights.named(), &snapshot.updates.named());
        row.push("norm_growth", growth);
    }
);
