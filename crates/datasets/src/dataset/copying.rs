//! Copying: say a random string once more.
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

/// Parameters of copying.
///
/// A row of L symbols has 2L tokens: L symbols, each uniform among `symbols`, a start sign, and the same symbols again
/// but for the last, which nothing would follow. From the start sign on, a network is asked at each place for the next
/// symbol of the copy; it always sees the true symbols before, not its own answers. With 16 symbols the start sign is
/// id 16; the row `3 15 0 16 3 15` of L = 3 is asked at places 3, 4 and 5, with the classes 3, 15 and 0.
///
/// Training rows never end: each batch draws its own L uniformly from `train_lengths`, the same for all of its rows.
/// Every batch is a function of the seed and the step alone. Evaluation sets are fixed: `val` has the longest training
/// length, and each of `test_lengths` has a set of its own, `n8`, `n16`, …. Accuracy is per symbol, chance is
/// 1 / `symbols`.
///
/// The task is that of Jelassi et al. 2024 (arXiv:2402.01032) in a size that trains in seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CopyingConfig {
    /// Number of symbols, at least 2.
    #[serde(deserialize_with = "range::at_least_two")]
    #[schemars(range(min = 2))]
    pub symbols: usize,
    /// Fewest and most symbols of a training row.
    pub train_lengths: [usize; 2],
    /// Symbols per row of each test set.
    pub test_lengths: Vec<usize>,
    /// Rows of each evaluation set.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub rows: usize,
    /// Number of the draw: another one gives other batches and other evaluation sets under the same seed.
    pub draw: u64,
}

impl Default for CopyingConfig {
    /// 500 rows hold at least 4000 questions.
    fn default() -> Self {
        Self { symbols: 16, train_lengths: [4, 16], test_lengths: vec![8, 16, 32], rows: 500, draw: 0 }
    }
}

impl Entry for CopyingConfig {
    const SUMMARY: &'static str = "a random string, a start sign, and the string again, symbol by symbol";
    const PAPER: &'static str = "Jelassi et al. 2024, Repeat After Me, arXiv:2402.01032";
}

impl CopyingConfig {
    fn lengths(&self) -> Lengths {
        Lengths::new(self.train_lengths, &self.test_lengths, "symbols")
    }
}

impl Dataset for CopyingConfig {
    fn check(&self) -> Result<(), Invalid> {
        if self.symbols < 2 {
            let message = format!("symbols = {} leaves nothing to copy; expected at least 2", self.symbols);
            return Err(Invalid::new("symbols", message));
        }
        self.lengths().check([4, 16])?;
        self.lengths().check_rows(self.rows, self.symbols)
    }

    fn spec(&self) -> Spec {
        let (vocabulary, length) = (self.symbols.saturating_add(1), self.lengths().longest().saturating_mul(2));
        Spec { input: InputSpec::Tokens { vocabulary, length }, asks: Asks::Tokens { classes: self.symbols } }
    }

    fn open(&self, seed: u64) -> Result<Box<dyn BatchSource>, DataError> {
        self.check()?;
        let stream = drawn::stream(seed, "copying", self.draw);
        Ok(Box::new(Drawn::new(self.spec(), self.lengths(), self.rows, stream, self.clone())))
    }
}

impl Recipe for CopyingConfig {
    fn rows(&self, draws: &mut Draws, length: usize, rows: usize) -> (Input, Target) {
        let mut ids = Vec::with_capacity(rows * length * 2);
        let mut classes = Vec::with_capacity(rows * length);
        for _ in 0..rows {
            let symbols: Vec<i32> = (0..length).map(|_| draws.below(self.symbols) as i32).collect();
            ids.extend(&symbols);
            ids.push(self.symbols as i32);
            ids.extend(&symbols[..length - 1]);
            classes.extend(symbols);
        }
        (Input::Tokens(Matrix::new(ids, 2 * length)), Target::tokens(length..2 * length, classes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{answers, check_source, ids, sets};

    fn small() -> CopyingConfig {
        CopyingConfig { rows: 20, ..Default::default() }
    }

    #[test]
    fn the_answers_are_the_string_and_so_is_what_follows_the_sign() {
        for batch in sets(&*small().open(3).unwrap()) {
            for (row, answers) in ids(&batch).zip(answers(&batch)) {
                let start = row.iter().position(|&id| id == 16).unwrap();
                let (string, again) = (&row[..start], &row[start + 1..]);
                assert_eq!(string[..start - 1], *again);
                let expected: Vec<(usize, i32)> = (start..).zip(string.iter().copied()).collect();
                assert_eq!(answers, expected);
            }
        }
    }

    #[test]
    fn a_batch_depends_on_seed_draw_split_and_step_alone() {
        let source = check_source(|seed, draw| CopyingConfig { draw, ..small() }.open(seed).unwrap());
        assert_eq!(source.lengths, [("val", 32), ("n8", 16), ("n16", 32), ("n32", 64)].map(|(s, n)| (s.into(), n)));
        assert_eq!(source.train_lengths, (4..=16).map(|symbols| 2 * symbols).collect());
    }

    #[test]
    fn the_rows_never_change() {
        // Pinned: a change of these numbers changes every recorded run.
        let batch = sets(&*small().open(2).unwrap()).remove(0);
        assert_eq!(ids(&batch).next().unwrap()[..8], [11, 4, 11, 6, 15, 4, 9, 11]);
    }

    #[test]
    fn impossible_parameters_are_refused() {
        let message = |config: CopyingConfig| config.check().unwrap_err().to_string();
        assert_eq!(
            message(CopyingConfig { symbols: 1, ..small() }),
            "symbols: symbols = 1 leaves nothing to copy; expected at least 2"
        );
        assert!(message(CopyingConfig { train_lengths: [0, 8], ..small() }).contains("fewest and the most symbols"));
        assert!(message(CopyingConfig { rows: 1 << 30, ..small() }).contains("of 32 symbols are more than fit"));
    }
}
