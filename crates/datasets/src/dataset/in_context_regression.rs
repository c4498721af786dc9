//! In-context regression: learn a linear function from the examples in the row.
use kiln_registry::{Entry, range};
use kiln_stream::Draws;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Dataset;
use crate::{
    Asks, BatchSource, DataError, Input, InputSpec, Invalid, Matrix, Spec, Target,
    drawn::{self, Drawn, Recipe},
    lengths::Lengths,
};

/// Parameters of in-context regression.
///
/// Each row has a linear function of its own, `w ~ N(0, I)` of `dimensions` numbers. Its items are n examples
/// `(x_i, w·x_i)` with `x_i ~ N(0, I)` and one question `(x_q, 0)`, the last item; the answer is the number `w·x_q`. In
/// two dimensions with `w = (1, −2)` the items `[0.5, 1, −1.5], [2, 0, 2], [1, 1, 0]` ask for −1.
///
/// Training rows never end: each batch draws its own n uniformly from `train_lengths`, the same for all of its rows.
/// Every batch is a function of the seed and the step alone. Evaluation sets are fixed: `val` has the longest training
/// length, and each of `test_lengths` has a set of its own, `n8`, `n16`, …. The answer 0 has a mean squared error of
/// `dimensions`, by which errors are usually divided; n ≥ `dimensions` examples determine the answer.
///
/// The task is that of Garg et al. 2022 (arXiv:2208.01066), with one question per row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct InContextRegressionConfig {
    /// Numbers in x.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub dimensions: usize,
    /// Fewest and most examples of a training row.
    pub train_lengths: [usize; 2],
    /// Examples per row of each test set.
    pub test_lengths: Vec<usize>,
    /// Rows of each evaluation set.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub rows: usize,
    /// Number of the draw: another one gives other batches and other evaluation sets under the same seed.
    pub draw: u64,
}

impl Default for InContextRegressionConfig {
    /// As many rows as give a mean squared error to about 5 % (one standard error) of itself.
    fn default() -> Self {
        Self { dimensions: 4, train_lengths: [16, 16], test_lengths: vec![8, 16, 32], rows: 1000, draw: 0 }
    }
}

impl Entry for InContextRegressionConfig {
    const SUMMARY: &'static str =
        "examples of a linear function that differs from row to row; its value at one more point";
    const PAPER: &'static str = "Garg et al. 2022, What can transformers learn in-context?, arXiv:2208.01066";
}

impl InContextRegressionConfig {
    fn lengths(&self) -> Lengths {
        Lengths::new(self.train_lengths, &self.test_lengths, "examples")
    }
}

impl Dataset for InContextRegressionConfig {
    fn check(&self) -> Result<(), Invalid> {
        if self.dimensions == 0 {
            return Err(Invalid::new("dimensions", "dimensions = 0 leaves no function; expected at least 1"));
        }
        self.lengths().check([16, 16])?;
        // The question makes one item more.
        self.lengths().check_rows(self.rows, self.dimensions.saturating_add(1).saturating_mul(2))
    }

    fn spec(&self) -> Spec {
        Spec {
            input: InputSpec::Items { features: self.dimensions.saturating_add(1) },
            asks: Asks::Values { width: 1 },
        }
    }

    fn open(&self, seed: u64) -> Result<Box<dyn BatchSource>, DataError> {
        self.check()?;
        let stream = drawn::stream(seed, "in_context_regression", self.draw);
        Ok(Box::new(Drawn::new(self.spec(), self.lengths(), self.rows, stream, self.clone())))
    }
}

impl Recipe for InContextRegressionConfig {
    fn rows(&self, draws: &mut Draws, examples: usize, rows: usize) -> (Input, Target) {
        let dimensions = self.dimensions;
        let features = dimensions + 1;
        let mut values = Vec::with_capacity(rows * (examples + 1) * features);
        let mut answers = Vec::with_capacity(rows);
        for _ in 0..rows {
            let w: Vec<f64> = (0..dimensions).map(|_| draws.normal()).collect();
            for item in 0..=examples {
                // As the model will see it, so that the answer follows from the features.
                let x: Vec<f32> = (0..dimensions).map(|_| draws.normal() as f32).collect();
                let y = w.iter().zip(&x).map(|(w, x)| w * f64::from(*x)).sum::<f64>() as f32;
                values.extend(x);
                if item < examples {
                    values.push(y);
                } else {
                    values.push(0.0);
                    answers.push(y);
                }
            }
        }
        let values = Matrix::new(values, (examples + 1) * features);
        (Input::Items { values, features }, Target::Values(Matrix::new(answers, 1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Batch,
        testing::{check_source, sets},
    };

    fn small() -> InContextRegressionConfig {
        InContextRegressionConfig { rows: 20, ..Default::default() }
    }

    fn items(batch: &Batch) -> impl Iterator<Item = (Vec<Vec<f64>>, f64)> {
        let Input::Items { values, features } = &batch.input else { panic!("not items") };
        let Target::Values(answers) = &batch.target else { panic!("not values") };
        let item = |item: &[f32]| item.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
        (0..batch.rows)
            .map(move |row| (values.row(row).chunks(*features).map(item).collect(), f64::from(answers.row(row)[0])))
    }

    /// The solution of a small square system, by elimination with pivots.
    fn solve(mut rows: Vec<Vec<f64>>) -> Vec<f64> {
        let n = rows.len();
        for column in 0..n {
            let pivot = (column..n).max_by(|&a, &b| rows[a][column].abs().total_cmp(&rows[b][column].abs())).unwrap();
            rows.swap(column, pivot);
            let pivot = rows[column].clone();
            for (_, row) in rows.iter_mut().enumerate().filter(|(row, _)| *row != column) {
                let factor = row[column] / pivot[column];
                row.iter_mut().zip(&pivot).for_each(|(x, p)| *x -= factor * p);
            }
        }
        (0..n).map(|row| rows[row][n] / rows[row][row]).collect()
    }

    #[test]
    fn the_examples_determine_the_answer() {
        for batch in sets(&*small().open(3).unwrap()) {
            for (items, answer) in items(&batch) {
                let (question, examples) = items.split_last().unwrap();
                assert_eq!(question[4], 0.0);
                // The normal equations: of all examples, so that their sum is well conditioned.
                let normal = |a: usize| (0..5).map(|b| examples.iter().map(|x| x[a] * x[b]).sum()).collect();
                let w = solve((0..4).map(normal).collect());
                let found: f64 = w.iter().zip(question).map(|(w, x)| w * x).sum();
                assert!((found - answer).abs() < 1e-4 * (1.0 + answer.abs()), "{found} {answer}");
            }
        }
    }

    #[test]
    fn the_answer_zero_is_wrong_by_the_number_of_dimensions() {
        let source = InContextRegressionConfig { rows: 4000, ..small() }.open(1).unwrap();
        let errors: Vec<f64> = items(&sets(&*source)[20]).map(|(_, answer)| answer * answer).collect();
        let mean = errors.iter().sum::<f64>() / 4000.0;
        let spread = errors.iter().map(|e| (e - mean).powi(2)).sum::<f64>() / 4000.0;
        assert!((mean - 4.0).abs() < 5.0 * (spread / 4000.0).sqrt(), "{mean}");
    }

    #[test]
    fn a_batch_depends_on_seed_draw_split_and_step_alone() {
        let source = check_source(|seed, draw| InContextRegressionConfig { draw, ..small() }.open(seed).unwrap());
        assert_eq!(source.lengths, [("val", 17), ("n8", 9), ("n16", 17), ("n32", 33)].map(|(s, n)| (s.into(), n)));
        assert_eq!(source.train_lengths, [17].into());
    }

    #[test]
    fn the_rows_never_change() {
        // Pinned: a change of these numbers changes every recorded run.
        let batch = sets(&*small().open(2).unwrap()).remove(0);
        let (items, answer) = items(&batch).next().unwrap();
        let first: Vec<String> = items[0].iter().chain([&answer]).map(|x| format!("{x:.4}")).collect();
        assert_eq!(first.join(" "), "-1.5316 -1.4614 -0.6690 -0.3432 -3.4386 -1.6491");
    }

    #[test]
    fn impossible_parameters_are_refused() {
        let message = |config: InContextRegressionConfig| config.check().unwrap_err().to_string();
        assert_eq!(
            message(InContextRegressionConfig { dimensions: 0, ..small() }),
            "dimensions: dimensions = 0 leaves no function; expected at least 1"
        );
        assert!(message(InContextRegressionConfig { test_lengths: vec![0], ..small() }).contains("test length 0 is 0"));
        assert!(message(InContextRegressionConfig { rows: 1 << 30, ..small() }).contains("of 32 examples are more"));
        assert!(message(InContextRegressionConfig { dimensions: usize::MAX, ..small() }).contains("rows: "));
    }
}
