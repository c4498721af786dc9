//! How much weight heads put on the first key.
use crate::Matrix;

/// Sums over rows of attention weights of the heads of one layer, from which each head's mean weight on key 0 is taken; rows
/// may be added in pieces.
///
/// A sink is a head that rests on the first key, whatever the query: it does so where it has nothing to say
/// (Xiao et al. 2024, arXiv:2309.17453). A NaN in a weight on key 0 makes its head's mean NaN, and the rate too.
///
/// ```
/// use kiln_analyses::{Matrix, sinks::Sinks};
///
/// let mut sinks = Sinks::default();
/// sinks.add(0, &Matrix::new(vec![1.0, 0.0, 0.5, 0.5], 2), |_| true);
/// sinks.add(1, &Matrix::new(vec![1.0, 0.0, 0.1, 0.9], 2), |query| query == 1);
/// assert_eq!((sinks.rate(0.3), sinks.weight()), (0.5, (0.75 + 0.1) / 2.0));
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sinks {
    /// Sum of weights on key 0 and number of rows, of each head.
    heads: Vec<(f64, f64)>,
}

impl Sinks {
    /// Adds rows of weights of a head, a row per query, of which those count that `counts` names by their place in `weights`.
    pub fn add(&mut self, head: usize, weights: &Matrix, counts: impl Fn(usize) -> bool) {
        if head >= self.heads.len() {
            self.heads.resize(head + 1, (0.0, 0.0));
        }
        let (sum, rows) = &mut self.heads[head];
        for (_, row) in weights.iter_rows().enumerate().filter(|(query, _)| counts(*query)) {
            *sum += row[0];
            *rows += 1.0;
        }
    }

    /// Share of heads whose mean weight on key 0 lies above `threshold`.
    pub fn rate(&self, threshold: f64) -> f64 {
        crate::statistics::share(self.means(), |mean| mean > threshold)
    }

    /// Mean over heads of the mean weight on key 0.
    pub fn weight(&self) -> f64 {
        crate::statistics::mean(&self.means().collect::<Vec<_>>())
    }

    fn means(&self) -> impl Iterator<Item = f64> {
        self.heads.iter().map(|(sum, rows)| sum / rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(heads: &[(Vec<f64>, usize)]) -> Sinks {
        let mut sinks = Sinks::default();
        for (head, (values, columns)) in heads.iter().enumerate() {
            sinks.add(head, &Matrix::new(values, *columns), |_| true);
        }
        sinks
    }

    #[test]
    fn heads_by_hand() {
        // Means 0.6, 0.3 (not above the threshold) and 0.
        let heads = [(vec![0.9, 0.1, 0.3, 0.7], 2), (vec![0.3, 0.7, 0.3, 0.7], 2), (vec![0.0, 1.0, 0.0, 1.0], 2)];
        assert_eq!(of(&heads).rate(0.3), 1.0 / 3.0);
        assert!((of(&heads).weight() - 0.3).abs() < 1e-15);
        // Weights that do not sum to 1 are taken as they are.
        assert_eq!(of(&[(vec![0.0, 0.0, 0.0], 3)]).rate(0.0), 0.0);
    }

    #[test]
    fn pieces_add_up_and_some_queries_do_not_count() {
        let values = [0.5, 0.5, 0.25, 0.75, 1.0, 0.0, 0.75, 0.25];
        let mut pieces = Sinks::default();
        pieces.add(0, &Matrix::new(&values[..4], 2), |query| query != 1);
        pieces.add(0, &Matrix::new(&values[4..], 2), |query| query != 0);
        assert_eq!(pieces.weight(), 0.625);
    }

    #[test]
    fn nothing_and_nan_give_nan() {
        assert!(Sinks::default().rate(0.3).is_nan());
        let mut none = Sinks::default();
        none.add(0, &Matrix::new(vec![1.0], 1), |_| false);
        assert!(none.rate(0.3).is_nan() && none.weight().is_nan());
        assert!(of(&[(vec![f64::NAN, 1.0], 2), (vec![1.0, 0.0], 2)]).rate(0.3).is_nan());
    }
}
