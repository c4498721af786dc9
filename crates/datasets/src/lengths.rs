//! How long rows are.
use std::fmt::Display;

use crate::{Invalid, dataset::MAX_VALUES};

/// The lengths of a data set whose training rows are drawn between two lengths and whose test sets have one each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lengths {
    /// Shortest and longest training row.
    pub train: [usize; 2],
    /// Length of each test set.
    pub test: Vec<usize>,
    /// The key that holds the training length.
    train_key: &'static str,
    /// What a length counts, such as `items`.
    unit: &'static str,
}

impl Lengths {
    /// `train_lengths` and `test_lengths`, counted in `unit`.
    pub fn new(train: [usize; 2], test: &[usize], unit: &'static str) -> Self {
        Self { train, test: test.to_vec(), train_key: "train_lengths", unit }
    }

    /// One `length` of all training rows, and `test_lengths`.
    pub fn constant(length: usize, test: &[usize], unit: &'static str) -> Self {
        Self { train_key: "length", ..Self::new([length; 2], test, unit) }
    }

    /// The longest row of all.
    pub fn longest(&self) -> usize {
        self.keyed().map(|(_, length)| length).max().unwrap_or(0)
    }

    /// Whether the training lengths are a range (such as `example`) and the test lengths tell their sets apart.
    ///
    /// # Errors
    /// If not.
    pub fn check(&self, example: [usize; 2]) -> Result<(), Invalid> {
        let [shortest, longest] = self.train;
        if shortest == 0 || shortest > longest {
            return Err(Invalid::new(
                "train_lengths",
                format!(
                    "train_lengths = [{shortest}, {longest}] is no range of lengths; expected the fewest and the most \
                     {} of a row, such as {example:?}",
                    self.unit
                ),
            ));
        }
        for (i, n) in self.test.iter().enumerate() {
            if *n == 0 {
                let message = format!("test length {i} is 0; expected whole numbers of at least 1");
                return Err(Invalid::new("test_lengths", message));
            }
            if self.test[..i].contains(n) {
                let message = format!("test length {n} stands twice; its metrics would have one name");
                return Err(Invalid::new("test_lengths", message));
            }
        }
        Ok(())
    }

    /// Whether every row has at least `least` units; `reason` says what for.
    ///
    /// # Errors
    /// If one has fewer.
    pub fn at_least(&self, least: usize, reason: impl Display) -> Result<(), Invalid> {
        self.find(
            |length| length < least,
            |length| format!("{length} {} are too few: {reason}; expected at least {least}", self.unit),
        )
    }

    /// Whether every row has at most `most` units; `reason` says what there would be too little of.
    ///
    /// # Errors
    /// If one has more.
    pub fn at_most(&self, most: usize, reason: impl Display) -> Result<(), Invalid> {
        self.find(
            |length| length > most,
            |length| format!("{length} {} are too many: {reason}; expected at most {most}", self.unit),
        )
    }

    /// Whether `rows` of the longest rows, of so many values per unit, fit into memory.
    ///
    /// # Errors
    /// If they do not.
    pub fn check_rows(&self, rows: usize, values_per_unit: usize) -> Result<(), Invalid> {
        let most = self.longest();
        let per_row = most.saturating_mul(values_per_unit);
        if per_row.saturating_mul(rows) > MAX_VALUES {
            let message = format!(
                "rows = {rows} of {most} {} are more than fit; expected at most {} rows, or shorter ones",
                self.unit,
                MAX_VALUES / per_row
            );
            return Err(Invalid::new("rows", message));
        }
        Ok(())
    }

    fn keyed(&self) -> impl Iterator<Item = (&'static str, usize)> {
        let train = self.train.iter().map(|&length| (self.train_key, length));
        train.chain(self.test.iter().map(|&length| ("test_lengths", length)))
    }

    fn find(&self, bad: impl Fn(usize) -> bool, message: impl Fn(usize) -> String) -> Result<(), Invalid> {
        match self.keyed().find(|&(_, length)| bad(length)) {
            None => Ok(()),
            Some((key, length)) => Err(Invalid::new(key, message(length))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_lengths_are_refused() {
        let check = |train, test: &[usize]| {
            let lengths = Lengths::new(train, test, "tokens");
            lengths
                .check([5, 16])
                .and_then(|()| lengths.at_least(3, "a row has two ends"))
                .and_then(|()| lengths.at_most(99, "there are 99 symbols"))
                .and_then(|()| lengths.check_rows(MAX_VALUES / 64, 2))
                .map_err(|invalid| invalid.to_string())
        };
        assert_eq!(check([3, 5], &[32, 4]), Ok(()));
        let range = "is no range of lengths; expected the fewest and the most tokens of a row, such as [5, 16]";
        for (train, test, message) in [
            ([16, 5], vec![], format!("train_lengths: train_lengths = [16, 5] {range}")),
            ([0, 5], vec![], format!("train_lengths: train_lengths = [0, 5] {range}")),
            ([3, 5], vec![9, 0], "test_lengths: test length 1 is 0; expected whole numbers of at least 1".into()),
            ([3, 5], vec![9, 4, 9], "test_lengths: test length 9 stands twice; its metrics would have one name".into()),
            ([2, 5], vec![], "train_lengths: 2 tokens are too few: a row has two ends; expected at least 3".into()),
            (
                [3, 5],
                vec![100],
                "test_lengths: 100 tokens are too many: there are 99 symbols; expected at most 99".into(),
            ),
            (
                [3, 64],
                vec![],
                "rows: rows = 4194304 of 64 tokens are more than fit; expected at most 2097152 rows, or shorter ones"
                    .into(),
            ),
        ] {
            assert_eq!(check(train, &test), Err(message));
        }
    }
}
