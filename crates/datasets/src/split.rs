//! Which rows train, which choose, which judge.
use std::fmt;

use kiln_stream::Stream;

use crate::Invalid;

/// A named part of a data set. Its name begins its metrics: `test_accuracy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Split {
    /// Rows that gradients are taken on.
    Train,
    /// Rows that choose: hyper-parameters, the best checkpoint, the early stop.
    Val,
    /// Rows that judge.
    Test,
    /// Rows of this many items or tokens, which judge one length apart: `n256`.
    Length(usize),
    /// The rows of [`Test`](Self::Test) with a corruption at one strength: `noise_3`.
    Shifted {
        /// The corruption's name.
        kind: &'static str,
        /// From 1 to 5.
        strength: u8,
    },
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Train => f.write_str("train"),
            Self::Val => f.write_str("val"),
            Self::Test => f.write_str("test"),
            Self::Length(n) => write!(f, "n{n}"),
            Self::Shifted { kind, strength } => write!(f, "{kind}_{strength}"),
        }
    }
}

/// How much of a data set trains and chooses.
///
/// Of a seeded permutation of all `total` rows the first `⌊train · total⌋` are the training part, the rest is
/// the test split. The last `⌊val · training part⌋` rows of the training part become the validation split, so
/// the test rows do not depend on it. A product that misses a whole number only by the rounding of a decimal
/// fraction counts as that number: 0.29 of 100 rows are 29.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fractions {
    /// Share of all rows in the training part, above 0 and below 1.
    pub train: f64,
    /// Share of the training part that validates instead, in [0, 1).
    pub val: f64,
}

impl Fractions {
    /// Rows of (train, val, test).
    pub fn sizes(&self, total: usize) -> (usize, usize, usize) {
        let part = share(self.train, total);
        let val = share(self.val, part);
        (part - val, val, total - part)
    }

    /// Whether each split that is asked for has a row.
    ///
    /// # Errors
    /// If one has none; the message says which fractions would do.
    pub fn check(&self, total: usize) -> Result<(), Invalid> {
        if total < 2 {
            return Err(Invalid::new(
                "fraction",
                format!("{total} rows cannot be split into training and test rows; expected at least 2"),
            ));
        }
        let (train, val, test) = self.sizes(total);
        if train + val == 0 {
            return Err(Invalid::new(
                "fraction",
                format!(
                    "fraction = {} of {total} rows leaves no training row; use at least {}",
                    self.train,
                    decimals(1.0 / total as f64)
                ),
            ));
        }
        if test == 0 {
            return Err(Invalid::new(
                "fraction",
                format!(
                    "fraction = {} of {total} rows leaves no test row; use less than {}",
                    self.train,
                    decimals(1.0 - 0.5 / total as f64)
                ),
            ));
        }
        if self.val > 0.0 && val == 0 {
            return Err(Invalid::new(
                "val_fraction",
                format!(
                    "val_fraction = {} of {train} training rows leaves no validation row; use 0 for no validation \
                     split, or more",
                    self.val
                ),
            ));
        }
        if train == 0 {
            return Err(Invalid::new(
                "val_fraction",
                format!("val_fraction = {} of {val} training rows leaves none to train on; use less", self.val),
            ));
        }
        Ok(())
    }
}

/// `⌊fraction · total⌋`, forgiving the rounding of a decimal fraction.
fn share(fraction: f64, total: usize) -> usize {
    ((fraction * total as f64 + 1e-9).floor() as usize).min(total)
}

/// A bound rounded up to a number that is easy to type.
fn decimals(bound: f64) -> f64 {
    (bound * 1e6).ceil() / 1e6
}

/// The rows of each split, each in its own order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    train: Vec<usize>,
    val: Vec<usize>,
    test: Vec<usize>,
}

impl Partition {
    /// Cuts `total` rows by the permutation of the stream `(seed, "split")`.
    pub fn seeded(total: usize, fractions: Fractions, seed: u64) -> Self {
        let (train, val, _) = fractions.sizes(total);
        let mut rows = Stream::new(seed, "split").at(0).permutation(total);
        let test = rows.split_off(train + val);
        let val = rows.split_off(train);
        Self { train: rows, val, test }
    }

    /// Cuts the values of `key` (in `0..keys`) as [`seeded`](Self::seeded) cuts rows, so that all rows of one key stand
    /// in the same split. The rows of a key follow each other.
    ///
    /// # Panics
    /// If a key is not below `keys`.
    pub fn by_key(key: &[usize], keys: usize, fractions: Fractions, seed: u64) -> Self {
        let mut of_key = vec![Vec::new(); keys];
        for (row, &key) in key.iter().enumerate() {
            of_key[key].push(row);
        }
        let Self { train, val, test } = Self::seeded(keys, fractions, seed);
        let rows = |keys: Vec<usize>| keys.into_iter().flat_map(|key| of_key[key].clone()).collect();
        Self { train: rows(train), val: rows(val), test: rows(test) }
    }

    /// The rows of one split; none of a split by length or of a shifted one.
    pub fn rows(&self, split: Split) -> &[usize] {
        match split {
            Split::Train => &self.train,
            Split::Val => &self.val,
            Split::Test => &self.test,
            Split::Length(_) | Split::Shifted { .. } => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn published_sizes() {
        let train = |fraction, total| Fractions { train: fraction, val: 0.0 }.sizes(total).0;
        assert_eq!([0.8, 0.6, 0.5, 0.4].map(|f| train(f, 3481)), [2784, 2088, 1740, 1392]);
        assert_eq!([0.4, 0.6, 0.7].map(|f| train(f, 12769)), [5107, 7661, 8938]);
        assert_eq!(train(0.4, 12544), 5017);
    }

    #[test]
    fn validation_comes_out_of_the_training_part() {
        let without = Partition::seeded(100, Fractions { train: 0.6, val: 0.0 }, 5);
        let with = Partition::seeded(100, Fractions { train: 0.6, val: 0.25 }, 5);
        assert_eq!(with.test, without.test);
        assert_eq!([&with.train[..], &with.val[..]].concat(), without.train);
        assert_eq!(with.val.len(), 15);
    }

    #[test]
    fn empty_splits_are_refused() {
        let message = |train, val, total| Fractions { train, val }.check(total).unwrap_err().to_string();
        assert_eq!(
            message(0.01, 0.0, 9),
            "fraction: fraction = 0.01 of 9 rows leaves no training row; use at least 0.111112"
        );
        assert_eq!(
            message(0.9999999999999, 0.0, 4),
            "fraction: fraction = 0.9999999999999 of 4 rows leaves no test row; use less than 0.875"
        );
        assert_eq!(
            message(0.5, 0.1, 10),
            "val_fraction: val_fraction = 0.1 of 5 training rows leaves no validation row; use 0 for no validation \
             split, or more"
        );
        assert_eq!(
            message(0.5, 0.9999999999999, 10),
            "val_fraction: val_fraction = 0.9999999999999 of 5 training rows leaves none to train on; use less"
        );
    }

    proptest! {
        #[test]
        fn splits_are_disjoint_and_cover(total in 0usize..300, train in 0.0f64..1.0, val in 0.0f64..1.0, seed: u64) {
            let partition = Partition::seeded(total, Fractions { train, val }, seed);
            let mut rows: Vec<usize> =
                [Split::Train, Split::Val, Split::Test].iter().flat_map(|&s| partition.rows(s).to_vec()).collect();
            rows.sort_unstable();
            prop_assert_eq!(rows, (0..total).collect::<Vec<_>>());
        }

        #[test]
        fn rows_of_a_key_stay_together(
            key in proptest::collection::vec(0usize..9, 0..60), train in 0.1f64..0.9, val in 0.0f64..0.9, seed: u64,
        ) {
            let partition = Partition::by_key(&key, 9, Fractions { train, val }, seed);
            let mut rows = Vec::new();
            let mut home = [None; 9];
            for split in [Split::Train, Split::Val, Split::Test] {
                for &row in partition.rows(split) {
                    prop_assert_eq!(*home[key[row]].get_or_insert(split), split);
                    rows.push(row);
                }
            }
            rows.sort_unstable();
            prop_assert_eq!(rows, (0..key.len()).collect::<Vec<_>>());
        }

        #[test]
        fn a_decimal_fraction_means_what_it_says(thousandths in 0usize..1000, total in 0usize..100_000) {
            let (part, _, _) = Fractions { train: thousandths as f64 / 1000.0, val: 0.0 }.sizes(total);
            prop_assert_eq!(part, thousandths * total / 1000);
        }
    }
}
