//! Signed sums: the smallest sum that is not negative, and the way to it.
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Dataset;
use crate::{
    Asks, BatchSource, DataError, Fractions, InMemory, Input, InputSpec, Invalid, Matrix, Partition, Spec, Target,
};

/// Parameters of signed sums.
///
/// A row is `digits` = m digits d_1 … d_m of 1 to 9; the answer is the smallest value of `±d_1 ± d_2 … ± d_m` that is
/// not negative. There are 9^m rows, all of them used. Digit d is id d − 1, the begin sign is id 9, and the number s is
/// id 10 + 9m + s and class 9m + s, for s in −9m ..= 9m. The digits 2 1 4 have the answer 4 − 2 − 1 = 1, so with m = 3
/// they are the row `9 1 0 3` of class 28.
///
/// With `chain` the row goes on with the partial sums of the best signs, and a network is asked for each of them, the
/// answer last: `9 1 0 3 35 34` is asked at places 3, 4 and 5 for −2, −3 and 1, the classes 25, 24 and 28. It always sees
/// the true sums before, not its own. Where several choices of signs reach the answer, the first counts, minus before
/// plus from the first digit on.
///
/// The split goes by multisets of digits: all orders of the same digits stand on the same side, `fraction` of the multisets
/// in the training part (see [`Fractions`]). Guessing 1, the most frequent answer, is right in 26 % of the
/// rows of 3 digits and in 37 % of those of 4.
///
/// The task is the minimum non-negative sum of Gozeten et al. 2025 (arXiv:2505.23648).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SignedSumsConfig {
    /// Digits per row, 2 to 6.
    #[schemars(range(min = 2, max = 6))]
    pub digits: usize,
    /// Whether the partial sums are asked too.
    pub chain: bool,
    /// Share of the multisets in the training part.
    #[serde(deserialize_with = "range::open_unit")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub fraction: f64,
    /// Share of the training part that validates instead.
    #[serde(deserialize_with = "range::below_one")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub val_fraction: f64,
}

impl Default for SignedSumsConfig {
    fn default() -> Self {
        Self { digits: 4, chain: false, fraction: 0.8, val_fraction: 0.0 }
    }
}

impl Entry for SignedSumsConfig {
    const SUMMARY: &'static str =
        "digits, and the smallest of their signed sums that is not negative; also step by step";
    const PAPER: &'static str = "Gozeten et al. 2025, Continuous Chain of Thought, arXiv:2505.23648";
}

impl SignedSumsConfig {
    fn fractions(&self) -> Fractions {
        Fractions { train: self.fraction, val: self.val_fraction }
    }

    /// The largest sum.
    fn most(&self) -> usize {
        9 * self.digits
    }

    /// Every row's digits, in the order of the numbers they are.
    fn rows(&self) -> Vec<Vec<i32>> {
        let m = self.digits as u32;
        let digit = |code: usize, place: u32| (code / 9usize.pow(m - 1 - place) % 9) as i32 + 1;
        (0..9usize.pow(m)).map(|code| (0..m).map(|place| digit(code, place)).collect()).collect()
    }
}

/// The partial sums of the signs that lead to the smallest sum that is not negative; among equals those of the first
/// choice of signs, minus before plus.
fn best_sums(digits: &[i32]) -> Vec<i32> {
    let sums = |signs: u32| {
        let mut sum = 0;
        let signed = |(place, digit): (usize, &i32)| {
            let plus = signs >> (digits.len() - 1 - place) & 1 == 1;
            sum += if plus { *digit } else { -digit };
            sum
        };
        digits.iter().enumerate().map(signed).collect::<Vec<i32>>()
    };
    let last = |sums: &Vec<i32>| sums[digits.len() - 1];
    // The sum of all digits is never negative, so there is one; `min_by_key` keeps the first of equals.
    (0..1 << digits.len()).map(sums).filter(|sums| last(sums) >= 0).min_by_key(last).unwrap_or_default()
}

/// A number for each row that is the same for all orders of the same digits, and how many there are.
fn multisets(rows: &[Vec<i32>]) -> (Vec<usize>, usize) {
    let sorted = |row: &Vec<i32>| {
        let mut digits = row.clone();
        digits.sort_unstable();
        digits
    };
    let mut all: Vec<Vec<i32>> = rows.iter().filter(|row| row.is_sorted()).cloned().collect();
    all.sort_unstable();
    let number = |row| all.binary_search(&sorted(row)).expect("the ascending order of a row is a row");
    (rows.iter().map(number).collect(), all.len())
}

impl Dataset for SignedSumsConfig {
    fn check(&self) -> Result<(), Invalid> {
        let m = self.digits;
        if !(2..=6).contains(&m) {
            let message = format!("digits = {m} is out of range; expected 2 to 6 (there are 9^digits rows)");
            return Err(Invalid::new("digits", message));
        }
        // Multisets of m among 9 digits: (8 + m) choose m.
        let multisets = (1..=m).fold(1, |count, i| count * (8 + i) / i);
        self.fractions().check(multisets)
    }

    fn spec(&self) -> Spec {
        let (m, sums) = (self.digits, 2 * self.most() + 1);
        let vocabulary = 10 + sums;
        match self.chain {
            false => {
                Spec { input: InputSpec::Tokens { vocabulary, length: m + 1 }, asks: Asks::Class { classes: sums } }
            }
            true => {
                Spec { input: InputSpec::Tokens { vocabulary, length: 2 * m }, asks: Asks::Tokens { classes: sums } }
            }
        }
    }

    fn open(&self, seed: u64) -> Result<Box<dyn BatchSource>, DataError> {
        self.check()?;
        let (m, most) = (self.digits, self.most() as i32);
        let rows = self.rows();
        let sums: Vec<Vec<i32>> = rows.iter().map(|row| best_sums(row)).collect();
        let mut ids = Vec::new();
        for (row, sums) in rows.iter().zip(&sums) {
            ids.push(9);
            ids.extend(row.iter().map(|digit| digit - 1));
            if self.chain {
                ids.extend(sums[..m - 1].iter().map(|sum| 10 + most + sum));
            }
        }
        let (input, target) = match self.chain {
            false => (Matrix::new(ids, m + 1), Target::Classes(sums.iter().map(|sums| most + sums[m - 1]).collect())),
            true => {
                let classes = sums.iter().flatten().map(|sum| most + sum).collect();
                (Matrix::new(ids, 2 * m), Target::tokens(m..2 * m, classes))
            }
        };
        let (keys, count) = multisets(&rows);
        let partition = Partition::by_key(&keys, count, self.fractions(), seed);
        Ok(Box::new(InMemory::new(self.spec(), Input::Tokens(input), target, partition)))
    }
}

#[cfg(test)]
mod tests;
