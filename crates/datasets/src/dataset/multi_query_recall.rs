//! Multi-query associative recall: pairs spread over two tokens, and many questions per row.
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

/// Parameters of multi-query recall.
///
/// A row of P pairs has 3P tokens: `k₁ v₁ k₂ v₂ … k_P v_P`, each key different, each value uniform among `values`, and
/// then the P keys once more in random order. A network is asked for the value of each of these at its own place. The
/// value stands *behind* its key, so something must carry each key one token on (positions, or a convolution) before
/// a look-up can find it. With 64 keys, value v is id 64 + v; the row `5 64 9 127 9 5` of P = 2 is asked at places 4
/// and 5, with the classes 63 and 0.
///
/// Training rows never end: each batch draws its own P uniformly from `train_lengths`, the same for all of its rows.
/// Every batch is a function of the seed and the step alone. Evaluation sets are fixed: `val` has the longest training
/// length, and each of `test_lengths` has a set of its own, `n8`, `n16`, …. Chance is 1 / `values`.
///
/// The task is that of Arora et al. 2023 (arXiv:2312.04927), with all questions at the end and rows that train in
/// seconds; there keys come again after gaps of a power law.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MultiQueryRecallConfig {
    /// Number of keys, at least the longest P.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub keys: usize,
    /// Number of values, at least 2.
    #[serde(deserialize_with = "range::at_least_two")]
    #[schemars(range(min = 2))]
    pub values: usize,
    /// Fewest and most pairs of a training row.
    pub train_lengths: [usize; 2],
    /// Pairs per row of each test set.
    pub test_lengths: Vec<usize>,
    /// Rows of each evaluation set.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub rows: usize,
    /// Number of the draw: another one gives other batches and other evaluation sets under the same seed.
    pub draw: u64,
}

impl Default for MultiQueryRecallConfig {
    /// 500 rows hold at least 4000 questions.
    fn default() -> Self {
        Self { keys: 64, values: 64, train_lengths: [4, 8], test_lengths: vec![8, 16, 32], rows: 500, draw: 0 }
    }
}

impl Entry for MultiQueryRecallConfig {
    const SUMMARY: &'static str = "a sequence key, value, key, value, … and then the keys, each asking for its value";
    const PAPER: &'static str = "Arora et al. 2023, Zoology, arXiv:2312.04927";
}

impl MultiQueryRecallConfig {
    fn lengths(&self) -> Lengths {
        Lengths::new(self.train_lengths, &self.test_lengths, "pairs")
    }
}

impl Dataset for MultiQueryRecallConfig {
    fn check(&self) -> Result<(), Invalid> {
        let (keys, lengths) = (self.keys, self.lengths());
        if self.values < 2 {
            let message = format!("values = {} leaves nothing to recall; expected at least 2", self.values);
            return Err(Invalid::new("values", message));
        }
        lengths.check([4, 8])?;
        lengths.at_most(keys, format_args!("every pair needs a key of its own, and keys = {keys}"))?;
        lengths.check_rows(self.rows, 3usize.max(self.values))
    }

    fn spec(&self) -> Spec {
        let vocabulary = self.keys.saturating_add(self.values);
        let length = self.lengths().longest().saturating_mul(3);
        Spec { input: InputSpec::Tokens { vocabulary, length }, asks: Asks::Tokens { classes: self.values } }
    }

    fn open(&self, seed: u64) -> Result<Box<dyn BatchSource>, DataError> {
        self.check()?;
        let stream = drawn::stream(seed, "multi_query_recall", self.draw);
        Ok(Box::new(Drawn::new(self.spec(), self.lengths(), self.rows, stream, self.clone())))
    }
}

impl Recipe for MultiQueryRecallConfig {
    fn rows(&self, draws: &mut Draws, pairs: usize, rows: usize) -> (Input, Target) {
        let mut ids = Vec::with_capacity(rows * pairs * 3);
        let mut classes = Vec::with_capacity(rows * pairs);
        for _ in 0..rows {
            let keys = draws.distinct(pairs, self.keys);
            let values: Vec<usize> = keys.iter().map(|_| draws.below(self.values)).collect();
            ids.extend(keys.iter().zip(&values).flat_map(|(&key, &value)| [key as i32, (self.keys + value) as i32]));
            for i in draws.permutation(pairs) {
                ids.push(keys[i] as i32);
                classes.push(values[i] as i32);
            }
        }
        (Input::Tokens(Matrix::new(ids, pairs * 3)), Target::tokens(2 * pairs..3 * pairs, classes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{answers, check_source, ids, sets};

    fn small() -> MultiQueryRecallConfig {
        MultiQueryRecallConfig { rows: 20, ..Default::default() }
    }

    #[test]
    fn every_question_has_the_value_behind_its_key() {
        for batch in sets(&*small().open(3).unwrap()) {
            for (row, answers) in ids(&batch).zip(answers(&batch)) {
                assert_eq!(3 * answers.len(), row.len());
                for (place, class) in answers {
                    assert!(3 * place >= 2 * row.len());
                    let before: Vec<usize> = (0..place).filter(|&i| row[i] == row[place]).collect();
                    let [key] = before[..] else { panic!("key {} stands {} times before", row[place], before.len()) };
                    assert!(key % 2 == 0 && row[key] < 64);
                    assert_eq!(row[key + 1] - 64, class);
                }
            }
        }
    }

    #[test]
    fn a_batch_depends_on_seed_draw_split_and_step_alone() {
        let source = check_source(|seed, draw| MultiQueryRecallConfig { draw, ..small() }.open(seed).unwrap());
        assert_eq!(source.lengths, [("val", 24), ("n8", 24), ("n16", 48), ("n32", 96)].map(|(s, n)| (s.into(), n)));
        assert_eq!(source.train_lengths, (4..=8).map(|pairs| 3 * pairs).collect());
    }

    #[test]
    fn the_rows_never_change() {
        // Pinned: a change of these numbers changes every recorded run.
        let config = MultiQueryRecallConfig { train_lengths: [3, 3], ..small() };
        let batch = sets(&*config.open(2).unwrap()).remove(0);
        assert_eq!(ids(&batch).next().unwrap(), [56, 74, 50, 89, 9, 126, 56, 9, 50]);
    }

    #[test]
    fn impossible_parameters_are_refused() {
        let message = |config: MultiQueryRecallConfig| config.check().unwrap_err().to_string();
        assert_eq!(
            message(MultiQueryRecallConfig { keys: 7, ..small() }),
            "train_lengths: 8 pairs are too many: every pair needs a key of its own, and keys = 7; expected at most 7"
        );
        assert_eq!(
            message(MultiQueryRecallConfig { values: 0, ..small() }),
            "values: values = 0 leaves nothing to recall; expected at least 2"
        );
        assert!(message(MultiQueryRecallConfig { test_lengths: vec![8, 8], ..small() }).contains("stands twice"));
        assert!(message(MultiQueryRecallConfig { rows: 1 << 30, ..small() }).contains("of 32 pairs are more than fit"));
    }
}
