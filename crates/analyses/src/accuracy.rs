//! How often the largest logit is the target's.
use crate::Matrix;

/// Index of the first largest value; `None` if the row is empty or holds a NaN.
pub fn argmax(row: &[f64]) -> Option<usize> {
    if row.iter().any(|x| x.is_nan()) {
        return None;
    }
    // `max_by` would return the last of equals.
    (0..row.len()).reduce(|best, i| if row[i] > row[best] { i } else { best })
}

/// Share of rows of `logits` (`[rows, classes]`) whose [`argmax`] is the target.
///
/// NaN if there are no rows or a logit is NaN, since such a row has no answer.
///
/// # Panics
/// If the numbers of rows and targets differ, or a target has no column.
pub fn accuracy(logits: &Matrix, targets: &[usize]) -> f64 {
    rate(logits.iter_with(targets))
}

/// [`accuracy`] over some of the rows, such as one group of a test set; NaN if the group is empty.
///
/// # Panics
/// As [`accuracy`], and if a row does not exist.
pub fn accuracy_of(logits: &Matrix, targets: &[usize], rows: &[usize]) -> f64 {
    let targets: Vec<usize> = rows.iter().map(|&row| targets[row]).collect();
    accuracy(&logits.select_rows(rows), &targets)
}

fn rate<'a>(rows: impl Iterator<Item = (&'a [f64], usize)>) -> f64 {
    let (mut hits, mut count) = (0.0, 0.0);
    for (row, target) in rows {
        hits += argmax(row).map_or(f64::NAN, |best| f64::from(u8::from(best == target)));
        count += 1.0;
    }
    hits / count
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn logits() -> Matrix<'static> {
        // Predictions 0 (first of equals), 1, 2.
        Matrix::new(vec![1.0, 1.0, 0.0, -1.0, 5.0, 0.0, 0.0, 0.0, 3.0], 3)
    }

    #[test]
    fn the_first_of_equals_wins() {
        assert_eq!(accuracy(&logits(), &[0, 1, 2]), 1.0);
        assert_eq!(accuracy(&logits(), &[1, 1, 1]), 1.0 / 3.0);
        assert_eq!(argmax(&[f64::NEG_INFINITY, f64::NEG_INFINITY]), Some(0));
    }

    #[test]
    fn groups_are_judged_alone() {
        assert_eq!(accuracy_of(&logits(), &[1, 1, 1], &[1]), 1.0);
        assert_eq!(accuracy_of(&logits(), &[1, 1, 1], &[0, 2]), 0.0);
        assert!(accuracy_of(&logits(), &[1, 1, 1], &[]).is_nan());
    }

    #[test]
    fn a_nan_is_no_answer() {
        let broken = Matrix::new(vec![f64::NAN, 2.0, 1.0, 0.0], 2);
        assert!(accuracy(&broken, &[1, 0]).is_nan());
        assert_eq!(accuracy_of(&broken, &[1, 0], &[1]), 1.0);
        assert!(accuracy(&Matrix::new(vec![], 2), &[]).is_nan());
    }

    proptest! {
        #[test]
        fn groups_add_up(
            values in proptest::collection::vec(-3i8..3, 40), targets in proptest::collection::vec(0usize..4, 10),
            cut in 1usize..9,
        ) {
            let logits = Matrix::new(values.iter().map(|&x| f64::from(x)).collect::<Vec<_>>(), 4);
            let (one, other): (Vec<_>, Vec<_>) = (0..10).partition(|&row| row < cut);
            let weighted = accuracy_of(&logits, &targets, &one) * cut as f64
                + accuracy_of(&logits, &targets, &other) * (10 - cut) as f64;
            prop_assert!((weighted / 10.0 - accuracy(&logits, &targets)).abs() < 1e-12);
        }
    }
}
