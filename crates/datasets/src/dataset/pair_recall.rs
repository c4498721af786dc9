//! Associative recall of pairs whose key and value stand in one token.
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

/// Parameters of pair recall.
///
/// A row of P pairs has 2P tokens, each the sum of two embeddings. The first P are the pairs: a key, different in each of
/// them, and a value, uniform among `values`. The other P are the queries: every key once more, in random order, with
/// the sign `?` in place of the value. A network is asked for the value of each query at the query's own place. Key and
/// value share a token, so recall needs neither positions nor a look at the token before; what is left is the
/// capacity of the memory. With 128 keys and 16 values, value v is id 128 + v and `?` is id 144; the row of P = 2
///
/// | place | 0 | 1 | 2 | 3 |
/// |---|---|---|---|---|
/// | ids | 5, 128 | 90, 143 | 90, 144 | 5, 144 |
/// | class | – | – | 15 | 0 |
///
/// says that key 5 has value 0 and key 90 value 15, and asks for 90 and then for 5.
///
/// Training rows never end: each batch draws its own P uniformly from `train_lengths`, the same for all of its rows.
/// Every batch is a function of the seed and the step alone. Evaluation sets are fixed: `val` has the longest training
/// length, and each of `test_lengths` has a set of its own, `n8`, `n32`, …. Chance is 1 / `values`.
///
/// The task is the associative retrieval of Ba et al. 2016 (arXiv:1610.06258), reduced to a look-up in one layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PairRecallConfig {
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

impl Default for PairRecallConfig {
    /// 500 rows hold at least 4000 questions.
    fn default() -> Self {
        Self { keys: 128, values: 16, train_lengths: [8, 32], test_lengths: vec![8, 32, 64], rows: 500, draw: 0 }
    }
}

impl Entry for PairRecallConfig {
    const SUMMARY: &'static str = "pairs of a key and a value in one token each; every key asks for its value";
    const PAPER: &'static str = "Ba et al. 2016, Using fast weights to attend to the recent past, arXiv:1610.06258";
}

impl PairRecallConfig {
    fn lengths(&self) -> Lengths {
        Lengths::new(self.train_lengths, &self.test_lengths, "pairs")
    }
}

impl Dataset for PairRecallConfig {
    fn check(&self) -> Result<(), Invalid> {
        let (keys, lengths) = (self.keys, self.lengths());
        if self.values < 2 {
            let message = format!("values = {} leaves nothing to recall; expected at least 2", self.values);
            return Err(Invalid::new("values", message));
        }
        lengths.check([8, 32])?;
        lengths.at_most(keys, format_args!("every pair needs a key of its own, and keys = {keys}"))?;
        lengths.check_rows(self.rows, 4usize.max(self.values))
    }

    fn spec(&self) -> Spec {
        let vocabulary = self.keys.saturating_add(self.values).saturating_add(1);
        let length = self.lengths().longest().saturating_mul(2);
        Spec {
            input: InputSpec::TokenSums { vocabulary, parts: 2, length },
            asks: Asks::Tokens { classes: self.values },
        }
    }

    fn open(&self, seed: u64) -> Result<Box<dyn BatchSource>, DataError> {
        self.check()?;
        let stream = drawn::stream(seed, "pair_recall", self.draw);
        Ok(Box::new(Drawn::new(self.spec(), self.lengths(), self.rows, stream, self.clone())))
    }
}

impl Recipe for PairRecallConfig {
    fn rows(&self, draws: &mut Draws, pairs: usize, rows: usize) -> (Input, Target) {
        let question = self.keys + self.values;
        let mut ids = Vec::with_capacity(rows * pairs * 4);
        let mut classes = Vec::with_capacity(rows * pairs);
        for _ in 0..rows {
            let keys = draws.distinct(pairs, self.keys);
            let values: Vec<usize> = keys.iter().map(|_| draws.below(self.values)).collect();
            ids.extend(keys.iter().zip(&values).flat_map(|(&key, &value)| [key as i32, (self.keys + value) as i32]));
            for i in draws.permutation(pairs) {
                ids.extend([keys[i] as i32, question as i32]);
                classes.push(values[i] as i32);
            }
        }
        let input = Input::TokenSums { ids: Matrix::new(ids, pairs * 4), parts: 2 };
        (input, Target::tokens(pairs..2 * pairs, classes))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::testing::{answers, check_source, ids, sets};

    fn small() -> PairRecallConfig {
        PairRecallConfig { rows: 20, ..Default::default() }
    }

    #[test]
    fn every_question_has_the_value_of_its_key() {
        for batch in sets(&*small().open(3).unwrap()) {
            for (row, answers) in ids(&batch).zip(answers(&batch)) {
                let tokens: Vec<(i32, i32)> = row.chunks(2).map(|token| (token[0], token[1])).collect();
                let (pairs, questions) = tokens.split_at(tokens.len() / 2);
                let memory: HashMap<i32, i32> = pairs.iter().map(|&(key, value)| (key, value - 128)).collect();
                assert_eq!(memory.len(), pairs.len(), "a key stands twice");
                assert_eq!(answers.len(), questions.len());
                for (place, class) in answers {
                    let (key, sign) = tokens[place];
                    assert!(place >= pairs.len() && sign == 144);
                    assert_eq!(memory[&key], class);
                }
            }
        }
    }

    #[test]
    fn a_batch_depends_on_seed_draw_split_and_step_alone() {
        let source = check_source(|seed, draw| PairRecallConfig { draw, ..small() }.open(seed).unwrap());
        assert_eq!(source.lengths, [("val", 64), ("n8", 16), ("n32", 64), ("n64", 128)].map(|(s, n)| (s.into(), n)));
        assert_eq!(source.train_lengths, (8..=32).map(|pairs| 2 * pairs).collect());
    }

    #[test]
    fn the_rows_never_change() {
        // Pinned: a change of these numbers changes every recorded run.
        let config = PairRecallConfig { train_lengths: [2, 2], ..small() };
        let batch = sets(&*config.open(2).unwrap()).remove(0);
        assert_eq!(ids(&batch).next().unwrap(), [118, 133, 2, 131, 118, 144, 2, 144]);
    }

    #[test]
    fn impossible_parameters_are_refused() {
        let message = |config: PairRecallConfig| config.check().unwrap_err().to_string();
        assert_eq!(
            message(PairRecallConfig { keys: 40, ..small() }),
            "test_lengths: 64 pairs are too many: every pair needs a key of its own, and keys = 40; expected at most 40"
        );
        assert_eq!(
            message(PairRecallConfig { values: 1, ..small() }),
            "values: values = 1 leaves nothing to recall; expected at least 2"
        );
        assert!(message(PairRecallConfig { train_lengths: [9, 8], ..small() }).starts_with("train_lengths: "));
        assert!(message(PairRecallConfig { rows: 1 << 30, ..small() }).contains("of 64 pairs are more than fit"));
    }
}
