//! Norms of weights, gradients and updates.
use kiln_analyses::alignment;

use super::*;

measure!(
    /// `w_norm`, `g_norm`, `u_norm` and each of them per tensor, as `w_norm[layers.0.weight]`.
    Norms,
    "Frobenius norms of weights, raw gradients and updates, whole and per tensor",
    |snapshot, row| {
        let parts = [("w", &snapshot.before.weights), ("g", &snapshot.before.gradients), ("u", &snapshot.updates)];
        for (letter, parameters) in parts {
            let norms = alignment::norms(&parameters.named());
            row.push(format!("{letter}_norm"), norms.whole);
            for (tensor, norm) in norms.tensors {
                row.push(format!("{letter}_norm[{tensor}]"), norm);
            }
        }
    }
);
