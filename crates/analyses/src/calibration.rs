//! Whether probabilities say how often an answer is right.
use crate::{Matrix, accuracy::argmax, statistics::mean};

/// Bins of [`calibration_errors`].
const BINS: usize = 15;

/// The largest value of each row of `probabilities` (`[rows, classes]`), and whether it stands at the target; the first of
/// equals counts.
///
/// # Panics
/// If the numbers of rows and targets differ, or a target has no column.
pub fn confidences(probabilities: &Matrix, targets: &[usize]) -> Vec<(f64, bool)> {
    let of = |(row, target): (&[f64], usize)| match argmax(row) {
        Some(best) => (row[best], best == target),
        None => (f64::NAN, false),
    };
    probabilities.iter_with(targets).map(of).collect()
}

/// The expected and the maximal calibration error over 15 bins of equal width.
/// ```text
/// ECE = Σ_b n_b/N |accuracy_b − confidence_b|,   MCE = max_b |accuracy_b − confidence_b|
/// ```
/// A confidence c belongs to the bin m with (m − 1)/15 < c ≤ m/15, and 0 to the first. NaN without answers or with a NaN
/// among them.
///
/// # References
/// Guo et al. 2017, arXiv:1706.04599.
pub fn calibration_errors(answers: &[(f64, bool)]) -> [f64; 2] {
    if answers.is_empty() || answers.iter().any(|(confidence, _)| confidence.is_nan()) {
        return [f64::NAN; 2];
    }
    let mut bins = [(0.0, 0.0, 0.0); BINS];
    for &(confidence, right) in answers {
        // By the bound itself and not by multiplying up, which may round a bound into the next bin.
        let bin = (1..BINS).find(|&m| confidence <= m as f64 / BINS as f64).unwrap_or(BINS) - 1;
        let (count, sum, hits) = &mut bins[bin];
        *count += 1.0;
        *sum += confidence;
        *hits += f64::from(u8::from(right));
    }
    let gaps = bins.iter().filter(|(count, ..)| *count > 0.0);
    let gaps: Vec<(f64, f64)> = gaps.map(|(count, sum, hits)| (*count, ((hits - sum) / count).abs())).collect();
    let expected = gaps.iter().map(|(count, gap)| count * gap).sum::<f64>() / answers.len() as f64;
    [expected, gaps.iter().fold(0.0, |max: f64, (_, gap)| max.max(*gap))]
}

/// The Brier score: the mean over rows of `Σ_k (p_k − [k = target])²`, between 0 and 2.
///
/// # Panics
/// As [`confidences`].
pub fn brier(probabilities: &Matrix, targets: &[usize]) -> f64 {
    let of = |(row, target): (&[f64], usize)| {
        row.iter().enumerate().map(|(k, p)| (p - f64::from(u8::from(k == target))).powi(2)).sum::<f64>()
    };
    mean(&probabilities.iter_with(targets).map(of).collect::<Vec<_>>())
}

/// The mean over rows of `−ln p_target`, in nats; infinite as soon as one target has the probability 0.
///
/// # Panics
/// As [`confidences`].
pub fn negative_log_likelihood(probabilities: &Matrix, targets: &[usize]) -> f64 {
    mean(&probabilities.iter_with(targets).map(|(row, target)| -row[target].ln()).collect::<Vec<_>>())
}

/// Share of rows whose target has exactly the probability 0: excluded by a sparse map.
///
/// # Panics
/// As [`confidences`].
pub fn excluded_targets(probabilities: &Matrix, targets: &[usize]) -> f64 {
    let of = |(row, target): (&[f64], usize)| match row[target] {
        p if p.is_nan() => f64::NAN,
        p => f64::from(u8::from(p == 0.0)),
    };
    mean(&probabilities.iter_with(targets).map(of).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-9, "{found} {expected}");
    }

    #[test]
    fn golden() {
        let confidences = [1.0, 0.2, 0.6, 0.63, 0.95, 0.31];
        let answers: Vec<_> = confidences.into_iter().zip([true, false, true, false, true, true]).collect();
        let [expected, maximal] = calibration_errors(&answers);
        close(expected, 0.3283333333);
        close(maximal, 0.69);
        let logits: [[f64; 3]; 4] = [[2.0, 1.0, 0.1], [0.5, 0.5, -1.0], [-1.0, 3.0, 0.2], [0.0; 3]];
        let softmax = |row: [f64; 3]| {
            let sum: f64 = row.iter().map(|z| z.exp()).sum();
            row.map(|z| z.exp() / sum)
        };
        let probabilities = Matrix::new(logits.into_iter().flat_map(softmax).collect::<Vec<_>>(), 3);
        close(negative_log_likelihood(&probabilities, &[0, 1, 2, 1]), 1.297677417);
        close(brier(&probabilities, &[0, 1, 2, 1]), 0.7790090028);
    }

    #[test]
    fn sparse_rows_and_empty_sets() {
        let p = Matrix::new(vec![1.0, 0.0, 0.25, 0.75], 2);
        assert_eq!(confidences(&p, &[1, 1]), [(1.0, false), (0.75, true)]);
        assert_eq!(excluded_targets(&p, &[1, 1]), 0.5);
        assert_eq!(negative_log_likelihood(&p, &[1, 1]), f64::INFINITY);
        assert_eq!(brier(&p, &[1, 1]), (2.0 + 0.125) / 2.0);
        // 1 and 0 lie in the outermost bins.
        assert_eq!(calibration_errors(&[(0.0, true), (1.0, false)]), [1.0, 1.0]);
        let none = Matrix::new(vec![], 2);
        assert!(brier(&none, &[]).is_nan() && excluded_targets(&none, &[]).is_nan());
        assert!(calibration_errors(&[]).iter().all(|e| e.is_nan()));
        let broken = confidences(&Matrix::new(vec![f64::NAN, 1.0], 2), &[1]);
        assert!(calibration_errors(&broken).iter().all(|e| e.is_nan()));
    }

    proptest! {
        #[test]
        fn answers_as_sure_as_they_are_often_right_are_calibrated(right in 0usize..20, wrong in 0usize..20) {
            prop_assume!(right + wrong > 0);
            let confidence = right as f64 / (right + wrong) as f64;
            let answers: Vec<_> = (0..right + wrong).map(|i| (confidence, i < right)).collect();
            prop_assert!(calibration_errors(&answers)[0] < 1e-12);
        }

        #[test]
        fn the_expected_error_lies_below_the_maximal_one(
            answers in proptest::collection::vec((0.0f64..=1.0, any::<bool>()), 1..60),
        ) {
            let [expected, maximal] = calibration_errors(&answers);
            prop_assert!((0.0..=1.0).contains(&maximal) && expected <= maximal + 1e-12);
        }
    }
}
