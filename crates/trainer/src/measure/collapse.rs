//! Softmax collapse: what has rounded to exactly 0 or 1.
use kiln_activations::{loss::Loss, normalizer::Normalizer};
use kiln_analyses::collapse;

use super::*;

measure!(
    /// `zero_loss`: share of training rows whose loss is exactly 0 in the loss dtype.
    ZeroLoss,
    "share of training rows whose loss is exactly 0",
    |snapshot, row| row.push("zero_loss", collapse::zero_loss(snapshot.losses()))
);

measure!(
    /// `target_grad_zero`: share of rows whose loss gradient at the target logit is exactly 0.
    TargetGradZero,
    "share of training rows whose gradient at the target logit is exactly 0",
    of classes |snapshot, row| {
        row.push("target_grad_zero", collapse::target_grad_zero(&snapshot.gradient_matrix(), snapshot.train.targets()));
    }
);

measure!(
    /// `s_is_one`: share of rows with `Σ exp(z − max z) == 1` in the loss dtype. For a loss without a softmax it
    /// says what a softmax *would* do.
    SIsOne,
    "share of training rows whose softmax denominator is exactly 1",
    of classes |snapshot, row| row.push("s_is_one", collapse::s_is_one(snapshot.row_sums()))
);

measure!(
    /// `row_grad_zero`: share of rows whose whole logit gradient is exactly 0.
    RowGradZero,
    "share of training rows whose whole logit gradient is exactly 0",
    |snapshot, row| row.push("row_grad_zero", collapse::row_grad_zero(&snapshot.gradient_matrix()))
);

measure!(
    /// `rowsum_defect_max`, `_median`, `_share`: how far the logit gradient's rows are from summing to 0. For
    /// StableMax each entry is weighted with `1 + |z|`, since its gradient sums to 0 only so.
    RowsumDefect,
    "how far each row of the logit gradient is from summing to 0 (1 = collapsed)",
    of classes |snapshot, row| {
        let gradient = snapshot.gradient_matrix();
        let through_stablemax = matches!(
            snapshot.loss,
            Loss::CrossEntropy(loss) if matches!(loss.normalizer, Normalizer::StableMax(_))
        );
        let defect = match through_stablemax {
            true => collapse::rowsum_defect_stablemax(&gradient, &snapshot.train.matrix()),
            false => collapse::rowsum_defect(&gradient),
        };
        row.push("rowsum_defect_max", defect.max);
        row.push("rowsum_defect_median", defect.median);
        row.push("rowsum_defect_share", defect.above_half);
    }
);
