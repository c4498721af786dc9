//! Softmax collapse: losses and gradients that have rounded to exactly nothing.
//!
//! Once the rivals' terms are absorbed when they are added to the target's 1, the loss of a row is exactly 0
//! and so is the gradient of its target logit. N is the number of rows, G the gradient of the mean loss with
//! respect to the logits, `[N, classes]`, as the network's backward receives it. −0 counts as 0.
//!
//! # References
//! Prieto et al. 2025, arXiv:2501.04697 (`zero_loss` and `s_is_one` are the two quantities of its logger); the
//! others are Kiln's own.
use crate::{Matrix, statistics};

/// Share of rows whose loss is exactly 0, from the losses `[N]` in the loss's own dtype.
pub fn zero_loss(losses: &[f64]) -> f64 {
    statistics::share(losses.iter().copied(), |loss| loss == 0.0)
}

/// Share of rows with `S_i = Σ_j exp(z_ij − max_j z_ij)` exactly 1, from the sums `[N]` in the loss's own dtype.
///
/// Does not look at the label: a row that is confidently wrong counts as well.
pub fn s_is_one(sums: &[f64]) -> f64 {
    statistics::share(sums.iter().copied(), |sum| sum == 1.0)
}

/// Share of rows with `G_iy = 0`: what has stopped teaching the row's own class.
///
/// # Panics
/// If the numbers of rows and targets differ, or a target has no column.
pub fn target_grad_zero(gradient: &Matrix, targets: &[usize]) -> f64 {
    statistics::share(gradient.iter_with(targets).map(|(row, target)| row[target]), |g| g == 0.0)
}

/// Share of rows with `G_ij = 0` for all j: what teaches nothing at all.
pub fn row_grad_zero(gradient: &Matrix) -> f64 {
    let largest = gradient.iter_rows().map(|row| statistics::max(row.iter().map(|g| g.abs())));
    statistics::share(largest, |g| g == 0.0)
}

/// How far the gradient's rows are from summing to 0, see [`rowsum_defect`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RowsumDefect {
    /// The largest defect.
    pub max: f64,
    /// The median defect.
    pub median: f64,
    /// Share of rows with a defect above 0.5.
    pub above_half: f64,
    /// Rows that have a defect at all.
    pub rows: usize,
}

/// The relative defect `δ_i = |Σ_j G_ij| / Σ_j |G_ij|` of the rows, in [0, 1].
///
/// The gradient of a shift-invariant loss sums to 0 over each row: rounding leaves about 1e-7 in `f32`, while a
/// row whose target component is lost has exactly 1. Rows that are all 0 have no defect and are left out; if
/// none is left the three numbers are NaN. A row with a NaN makes them NaN.
pub fn rowsum_defect(gradient: &Matrix) -> RowsumDefect {
    summary(gradient.iter_rows().map(|row| defect(row.iter().copied())))
}

/// [`rowsum_defect`] of `(1 + |z_ij|) G_ij`, for StableMax.
///
/// StableMax is softmax of `sign(z) ln(1 + |z|)`, so its gradient sums to 0 only after the slope `1 / (1 + |z|)`
/// is divided out.
///
/// # Panics
/// If the shapes of gradient and logits differ.
pub fn rowsum_defect_stablemax(gradient: &Matrix, logits: &Matrix) -> RowsumDefect {
    assert_eq!(
        (gradient.rows(), gradient.columns()),
        (logits.rows(), logits.columns()),
        "gradient and logits must have the same shape"
    );
    let rows = gradient.iter_rows().zip(logits.iter_rows());
    summary(rows.map(|(gradient, logits)| defect(gradient.iter().zip(logits).map(|(g, z)| g * (1.0 + z.abs())))))
}

/// The defect of one row; `None` for a row of zeros.
fn defect(row: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, size) = row.fold((0.0, 0.0), |(sum, size), g| (sum + g, size + g.abs()));
    if size == 0.0 { None } else { Some(f64::abs(sum) / size) }
}

fn summary(defects: impl Iterator<Item = Option<f64>>) -> RowsumDefect {
    let defects: Vec<f64> = defects.flatten().collect();
    RowsumDefect {
        max: statistics::max(defects.iter().copied()),
        median: statistics::median(&defects),
        above_half: statistics::share(defects.iter().copied(), |defect| defect > 0.5),
        rows: defects.len(),
    }
}

#[cfg(test)]
mod tests;
