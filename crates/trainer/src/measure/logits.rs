//! The size of the training logits and their margins.
use kiln_analyses::{logits, margin};

use super::*;

measure!(
    /// `logit_norm`, `logit_norm_c` (rows centred, the part a softmax can see), `logit_max`.
    LogitNorm,
    "mean norm of the logits, raw and centred, and the largest logit",
    |snapshot, row| {
        let z = snapshot.train.matrix();
        row.push("logit_norm", logits::logit_norm(&z));
        row.push("logit_norm_c", logits::logit_norm_c(&z));
        row.push("logit_max", logits::logit_max(&z));
    }
);

measure!(
    /// `margin_q10`, `margin_q50`, `margin_q90`: quantiles of `z_y − max_{j≠y} z_j` over the training rows.
    Margins,
    "quantiles 0.1, 0.5 and 0.9 of the training margins",
    of classes |snapshot, row| {
        let margins = margin::margins(&snapshot.train.matrix(), snapshot.train.targets());
        for (name, value) in ["margin_q10", "margin_q50", "margin_q90"].into_iter().zip(margin::margin_q(&margins)) {
            row.push(name, value);
        }
    }
);
